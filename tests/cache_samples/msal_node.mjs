// Writes msal_node.json and msal_both.json: node msal_node.mjs, with the package @azure/msal-node installed. The server is
// played here.
import { readFileSync, writeFileSync } from "node:fs";
import { PublicClientApplication } from "@azure/msal-node";

const NOW = 1767225600; // 2026-01-01T00:00:00Z
const SystemDate = Date;
globalThis.Date = class extends SystemDate {
  constructor(...given) {
    super(...(given.length === 0 ? [NOW * 1000] : given));
  }
  static now() {
    return NOW * 1000;
  }
};

const CONTOSO = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", FABRIKAM = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";
const APP = "22222222-2222-4222-8222-222222222222", FAMILY_APP = "33333333-3333-4333-8333-333333333333";
const JANE = { oid: "11111111-1111-4111-8111-111111111111", name: "jane@contoso.com" };
let issued = 0;

/** @param {unknown} value */
function encode(value) {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Answers for the tenant in the address: organizations is contoso, where Jane is at home. */
function server(foci = false) {
  return {
    sendGetRequestAsync: (url) => {
      const base = url.split("/v2.0/")[0];
      const body = {
        issuer: "https://login.microsoftonline.com/{tenantid}/v2.0",
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        jwks_uri: `${base}/discovery/v2.0/keys`,
      };
      return Promise.resolve({ status: 200, headers: {}, body });
    },
    sendPostRequestAsync: (url, { body: form }) => {
      issued += 1;
      const request = new URLSearchParams(form), path = url.split("/")[3];
      const tenant = path === "organizations" ? CONTOSO : path;
      const claims = { aud: request.get("client_id"), iss: `https://login.microsoftonline.com/${tenant}/v2.0` };
      const person = { oid: JANE.oid, tid: tenant, sub: "sub-1", preferred_username: JANE.name, name: "Jane" };
      const body = {
        access_token: `node-access-${issued}`,
        refresh_token: `node-refresh-${issued}`,
        token_type: "Bearer",
        scope: request.get("scope").split(" ").filter((scope) => scope !== "offline_access").join(" "),
        ...{ expires_in: 3600, ext_expires_in: 7200, refresh_in: 1800 },
        id_token: [
          encode({ alg: "RS256", typ: "JWT" }),
          encode({ ...claims, iat: NOW, nbf: NOW, exp: NOW + 3600, ...person }),
          "c2lnbmF0dXJl",
        ].join("."),
        client_info: encode({ uid: JANE.oid, utid: CONTOSO }),
        ...(foci && { foci: "1" }),
      };
      return Promise.resolve({ status: 200, headers: {}, body });
    },
  };
}

/** What Jane's sign-ins add to a cache. */
async function signIn(json) {
  const cachePlugin = {
    beforeCacheAccess: (context) => Promise.resolve(context.tokenCache.deserialize(json)),
    afterCacheAccess: (context) => {
      if (context.cacheHasChanged) json = context.tokenCache.serialize();
      return Promise.resolve();
    },
  };
  const app = (clientId, foci) =>
    new PublicClientApplication({
      auth: { clientId, authority: "https://login.microsoftonline.com/organizations" },
      cache: { cachePlugin },
      system: { networkClient: server(foci) },
    });
  const request = { code: "code", redirectUri: "http://localhost" };
  const own = app(APP, false);
  const { account } = await own.acquireTokenByCode({ ...request, scopes: ["User.Read"] });
  const authority = `https://login.microsoftonline.com/${FABRIKAM}`;
  await own.acquireTokenSilent({ account, scopes: ["Mail.Read"], authority, forceRefresh: true });
  const family = app(FAMILY_APP, true);
  await family.acquireTokenByCode({ ...request, scopes: ["https://management.azure.com//.default"] });
  return json;
}

function write(name, json) {
  writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(JSON.parse(json), null, 2)}\n`);
}

write("msal_node.json", await signIn(""));
write("msal_both.json", await signIn(readFileSync(new URL("msal_python.json", import.meta.url), "utf8")));
