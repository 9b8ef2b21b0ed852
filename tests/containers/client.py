"""Azure's library for Python, and MSAL for Python, in a container: client.py RESOURCE; prints what each got, as JSON."""
import json
import sys
import time

import msal
import requests
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

resource = sys.argv[1]


def outcome_of(work):
    try:
        return work()
    except Exception as error:
        return {"error": str(error)}


def by_credential(credential):
    token = credential.get_token(f"{resource}/.default")
    return {"token": token.token, "expiresOn": token.expires_on}


def by_client():
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=requests.Session())
    result = client.acquire_token_for_client(resource=resource)
    if "access_token" not in result:
        return {"error": result["error_description"]}
    return {"token": result["access_token"], "expiresOn": int(time.time()) + result["expires_in"]}


print(json.dumps({
    "ManagedIdentityCredential": outcome_of(lambda: by_credential(ManagedIdentityCredential())),
    "DefaultAzureCredential": outcome_of(lambda: by_credential(DefaultAzureCredential())),
    "ManagedIdentityClient": outcome_of(by_client),
}))
