"""MSAL for Python over a file, as the Azure CLI sets it up: python3 peer.py TASK, where TASK is JSON (see peers.ts). The server
is played here."""
import base64
import json
import sys
import time
import urllib.parse

import msal
import msal_extensions
import msal_extensions.token_cache
from msal_extensions.filelock import CrossPlatLock as PlainLock, LockError as PlainLockError

CONTOSO = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
task = json.loads(sys.argv[1])
requests, nonce, issued = [], None, 0

if task.get("lock") == "plain":  # what msal-extensions has without portalocker, which the Azure CLI has
    msal_extensions.token_cache.CrossPlatLock = PlainLock
persistence = msal_extensions.FilePersistence(task["cache"])
cache = msal_extensions.PersistedTokenCache(persistence)


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def uid_of(person):
    return f"00000000-0000-4000-8000-{person:012d}"


class Reply:
    status_code = 200
    headers = {}

    def __init__(self, body):
        self.text = json.dumps(body)

    def raise_for_status(self):
        pass


class Server:
    """Answers for the tenant in the address, where all are at home."""

    def __init__(self, person, foci):
        self.person, self.foci = person, foci

    def get(self, url, **_):
        if "discovery/instance" in url:
            aliases = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
            network = {"preferred_network": aliases[0], "preferred_cache": aliases[1], "aliases": aliases}
            return Reply({"metadata": [network]})
        base = url.split("/v2.0/")[0]
        return Reply({
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
        })

    def post(self, url, data=None, **_):
        global issued
        issued += 1
        requests.append([data["grant_type"], data.get("refresh_token")])
        now, name = int(time.time()), f"person{self.person}@contoso.com"
        claims = {"aud": data["client_id"], "iss": f"https://login.microsoftonline.com/{CONTOSO}/v2.0", "iat": now,
                  "exp": now + 3600, "nbf": now, "oid": uid_of(self.person), "tid": CONTOSO, "sub": f"sub-{self.person}",
                  "preferred_username": name, "name": name.split("@")[0]}
        if "code_verifier" in data:
            claims["nonce"] = nonce
        secret = f"{task['by']}-{self.person}-{issued}"
        scope = " ".join(one for one in data["scope"].split() if one != "offline_access")
        reply = {"access_token": f"access-{secret}", "refresh_token": f"refresh-{secret}", "token_type": "Bearer",
                 "scope": scope, "expires_in": 3600, "ext_expires_in": 7200,
                 "id_token": ".".join([encode({"alg": "RS256", "typ": "JWT"}), encode(claims), "c2ln"]),
                 "client_info": encode({"uid": uid_of(self.person), "utid": CONTOSO})}
        return Reply(reply | ({"foci": "1"} if self.foci else {}))


def app_of(step):
    server = Server(step.get("person"), step.get("foci", False))
    authority = f"https://login.microsoftonline.com/{step.get('tenant', CONTOSO)}"
    return msal.PublicClientApplication(step["app"], authority=authority, http_client=server, token_cache=cache)


def account_of(app, step):
    return next(iter(app.get_accounts(f"person{step['person']}@contoso.com")), None)


def run_patiently(step):
    """Its locks give up after five seconds; on a busy machine the others write for longer, and an app tries again."""
    for _ in range(10):
        try:
            return run(step)
        except (msal_extensions.LockError, PlainLockError):
            pass
    return run(step)


def run(step):
    global nonce
    app, action = app_of(step), step["do"]
    if action == "sign in":
        flow = app.initiate_auth_code_flow([step["scope"]], redirect_uri="http://localhost", response_mode="form_post")
        nonce = urllib.parse.parse_qs(urllib.parse.urlparse(flow["auth_uri"]).query)["nonce"][0]
        return app.acquire_token_by_auth_code_flow(flow, {"code": "code", "state": flow["state"]})["access_token"]
    if action == "token":
        result = app.acquire_token_silent([step["scope"]], account_of(app, step)) or {}
        return result.get("access_token")
    if action == "accounts":
        return sorted(account["username"] for account in app.get_accounts())
    if action == "sign out":
        app.remove_account(account_of(app, step))
        return None
    raise ValueError(action)


print("ready", flush=True)
sys.stdin.read()
results = []
for step in task["steps"]:
    requests = []
    try:
        results.append({"result": run_patiently(step), "requests": requests})
    except Exception as error:
        results.append({"error": f"{type(error).__name__}: {error}", "requests": requests})
print(json.dumps(results))
