import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { RUNTIME_PATH } from "../runtimes/runtime_paths.ts";
import type { Batch } from "./run_batch.ts";
import { type BatchesOptions, type BatchesRun, runBatches } from "./run_batches.ts";
import { sumUp } from "./sum_up.ts";

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
  const limits = { atOnce: 3, repeat: 1, limitMs: 60_000, environment: process.env };
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
  expect(sumUp(outcome)).toEqual({ sum: { passed: 3, failed: 0, skipped: 0 }, losses: [], unsteady: [] });
});

test("runBatches() runs as many at once as it may", async () => {
  // Each waits for the other two.
  const meeting = (own: number) =>
    `fs.writeFileSync(${mark("meeting")} + ${own}, "");
    while (![0, 1, 2].every((each) => fs.existsSync(${mark("meeting")} + each))) Bun.sleepSync(1);
    pass("met")`;
  const { runs } = await run([0, 1, 2].map((own) => batch("Bun", meeting(own))));
  expect(sumUp({ runs, unsteady: [] })).toMatchObject({ sum: { passed: 3, failed: 0 } });
});

test("runBatches() runs what takes the whole machine when no other runs", async () => {
  const running = (own: string) =>
    `const folder = ${JSON.stringify(folder)}, own = folder + "/running-" + process.pid;
    fs.writeFileSync(own, "");
    Bun.sleepSync(50);
    const others = fs.readdirSync(folder).filter((name) => name.startsWith("running-")).length - 1;
    ${own};
    fs.rmSync(own)`;
  const alone = {
    ...batch("Bun", running('others > 0 ? fail("alone", "with others") : pass("alone")')),
    isAlone: true,
  };
  const other = batch("Bun", running('pass("other")'));
  const outcome = await run([alone, other, alone, other]);
  expect(sumUp(outcome)).toEqual({ sum: { passed: 4, failed: 0, skipped: 0 }, losses: [], unsteady: [] });
});

test("what failed fails again: its message stands before the sum", async () => {
  const outcome = await run([batch("Bun", 'pass("a"); fail("b", "it is 1&#10;not 2")'), batch("Node", 'pass("c")')]);
  expect(outcome.printed.match(/^Once more, alone:\nBun: /gm)).toHaveLength(1);
  expect(sumUp(outcome)).toEqual({
    sum: { passed: 2, failed: 1, skipped: 0 },
    losses: ["Bun: tests/a_suite.ts: g b (failed)", "    it is 1", "    not 2"],
    unsteady: [],
  });
});

test("what failed and then passes is unsteady, and does not fail the run", async () => {
  const outcome = await run([
    batch("Bun", `pass("a"); isFirst(${mark("one")}) ? fail("b", "too late") : pass("b")`),
    batch("Node", `if (isFirst(${mark("two")})) process.exit(7); pass("c")`),
  ]);
  expect(sumUp(outcome)).toEqual({
    sum: { passed: 3, failed: 0, skipped: 0 },
    losses: [],
    unsteady: [
      ...["Bun: tests/a_suite.ts: g b (failed)", "    too late"],
      ...["Node: tests/a_suite.ts: no test ran", "Node: tests/a_suite.ts: exited with 7"],
    ],
  });
});

test("what fails the second time alone is lost, whatever it was before", async () => {
  const outcome = await run([
    batch("Bun", `isFirst(${mark("third")}) ? (fail("a", "1"), pass("b")) : (pass("a"), fail("b", "2"))`),
  ]);
  expect(sumUp(outcome)).toEqual({
    sum: { passed: 1, failed: 1, skipped: 0 },
    losses: ["Bun: tests/a_suite.ts: g b (failed)", "    2"],
    unsteady: ["Bun: tests/a_suite.ts: g a (failed)", "    1"],
  });
});

test("nothing has a second chance where more than three failed, or none is to be had", async () => {
  const four = batch("Bun", `isFirst(${mark("four")}) ? [1, 2, 3, 4].map((n) => fail(n, "x")) : pass("a")`);
  const outcome = await run([four]);
  expect(outcome.printed).not.toContain("Once more");
  expect(sumUp(outcome).sum).toEqual({ passed: 0, failed: 4, skipped: 0 });

  const one = batch("Bun", `isFirst(${mark("five")}) ? fail(1, "x") : pass(1)`);
  const { sum, unsteady } = sumUp(await run([one], { repeat: 2, atOnce: 1 }));
  expect([sum, unsteady]).toEqual([{ passed: 1, failed: 1, skipped: 0 }, []]);
});

test("a suite that is skipped in part, or broke outside its tests, is lost", async () => {
  const outcome = await run([
    batch("Skips", 'pass("a"); skip("b")'),
    batch("Breaks", 'pass("a"); process.on("exit", () => process.exitCode = 3)'),
  ]);
  expect(sumUp(outcome)).toEqual({
    sum: { passed: 2, failed: 1, skipped: 1 },
    losses: ["Skips: tests/a_suite.ts: g b (skipped)", "Breaks: tests/a_suite.ts: exited with 3"],
    unsteady: [],
  });
});

test("a suite that does not end is ended, and lost", async () => {
  const outcome = await run([batch("Waits", 'setTimeout(() => {}, 1e9); pass("a")')], { limitMs: 100 });
  expect(sumUp(outcome).losses).toContain("Waits: tests/a_suite.ts: exited with SIGTERM");
});

test("sumUp() tells of what was lost outside the suites", () => {
  const others = [{ what: "No suite's path contains x", why: "" }];
  expect(sumUp({ runs: [], unsteady: [] }, others)).toEqual({
    sum: { passed: 0, failed: 1, skipped: 0 },
    losses: ["No suite's path contains x"],
    unsteady: [],
  });
});
