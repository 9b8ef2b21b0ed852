// A call of an API with a token that is bound to that one request, as the broker signs it: a token that is stolen on the way is
// of no use for another. signed_request.ts CLIENT_ID SCOPE URL
// deno-lint-ignore-file no-console -- to print is what an example is for
import { PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", scope = "", url = ""] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!clientId || !scope || !url) throw new Error("signed_request.ts CLIENT_ID SCOPE URL");
const app = new PublicClientApplication({ clientId, enableBrokerOnLinux: true, enableBrokerOnWsl: true });

/** Calls the API; `nonce` is what it wants to be signed as well. */
async function call(nonce?: string): Promise<Response> {
  const authenticationScheme = { type: "pop", method: "GET", url, nonce } as const;
  const { tokenType, accessToken } = await app.acquireToken({ scopes: [scope], authenticationScheme });
  return await fetch(url, { headers: { authorization: `${tokenType} ${accessToken}` } });
}

if (await app.isPopSupported()) {
  let response = await call();
  // An API that has a nonce of its own signed tells it in its refusal.
  const [, nonce] = /^PoP .*\bnonce="([^"]+)"/i.exec(response.headers.get("www-authenticate") ?? "") ?? [];
  if (response.status === 401 && nonce !== undefined) response = await call(nonce);
  console.log(`${response.status}: ${await response.text()}`);
} else console.log("There is no broker that binds tokens to requests");
app.close();
