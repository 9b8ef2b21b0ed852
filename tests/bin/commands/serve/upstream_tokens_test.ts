import { describe, expect, test } from "bun:test";
import { UpstreamTokens } from "../../../../bin/commands/serve/upstream_tokens.ts";
import { LatchkeyError } from "../../../../lib/errors.ts";
import type { AuthenticationResult } from "../../../../lib/token.ts";
import { failure, rejection } from "../../../fixture.ts";

const SCOPE = "https://graph.microsoft.com/.default";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Tokens of a source that numbers them, and lists the claims of its requests. `pass` sets the clock forward. */
function play() {
  const requested: (string | undefined)[] = [];
  const signals: AbortSignal[] = [];
  let time = 0;
  let failure: LatchkeyError | undefined;
  let gate = Promise.resolve();
  const tokens = new UpstreamTokens({
    onOutcome: () => {},
    async acquire({ claims, signal }) {
      const accessToken = `${requested.push(claims)}`;
      signals.push(signal!);
      await gate;
      if (failure) throw failure;
      return { accessToken, tokenType: "Bearer", expiresOn: new Date(time + HOUR) } as AuthenticationResult;
    },
  }, () => time);
  return {
    ...{ requested, signals },
    tokens: tokens.of(SCOPE),
    other: tokens.of("https://vault.azure.net/.default"),
    pass: (minutes: number) => void (time += minutes * MINUTE),
    fail: (error: LatchkeyError | undefined) => void (failure = error),
    hold(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
  };
}
const { signal } = new AbortController();

// An upstream that repeated its challenge caused a request to Entra with each request of the client.
describe("ScopeTokens", () => {
  test("answer() gets no second token for the same claims, as long as the first one is in use", async () => {
    const { tokens, other, requested, pass } = play();
    const refused = await tokens.acquire(signal);
    const second = await tokens.answer({ claims: "a", refused }, signal);
    expect(await tokens.acquire(signal)).toBe(second!);
    expect(tokens.answer({ claims: "a", refused: second! }, signal)).toBeUndefined();
    expect(requested).toEqual([undefined, "a"]);
    // Another scope has limits of its own.
    const token = await other.acquire(signal);
    expect((await other.answer({ claims: "a", refused: token }, signal))?.accessToken).toBe("4");
    pass(56);
    const third = await tokens.acquire(signal);
    expect((await tokens.answer({ claims: "a", refused: third }, signal))?.accessToken).toBe("6");
  });

  test("answer() gets at most five tokens in ten minutes, whatever the claims, and also if it fails", async () => {
    const { tokens, requested, pass, fail } = play();
    let refused = await tokens.acquire(signal);
    for (const claims of ["a", "b", "c"]) refused = (await tokens.answer({ claims, refused }, signal))!;
    fail(new LatchkeyError("interaction_required", "A person has to sign in"));
    for (let times = 0; times < 2; times++) {
      expect((await failure(tokens.answer({ claims: "d", refused }, signal)!)).code).toBe("interaction_required");
    }
    fail(undefined);
    expect(tokens.answer({ claims: "d", refused }, signal)).toBeUndefined();
    expect(requested).toEqual([undefined, "a", "b", "c", "d", "d"]);
    pass(10);
    expect((await tokens.answer({ claims: "d", refused }, signal))?.accessToken).toBe("7");
  });

  test("answer() gets one token for all requests that are challenged at once, and for those sent before it came", async () => {
    const { tokens, requested, signals, hold } = play();
    const refused = await tokens.acquire(signal);
    const release = hold();
    const leaving = new AbortController();
    const left = rejection(tokens.answer({ claims: "a", refused }, leaving.signal)!);
    const answers = Array.from({ length: 20 }, () => tokens.answer({ claims: "a", refused }, signal));
    leaving.abort(new Error("The client has disconnected"));
    expect(await left).toBe(leaving.signal.reason);
    expect(signals[1]!.aborted).toBe(false);
    release();
    expect(new Set((await Promise.all(answers)).map((token) => token!.accessToken))).toEqual(new Set(["2"]));
    expect((await tokens.answer({ claims: "a", refused }, signal))?.accessToken).toBe("2");
    expect(requested).toEqual([undefined, "a"]);
  });

  test("answer() ends the request for a token once no client waits for it", async () => {
    const { tokens, signals, hold } = play();
    const refused = await tokens.acquire(signal);
    const release = hold();
    const leaving = new AbortController();
    const left = rejection(tokens.answer({ claims: "a", refused }, leaving.signal)!);
    leaving.abort(new Error("The client has disconnected"));
    await left;
    expect(signals[1]!.aborted).toBe(true);
    release();
    expect((await tokens.answer({ claims: "a", refused }, signal))?.accessToken).toBe("3");
  });

  test("answerNext() lets the next request have the new token", async () => {
    const { tokens, requested } = play();
    const refused = await tokens.acquire(signal);
    tokens.answerNext({ claims: "a", refused });
    const second = await tokens.acquire(signal);
    tokens.answerNext({ claims: "a", refused: second });
    expect(await tokens.acquire(signal)).toBe(second);
    expect(requested).toEqual([undefined, "a"]);
  });
});
