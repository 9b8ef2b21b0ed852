// Batches are programs that write reports, in place of runtimes' test runners.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { RUNTIME_PATH } from "../runtimes/runtime_paths.ts";
import { type Batch, type TestOutcome, TestRun, type TestRunOptions } from "./test_run.ts";

const FILE = "tests/a_test.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-test-run-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Returns a batch whose program says of each test in its report whether it passed. */
function batch(program: string, { files = [FILE], name = "Bun" }: Partial<Batch> = {}): Batch {
  const whole = `let cases = "";
    const add = (test, inner, file) => cases += \`<testcase name="\${test}" classname="g" file="\${file}">\${inner}</testcase>\`;
    const pass = (test, file) => add(test, "", file), skip = (test, file) => add(test, "<skipped/>", file);
    const fail = (test, why, file) => add(test, \`<failure message="\${why}"/>\`, file);
    const fs = require("node:fs");
    ${program};
    fs.writeFileSync(process.argv[1], cases);`;
  return { name, files, command: (report) => [process.execPath, "-e", whole, report] };
}

async function outcomeOf(
  batches: readonly Batch[],
  { args = [], ...options }: Partial<TestRunOptions> & { readonly args?: readonly string[] } = {},
): Promise<TestOutcome> {
  const run = new TestRun({ environment: process.env, ...options }, args);
  await run.run(batches);
  return run.outcome();
}

describe("TestRun.run()", () => {
  test("counts what passed, each suite knowing its runtime", async () => {
    const told = `process.env.${RUNTIME_PATH} === "Node" && pass("c")`;
    const batches = [batch('pass("a"); pass("b")'), batch(told, { name: "Node" })];
    expect(await outcomeOf(batches)).toEqual({ passed: 3, losses: [] });
  });

  test("says what failed, and where", async () => {
    const failing = batch('pass("a"); fail("b", "it is 1&#10;not 2"); process.exitCode = 1');
    expect(await outcomeOf([failing])).toEqual({
      passed: 1,
      losses: [`Bun: ${FILE}: g b\n    it is 1\n    not 2`],
    });
  });

  test("runs nothing again that failed", async () => {
    const once = batch(`fs.appendFileSync(${JSON.stringify(join(folder, "runs"))} + process.pid, ""); fail("a", "x")`);
    await outcomeOf([once]);
    expect(readdirSync(folder)).toHaveLength(1);
    rmSync(join(folder, readdirSync(folder)[0]!));
  });

  test("takes a skipped test for a failure, unless it may be skipped", async () => {
    const skipping = batch('pass("a"); skip("b"); skip("c")');
    const isExcepted = (_batch: Batch, name: string) => name === "g c";
    expect(await outcomeOf([skipping], { isExcepted })).toEqual({
      passed: 1,
      losses: [`Bun: ${FILE}: g b (skipped)`],
    });
  });

  test("takes a suite for a failure that is in no report, broke outside its tests, or did not end", async () => {
    const files = [FILE, "tests/b_test.ts"];
    const { losses } = await outcomeOf([batch(`pass("a", "${FILE}"); process.exitCode = 3`, { files })]);
    expect(losses).toEqual(["Bun: tests/b_test.ts: no test ran", "Bun: ended with 3"]);
    const { losses: late } = await outcomeOf([batch("for (;;) Bun.sleepSync(1)")], { limitMs: 100 });
    expect(late).toEqual([`Bun: ${FILE}: no test ran`, `Bun: ${FILE}: ended with SIGTERM`]);
  });

  test("runs as many batches at the same time as it may", async () => {
    const place = JSON.stringify(join(folder, "meeting"));
    // Each waits for the other two.
    const meeting = (own: number) =>
      `fs.writeFileSync(${place} + ${own}, "");
      while (![0, 1, 2].every((each) => fs.existsSync(${place} + each))) Bun.sleepSync(1);
      pass("met")`;
    expect(await outcomeOf([0, 1, 2].map((own) => batch(meeting(own))), { atOnce: 3 })).toMatchObject({ passed: 3 });
  });

  test("repeats all with --repeat", async () => {
    expect(await outcomeOf([batch('pass("a")')], { args: ["--repeat", "2"] })).toMatchObject({ passed: 2 });
  });
});

describe("TestRun.wanted()", () => {
  test("returns the suites whose path contains a pattern", () => {
    const run = new TestRun({ environment: {} }, ["b_", "nothing/"]);
    expect(run.wanted([FILE, "tests/b_test.ts"])).toEqual(["tests/b_test.ts"]);
    expect(run.outcome()).toEqual({ passed: 0, losses: ["No suite's path contains nothing/"] });
  });

  test("returns all without a pattern, and a run without any has failed", () => {
    const run = new TestRun({ environment: {} }, []);
    expect(run.wanted([FILE])).toEqual([FILE]);
    expect(run.outcome()).toEqual({ passed: 0, losses: ["Nothing ran"] });
  });
});
