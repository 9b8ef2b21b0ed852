// MSAL for Node over a file, as its extensions set it up: node peer.mjs TASK, where TASK is JSON (see peers.ts). The server is
// played here.
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { PublicClientApplication } from "@azure/msal-node";
import { MSAL_NODE_EXTENSIONS } from "../tools/find_tool.js";

// Not by the package's name: that loads the keyring's and the broker's native parts as well.
const { FilePersistence } = await import(
  pathToFileURL(`${MSAL_NODE_EXTENSIONS}/dist/persistence/FilePersistence.mjs`).href
);
const { PersistenceCachePlugin } = await import(
  pathToFileURL(`${MSAL_NODE_EXTENSIONS}/dist/persistence/PersistenceCachePlugin.mjs`).href
);

const CONTOSO = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const task = JSON.parse(process.argv[2]);
let requests = [], issued = 0;

/** @param {unknown} value */
function encode(value) {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function uidOf(person) {
  return `00000000-0000-4000-8000-${String(person).padStart(12, "0")}`;
}

/** Answers for the tenant in the address, where all are at home. */
function server({ person, foci }) {
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
    sendPostRequestAsync: (_, { body: form }) => {
      issued += 1;
      const request = new URLSearchParams(form), now = Math.floor(Date.now() / 1000);
      requests.push([request.get("grant_type"), request.get("refresh_token")]);
      const claims = { aud: request.get("client_id"), iss: `https://login.microsoftonline.com/${CONTOSO}/v2.0` };
      const name = `person${person}@contoso.com`, secret = `${task.by}-${person}-${issued}`;
      const who = {
        oid: uidOf(person),
        tid: CONTOSO,
        sub: `sub-${person}`,
        preferred_username: name,
        name: `person${person}`,
      };
      const body = {
        access_token: `access-${secret}`,
        refresh_token: `refresh-${secret}`,
        token_type: "Bearer",
        scope: request.get("scope").split(" ").filter((scope) => scope !== "offline_access").join(" "),
        ...{ expires_in: 3600, ext_expires_in: 7200 },
        id_token: [
          encode({ alg: "RS256", typ: "JWT" }),
          encode({ ...claims, iat: now, nbf: now, exp: now + 3600, ...who }),
          "c2ln",
        ].join("."),
        client_info: encode({ uid: uidOf(person), utid: CONTOSO }),
        ...(foci && { foci: "1" }),
      };
      return Promise.resolve({ status: 200, headers: {}, body });
    },
  };
}

/** One object for each app, as long as the process lives. */
const apps = new Map();
async function appOf(step) {
  const authority = `https://login.microsoftonline.com/${step.tenant ?? CONTOSO}`, name = `${step.app} ${authority}`;
  const network = server(step);
  if (!apps.has(name)) {
    const current = { sendGetRequestAsync: undefined, sendPostRequestAsync: undefined };
    const networkClient = {
      sendGetRequestAsync: (...args) => current.sendGetRequestAsync(...args),
      sendPostRequestAsync: (...args) => current.sendPostRequestAsync(...args),
    };
    const cachePlugin = new PersistenceCachePlugin(await FilePersistence.create(task.cache));
    const app = new PublicClientApplication({
      auth: { clientId: step.app, authority },
      cache: { cachePlugin },
      system: { networkClient },
    });
    apps.set(name, { app, current });
  }
  const { app, current } = apps.get(name);
  Object.assign(current, network);
  return app;
}

/** By id: accounts have no user name for an app that has no id token of theirs. */
async function accountOf(app, { person }) {
  return (await app.getAllAccounts()).find(({ homeAccountId }) => homeAccountId.startsWith(uidOf(person)));
}

async function run(step) {
  const app = await appOf(step);
  switch (step.do) {
    case "sign in": {
      const request = { code: "code", redirectUri: "http://localhost", scopes: [step.scope] };
      return (await app.acquireTokenByCode(request)).accessToken;
    }
    case "token": {
      const account = await accountOf(app, step);
      return account ? (await app.acquireTokenSilent({ account, scopes: [step.scope] })).accessToken : null;
    }
    case "accounts":
      return (await app.getAllAccounts()).map(({ username }) => username).sort();
    case "sign out":
      await app.signOut({ account: await accountOf(app, step) });
      return null;
    default:
      throw new Error(step.do);
  }
}

process.stdout.write("ready\n");
await text(process.stdin);
const results = [];
for (const step of task.steps) {
  requests = [];
  try {
    results.push({ result: await run(step), requests });
  } catch (error) {
    results.push({ error: `${error.name}: ${error.message}`, requests });
  }
}
process.stdout.write(`${JSON.stringify(results)}\n`);
