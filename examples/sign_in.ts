// Microsoft's documented pattern for MSAL: an account, a silent token, otherwise a sign-in: sign_in.ts CLIENT_ID SCOPE…
// deno-lint-ignore-file no-console -- an example prints
import { CONSOLE_WINDOW_HANDLE, LatchkeyError, PublicClientApplication } from "@latchkey/latchkey";

const [clientId = "", ...scopes] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!clientId || scopes.length === 0) throw new Error("sign_in.ts CLIENT_ID SCOPE…");
const app = new PublicClientApplication({
  clientId,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  onSignInAddress: ({ url }) => console.error(`Sign in at ${url}`), // without a broker
});
try {
  const [account] = await app.getAccounts();
  const result = (account && await app.acquireTokenSilent({ scopes, account })) ??
    await app.acquireTokenInteractive({ scopes, parentWindowHandle: CONSOLE_WINDOW_HANDLE });
  console.log(`signed in: ${result.account.username}`);
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  console.log(`${error.code}: ${error.message}`);
  if (error.hint) console.log(error.hint);
} finally {
  app.close();
}
