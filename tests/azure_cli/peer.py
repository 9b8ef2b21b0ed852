"""Azure's credential that runs az, of azure-identity: peer.py SCOPE [OPTIONS], where OPTIONS is JSON. Prints JSON."""
import json
import sys

from azure.identity import AzureCliCredential

scope, options = sys.argv[1], json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}")
own = {"tenant_id": options.get("tenantId", ""), "subscription": options.get("subscription")}
try:
    # The machine can be busy: it is not about how fast az is.
    token = AzureCliCredential(process_timeout=60, **own).get_token(scope, claims=options.get("claims"))
    print(json.dumps({"token": token.token, "expires": token.expires_on}))
except Exception as error:
    print(json.dumps({"name": type(error).__name__, "message": str(error)}))
