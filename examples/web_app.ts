// A web app that signs people in, served by Deno: web_app.ts CLIENT_ID AUTHORITY SCOPE…
// deno run --allow-net --allow-env=ORIGIN,PORT,SECRET (from a clone also --no-config --node-modules-dir=manual
// --conditions=latchkey-source). The app registration must have ORIGIN/signed-in as a redirect URI.
// deno-lint-ignore-file no-console -- an example prints
import { WebApplication } from "@latchkey/latchkey/web";
import { signInPages } from "./sign_in_pages.ts";

const [clientId = "", authority = "", ...scopes] = Deno.args;
if (!clientId || scopes.length === 0) throw new Error("web_app.ts CLIENT_ID AUTHORITY SCOPE…");
// Without SECRET the secret is new at each start, which signs everybody out.
const secret = Deno.env.get("SECRET") ?? crypto.randomUUID() + crypto.randomUUID();
const origin = Deno.env.get("ORIGIN") || undefined; // if a proxy is in front: https://app.contoso.com
const app = new WebApplication({ clientId, authority });

Deno.serve(
  {
    hostname: "localhost",
    port: Number(Deno.env.get("PORT") ?? 0),
    onListen: ({ port }) => console.log(`http://localhost:${port}`),
  },
  (request) => signInPages(request, { app, scopes, secret, origin }),
);
