"""The silent token that MSAL for Python gets from the broker: broker_token.py CLIENT_ID SCOPE."""
import sys

import msal
from known_authority import Client, TENANT

client_id, scope = sys.argv[1:]
app = msal.PublicClientApplication(
    client_id, authority=TENANT, instance_discovery=False, http_client=Client(), enable_broker_on_linux=True
)
# A program's first token: no window with this prompt, and none with the account of the device.
result = app.acquire_token_interactive([scope], prompt="none", parent_window_handle=app.CONSOLE_WINDOW_HANDLE)
print(result["access_token"])
