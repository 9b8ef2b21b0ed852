// bun tests/bench/cache_lookup.ts: what it takes to find a token in a cache of so many. Nothing is asserted.
import process from "node:process";
import type { AccountInfo } from "../../lib/account.ts";
import { type CacheStore, memoryStore } from "../../lib/cache/store.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";
import { oneDocumentStore } from "../lib/cache/one_document_store.ts";
import { markdownTable, median, range } from "./report.ts";

const TENANT = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const HOST = "login.microsoftonline.com";
const TOKEN_LENGTH = 1_600;
const ROUNDS = 15;
const CALLS = 2_000;

/** How so many tokens are kept. */
interface Shape {
  readonly name: string;
  readonly tokensPerAccount: number;
  fill(accounts: readonly AccountInfo[]): Promise<CacheStore>;
}

const rows: (readonly string[])[] = [];
for (const tokens of [10, 100, 1_000, 10_000]) {
  const shapes: readonly Shape[] = [
    { name: "a document for each account", tokensPerAccount: 10, fill: (accounts) => memoryOf(accounts, 10) },
    { name: "one document for all", tokensPerAccount: 10, fill: (accounts) => oneDocumentOf(accounts, 10) },
    { name: "one account", tokensPerAccount: tokens, fill: (accounts) => memoryOf(accounts, tokens) },
  ];
  for (const shape of shapes) rows.push(await measure(shape, tokens));
}
const head = [
  "µs a call",
  "tokens",
  "found by key",
  "found by scope",
  "not found",
  "refresh tokens",
  "by key, min–max",
];
process.stdout.write(`${ROUNDS} rounds of ${CALLS} calls, each for another account\n\n`);
process.stdout.write(markdownTable(head, rows.toSorted(([one = ""], [other = ""]) => one.localeCompare(other))));

async function measure({ name, tokensPerAccount, fill }: Shape, tokens: number): Promise<readonly string[]> {
  const accounts = Array.from({ length: tokens / tokensPerAccount }, (_, number) => accountOf(number));
  const cache = new TokenCache(await fill(accounts), { clientId: "app", environment: HOST });
  const last = tokensPerAccount - 1, correlationId = "";
  const calls = [[`Read${last}`, `Write${last}`], [`Write${last}`], ["Other"]]
    .map((scopes) => (account: AccountInfo): Promise<unknown> =>
      cache.findAccessToken({ account, scopes, correlationId })
    );
  calls.push((account) => cache.findRefreshTokens(account));
  const times = calls.map((): number[] => []);
  for (let round = -3; round < ROUNDS; round++) {
    for (const [kind, call] of calls.entries()) {
      const start = performance.now();
      for (let number = 0; number < CALLS; number++) await call(accounts[number * 7 % accounts.length]!);
      if (round >= 0) times[kind]!.push((performance.now() - start) * 1000 / CALLS);
    }
  }
  return [name, String(tokens), ...times.map((each) => median(each).toFixed(1)), range(times[0]!)];
}

async function memoryOf(accounts: readonly AccountInfo[], tokens: number): Promise<CacheStore> {
  const store = memoryStore();
  for (const account of accounts) await store.update(account.homeAccountId, () => documentOf([account], tokens));
  return store;
}

function oneDocumentOf(accounts: readonly AccountInfo[], tokens: number): Promise<CacheStore> {
  return Promise.resolve(oneDocumentStore(documentOf(accounts, tokens)));
}

function accountOf(number: number): AccountInfo {
  const localAccountId = `11111111-1111-4111-8111-${String(number).padStart(12, "0")}`;
  const homeAccountId = `${localAccountId}.${TENANT}`;
  return {
    homeAccountId,
    localAccountId,
    environment: HOST,
    tenantId: TENANT,
    realm: TENANT,
    username: "",
    source: "cache",
  };
}

/** A document with so many tokens for each account. */
function documentOf(accounts: readonly AccountInfo[], tokens: number): string {
  const expires_on = String(Math.floor(Date.now() / 1000) + 3600);
  const accessTokens = accounts.flatMap(({ homeAccountId, realm }) =>
    Array.from({ length: tokens }, (_, number) => {
      const target = `Read${number} Write${number}`;
      const holder = { home_account_id: homeAccountId, environment: HOST, client_id: "app", realm };
      const key = `${homeAccountId}-${HOST}-accesstoken-app-${realm}-${target}`.toLowerCase();
      const secret = `${number}`.padEnd(TOKEN_LENGTH, "x");
      return [key, { credential_type: "AccessToken", secret, ...holder, target, cached_at: "0", expires_on }];
    })
  );
  const refreshTokens = accounts.map(({ homeAccountId }) => [
    `${homeAccountId}-${HOST}-refreshtoken-app--`.toLowerCase(),
    { home_account_id: homeAccountId, environment: HOST, client_id: "app", secret: "refresh" },
  ]);
  return JSON.stringify({
    AccessToken: Object.fromEntries(accessTokens),
    RefreshToken: Object.fromEntries(refreshTokens),
  });
}
