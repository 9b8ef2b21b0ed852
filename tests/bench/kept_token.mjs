// The token that MSAL for Node finds in a file: kept_token.mjs FILE CLIENT_ID SCOPE HOME_ACCOUNT_ID.
import { readFileSync } from "node:fs";
import process from "node:process";
import { PublicClientApplication } from "@azure/msal-node";

const [path, clientId, scope, homeAccountId] = process.argv.slice(2);
const cachePlugin = {
  beforeCacheAccess: (context) => Promise.resolve(context.tokenCache.deserialize(readFileSync(path, "utf8"))),
  afterCacheAccess: () => Promise.resolve(),
};
const authority = "https://login.microsoftonline.com/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const app = new PublicClientApplication({ auth: { clientId, authority }, cache: { cachePlugin } });
const account = await app.getTokenCache().getAccountByHomeId(homeAccountId);
const result = await app.acquireTokenSilent({ account, scopes: [scope] });
process.stdout.write(`${result.accessToken}\n`);
