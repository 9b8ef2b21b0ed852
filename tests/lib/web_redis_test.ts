// A web app on two machines: two WebApplication objects, each with a connection of its own to one real Redis server.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { redisStore } from "../../lib/redis.ts";
import { type AccountInfo, LatchkeyError, WebApplication, type WebApplicationOptions } from "../../lib/web.ts";
import { type PrivateRedis, startPrivateRedis } from "../fakes/private_redis.ts";
import { CLIENT_ID, failure, useEntra } from "../fixture.ts";
import { type ConnectedRedis, REDIS_CLIENTS } from "../tools/redis_clients.ts";

const SCOPES = ["User.Read"];

const entra = useEntra();
let redis: PrivateRedis;
beforeAll(async () => {
  redis = await startPrivateRedis();
});
afterAll(async () => {
  await redis[Symbol.asyncDispose]();
});

const refreshes = () => entra.requests.filter(({ parameters }) => parameters.get("grant_type") === "refresh_token");

for (const [name, connect] of Object.entries(REDIS_CLIENTS)) {
  describe(`WebApplication on two machines with ${name}`, () => {
    let connections: ConnectedRedis[];
    beforeAll(async () => void (connections = [await connect(redis.socket), await connect(redis.socket)]));
    beforeEach(async () => void await connections[0]!.send("FLUSHALL"));
    afterAll(async () => {
      for (const connection of connections) await connection[Symbol.asyncDispose]();
    });

    function machine(number: 0 | 1, more: Partial<WebApplicationOptions> = {}): WebApplication {
      const cache = redisStore(connections[number]!.client);
      return new WebApplication({ clientId: CLIENT_ID, fetch: entra.fetch, cache, ...more });
    }

    async function signIn(app: WebApplication): Promise<AccountInfo> {
      const redirectUri = "https://app.contoso.com/signed-in";
      const { authUri, ...flow } = await app.initiateAuthCodeFlow({
        scopes: SCOPES,
        redirectUri,
        responseMode: "query",
      });
      return (await app.acquireTokenByAuthCodeFlow(flow, entra.authorize(authUri))).account;
    }

    test("who signs in at one is signed in at the other, token and all", async () => {
      const account = await signIn(machine(0));
      expect(await machine(1).getAccounts()).toEqual([account]);
      const token = await machine(1).acquireTokenSilent({ scopes: SCOPES, account });
      expect(token).toMatchObject({ source: "cache", account });
      expect(entra.requests).toHaveLength(1);
    });

    test("a token that ended is renewed once, by one of them", async () => {
      entra.behaviour.reply = { expires_in: 1 };
      const account = await signIn(machine(0));
      entra.reset();
      const calls = Array.from({ length: 10 }, (_, number) => {
        // Each request of a browser's is a call of its own; in one app object equal ones are one.
        return machine(number % 2 as 0 | 1).acquireTokenSilent({ scopes: SCOPES, account });
      });
      const tokens = await Promise.all(calls);
      expect(new Set(tokens.map((token) => token?.accessToken)).size).toBe(1);
      expect(refreshes()).toHaveLength(1);
    });

    test("who signs out at one is signed out at the other, and can sign in again", async () => {
      const account = await signIn(machine(0));
      await machine(1).removeAccount(account);
      expect(await machine(0).getAccounts()).toEqual([]);
      expect(await machine(0).acquireTokenSilent({ scopes: SCOPES, account })).toBeNull();
      await signIn(machine(1));
      expect(await machine(0).acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    });

    test("a token that cannot be stored reaches the app, and the log says why", async () => {
      const lines: string[] = [],
        logger: WebApplicationOptions["logger"] = (level, line) => lines.push(`${level} ${line}`);
      const app = machine(0, { logger });
      await connections[0]!.send("CONFIG", "SET", "maxmemory", "1mb");
      try {
        expect((await signIn(app)).username).toBe("jane@contoso.com");
      } finally {
        await connections[0]!.send("CONFIG", "SET", "maxmemory", "0");
      }
      expect(lines).toEqual([expect.stringMatching(/^warn The token could not be stored: .*\(OOM\)$/)]);
    });

    test("a server that has stopped is an error, and the next call is well", async () => {
      const account = await signIn(machine(0));
      const app = machine(0, { cache: redisStore(connections[0]!.client, { timeoutMs: 1_000 }) });
      redis.pause();
      try {
        const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account }));
        expect(error).toBeInstanceOf(LatchkeyError);
        expect(error.code).toBe("timed_out");
      } finally {
        redis.resume();
      }
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    });
  });
}
