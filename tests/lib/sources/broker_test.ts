import { describe, expect, spyOn, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import type { Broker, BrokerFlags } from "../../../lib/broker/broker.ts";
import { DEFAULT_TIME_LIMITS } from "../../../lib/broker/time_limits.ts";
import { INTERACTION_REQUIRED_CODES, LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import { type InteractiveRequest, type Prompt, tokenQuery } from "../../../lib/request.ts";
import { BrokerSource, type BrokerSourceOptions, MemoryCache } from "../../../lib/sources/broker.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

const APP = { authority: parseAuthority("https://login.microsoftonline.com/common") };
const account = (username: string) => ({ username, homeAccountId: `${username}.t`, realm: "t" }) as AccountInfo;
const tokenOf = (username: string) =>
  ({ account: account(username), expiresOn: new Date(Date.now() + 3_600_000) }) as AuthenticationResult;
const JANE = tokenOf("jane@contoso.com"), JOE = tokenOf("joe@contoso.com");

const sourceOptions = (flags: BrokerFlags): BrokerSourceOptions => ({
  ...{ clientId: "11111111-2222-4333-8444-555555555555", ...APP, flags, timeLimits: DEFAULT_TIME_LIMITS },
  ...{ now: Date.now, log: () => {}, isSignedOut: () => Promise.resolve(false) },
});

/** A broker's refusal, by MSALRuntime's number. */
const refused = (status: number, code: LatchkeyErrorCode = "unexpected") =>
  new LatchkeyError(code, "no", { broker: { status, subStatus: 0 } });
/** A refusal of our own: of a reply that is not to be used. */
const unusable = (code: LatchkeyErrorCode = "interaction_required") => new LatchkeyError(code, "no");

interface Replies {
  /** Of each list of accounts in turn; the last one is repeated. */
  readonly accounts?: readonly (readonly string[] | Error)[];
  /** For the account of the hint. */
  readonly named?: AuthenticationResult | Error;
  /** For the account of the device. */
  readonly device?: AuthenticationResult | Error;
  /** Called before the broker refuses or gives a token. */
  readonly onToken?: () => void;
}

/** Signs in by a broker with these replies, and tells how it ended and what the broker was asked. */
async function run(
  { loginHint, prompt, signal }: Partial<Pick<InteractiveRequest, "loginHint" | "prompt" | "signal">>,
  replies: Replies = {},
): Promise<{ steps: string[]; end: unknown }> {
  const steps: string[] = [];
  const reply = <T>(step: string, value: T | Error): Promise<T> => {
    steps.push(step);
    return value instanceof Error ? Promise.reject(value) : Promise.resolve(value);
  };
  const { named = JOE, device = JANE, onToken } = replies;
  const lists = [...replies.accounts ?? [["jane@contoso.com", "joe@contoso.com"]]];
  const broker: Partial<Broker> = {
    getAccounts() {
      const list = lists.length > 1 ? lists.shift()! : lists[0]!;
      return reply("accounts", list instanceof Error ? list : list.map(account));
    },
    acquireTokenSilently({ account }) {
      onToken?.();
      return account ? reply(account.username, named) : reply("device", device);
    },
    acquireTokenInteractively: () => reply("window", JOE),
  };
  const source = new BrokerSource(sourceOptions({}));
  const query = tokenQuery({ scopes: ["User.Read"], prompt, signal }, APP, { username: loginHint });
  const end = await source.signIn(query, broker as Broker, { how: "silent-first" }).catch((error) => error);
  await new Promise(setImmediate); // what an abort did not stop has gone on
  return { steps, end };
}

describe("signIn() without a hint", () => {
  test("takes what the account of the device gives", async () => {
    expect(await run({})).toEqual({ steps: ["accounts", "device"], end: JANE });
    expect(await run({ prompt: "none" })).toEqual({ steps: ["accounts", "device"], end: JANE });
  });

  test.each(Array.from({ length: 22 }, (_, status) => [status]))(
    "knows whether a window mends the status %d",
    async (status) => {
      // The code says less than the status: 18, account switch, is `interaction_required` as well, and is not mended.
      const error = refused(status, "interaction_required"), { steps, end } = await run({}, { device: error });
      if ([2, 13].includes(status)) {
        expect({ steps, end }).toEqual({ steps: ["accounts", "device", "window"], end: JOE });
      } else expect({ steps, end }).toEqual({ steps: ["accounts", "device"], end: error });
    },
  );

  test("opens the window after a reply that is not to be used", async () => {
    for (const code of INTERACTION_REQUIRED_CODES) {
      expect((await run({}, { device: unusable(code) })).steps).toEqual(["accounts", "device", "window"]);
    }
  });

  test("ends with what no window mends", async () => {
    const defect = new TypeError("not ours");
    for (const error of [unusable("timed_out"), unusable("broker_unavailable"), unusable("invalid_response"), defect]) {
      expect(await run({}, { device: error })).toEqual({ steps: ["accounts", "device"], end: error });
    }
  });

  test("with the prompt none ends with any refusal", async () => {
    for (const error of [refused(2), refused(13), refused(3), unusable()]) {
      expect(await run({ prompt: "none" }, { device: error })).toEqual({ steps: ["accounts", "device"], end: error });
    }
  });
});

describe("signIn() with a hint", () => {
  const hint = { loginHint: "Joe@Contoso.com" };

  test("takes what its account gives", async () => {
    expect(await run(hint)).toEqual({ steps: ["accounts", "joe@contoso.com"], end: JOE });
  });

  test("asks for the account of the device after any failure", async () => {
    for (const named of [refused(2), refused(3), refused(18), unusable("timed_out"), unusable("invalid_response")]) {
      expect(await run(hint, { named, device: JOE })).toEqual({
        steps: ["accounts", "joe@contoso.com", "accounts", "device"],
        end: JOE,
      });
    }
    const accounts = [refused(5), ["jane@contoso.com", "joe@contoso.com"]];
    expect(await run(hint, { accounts, device: JOE })).toEqual({ steps: ["accounts", "accounts", "device"], end: JOE });
  });

  test("asks for the account of the device when it is for no account, or for two", async () => {
    for (const accounts of [[], ["jane@contoso.com", "jo@contoso.com"], ["joe@contoso.com", "JOE@contoso.com"]]) {
      // The device's account is the one that signed in to it, whichever accounts were listed first.
      expect(await run(hint, { accounts: [accounts, []], device: JOE })).toEqual({
        steps: ["accounts", "accounts", "device"],
        end: JOE,
      });
    }
  });

  test("does not take another user's token", async () => {
    const silent = ["accounts", "accounts", "device"];
    expect(await run(hint, { accounts: [[]] })).toEqual({ steps: [...silent, "window"], end: JOE });
    const { steps, end } = await run({ ...hint, prompt: "none" }, { accounts: [[]] });
    expect(steps).toEqual(silent);
    expect(end).toMatchObject({ code: "interaction_required", message: expect.stringContaining("Joe@Contoso.com") });
  });

  test("does not go on after what is no refusal, or an abort", async () => {
    const defect = new TypeError("not ours"), reason = unusable("broker_unavailable");
    expect(await run(hint, { named: defect })).toEqual({ steps: ["accounts", "joe@contoso.com"], end: defect });
    const abortedRun = (request: { readonly loginHint?: string }, replies: Replies) => {
      const controller = new AbortController();
      return run({ ...request, signal: controller.signal }, { ...replies, onToken: () => controller.abort(reason) });
    };
    expect(await abortedRun(hint, { named: reason })).toEqual({ steps: ["accounts", "joe@contoso.com"], end: reason });
    expect(await abortedRun({}, { device: refused(2) })).toEqual({ steps: ["accounts", "device"], end: reason });
  });
});

test.each<[Prompt]>([["login"], ["consent"], ["create"], ["select_account"]])(
  "signIn() with the prompt %s goes to the window at once",
  async (prompt) => {
    expect(await run({ prompt, loginHint: "jane@contoso.com" })).toEqual({ steps: ["window"], end: JOE });
  },
);

// A closed connection opens again at the next call, so a sign-in that went on used a broker that is too old.
test("signIn() does not go on with a broker that it turned off", async () => {
  const steps: string[] = [];
  let turnOff: (() => void) | undefined;
  const broker: Partial<Broker> = {
    kind: "linux",
    getAccounts() {
      steps.push("accounts");
      turnOff?.();
      return Promise.reject(unusable("broker_unavailable"));
    },
    close: () => void steps.push("close"),
  };
  const source = new BrokerSource({
    ...sourceOptions({ enableBrokerOnLinux: true }),
    search: {
      platform: { system: "linux", arch: "x86_64", isWsl: false },
      start(_, { onUnusable }) {
        turnOff = () => onUnusable({ reason: "too old", isInstalled: true });
        return Promise.resolve(broker as Broker);
      },
    },
  });
  await source.find({});
  const query = tokenQuery({ scopes: ["User.Read"] }, APP, { username: "jane@contoso.com" });
  const error = await source.signIn(query, broker as Broker, { how: "silent-first" }).catch((error) => error);
  expect(error).toMatchObject({ code: "broker_unavailable", message: expect.stringContaining("too old") });
  expect({ steps, isOff: source.isTurnedOff() }).toEqual({ steps: ["accounts", "close"], isOff: true });
});

const MINUTE = 60_000;
const endingAt = (time: number) => ({ expiresOn: new Date(time) }) as AuthenticationResult;

test("MemoryCache.find() returns what is good for five more minutes", () => {
  const cache = new MemoryCache(), token = endingAt(10 * MINUTE);
  cache.save(["a", "b"], token, 0);
  expect(cache.find("a", 5 * MINUTE - 1)).toBe(token);
  expect(cache.find("b", 5 * MINUTE - 1)).toBe(token);
  expect(cache.find("a", 5 * MINUTE)).toBeUndefined();
  expect(cache.find("c", 0)).toBeUndefined();
});

test("MemoryCache.findAny() returns what is cached, good or not, until it has ended and another is saved", () => {
  const cache = new MemoryCache(), token = endingAt(MINUTE);
  cache.save(["a"], token, 0);
  expect([cache.find("a", 0), cache.findAny("a")]).toEqual([undefined, token]);
  cache.save(["b"], endingAt(20 * MINUTE), MINUTE);
  expect(cache.findAny("a")).toBeUndefined();
});

test("MemoryCache.save() puts a new token in the place of an old one", () => {
  const cache = new MemoryCache(), token = endingAt(20 * MINUTE);
  cache.save(["a"], endingAt(10 * MINUTE), 0);
  cache.save(["a"], token, 0);
  expect(cache.find("a", 0)).toBe(token);
});

// After the clock had been a day ahead for a while, a token that it was received in counted as good for 25 hours.
test("MemoryCache.find() bounds a token by what was left of it when it was received", () => {
  const cache = new MemoryCache(), DAY = 24 * 60 * MINUTE, ahead = DAY;
  const token = { ...endingAt(ahead + 60 * MINUTE), accessToken: "one" };
  const clock = spyOn(performance, "now").mockReturnValue(0);
  try {
    cache.save(["a"], token, ahead);
    expect(cache.find("a", ahead)).toBe(token);
    expect(cache.find("a", 0)!.expiresOn).toEqual(new Date(60 * MINUTE)); // the clock was set right
    clock.mockReturnValue(50 * MINUTE);
    expect(cache.find("a", 50 * MINUTE)!.expiresOn).toEqual(new Date(60 * MINUTE));
    clock.mockReturnValue(55 * MINUTE);
    expect(cache.find("a", 55 * MINUTE)).toBeUndefined();
  } finally {
    clock.mockRestore();
  }
});

// A token stands under up to three keys. With another one under the last of them, it was good for 25 hours again.
test("MemoryCache.find() bounds a token by each of its keys, also after another one was saved, or it ended", () => {
  const cache = new MemoryCache(), DAY = 24 * 60 * MINUTE;
  const token = (name: string) => ({ ...endingAt(DAY + 60 * MINUTE), accessToken: name });
  const clock = spyOn(performance, "now").mockReturnValue(0);
  try {
    cache.save(["a", "b"], token("one"), DAY);
    cache.save(["b"], token("other"), DAY);
    clock.mockReturnValue(50 * MINUTE);
    expect(cache.find("a", 50 * MINUTE)!.expiresOn).toEqual(new Date(60 * MINUTE)); // the clock was set right
    clock.mockReturnValue(60 * MINUTE);
    cache.save(["c"], endingAt(2 * 60 * MINUTE), 60 * MINUTE);
    expect([cache.find("a", 60 * MINUTE), cache.findAny("a")]).toEqual([undefined, undefined]);
  } finally {
    clock.mockRestore();
  }
});
