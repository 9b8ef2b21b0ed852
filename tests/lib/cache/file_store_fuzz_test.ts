// The plaintext file with anything in it.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AccountInfo, idKey } from "../../../lib/account.ts";
import { plaintextStore } from "../../../lib/cache/file_store.ts";
import { accountsIn } from "../../../lib/cache/lookup.ts";
import { CacheDocument } from "../../../lib/cache/schema.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { failure, useStage } from "../../fixture.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../tools/fuzz.ts";
import { anyBytes, jsonDocument } from "./hostile_documents.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

type Sections = Record<string, Record<string, { readonly home_account_id?: unknown } | null>>;

const APPMETADATA = `appmetadata-${HOST}-${APP}`;
const stage = useStage();

/** A file that nobody is writing any more, in a folder of its own, and a cache over it. */
function fileOf(bytes: Uint8Array) {
  const folder = stage.newFolder(), path = join(folder, "tokens.json"), log: string[] = [];
  writeFileSync(path, bytes, { mode: 0o600 });
  utimesSync(path, 1_000_000_000, 1_000_000_000);
  const cache = new TokenCache(plaintextStore(path), {
    clientId: APP,
    environment: HOST,
    now: () => NOW,
    log: (level, message) => log.push(`${level}: ${message}`),
  });
  return { folder, path, log, cache };
}

/** What was set aside, by the name that the warning gives. */
function asideIn(log: readonly string[]): readonly string[] {
  return log.flatMap((line) => /It was set aside as (.*), and a new one begun$/.exec(line)?.[1] ?? []);
}

async function check(bytes: Uint8Array): Promise<void> {
  const whole = CacheDocument.parse(new TextDecoder().decode(bytes)), { folder, path, log, cache } = fileOf(bytes);
  const app = {
    clientId: APP,
    environments: [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"],
    now: NOW,
  };

  const accounts = await cache.findAccounts();
  if (whole) expect(accounts).toEqual(accountsIn([whole], app));
  await cache.findAccessToken({ account: john, scopes: ["User.Read"], correlationId: "" });
  await cache.findRefreshTokens(jane);
  expect(await cache.save(reply("access", ["User.Read"], { refreshToken: "refresh" }))).toBe(true);
  await cache.removeAccount(john);

  const after: Sections = JSON.parse(readFileSync(path, "utf8"));
  expect(Object.values(after.Account!).map((entry) => entry?.home_account_id)).toContain(jane.homeAccountId);
  expect(asideIn(log).map((aside) => readFileSync(aside))).toEqual(whole ? [] : [Buffer.from(bytes)]);
  expect(readdirSync(folder)).toHaveLength(whole ? 1 : 2);
  if (whole) expectKept(JSON.parse(whole.toString()), after);
}

/** What is neither Jane's nor John's is there, as it was. */
function expectKept(before: Sections, after: Sections): void {
  const people = [jane, john].map(({ homeAccountId }) => homeAccountId);
  for (const [name, section] of Object.entries(before)) {
    const isKnown = ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata", "LatchkeySignedOut"].includes(
      name,
    );
    if (!isKnown) expect(after[name]).toEqual(section);
    if (!isKnown || typeof section !== "object" || section === null || Array.isArray(section)) continue;
    for (const [key, entry] of Object.entries(section)) {
      const isTheirs = people.includes(idKey(String(entry?.home_account_id)));
      if (isTheirs || key === APPMETADATA || people.some((id) => key.startsWith(id))) continue;
      expect([key, Object.hasOwn(after[name]!, key), after[name]![key]]).toEqual([key, true, entry]);
    }
  }
}

test("plaintextStore() with any JSON finds what is readable, and keeps what is not its own", async () => {
  await fc.assert(fc.asyncProperty(jsonDocument, (text) => check(new TextEncoder().encode(text))), fuzzing(150));
}, FUZZ_TIMEOUT_MS);

test("plaintextStore() with any bytes sets aside what is damaged, byte for byte, and says where", async () => {
  await fc.assert(fc.asyncProperty(anyBytes, check), fuzzing(150));
}, FUZZ_TIMEOUT_MS);

test("TokenCache reads JSON that is deeper than a stack, and throws configuration where that had to be written", async () => {
  const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`, record = JSON.stringify(accountOf(john));
  const text = `{"Other":${deep},"Account":{"john":${record}}}`,
    { cache, path } = fileOf(new TextEncoder().encode(text));
  expect((await cache.findAccounts()).map(({ account }) => account.username)).toEqual([john.username]);
  const error = await failure(cache.save(reply("access", ["User.Read"])));
  expect([error.name, error.code]).toEqual(["LatchkeyError", "configuration"]);
  expect(readFileSync(path, "utf8")).toBe(text);
});

function accountOf({ homeAccountId, environment, realm, username }: AccountInfo): Record<string, string> {
  return { home_account_id: homeAccountId, environment, realm, username };
}
