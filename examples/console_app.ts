// Microsoft's documented console sample for MSAL's brokers: console_app.ts CONFIG.json. The file has client_id and scope, and may
// have authority and username: { "client_id": "…", "authority": "https://…/common", "scope": ["User.Read"] }
// deno-lint-ignore-file no-console -- an example prints
import { readFileSync } from "node:fs";
import { CONSOLE_WINDOW_HANDLE, LatchkeyError, PublicClientApplication } from "@latchkey/latchkey";

const [file] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!file) throw new Error("console_app.ts CONFIG.json");
const { client_id: clientId, authority, username, scope: scopes } = JSON.parse(readFileSync(file, "utf8"));

const app = new PublicClientApplication({
  clientId,
  authority,
  enableBrokerOnWindows: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  onSignInAddress: ({ url }) => console.error(`Sign in at ${url}`), // without a broker
});
try {
  const [account] = await app.getAccounts({ username });
  // No silent token: the person signs in.
  const result = (account && await app.acquireTokenSilent({ scopes, account })) ??
    await app.acquireTokenInteractive({ scopes, loginHint: username, parentWindowHandle: CONSOLE_WINDOW_HANDLE });
  console.log(`Access token of ${result.account.username}, from ${result.source}: ${result.accessToken}`);
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  console.log(error.error ?? error.code);
  console.log(error.errorDescription ?? error.message);
  if (error.hint) console.log(error.hint);
  if (error.correlationId) console.log(`Correlation id: ${error.correlationId}`);
  if (error.errorCodes.length > 0) console.log(`Error codes: ${error.errorCodes.join(" ")}`);
  if (error.errorCodes.includes(65001)) {
    console.log(`To consent, visit ${await app.getAuthorizationRequestUrl({ scopes })}`);
  }
  process.exitCode = 1;
} finally {
  app.close();
}
