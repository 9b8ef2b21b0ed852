// A program that signs a person in, on any runtime: sign_in_program.ts CLIENT_ID AUTHORITY form_post|query. It prints lines of
// JSON: the address to be opened, then what came of it.
import process from "node:process";
import { LatchkeyError, PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", authority = "", mode = ""] = process.argv.slice(2);

/** The provider as one that posts no forms. */
async function withoutForms(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  if (!url.includes("/.well-known/")) return response;
  return Response.json({ ...await response.json(), response_modes_supported: ["query"] });
}

function print(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const app = new PublicClientApplication({
  ...{ clientId, authority },
  ...(mode === "query" && { fetch: withoutForms }),
  openBrowser: (url) => {
    print({ url });
    return true;
  },
});
try {
  const { account } = await app.acquireTokenInteractive({ scopes: ["api.read"] });
  print({ username: account.username });
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  print({ code: error.code, error: error.error });
}
