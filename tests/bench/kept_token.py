"""The token that MSAL for Python finds in a file: kept_token.py FILE CLIENT_ID SCOPE USERNAME."""
import sys

import msal
from known_authority import Client, TENANT

path, client_id, scope, username = sys.argv[1:]
cache = msal.SerializableTokenCache()
with open(path, encoding="utf-8") as file:
    cache.deserialize(file.read())
app = msal.PublicClientApplication(
    client_id, authority=TENANT, token_cache=cache, instance_discovery=False, http_client=Client()
)
[account] = app.get_accounts(username)
print(app.acquire_token_silent([scope], account)["access_token"])
