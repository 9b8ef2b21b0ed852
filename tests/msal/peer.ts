// latchkey over the same file: peer.ts TASK, where TASK is JSON (see peers.ts). A sign-in is what the server's reply to one
// leaves in the cache.
import { Buffer } from "node:buffer";
import { text } from "node:stream/consumers";
import process from "node:process";
import { plaintextStore } from "../../lib/cache/file_store.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";
import { accountOf, CONTOSO, HOST, type Outcome, type Step, type Task } from "./peers.ts";

const task: Task = JSON.parse(process.argv[2] ?? "");
let issued = 0;

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

async function run({ do: action, app, person = 0, scope = "", foci, expired }: Step): Promise<Outcome["result"]> {
  // One object for each step, as each process has.
  const cache = new TokenCache(plaintextStore(task.cache), { clientId: app, environment: HOST });
  const account = accountOf(person), correlationId = "";
  switch (action) {
    case "sign in": {
      const secret = `${task.by}-${person}-${++issued}`, seconds = Math.floor(Date.now() / 1000);
      await cache.save({
        result: {
          accessToken: `access-${secret}`,
          tokenType: "Bearer",
          expiresOn: new Date((seconds + (expired ? 60 : 3600)) * 1000),
          scopes: [scope],
          account,
          tenantId: CONTOSO,
          source: "identity_provider",
          correlationId,
          idToken: [
            encode({ alg: "RS256", typ: "JWT" }),
            encode({
              ...{ iss: `https://login.microsoftonline.com/${CONTOSO}/v2.0`, aud: app, sub: `sub-${person}` },
              ...{ tid: CONTOSO, oid: account.localAccountId, preferred_username: account.username },
              ...{ iat: seconds, nbf: seconds, exp: seconds + 3600 },
            }),
            "c2ln",
          ].join("."),
        },
        refreshToken: `refresh-${secret}`,
        clientInfo: encode({ uid: account.localAccountId, utid: CONTOSO }),
        accountSource: "authorization_code",
        ...(foci && { familyId: "1" }),
      });
      return `access-${secret}`;
    }
    case "token": {
      const found = await cache.findAccessToken({ account, scopes: [scope], correlationId });
      if (found?.state === "use") return found.result.accessToken;
      return (await cache.findRefreshTokens(account))[0]?.refreshToken ?? null;
    }
    case "accounts":
      return (await cache.findAccounts()).map(({ account }) => account.username).sort();
    case "sign out":
      await cache.removeAccount(account);
      return null;
  }
}

process.stdout.write("ready\n");
await text(process.stdin);
const outcomes: Outcome[] = [];
for (const step of task.steps) {
  try {
    outcomes.push({ result: await run(step), requests: [] });
  } catch (error) {
    outcomes.push({ error: String(error), requests: [] });
  }
}
process.stdout.write(`${JSON.stringify(outcomes)}\n`);
