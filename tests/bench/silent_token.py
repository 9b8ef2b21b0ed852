"""What a minimal program with python3-dbus does: the accounts, then a token for the first.

silent_token.py CLIENT_ID SCOPE
"""
import json
import sys
import uuid

import dbus

client_id, scope = sys.argv[1:]
broker = dbus.Interface(
    dbus.SessionBus().get_object(
        "com.microsoft.identity.broker1", "/com/microsoft/identity/broker1", introspect=False
    ),
    "com.microsoft.identity.Broker1",
)


def call(method, request):
    return json.loads(broker.get_dbus_method(method)("0.0", str(uuid.uuid4()), json.dumps(request)))


account = call("getAccounts", {"clientId": client_id, "redirectUri": client_id})["accounts"][0]
reply = call(
    "acquireTokenSilently",
    {
        "authParameters": {
            "accessTokenToRenew": "",
            "account": account,
            "additionalQueryParametersForAuthorization": {},
            "authority": "https://login.microsoftonline.com/" + account["realm"],
            "authorizationType": 1,
            "clientId": client_id,
            "decodedClaims": "",
            "enrollmentId": "",
            "isTestMode": False,
            "password": "",
            "popParams": None,
            "redirectUri": "https://login.microsoftonline.com/common/oauth2/nativeclient",
            "requestedScopes": [scope],
            "username": account["username"],
            "uxContextHandle": -1,
        }
    },
)
print(reply["brokerTokenResponse"]["accessToken"])
