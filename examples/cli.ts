// A command line for a company's own API: cli.ts login | orders | logout. CLIENT_ID, API (such as https://orders.contoso.com)
// and SCOPE (such as api://orders/.default) are in the environment. A sign-in lasts, with or without a broker.
// deno-lint-ignore-file no-console -- an example prints
import { CONSOLE_WINDOW_HANDLE, fileStore, LatchkeyError } from "@latchkey/latchkey";
import { AuthenticationRequiredError, authorizedFetch, LatchkeyCredential } from "@latchkey/latchkey/azure";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_PERSON_NEEDED = 3;
const [command = ""] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
const { CLIENT_ID: clientId = "", API: api = "", SCOPE: scope = "" } = process.env;

const credential = new LatchkeyCredential({
  clientId,
  enableBrokerOnWindows: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  cache: fileStore(),
  interactive: "never", // orders can run in a script; the person signs in with login
  parentWindowHandle: CONSOLE_WINDOW_HANDLE,
  onSignInAddress: ({ url }) => console.error(`Sign in at ${url}`),
});

async function run(): Promise<number> {
  switch (command) {
    case "login": {
      const { username } = await credential.authenticate(scope);
      console.log(`${username} is signed in`);
      return 0;
    }
    case "orders": {
      const response = await authorizedFetch(credential, { scopes: scope, origins: [api] })(`${api}/orders`);
      console.log(await response.text());
      return response.ok ? 0 : EXIT_FAILED;
    }
    case "logout":
      for (const account of await credential.app.getAccounts()) await credential.app.removeAccount(account);
      return 0;
    default:
      console.error("cli.ts login | orders | logout");
      return EXIT_USAGE;
  }
}

try {
  process.exitCode = await run();
} catch (error) {
  if (!(error instanceof LatchkeyError || error instanceof AuthenticationRequiredError)) throw error;
  const isPersonNeeded = error instanceof AuthenticationRequiredError;
  console.error(isPersonNeeded ? "Sign in first: cli.ts login" : error.message);
  process.exitCode = isPersonNeeded ? EXIT_PERSON_NEEDED : EXIT_FAILED;
} finally {
  await credential.close();
}
