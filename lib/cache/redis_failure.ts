/**
 * What went wrong where a Redis server refused, or could not be asked. Pure.
 *
 * @module
 */
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { printable } from "../json_values.ts";

interface Meaning {
  readonly code: LatchkeyErrorCode;
  /** What Redis did. */
  readonly what: string;
  readonly hint: string;
}

const CREDENTIALS_HINT =
  "Give the client a user and a password that may run EVAL, and what the store's scripts call, on keys with its prefix";
const PASSWORD: Meaning = {
  code: "configuration",
  what: "the client's password for Redis is wrong or missing",
  hint: CREDENTIALS_HINT,
};
const PERMISSION: Meaning = {
  code: "configuration",
  what: "the client's user may not do this in Redis",
  hint: CREDENTIALS_HINT,
};
const NOT_READY: Meaning = {
  code: "temporarily_unavailable",
  what: "Redis is not ready",
  hint: "Try again later; the server's log says more",
};
const CLUSTER: Meaning = {
  code: "configuration",
  what: "Redis is a cluster, and the client does not know",
  hint: "Use the library's client for clusters",
};

/** By the first word of a reply that is an error. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ["NOAUTH", PASSWORD],
  ["WRONGPASS", PASSWORD],
  ["NOPERM", PERMISSION],
  ["DENIED", PERMISSION],
  ["MOVED", CLUSTER],
  ["ASK", CLUSTER],
  ["CROSSSLOT", CLUSTER],
  ["BUSY", NOT_READY],
  ["CLUSTERDOWN", NOT_READY],
  ["LOADING", NOT_READY],
  ["MASTERDOWN", NOT_READY],
  ["MISCONF", NOT_READY],
  ["NOREPLICAS", NOT_READY],
  ["TRYAGAIN", NOT_READY],
  ["UNBLOCKED", NOT_READY],
  ["OOM", {
    code: "temporarily_unavailable",
    what: "the memory of Redis is full",
    hint: "Give Redis more memory: maxmemory",
  }],
  ["READONLY", {
    code: "temporarily_unavailable",
    what: "Redis is a replica, which can only be read",
    hint: "Connect the client to the primary, and once more after another server has become that",
  }],
  ["WRONGTYPE", {
    code: "configuration",
    what: "something else is stored under a key of the store",
    hint: "Give the store a prefix that nothing else uses",
  }],
]);

/** A reply that is an error begins with a word in capitals (RESP, "Simple errors"). */
const REPLY = /^-?[A-Z][A-Z\d]+ /;
/** How Redis 7 says that a script was not permitted a command. */
const NOT_PERMITTED = "The user executing the script";
/** node-redis's TimeoutError, ioredis's "Command timed out". */
const TIMEOUT = /timed? ?out/i;
const QUOTE = /['"`]/;
const MAX_LENGTH = 200;

/**
 * The error of a command that failed. Nothing is a `cause` of it: ioredis hangs the command at its errors, tokens and all.
 *
 * @param reason What the client rejected with.
 * @returns The error to throw.
 */
export function redisFailure(reason: unknown): LatchkeyError {
  const text = reason instanceof Error ? reason.message : "";
  if (!REPLY.test(text)) {
    if (TIMEOUT.test(nameOf(reason) + text)) return noAnswer();
    return new LatchkeyError("no_network", `Cannot use the token cache: Redis cannot be reached${nameOf(reason)}`, {
      hint: "Check that Redis runs, and that the client is connected to it, with the right password",
    });
  }
  // Redis 6 says what a script met with behind words of its own.
  const words = text.match(/\b[A-Z][A-Z\d]+\b/g)!, word = words.find((word) => MEANINGS.has(word)) ?? words[0];
  const meaning = text.includes(NOT_PERMITTED) ? PERMISSION : MEANINGS.get(word);
  if (meaning) {
    return new LatchkeyError(meaning.code, `Cannot use the token cache: ${meaning.what} (${word})`, {
      hint: meaning.hint,
    });
  }
  return new LatchkeyError("unexpected", `Cannot use the token cache: Redis refuses a command (${word})`, {
    // Words of the command stand in quotes, if anywhere.
    errorDescription: printable(text.split(QUOTE, 1)[0]!.slice(0, MAX_LENGTH)),
    hint: "The server has to be Redis 5 or newer, or one that runs the same scripts",
  });
}

/**
 * The server took too long.
 *
 * @param timeoutMs How long it had, in milliseconds, if that was a limit of ours.
 * @returns The error to throw.
 */
export function noAnswer(timeoutMs?: number): LatchkeyError {
  const limit = timeoutMs === undefined ? "" : ` within ${timeoutMs / 1000} seconds`;
  return new LatchkeyError("timed_out", `Cannot use the token cache: Redis did not answer${limit}`, {
    hint:
      "Check that Redis runs, and that the client is connected to it, with the right password. The store's timeoutMs " +
      "says how long it has",
  });
}

/** Such as ` (ECONNREFUSED)` or ` (SocketClosedUnexpectedlyError)`. */
function nameOf(reason: unknown): string {
  const { code, constructor } = (reason ?? {}) as { code?: unknown; constructor?: { name?: unknown } };
  const name = [code, constructor?.name].find((name) => typeof name === "string" && /^[A-Za-z]\w{2,60}$/.test(name));
  return name ? ` (${name})` : "";
}
