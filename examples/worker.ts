// A worker on the edge that signs people in. Bundle it (from a clone with --conditions latchkey-source) and set CLIENT_ID,
// AUTHORITY, SCOPES and SECRET. The app registration must have the worker's address with /signed-in as a redirect URI.
import { memoryStore, WebApplication } from "@latchkey/latchkey/web";
import { signInPages } from "./sign_in_pages.ts";

/** Configuration of the worker. */
interface Environment {
  readonly CLIENT_ID: string;
  readonly AUTHORITY: string;
  /** Scopes separated by spaces, such as `User.Read Mail.Read`. */
  readonly SCOPES: string;
  /** At least 32 random bytes, as text. */
  readonly SECRET: string;
}

/** Keeps tokens as long as this instance lasts; then people sign in again. To keep them longer, use your own store. */
const cache = memoryStore();

export default {
  async fetch(request: Request, { CLIENT_ID, AUTHORITY, SCOPES, SECRET }: Environment): Promise<Response> {
    // One for each request: on the edge a request must not wait for work that another one began.
    const app = new WebApplication({ clientId: CLIENT_ID, authority: AUTHORITY, cache });
    return await signInPages(request, { app, scopes: SCOPES.split(" "), secret: SECRET });
  },
};
