// Gets a token from the device's broker without a window: silent_token.ts CLIENT_ID SCOPE…
// deno-lint-ignore-file no-console -- an example prints
import { LatchkeyError, PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", ...scopes] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!clientId || scopes.length === 0) throw new Error("silent_token.ts CLIENT_ID SCOPE…");
const app = new PublicClientApplication({ clientId, enableBrokerOnLinux: true, requireBroker: true });
try {
  const [account] = await app.getAccounts();
  const result = account && await app.acquireTokenSilent({ scopes, account });
  if (result) {
    console.log(`account: ${result.account.username}`);
    console.log(`expires: ${result.expiresOn.toISOString()}`);
    console.log(`granted: ${result.scopes.join(" ")}`);
  } else console.log("A person has to sign in first");
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  console.error([error.message, error.hint].filter(Boolean).join("\n"));
  process.exitCode = 1;
}
app.close(); // or `await using app = …` above, on Deno, Bun and Node 24
