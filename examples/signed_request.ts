// Calls an API with a token that the broker has bound to this one request. A thief cannot use the token for another request:
// signed_request.ts CLIENT_ID SCOPE URL
// deno-lint-ignore-file no-console -- an example prints
import { PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", scope = "", url = ""] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!clientId || !scope || !url) throw new Error("signed_request.ts CLIENT_ID SCOPE URL");
const app = new PublicClientApplication({ clientId, enableBrokerOnLinux: true, enableBrokerOnWsl: true });

/** Calls the API. `nonce` is signed with the request. */
async function call(nonce?: string): Promise<Response> {
  const authenticationScheme = { type: "pop", method: "GET", url, nonce } as const;
  const { tokenType, accessToken } = await app.acquireToken({ scopes: [scope], authenticationScheme });
  return await fetch(url, { headers: { authorization: `${tokenType} ${accessToken}` } });
}

if (await app.isPopSupported()) {
  let response = await call();
  // An API that requires a nonce sends it in its refusal.
  const [, nonce] = /^PoP .*\bnonce="([^"]+)"/i.exec(response.headers.get("www-authenticate") ?? "") ?? [];
  if (response.status === 401 && nonce !== undefined) response = await call(nonce);
  console.log(`${response.status}: ${await response.text()}`);
} else console.log("There is no broker that binds tokens to requests");
app.close();
