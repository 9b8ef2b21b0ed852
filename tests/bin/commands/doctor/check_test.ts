import { expect, test } from "bun:test";
import {
  blockedBy,
  type Check,
  type CheckContext,
  failed,
  notChecked,
  ok,
  RUN_VERBOSE,
  runChecks,
} from "../../../../bin/commands/doctor/check.ts";
import { API_WORDS } from "../../../../lib/remedies.ts";
import { LatchkeyError } from "../../../../mod.ts";

const context = { words: () => API_WORDS } as unknown as CheckContext;
const check = (id: string, run: Check["run"], more: Partial<Check> = {}): Check => ({
  ...{ id, limitMs: 60_000, run },
  ...more,
});
const hangs = () => new Promise<never>(() => {});

test("runChecks() gives findings in the order of the checks, whichever ends first", async () => {
  const first = Promise.withResolvers<void>();
  const checks = [
    check("a", async () => (await first.promise, ok("slow"))),
    check("b", () => (first.resolve(), failed("quick", "fix it"))),
  ];
  expect(await runChecks(checks, context)).toEqual([
    { id: "a", state: "ok", detail: "slow", fix: undefined },
    { id: "b", state: "failed", detail: "quick", fix: "fix it" },
  ]);
});

test("runChecks() ends a check that takes longer than it may, and tells it by its signal", async () => {
  let told: AbortSignal | undefined;
  const checks = [check("a", (_, { signal }) => (told = signal, hangs()), { limitMs: 1 }), check("b", () => ok(""))];
  const [a, b] = await runChecks(checks, context);
  expect(a).toMatchObject({ id: "a", state: "failed", detail: "it took longer than 0.001 s" });
  expect(b!.state).toBe("ok");
  expect(told!.aborted).toBe(true);
});

test("runChecks() makes a failed check of one that throws", async () => {
  const throws = (error: unknown) =>
    check(String(error), () => {
      throw error;
    });
  const [known, plain, odd] = await runChecks([
    throws(new LatchkeyError("refused", "No", { errorDescription: "AADSTS1: no", remedy: "Ask" })),
    throws(new RangeError("out of it")),
    throws(undefined),
  ], context);
  expect(known).toMatchObject({ state: "failed", detail: "AADSTS1: no", fix: "Ask" });
  expect(plain).toMatchObject({ state: "failed", detail: "out of it", fix: RUN_VERBOSE });
  expect(odd).toMatchObject({ state: "failed", detail: "undefined", fix: RUN_VERBOSE });
});

test("runChecks() leaves out what needs a check that is not ok, and what needs that", async () => {
  let ran = false;
  const run = () => (ran = true, ok(""));
  const after = (first: Check["run"]) =>
    runChecks([check("a", first), check("b", run, { needs: ["a"] }), check("c", run, { needs: ["b"] })], context);
  expect((await after(() => notChecked("it may not"))).slice(1)).toMatchObject([
    { state: "unknown", detail: "not checked: it needs a" },
    { state: "unknown", detail: "not checked: it needs b" },
  ]);
  for (const first of [() => failed("gone", "fix it"), () => blockedBy("z")]) {
    expect((await after(first)).slice(1)).toMatchObject([
      { state: "blocked", detail: "not checked: it needs a", fix: "Fix a first" },
      { state: "blocked", detail: "not checked: it needs b", fix: "Fix b first" },
    ]);
  }
  expect(ran).toBe(false);
});

test("runChecks() does what needs a check that this platform has not", async () => {
  expect(await runChecks([check("b", () => ok("")), check("c", () => ok(""), { needs: ["a"] })], context))
    .toMatchObject([{ state: "ok" }, { state: "ok" }]);
});

test("runChecks() tells a check how those before it ended", async () => {
  const [, , c] = await runChecks([
    check("a", () => failed("", "fix it")),
    check("b", () => ok("")),
    check("c", (_, { stateOf }) => ok(["a", "b", "nobody"].map(stateOf).join()), { after: ["a", "b"] }),
  ], context);
  expect(c!.detail).toBe("failed,ok,");
});

test("runChecks() ends with its signal, and says what was not done", async () => {
  const end = new AbortController();
  const checks = [
    check("a", () => ok("")),
    check("b", () => (end.abort(), hangs()), { after: ["a"] }),
    check("c", () => ok(""), { after: ["b"] }),
  ];
  expect(await runChecks(checks, context, end.signal)).toMatchObject([
    { state: "ok" },
    {
      state: "failed",
      detail: "it was not finished when the time was over",
      fix: expect.stringContaining("--timeout"),
    },
    { state: "blocked", detail: "not checked: the time was over", fix: expect.stringContaining("--timeout") },
  ]);
});
