// latchkey and MSAL on one file, in turns and at once. What differs between runtimes is how they read, write and lock, for which
// there are contracts; here the suite runs on one, and its programs on each.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plaintextStore, PublicClientApplication } from "../../mod.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";
import {
  accountOf,
  CONTOSO,
  HOST,
  LATCHKEY,
  MSAL,
  type Outcome,
  type Peer,
  runPeer,
  startPeer,
  type Step,
} from "./peers.ts";

type Entries = Record<string, Record<string, unknown>>;

const app = "22222222-2222-4222-8222-222222222222", otherApp = "33333333-3333-4333-8333-333333333333";
const scope = "User.Read";
let top: string, count = 0;

beforeAll(async () => {
  top = await mkdtemp(join(tmpdir(), "latchkey-msal-"));
});
afterAll(() => rm(top, { recursive: true }));

function newFile(): string {
  return join(top, `folder-${++count}`, "msal_token_cache.json");
}

/** Does things one after the other, by a process each. Whoever fails, fails the test. */
async function play(
  cache: string,
  acts: readonly (readonly [peer: Peer, step: Omit<Step, "app"> & { app?: string }])[],
) {
  const outcomes: Outcome[] = [];
  for (const [index, [peer, step]] of acts.entries()) {
    const [outcome] = await runPeer(peer, { cache, by: `step${index}`, steps: [{ app, scope, ...step }] });
    expect(outcome).not.toHaveProperty("error");
    outcomes.push(outcome!);
  }
  return outcomes;
}

async function sectionsOf(cache: string): Promise<Record<string, Entries>> {
  return JSON.parse(await readFile(cache, "utf8"));
}

function cacheOver(path: string, clientId = app): TokenCache {
  return new TokenCache(plaintextStore(path), { clientId, environment: HOST });
}

for (const [index, msal] of MSAL.entries()) {
  const latchkey = LATCHKEY[index % LATCHKEY.length]!;
  describe(`${msal.name} and ${latchkey.name}`, () => {
    test("MSAL finds the account and the token that latchkey stored, and sends nothing", async () => {
      const [, accounts, token] = await play(newFile(), [
        [latchkey, { do: "sign in", person: 1 }],
        [msal, { do: "accounts" }],
        [msal, { do: "token", person: 1 }],
      ]);
      expect(accounts).toEqual({ result: ["person1@contoso.com"], requests: [] });
      expect(token).toEqual({ result: "access-step0-1-1", requests: [] });
    });

    test("MSAL renews an ended token by latchkey's refresh token, and latchkey finds what came of it", async () => {
      const cache = newFile();
      const [, renewed, token] = await play(cache, [
        [latchkey, { do: "sign in", person: 1, expired: true }],
        [msal, { do: "token", person: 1 }],
        [latchkey, { do: "token", person: 1 }],
      ]);
      expect(renewed).toEqual({ result: "access-step1-1-1", requests: [["refresh_token", "refresh-step0-1-1"]] });
      expect(token?.result).toBe("access-step1-1-1");
      // MSAL for Node leaves the old one beside the new one.
      const refreshTokens = await cacheOver(cache).findRefreshTokens(accountOf(1));
      expect(refreshTokens.map(({ refreshToken }) => refreshToken)).toContain("refresh-step1-1-1");
    });

    test("MSAL gets a token for a word for many tenants by latchkey's refresh token", async () => {
      const [, token] = await play(newFile(), [
        [latchkey, { do: "sign in", person: 1, expired: true }],
        [msal, { do: "token", person: 1, tenant: "organizations" }],
      ]);
      expect(token?.requests).toEqual([["refresh_token", "refresh-step0-1-1"]]);
    });

    test("latchkey finds the account, the token and the refresh token that MSAL stored", async () => {
      for (const tenant of [CONTOSO, "organizations"]) {
        const cache = newFile();
        const [, accounts, token, refresh] = await play(cache, [
          [msal, { do: "sign in", person: 1, tenant }],
          [latchkey, { do: "accounts" }],
          [latchkey, { do: "token", person: 1 }],
          [latchkey, { do: "token", person: 1, scope: "Mail.Read" }],
        ]);
        expect([accounts, token, refresh].map((outcome) => outcome?.result))
          .toEqual([["person1@contoso.com"], "access-step0-1-1", "refresh-step0-1-1"]);

        const sending = () => Promise.reject(new Error("Nothing is to be sent"));
        await using application = new PublicClientApplication({
          ...{ clientId: app, authority: `https://${HOST}/${tenant}` },
          cache: plaintextStore(cache),
          fetch: sending,
        });
        const [account] = await application.getAccounts({ username: "person1@contoso.com" });
        const result = await application.acquireTokenSilent({ account: account!, scopes: [scope] });
        expect([result?.accessToken, result?.source]).toEqual(["access-step0-1-1", "cache"]);
      }
    });

    test("a sign-out by MSAL is one for latchkey, and the reverse; others stay signed in", async () => {
      const outcomes = await play(newFile(), [
        [latchkey, { do: "sign in", person: 1 }],
        [latchkey, { do: "sign in", person: 2 }],
        [msal, { do: "sign in", person: 3 }],
        [msal, { do: "sign out", person: 1 }],
        [latchkey, { do: "accounts" }],
        [latchkey, { do: "token", person: 1 }],
        [latchkey, { do: "sign out", person: 3 }],
        [msal, { do: "accounts" }],
        [msal, { do: "token", person: 2 }],
        [msal, { do: "sign in", person: 3 }],
        [latchkey, { do: "accounts" }],
      ]);
      expect([4, 5, 7, 8, 10].map((at) => outcomes[at]?.result)).toEqual([
        ["person2@contoso.com", "person3@contoso.com"],
        null,
        ["person2@contoso.com"],
        "access-step1-2-1",
        ["person2@contoso.com", "person3@contoso.com"],
      ]);
    });

    test("latchkey has use of a family's refresh token that MSAL stored for another app", async () => {
      const cache = newFile();
      await play(cache, [[msal, { do: "sign in", person: 1, foci: true }]]);
      const found = await cacheOver(cache, otherApp).findRefreshTokens(accountOf(1));
      expect(found.map(({ refreshToken, holder }) => [refreshToken, holder])).toEqual([[
        "refresh-step0-1-1",
        "perhaps",
      ]]);
    });

    test("sections and fields that either does not know survive what both write", async () => {
      const cache = newFile();
      await play(cache, [
        [latchkey, { do: "sign in", person: 1 }],
        [latchkey, { do: "sign in", person: 2 }],
        [latchkey, { do: "sign out", person: 2 }],
      ]);
      const before = await sectionsOf(cache), strange = { deep: [null, { a: "\u00e4" }], "": 1.5 };
      for (const name of ["AccessToken", "RefreshToken", "IdToken", "Account"]) {
        for (const entry of Object.values(before[name]!)) entry.x_field = "kept";
      }
      await writeFile(cache, JSON.stringify({ ...before, Strange: strange, x_field: "kept" }, null, 4));
      await play(cache, [
        [msal, { do: "sign in", person: 3 }],
        [latchkey, { do: "sign in", person: 4 }],
        [msal, { do: "sign out", person: 3 }],
      ]);
      const after = await sectionsOf(cache);
      expect([after.Strange, after.x_field, after.LatchkeySignedOut]).toEqual(
        [strange, "kept", before.LatchkeySignedOut] as never,
      );
      for (const name of ["AccessToken", "RefreshToken", "IdToken", "Account"]) {
        for (const [key, entry] of Object.entries(before[name]!)) expect(after[name]![key]).toEqual(entry);
      }
    });
  });
}

// MSAL for Node 7.2.3 finds no family's token but its own app's, not even one of its own making.
for (const python of MSAL.slice(0, 2)) {
  test(`${python.name} has use of a family's refresh token that latchkey stored for another app`, async () => {
    const [, token] = await play(newFile(), [
      [LATCHKEY[0]!, { do: "sign in", person: 1, foci: true }],
      [python, { do: "token", person: 1, app: otherApp, foci: true }],
    ]);
    expect(token?.requests).toEqual([["refresh_token", "refresh-step0-1-1"]]);
  });
}

/**
 * At once: MSAL for Python once, as several of it lose entries to each other; and MSAL for Node in programs that write once, as
 * it looks whether its memory is old before it has the lock.
 */
for (const python of MSAL.slice(0, 2)) {
  test(`${python.name}, MSAL for Node and latchkey write at once, and nothing is lost or seen in part`, async () => {
    const node = MSAL[2]!, cache = newFile();
    const writers = [
      ...[...LATCHKEY, python].map((peer) => ({ peer, times: 8 })),
      ...Array(4).fill({ peer: node, times: 1 }),
    ];
    const waiting = await Promise.all(writers.map(({ peer, times }, index) => {
      const steps = Array.from(
        { length: times },
        (_, time) => ({ do: "sign in", app, scope, person: 100 * index + time } as const),
      );
      return startPeer(peer, { cache, by: `writer${index}`, steps });
    }));

    let isOver = false;
    const seen: number[] = [], ours = cacheOver(cache);
    const watching = (async () => {
      while (!isOver) {
        seen.push((await ours.findAccounts()).length);
        await new Promise((resolve) => setImmediate(resolve)); // reading does not wait for anything
      }
    })();
    const outcomes = (await Promise.all(waiting.map((peer) => peer.begin()))).flat();
    isOver = true;
    await watching;

    expect(outcomes.filter(({ error }) => error !== undefined)).toEqual([]);
    const issued = outcomes.map(({ result }) => String(result)).sort(),
      { AccessToken, RefreshToken, Account } = await sectionsOf(cache);
    expect(Object.values(AccessToken!).map(({ secret }) => secret).sort()).toEqual(issued);
    expect(Object.values(RefreshToken!).map(({ secret }) => String(secret).replace("refresh", "access")).sort())
      .toEqual(issued);
    expect(Object.keys(Account!)).toHaveLength(issued.length);
    expect(seen).toEqual(seen.toSorted((one, other) => one - other));
    expect(await readdir(join(cache, ".."))).toEqual(["msal_token_cache.json"]);
  });
}
