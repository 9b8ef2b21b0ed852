import { describe, expect, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { INTERACTION_REQUIRED_CODES, LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import type { Prompt } from "../../../lib/request.ts";
import { signIn } from "../../../lib/sources/broker.ts";
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
