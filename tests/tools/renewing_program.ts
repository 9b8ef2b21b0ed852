// A program that needs a token of an account that signed in before, and keeps a record of its own: renewing_program.ts
// CLIENT_ID AUTHORITY file|plaintext PATH NAME. It prints the token.
import process from "node:process";
import { fileStore, plaintextStore, PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", authority = "", kind = "", path = "", name = ""] = process.argv.slice(2);
const cache = kind === "file" ? fileStore({ folder: path, keyLocation: "file" }) : plaintextStore(path);
const app = new PublicClientApplication({ clientId, authority, cache });
const { accessToken } = await app.acquireToken({
  scopes: ["api.read"],
  username: "jane@contoso.com",
  interactive: "never",
});
await cache.update(name, (json = "{}") => {
  const root = JSON.parse(json), record = { home_account_id: name, environment: "contoso.com", username: name };
  return JSON.stringify({ ...root, Account: { ...root.Account, [name]: record } });
});
process.stdout.write(accessToken);
