// A worker on the edge that signs people in. Bundle it (from a clone with --conditions latchkey-source), set CLIENT_ID,
// AUTHORITY, SCOPES and SECRET, and register the worker's address with /signed-in as a redirect URI.
import { memoryStore, WebApplication } from "@latchkey/latchkey/web";
import { signInPages } from "./sign_in_pages.ts";

/** What the worker is configured with. */
interface Environment {
  readonly CLIENT_ID: string;
  readonly AUTHORITY: string;
  /** Such as `User.Read Mail.Read`. */
  readonly SCOPES: string;
  /** 32 random bytes or more, as text. */
  readonly SECRET: string;
}

/** Tokens as long as this instance lasts; then people sign in again. An app that needs them longer brings a store of its own. */
const cache = memoryStore();

export default {
  async fetch(request: Request, { CLIENT_ID, AUTHORITY, SCOPES, SECRET }: Environment): Promise<Response> {
    // One for each request: on the edge a request must not wait for what another one has begun.
    const app = new WebApplication({ clientId: CLIENT_ID, authority: AUTHORITY, cache });
    return await signInPages(request, { app, scopes: SCOPES.split(" "), secret: SECRET });
  },
};
