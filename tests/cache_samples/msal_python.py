"""Writes msal_python.json: python3 msal_python.py, with the package msal installed. The server is played here."""
import base64
import json
import pathlib
import time
import urllib.parse

NOW = 1767225600  # 2026-01-01T00:00:00Z
time.time = lambda: NOW

import msal  # noqa: E402

CONTOSO, FABRIKAM = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
APP, FAMILY_APP = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"
JANE = {"uid": "11111111-1111-4111-8111-111111111111", "name": "jane@contoso.com"}
JOHN = {"uid": "44444444-4444-4444-8444-444444444444", "name": "john@contoso.com"}
DEVICE_SCOPES = "https://management.azure.com//.default openid profile"
issued, nonce = 0, None


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def token_reply(request, person, tenant, foci):
    global issued
    issued += 1
    scopes = [scope for scope in request.get("scope", DEVICE_SCOPES).split() if scope != "offline_access"]
    claims = {"aud": request["client_id"], "iss": f"https://login.microsoftonline.com/{tenant}/v2.0", "iat": NOW}
    claims |= {"exp": NOW + 3600, "nbf": NOW, "oid": person["uid"], "tid": tenant, "sub": f"sub-{person['uid'][0]}"}
    claims |= {"preferred_username": person["name"], "name": person["name"].split("@")[0].title()}
    if "code_verifier" in request:
        claims["nonce"] = nonce
    reply = {"access_token": f"python-access-{issued}", "refresh_token": f"python-refresh-{issued}"}
    reply |= {"token_type": request.get("token_type", "Bearer"), "scope": " ".join(scopes), "expires_in": 3600}
    reply |= {"ext_expires_in": 7200, "refresh_in": 1800}
    reply |= {"id_token": ".".join([encode({"alg": "RS256", "typ": "JWT"}), encode(claims), "c2lnbmF0dXJl"])}
    reply |= {"client_info": encode({"uid": person["uid"], "utid": CONTOSO})}
    return reply | ({"foci": "1"} if foci else {})


class Reply:
    status_code = 200
    headers = {}

    def __init__(self, body):
        self.text = json.dumps(body)

    def raise_for_status(self):
        pass


class Server:
    """Answers for the tenant in the address: organizations is contoso, where all are at home."""

    def __init__(self, person, foci=False):
        self.person, self.foci = person, foci

    def get(self, url, **_):
        base = url.split("/v2.0/")[0]
        return Reply({
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        })

    def post(self, url, data=None, **_):
        if url.endswith("/devicecode"):
            return Reply({"device_code": "code", "user_code": "CODE", "expires_in": 900, "interval": 5, "message": ""})
        tenant = url.split("/")[3]
        return Reply(token_reply(data, self.person, CONTOSO if tenant == "organizations" else tenant, self.foci))


cache = msal.SerializableTokenCache()


def app(client_id, tenant, person, foci=False):
    server = Server(person, foci)
    authority = f"https://login.microsoftonline.com/{tenant}"
    return msal.PublicClientApplication(client_id, authority=authority, http_client=server, token_cache=cache)


# A sign-in in the browser at /organizations, then a token of a tenant that the person is a guest in.
jane = app(APP, "organizations", JANE)
flow = jane.initiate_auth_code_flow(["User.Read"], redirect_uri="http://localhost", response_mode="form_post")
nonce = urllib.parse.parse_qs(urllib.parse.urlparse(flow["auth_uri"]).query)["nonce"][0]
jane.acquire_token_by_auth_code_flow(flow, {"code": "code", "state": flow["state"]})
guest = app(APP, FABRIKAM, JANE)
guest.acquire_token_silent(["Mail.Read"], guest.get_accounts()[0])

# An app of the family, by a device code; and a certificate for SSH, which is bound to a key.
family = app(FAMILY_APP, CONTOSO, JANE, foci=True)
family.acquire_token_by_device_flow(family.initiate_device_flow(DEVICE_SCOPES.split()[:1]))
certificate = {"token_type": "ssh-cert", "key_id": "key", "req_cnf": "{}"}
family.acquire_token_silent(["https://pas.windows.net/CheckMyAccess/Linux/.default"], family.get_accounts()[0],
                            data=certificate)

# An account whose origin nobody knows: its refresh token came from elsewhere.
app(APP, "organizations", JOHN).acquire_token_by_refresh_token("elsewhere", ["User.Read"])

pathlib.Path(__file__).with_name("msal_python.json").write_text(json.dumps(json.loads(cache.serialize()), indent=2) + "\n")
