// The silent token that MSAL for Node gets from the broker: broker_token.mjs CLIENT_ID SCOPE EXTENSIONS_FOLDER.
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { PublicClientApplication } from "@azure/msal-node";

const [clientId, scope, extensions] = process.argv.slice(2);
// By its file: the package as a whole loads a keyring's native code as well, which is not installed.
const plugin = pathToFileURL(join(extensions, "dist/broker/NativeBrokerPlugin.mjs"));
const { NativeBrokerPlugin } = await import(plugin.href);
const app = new PublicClientApplication({
  auth: { clientId, authority: "https://login.microsoftonline.com/common" },
  broker: { nativeBrokerPlugin: new NativeBrokerPlugin() },
});
const [account] = await app.getAllAccounts();
const result = await app.acquireTokenSilent({ account, scopes: [scope] });
process.stdout.write(`${result.accessToken}\n`);
// The library keeps Node running.
process.exit(0);
