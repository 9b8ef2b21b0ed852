/** The people whom a fake broker knows. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Behaviour, FakeAccount } from "./behaviour.ts";
import { isObject } from "./request_rules.ts";

/** An account with nothing left out. */
export type Person = Required<FakeAccount>;

const JANE: FakeAccount = {
  username: "jane@contoso.com",
  name: "Jane Doe",
  oid: "22222222-2222-2222-2222-222222222222",
};
const CONTOSO = "11111111-1111-1111-1111-111111111111";
const HOUR_SECONDS = 3600;

/** Who is signed in: those of the behaviour, and what calls have changed about that since the process began. */
export class FakeDirectory {
  readonly #added = new Map<string, FakeAccount>();
  readonly #removed = new Set<string>();
  readonly #signedOut = new Set<string>();

  people(behaviour: Behaviour): Person[] {
    const accounts = new Map((behaviour.accounts ?? [JANE]).map((account) => [keyOf(account.username), account]));
    for (const [key, account] of this.#added) accounts.set(key, { ...accounts.get(key), ...account });
    for (const key of this.#removed) accounts.delete(key);
    return [...accounts.values()].map(complete);
  }

  /** The person whose account a request carries. */
  find(behaviour: Behaviour, account: unknown): Person | undefined {
    if (!isObject(account)) return undefined;
    const { homeAccountId, username } = account;
    return this.people(behaviour).find((person) =>
      typeof homeAccountId === "string"
        ? homeAccountIdOf(person) === homeAccountId
        : typeof username === "string" && keyOf(person.username) === keyOf(username)
    );
  }

  /** The person who is meant when a request names nobody. */
  default(behaviour: Behaviour): Person | undefined {
    const people = this.people(behaviour), { defaultAccount } = behaviour;
    return defaultAccount === undefined
      ? people[0]
      : people.find(({ username }) => keyOf(username) === keyOf(defaultAccount));
  }

  /** Somebody typed a password: perhaps a person whom nobody had seen before. */
  signIn(behaviour: Behaviour, username: string): Person {
    const key = keyOf(username);
    this.#removed.delete(key);
    this.#signedOut.delete(key);
    const known = this.people(behaviour).find((person) => keyOf(person.username) === key);
    this.#added.set(key, { username, ...known, signedInAt: Math.floor(Date.now() / 1000) });
    return this.people(behaviour).find((person) => keyOf(person.username) === key)!;
  }

  /** From now on a password is needed. */
  signOut(person: Person): void {
    this.#signedOut.add(keyOf(person.username));
  }

  isSignedOut(person: Person): boolean {
    return this.#signedOut.has(keyOf(person.username));
  }

  remove(person: Person): void {
    this.#removed.add(keyOf(person.username));
    this.#added.delete(keyOf(person.username));
  }
}

export function homeAccountIdOf(person: Person): string {
  return `${person.oid}.${person.tid}`;
}

/** An account's values for the wire's templates. */
export function accountValues(person: Person): Record<string, unknown> {
  const [givenName, ...familyNames] = person.name.split(" ");
  return {
    clientInfo: Buffer.from(JSON.stringify({ uid: person.oid, utid: person.tid })).toString("base64url"),
    environment: person.environment,
    familyName: familyNames.join(" "),
    givenName,
    homeAccountId: homeAccountIdOf(person),
    localAccountId: person.oid,
    name: person.name,
    realm: person.tid,
    username: person.username,
  };
}

function complete(account: FakeAccount): Person {
  const { username } = account, [mailbox = "", domain = ""] = username.split("@");
  return {
    name: mailbox.charAt(0).toUpperCase() + mailbox.slice(1),
    oid: uuidOf(keyOf(username)),
    tid: keyOf(domain) === "contoso.com" ? CONTOSO : uuidOf(keyOf(domain)),
    environment: "login.microsoftonline.com",
    signedInAt: Math.floor(Date.now() / 1000) - HOUR_SECONDS,
    ...(keyOf(username) === JANE.username && JANE),
    ...account,
  };
}

/** The same UUID for the same text. */
function uuidOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").replace(
    /^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/,
    "$1-$2-4$3-8$4-$5",
  );
}

function keyOf(username: string): string {
  return username.toLowerCase();
}
