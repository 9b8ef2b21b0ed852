import { describe, expect, spyOn, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { INTERACTION_REQUIRED_CODES, LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import type { Prompt } from "../../../lib/request.ts";
import { MemoryCache, signIn } from "../../../lib/sources/broker.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

const account = (username: string) => ({ username, homeAccountId: `${username}.t`, realm: "t" }) as AccountInfo;
const tokenOf = (username: string) => ({ account: account(username) }) as AuthenticationResult;
const JANE = tokenOf("jane@contoso.com"), JOE = tokenOf("joe@contoso.com");

/** A broker's refusal, by MSALRuntime's number. */
const refused = (status: number, code: LatchkeyErrorCode = "unexpected") =>
  new LatchkeyError(code, "no", { broker: { status, subStatus: 0 } });
/** A refusal of our own: of an answer that is not to be used. */
const unusable = (code: LatchkeyErrorCode = "interaction_required") => new LatchkeyError(code, "no");

interface Answers {
  readonly accounts?: readonly string[] | Error;
  /** For the account of the hint. */
  readonly named?: AuthenticationResult | Error;
  /** For the account of the device. */
  readonly device?: AuthenticationResult | Error;
  readonly signal?: AbortSignal;
}

/** Signs in with steps that answer so, and tells how it ended and which steps were taken. */
async function run(
  how: Parameters<typeof signIn>[0],
  answers: Answers = {},
): Promise<{ steps: string[]; end: unknown }> {
  const steps: string[] = [];
  const answer = <T>(step: string, value: T | Error): Promise<T> => {
    steps.push(step);
    return value instanceof Error ? Promise.reject(value) : Promise.resolve(value);
  };
  const { accounts = ["jane@contoso.com", "joe@contoso.com"], named = JOE, device = JANE } = answers;
  const end = await signIn(how, {
    accounts: () => answer("accounts", accounts instanceof Error ? accounts : accounts.map(account)),
    silently: (account) => account ? answer(account.username, named) : answer("device", device),
    byWindow: () => answer("window", JOE),
  }, answers.signal ?? new AbortController().signal).catch((error) => error);
  return { steps, end };
}

describe("signIn() without a hint", () => {
  test("takes what the account of the device gives", async () => {
    expect(await run({})).toEqual({ steps: ["device"], end: JANE });
    expect(await run({ prompt: "none" })).toEqual({ steps: ["device"], end: JANE });
  });

  test.each(Array.from({ length: 22 }, (_, status) => [status]))(
    "knows whether a window mends the status %d",
    async (status) => {
      // The code says less than the status: 18, account switch, is `interaction_required` as well, and is not mended.
      const error = refused(status, "interaction_required"), { steps, end } = await run({}, { device: error });
      if ([2, 13].includes(status)) expect({ steps, end }).toEqual({ steps: ["device", "window"], end: JOE });
      else expect({ steps, end }).toEqual({ steps: ["device"], end: error });
    },
  );

  test("opens the window after an answer that is not to be used", async () => {
    for (const code of INTERACTION_REQUIRED_CODES) {
      expect((await run({}, { device: unusable(code) })).steps).toEqual(["device", "window"]);
    }
  });

  test("ends with what no window mends", async () => {
    for (const error of [unusable("timed_out"), unusable("broker_unavailable"), unusable("invalid_response")]) {
      expect(await run({}, { device: error })).toEqual({ steps: ["device"], end: error });
    }
    const defect = new TypeError("not ours");
    expect(await run({}, { device: defect })).toEqual({ steps: ["device"], end: defect });
  });

  test("with the prompt none ends with any refusal", async () => {
    for (const error of [refused(2), refused(13), refused(3), unusable()]) {
      expect(await run({ prompt: "none" }, { device: error })).toEqual({ steps: ["device"], end: error });
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
        steps: ["accounts", "joe@contoso.com", "device"],
        end: JOE,
      });
    }
    expect(await run(hint, { accounts: refused(5), device: JOE })).toEqual({ steps: ["accounts", "device"], end: JOE });
  });

  test("asks for the account of the device when it is for no account, or for two", async () => {
    for (const accounts of [[], ["jane@contoso.com"], ["joe@contoso.com", "JOE@contoso.com"]]) {
      expect(await run(hint, { accounts, device: JOE })).toEqual({ steps: ["accounts", "device"], end: JOE });
    }
  });

  test("does not take another person's token", async () => {
    expect(await run(hint, { accounts: [] })).toEqual({ steps: ["accounts", "device", "window"], end: JOE });
    const { steps, end } = await run({ ...hint, prompt: "none" }, { accounts: [] });
    expect(steps).toEqual(["accounts", "device"]);
    expect(end).toMatchObject({ code: "interaction_required", message: expect.stringContaining("Joe@Contoso.com") });
  });

  test("does not go on after what is no refusal, or an abort", async () => {
    const defect = new TypeError("not ours"), reason = unusable("broker_unavailable");
    expect(await run(hint, { named: defect })).toEqual({ steps: ["accounts", "joe@contoso.com"], end: defect });
    const signal = AbortSignal.abort(reason);
    expect(await run(hint, { named: reason, signal })).toEqual({ steps: ["accounts", "joe@contoso.com"], end: reason });
    expect(await run({}, { device: refused(2), signal })).toMatchObject({ steps: ["device"] });
  });
});

test.each<[Prompt]>([["login"], ["consent"], ["create"], ["select_account"]])(
  "signIn() with the prompt %s goes to the window at once",
  async (prompt) => {
    expect(await run({ prompt, loginHint: "jane@contoso.com" })).toEqual({ steps: ["window"], end: JOE });
  },
);

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
