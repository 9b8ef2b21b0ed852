// Sign-ins in the browser, under Deno: sign_ins.ts CLIENT_ID AUTHORITY COUNT prints what our part of each took as JSON.
import { PublicClientApplication } from "@latchkey/latchkey";
import { deliver } from "../tools/browsing_person.ts";
import { isRedirectOf, ScriptedBrowser } from "../tools/scripted_browser.ts";

/** What our part of one sign-in took: all but the person and the server. */
export interface SignInTime {
  readonly ms: number;
  /** Requests to the provider. */
  readonly requests: number;
}

const [clientId = "", authority = "", count = ""] = Deno.args;
/** When others began to be waited for, and for how long they were. */
let othersMs = 0, requests = 0;
const app = new PublicClientApplication({ clientId, authority, openBrowser: signIn, fetch: countedFetch });
const times: SignInTime[] = [];
for (let index = 0; index < Number(count); index++) {
  othersMs = requests = 0;
  const start = performance.now();
  await app.acquireTokenInteractive({ scopes: ["api.read"] });
  times.push({ ms: performance.now() - start - othersMs, requests });
}
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(times)));

/** The person's part, and then the browser's way back. */
function signIn(url: string): boolean {
  void (async () => {
    const start = performance.now(), typed = { login: "jane", password: "x" };
    const landing = await new ScriptedBrowser().open(url, isRedirectOf(url), typed);
    othersMs += performance.now() - start;
    const { headers } = await deliver(landing);
    await fetch(new URL(headers.get("location")!, landing.url));
  })();
  return true;
}

async function countedFetch(url: string, init: RequestInit): Promise<Response> {
  const start = performance.now();
  requests++;
  const response = await fetch(url, init), body = await response.arrayBuffer();
  othersMs += performance.now() - start;
  return new Response(body, response);
}
