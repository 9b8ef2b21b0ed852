import { expect, test } from "bun:test";
import { type Check, examine, failed, notChecked, ok, type Patient } from "../../bin/doctor_check.ts";
import { LatchkeyError } from "../../mod.ts";

const patient = {} as Patient;
const check = (id: string, run: Check["run"], more: Partial<Check> = {}): Check => ({
  ...{ id, limitMs: 60_000, run },
  ...more,
});
const hangs = () => new Promise<never>(() => {});

test("examine() gives findings in the order of the checks, whichever ends first", async () => {
  const first = Promise.withResolvers<void>();
  const checks = [
    check("a", async () => (await first.promise, ok("slow"))),
    check("b", () => (first.resolve(), failed("quick", "mend it"))),
  ];
  expect(await examine(checks, patient)).toEqual([
    { id: "a", state: "ok", detail: "slow", fix: undefined },
    { id: "b", state: "failed", detail: "quick", fix: "mend it" },
  ]);
});

test("examine() ends a check that takes longer than it may, and tells it by its signal", async () => {
  let told: AbortSignal | undefined;
  const checks = [
    check("a", (_, { signal }) => (told = signal, hangs()), { limitMs: 1 }),
    check("b", () => ok("")),
  ];
  const [a, b] = await examine(checks, patient);
  expect(a).toMatchObject({ id: "a", state: "failed", detail: "it took longer than 0.001 s" });
  expect(b!.state).toBe("ok");
  expect(told!.aborted).toBe(true);
});

test("examine() makes a failed check of one that throws", async () => {
  const throws = (error: unknown) =>
    check(String(error), () => {
      throw error;
    });
  const [known, plain, odd] = await examine([
    throws(new LatchkeyError("refused", "No", { errorDescription: "AADSTS1: no", hint: "Ask" })),
    throws(new RangeError("out of it")),
    throws(undefined),
  ], patient);
  expect(known).toMatchObject({ state: "failed", detail: "AADSTS1: no", fix: "Ask" });
  expect(plain).toMatchObject({ state: "failed", detail: "out of it" });
  expect(odd).toMatchObject({ state: "failed", detail: "undefined" });
});

test("examine() leaves out what needs a check that is not ok, and what needs that", async () => {
  let ran = false;
  const run = () => (ran = true, ok(""));
  const [, b, c] = await examine([
    check("a", () => notChecked("it may not")),
    check("b", run, { needs: ["a"] }),
    check("c", run, { needs: ["b"] }),
  ], patient);
  expect([b, c]).toMatchObject([
    { state: "unknown", detail: "not checked: it needs a" },
    { state: "unknown", detail: "not checked: it needs b" },
  ]);
  expect(ran).toBe(false);
});

test("examine() does what needs a check that this platform has not", async () => {
  expect(await examine([check("b", () => ok("")), check("c", () => ok(""), { needs: ["a"] })], patient))
    .toMatchObject([{ state: "ok" }, { state: "ok" }]);
});

test("examine() tells a check how those before it ended", async () => {
  const [, , c] = await examine([
    check("a", () => failed("")),
    check("b", () => ok("")),
    check("c", (_, { isOk }) => ok(`${isOk("a")} ${isOk("b")} ${isOk("nobody")}`), { after: ["a", "b"] }),
  ], patient);
  expect(c!.detail).toBe("false true false");
});

test("examine() ends with its signal, and says what was not done", async () => {
  const end = new AbortController();
  const checks = [
    check("a", () => ok("")),
    check("b", () => (end.abort(), hangs()), { after: ["a"] }),
    check("c", () => ok(""), { after: ["b"] }),
  ];
  expect(await examine(checks, patient, end.signal)).toMatchObject([
    { state: "ok" },
    { state: "failed", detail: "it was not done when the time was over" },
    { state: "unknown", detail: "not checked: the time was over" },
  ]);
});
