import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { RUNTIME_PATH } from "../runtimes/runtime_paths.ts";
import type { Batch } from "./run_batch.ts";
import { type BatchesOptions, type BatchesRun, runBatches } from "./run_batches.ts";
import { sumUp } from "./test_sum.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-batches-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A suite that is a program: `pass` and `fail` tell of a test in its report, which it writes in the end. */
function batch(name: string, program: string): Batch {
  const whole = `let cases = "";
    const pass = (test) => cases += \`<testcase name="\${test}" classname=""/>\`;
    const skip = (test) => cases += \`<testcase name="\${test}" classname="g"><skipped/></testcase>\`;
    const fail = (test, why) => cases += \`<testcase name="\${test}" classname="g"><failure message="\${why}"/></testcase>\`;
    const fs = require("node:fs"), isFirst = (file) => !fs.existsSync(file) && (fs.writeFileSync(file, ""), true);
    ${program};
    fs.writeFileSync(process.argv[1], cases);
    process.exitCode = Number(/<failure/.test(cases));`;
  return { name, file: "tests/a_suite.ts", command: (report) => [process.execPath, "-e", whole, report] };
}

const mark = (name: string): string => JSON.stringify(join(folder, name));

async function run(batches: readonly Batch[], options: Partial<BatchesOptions> = {}): Promise<
  BatchesRun & {
    readonly printed: string;
  }
> {
  let printed = "";
  const limits = { atOnce: 3, again: true, limitMs: 60_000, environment: process.env };
  const outcome = await runBatches(batches, { ...limits, ...options, print: (text) => printed += text });
  return { ...outcome, printed };
}

test("runBatches() prints what each wrote, whole and in order, and knows what passed", async () => {
  const lines = 'for (let line = 0; line < 9; line++) console[line % 2 ? "error" : "log"]("line", line);';
  const { printed, ...outcome } = await run([
    batch("Bun", `${lines} pass("a"); pass("b")`),
    batch("Node", `${lines} console.log(process.env.${RUNTIME_PATH}); pass("c")`),
  ]);
  const all = Array.from({ length: 9 }, (_, line) => `line ${line}\n`).join("");
  expect(printed).toMatch(new RegExp(`^Bun: tests/a_suite\\.ts \\(\\d+\\.\\d s\\)\n${all}`, "m"));
  expect(printed).toMatch(new RegExp(`^Node: tests/a_suite\\.ts \\(\\d+\\.\\d s\\)\n${all}Node\n`, "m"));
  expect(sumUp(outcome)).toEqual({ text: "3 passed, 0 failed\n", isGood: true });
});

test("runBatches() runs as many at once as it may", async () => {
  // Each waits for the other two.
  const meeting = (own: number) =>
    `fs.writeFileSync(${mark("meeting")} + ${own}, "");
    while (![0, 1, 2].every((each) => fs.existsSync(${mark("meeting")} + each))) Bun.sleepSync(1);
    pass("met")`;
  const { runs } = await run([0, 1, 2].map((own) => batch("Bun", meeting(own))));
  expect(sumUp({ runs, unsteady: [] })).toMatchObject({ isGood: true });
});

test("what failed fails again: its message stands before the sum", async () => {
  const outcome = await run([batch("Bun", 'pass("a"); fail("b", "it is 1&#10;not 2")'), batch("Node", 'pass("c")')]);
  expect(outcome.printed.match(/^Once more, alone:\nBun: /gm)).toHaveLength(1);
  expect(sumUp(outcome)).toEqual({
    text: "\nlost\nBun: tests/a_suite.ts: g b (failed)\n    it is 1\n    not 2\n\n2 passed, 1 failed\n",
    isGood: false,
  });
});

test("what failed and then passes is unsteady, and does not fail the run", async () => {
  const outcome = await run([
    batch("Bun", `pass("a"); isFirst(${mark("one")}) ? fail("b", "too late") : pass("b")`),
    batch("Node", `if (isFirst(${mark("two")})) process.exit(7); pass("c")`),
  ]);
  expect(sumUp(outcome)).toEqual({
    text: "\nunsteady: failed, and passed when the suite was run again alone\n" +
      "Bun: tests/a_suite.ts: g b (failed)\n    too late\n" +
      "Node: tests/a_suite.ts: no test ran\nNode: tests/a_suite.ts: exited with 7\n\n3 passed, 0 failed\n",
    isGood: true,
  });
});

test("what fails the second time alone is lost, whatever it was before", async () => {
  const outcome = await run([
    batch("Bun", `isFirst(${mark("third")}) ? (fail("a", "1"), pass("b")) : (pass("a"), fail("b", "2"))`),
  ]);
  const { text, isGood } = sumUp(outcome);
  expect(text).toContain("lost\nBun: tests/a_suite.ts: g b (failed)\n    2\n");
  expect([text.endsWith("\n1 passed, 1 failed\n"), isGood]).toEqual([true, false]);
});

test("nothing has a second chance where more than three failed, or none is to be had", async () => {
  const four = batch("Bun", `isFirst(${mark("four")}) ? [1, 2, 3, 4].map((n) => fail(n, "x")) : pass("a")`);
  const outcome = await run([four]);
  expect(outcome.printed).not.toContain("Once more");
  expect(sumUp(outcome).text).toEndWith("\n0 passed, 4 failed\n");

  const one = batch("Bun", `isFirst(${mark("five")}) ? fail(1, "x") : pass(1)`);
  expect(sumUp(await run([one, one], { again: false, atOnce: 1 })).text).toEndWith("\n1 passed, 1 failed\n");
});

test("a suite that is skipped in part, or broke outside its tests, is lost", async () => {
  const outcome = await run([
    batch("Skips", 'pass("a"); skip("b")'),
    batch("Breaks", 'pass("a"); process.on("exit", () => process.exitCode = 3)'),
  ], { again: false });
  expect(sumUp(outcome)).toEqual({
    text: "\nlost\nSkips: tests/a_suite.ts: g b (skipped)\nBreaks: tests/a_suite.ts: exited with 3\n" +
      "\n2 passed, 1 failed, 1 skipped\n",
    isGood: false,
  });
});

test("a suite that does not end is ended, and lost", async () => {
  const outcome = await run([batch("Waits", 'setTimeout(() => {}, 1e9); pass("a")')], { again: false, limitMs: 100 });
  expect(sumUp(outcome).text).toContain("\nWaits: tests/a_suite.ts: exited with SIGTERM\n");
});

test("sumUp() tells of what was lost outside the suites", () => {
  const others = [{ what: "no suite's path contains x", why: "" }];
  expect(sumUp({ runs: [], unsteady: [] }, others)).toEqual({
    text: "\nlost\nno suite's path contains x\n\n0 passed, 1 failed\n",
    isGood: false,
  });
});
