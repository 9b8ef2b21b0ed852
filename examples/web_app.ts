// A web app that signs people in, served by Deno: web_app.ts CLIENT_ID AUTHORITY SCOPE…
// deno run --allow-net --allow-env=ORIGIN,PORT,SECRET (from a clone: --no-config --node-modules-dir=manual
// --conditions=latchkey-source as well). The app registration has to have ORIGIN/signed-in as a redirect URI.
// deno-lint-ignore-file no-console -- to print is what an example is for
import { WebApplication } from "@latchkey/latchkey/web";
import { signInPages } from "./sign_in_pages.ts";

const [clientId = "", authority = "", ...scopes] = Deno.args;
if (!clientId || scopes.length === 0) throw new Error("web_app.ts CLIENT_ID AUTHORITY SCOPE…");
// With a secret of its own a restart signs everybody out.
const secret = Deno.env.get("SECRET") ?? crypto.randomUUID() + crypto.randomUUID();
const origin = Deno.env.get("ORIGIN") || undefined; // where a proxy stands before it: https://app.contoso.com
const app = new WebApplication({ clientId, authority });

Deno.serve(
  {
    hostname: "localhost",
    port: Number(Deno.env.get("PORT") ?? 0),
    onListen: ({ port }) => console.log(`http://localhost:${port}`),
  },
  (request) => signInPages(request, { app, scopes, secret, origin }),
);
