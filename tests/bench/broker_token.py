"""The silent token that MSAL for Python gets from the broker: broker_token.py CLIENT_ID SCOPE."""
import json
import sys

import msal

TENANT = "https://login.microsoftonline.com/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


class Response:
    """It asks where to sign in before it asks the broker: answered here, so that no network is measured."""

    status_code = 200
    headers = {}
    text = json.dumps({
        "issuer": TENANT + "/v2.0",
        "authorization_endpoint": TENANT + "/oauth2/v2.0/authorize",
        "token_endpoint": TENANT + "/oauth2/v2.0/token",
    })

    def raise_for_status(self):
        pass


class Client:
    def get(self, url, **_):
        return Response()

    def close(self):
        pass


client_id, scope = sys.argv[1:]
app = msal.PublicClientApplication(
    client_id, authority=TENANT, instance_discovery=False, http_client=Client(), enable_broker_on_linux=True
)
# A program's first token: no window with this prompt, and none with the account of the device.
result = app.acquire_token_interactive([scope], prompt="none", parent_window_handle=app.CONSOLE_WINDOW_HANDLE)
print(result["access_token"])
