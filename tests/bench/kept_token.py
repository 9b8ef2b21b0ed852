"""The token that MSAL for Python finds in a file: kept_token.py FILE CLIENT_ID SCOPE USERNAME."""
import json
import sys

import msal

TENANT = "https://login.microsoftonline.com/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


class Response:
    """It asks where to sign in before it looks for what is kept: answered here, so that no network is measured."""

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


path, client_id, scope, username = sys.argv[1:]
cache = msal.SerializableTokenCache()
with open(path, encoding="utf-8") as file:
    cache.deserialize(file.read())
app = msal.PublicClientApplication(
    client_id, authority=TENANT, token_cache=cache, instance_discovery=False, http_client=Client()
)
[account] = app.get_accounts(username)
print(app.acquire_token_silent([scope], account)["access_token"])
