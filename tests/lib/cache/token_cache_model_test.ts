// Sequences of calls against a model that is nothing but lists, by which the cache's answers are foretold.
import { expect, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { type CacheStore, memoryStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { oneDocumentStore } from "./one_document_store.ts";
import { APP, CONTOSO, FABRIKAM, FAMILY_APP, jane, john, MINUTE, NOW, reply } from "./sample_replies.ts";

const RUNS = 40;
const CALLS = 80;
const APPS = [APP, FAMILY_APP, "55555555-5555-4555-8555-555555555555"];
const PEOPLE = [jane, john];
const REALMS = [CONTOSO, FABRIKAM];
const HOSTS = ["login.microsoftonline.com", "login.windows.net"];
const SCOPES = ["Files.Read", "Mail.Read", "User.Read"];
const SCOPE_SETS = Array.from({ length: 7 }, (_, bits) => SCOPES.filter((_, index) => bits + 1 >> index & 1));

interface Holder {
  readonly app: string;
  readonly person: AccountInfo;
}

interface ModelToken extends Holder {
  readonly secret: string;
  readonly realm: string;
  readonly scopes: readonly string[];
  readonly savedAt: number;
  readonly expiresOn: number;
}

interface ModelRefreshToken extends Holder {
  readonly secret: string;
  readonly familyId: string | undefined;
}

/** A cache as it would be without a schema. */
class Model {
  #tokens: ModelToken[] = [];
  #refreshTokens: ModelRefreshToken[] = [];
  /** What the last reply told of an app's family. */
  readonly #families = new Map<string, string | undefined>();
  readonly #known = new Set<AccountInfo>();
  readonly #signedOut = new Set<string>();
  readonly #isOneDocument: boolean;

  constructor(isOneDocument: boolean) {
    this.#isOneDocument = isOneDocument;
  }

  save(token: ModelToken, refreshToken: ModelRefreshToken | undefined, how: { isSignIn: boolean; familyId?: string }) {
    if (how.isSignIn) this.#known.add(token.person), this.#signedOut.delete(nameOf(token));
    if (!this.#known.has(token.person) || this.#signedOut.has(nameOf(token))) return false;
    this.#tokens = this.#tokens.filter((other) => {
      if (nameOf(other) !== nameOf(token)) return true;
      const isComparable = contains(other.scopes, token.scopes) || contains(token.scopes, other.scopes);
      return other.expiresOn > token.savedAt && !(other.realm === token.realm && isComparable);
    });
    this.#tokens.push(token);
    if (refreshToken) {
      this.#refreshTokens = this.#refreshTokens.filter((other) => nameOf(other) !== nameOf(token));
      this.#refreshTokens.push(refreshToken);
    }
    this.#families.set(this.#familyName(token), how.familyId);
    return true;
  }

  /** Whichever of these is found is right. */
  find(holder: Holder, { realm, scopes, now }: { realm: string; scopes: readonly string[]; now: number }): string[] {
    const good = this.#tokens.filter((token) =>
      nameOf(token) === nameOf(holder) && token.realm === realm && contains(token.scopes, scopes) &&
      token.expiresOn - now > 5 * MINUTE
    );
    const exact = good.filter((token) => token.scopes.length === scopes.length);
    const newest = good.filter(({ savedAt }) => good.every((other) => other.savedAt <= savedAt));
    return (exact.length > 0 ? exact : newest).map(({ secret }) => secret);
  }

  /** The app's own, then the others' in no order. */
  refreshTokens(holder: Holder): string[] {
    const name = this.#familyName(holder), familyId = this.#families.get(name);
    const ofPerson = this.#refreshTokens.filter(({ person }) => person === holder.person);
    const own = ofPerson.filter(({ app }) => app === holder.app);
    const others = ofPerson.filter((token) =>
      token.app !== holder.app && token.familyId !== undefined &&
      (!this.#families.has(name) || token.familyId === familyId)
    );
    return [...own.map(({ secret }) => secret), ...others.map(({ secret }) => secret).sort()];
  }

  remove(holder: Holder): void {
    const familyId = this.#families.get(this.#familyName(holder));
    const ofFamily = this.#refreshTokens.filter((token) =>
      token.person === holder.person && familyId !== undefined && token.familyId === familyId
    );
    const gone = new Set([nameOf(holder), ...ofFamily.map(nameOf)]);
    this.#tokens = this.#tokens.filter((token) => !gone.has(nameOf(token)));
    this.#refreshTokens = this.#refreshTokens.filter((token) => !gone.has(nameOf(token)));
    const isUsed = [...this.#tokens, ...this.#refreshTokens].some(({ person }) => person === holder.person);
    if (!isUsed) this.#known.delete(holder.person);
    this.#signedOut.add(nameOf(holder));
  }

  accounts(app: string): string[] {
    return [...this.#known].filter((person) => !this.#signedOut.has(nameOf({ app, person })))
      .map(({ username }) => username).sort();
  }

  /** With a document for each account, what is known of an app is there once for each. */
  #familyName(holder: Holder): string {
    return this.#isOneDocument ? holder.app : nameOf(holder);
  }
}

function nameOf({ app, person }: Holder): string {
  return `${app} ${person.username}`;
}

function contains(one: readonly string[], other: readonly string[]): boolean {
  return other.every((scope) => one.includes(scope));
}

/** Numbers that look random, the same for the same seed (mulberry32). */
function dice(seed: number): <T>(sides: readonly T[]) => T {
  let state = seed;
  return (sides) => {
    state = state + 0x6d2b79f5 | 0;
    let mixed = Math.imul(state ^ state >>> 15, 1 | state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return sides[((mixed ^ mixed >>> 14) >>> 0) % sides.length]!;
  };
}

async function playOut(seed: number, store: CacheStore, model: Model): Promise<void> {
  const throwDie = dice(seed);
  let now = NOW;
  for (let call = 0; call < CALLS; call++) {
    now += throwDie([0, 1_000, MINUTE, 10 * MINUTE]);
    const app = throwDie(APPS), person = throwDie(PEOPLE), holder = { app, person };
    const realm = throwDie(REALMS), scopes = throwDie(SCOPE_SETS);
    const cache = new TokenCache(store, { clientId: app, environment: throwDie(HOSTS), now: () => now });
    const act = throwDie(["sign in", "renew", "renew", "find", "find", "find", "sign out"]);
    if (act === "sign in" || act === "renew") {
      const isSignIn = act === "sign in", familyId = app === APPS[2] ? undefined : throwDie(["1", "1", undefined]);
      const token = { ...holder, realm, scopes, secret: `access-${call}`, savedAt: now, expiresOn: now + 30 * MINUTE };
      const refreshToken = throwDie([true, false]) ? { ...holder, secret: `refresh-${call}`, familyId } : undefined;
      const expected = model.save(token, refreshToken, { isSignIn, ...(familyId && { familyId }) });
      const saved = await cache.save(reply(token.secret, scopes, {
        account: person,
        tenantId: realm,
        expiresOn: new Date(token.expiresOn),
        refreshToken: refreshToken?.secret,
        familyId,
        accountSource: isSignIn ? "authorization_code" : undefined,
      }));
      expect(saved).toBe(expected);
    } else if (act === "sign out") {
      model.remove(holder);
      await cache.removeAccount(person);
    }
    const found = await cache.findAccessToken({ account: person, scopes, realm, correlationId: "" });
    const right = model.find(holder, { realm, scopes, now });
    if (found?.state === "use") expect(right).toContain(found.result.accessToken);
    else expect(right).toEqual([]);
    const [first, ...more] = (await cache.findRefreshTokens(person)).map(({ refreshToken }) => refreshToken);
    const [firstRight, ...moreRight] = model.refreshTokens(holder);
    expect([first, ...more].filter(Boolean).sort()).toEqual([firstRight, ...moreRight].filter(Boolean).sort());
    const accounts = (await cache.findAccounts()).map(({ account }) => account.username).sort();
    expect(accounts).toEqual(model.accounts(app));
  }
}

for (const name of ["one document", "a document for each account"]) {
  test(`TokenCache does what a model foretells, in ${name}`, async () => {
    const isOneDocument = name === "one document";
    for (let seed = 1; seed <= RUNS; seed++) {
      const store = isOneDocument ? oneDocumentStore() : memoryStore();
      await playOut(seed, store, new Model(isOneDocument)).catch((error: Error) => {
        throw new Error(`With the seed ${seed}: ${error.message}`);
      });
    }
  });
}
