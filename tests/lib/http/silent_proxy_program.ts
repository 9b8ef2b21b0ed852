// On Deno: a request through a proxy that takes the connection and says nothing. argv: its port. Prints the failure as JSON.
import type { LatchkeyError } from "../../../lib/errors.ts";
import { makeFetch } from "../../../lib/http/client.ts";
import { boundedFetch } from "../../../lib/oauth/bounded_fetch.ts";

const [port = ""] = Deno.args;
// The relay's time passes a hundred times as fast; the other limit counts seconds, and stays behind it.
const startTimer = globalThis.setTimeout;
const hasten = (listener: () => void, milliseconds = 0) =>
  startTimer(listener, milliseconds >= 30_000 ? milliseconds / 100 : milliseconds);
globalThis.setTimeout = hasten as typeof setTimeout;

const variable = (name: string) => name === "HTTPS_PROXY" ? `https://127.0.0.1:${port}` : undefined;
try {
  await boundedFetch({ fetch: makeFetch({ variable }) }, { retry: true })("https://login.contoso.com/x", {});
} catch (error) {
  const { code, message } = error as LatchkeyError;
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ code, message })));
}
Deno.exit(0);
