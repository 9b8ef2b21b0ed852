"""MSAL for Python asks where to sign in before all else: answered here, so that no network is measured."""
import json

TENANT = "https://login.microsoftonline.com/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


class Response:
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
