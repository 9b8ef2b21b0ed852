import { expect, test } from "bun:test";
import { readJunitReport } from "./junit_report.ts";

test("readJunitReport reads Bun's, with groups as suites", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="4" assertions="2" failures="1" skipped="1" time="0.01">
  <testsuite name="tests/a_test.ts" file="tests/a_test.ts" tests="3" failures="1" skipped="1">
    <testcase name="x" classname="d" time="0.0001" file="tests/a_test.ts" line="2" assertions="1" />
    <testcase name="x &gt; y" classname="d" time="0" file="tests/a_test.ts" line="2" assertions="0">
      <skipped />
    </testcase>
    <testcase name="z" classname="d" time="0.0001" file="tests/a_test.ts" line="2" assertions="1">
      <failure type="AssertionError" message="expect(received).toBe(expected)&#10;">at &lt;testcase&gt;</failure>
    </testcase>
    <testcase name="slow" classname="d" time="0.1" file="tests/a_test.ts" line="3" assertions="0">
      <failure type="TimeoutError" message="test timed out&#10;" />
    </testcase>
  </testsuite>
</testsuites>`;
  expect(readJunitReport(report)).toEqual([
    { file: "tests/a_test.ts", name: "x", group: "d", outcome: "passed" },
    { file: "tests/a_test.ts", name: "x > y", group: "d", outcome: "skipped" },
    { file: "tests/a_test.ts", name: "z", group: "d", outcome: "failed", failure: "at <testcase>" },
    { file: "tests/a_test.ts", name: "slow", group: "d", outcome: "failed", failure: "test timed out" },
  ]);
});

test("readJunitReport reads Deno's, without the groups that it lists as tests", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="4" failures="2" errors="0" time="0.524">
    <testsuite name="./tests/runtimes/bun_test.ts" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="outer" classname="./tests/runtimes/bun_test.ts" time="0.007" line="26" col="8">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="top" classname="./tests/runtimes/bun_test.ts" time="0.000" line="12" col="8">
        </testcase>
    </testsuite>
    <testsuite name="ext:deno_node/testing.ts" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="outer &gt; inner" classname="ext:deno_node/testing.ts" time="0.004" line="1" col="21231">
        </testcase>
        <testcase name="outer &gt; inner &gt; deep" classname="ext:deno_node/testing.ts" time="0.000" line="1" col="2">
            <failure message="Uncaught Error">Error</failure>
        </testcase>
    </testsuite>
</testsuites>`;
  expect(readJunitReport(report)).toEqual([
    { name: "top", group: "", outcome: "passed" },
    { name: "outer > inner > deep", group: "outer", outcome: "failed", failure: "Error" },
  ]);
});

test("readJunitReport reads Node's, which leaves > as it is", () => {
  const report = `<?xml version="1.0" encoding="utf-8"?>
<testsuites>
\t<testsuite name="with d" time="0.004901" disabled="0" errors="0" tests="1" failures="0" skipped="0" hostname="a">
\t\t<testcase name="a -> b" time="0.001194" classname="with d" file="/project/tests/runtimes/bun_test.ts"/>
\t</testsuite>
\t<testcase name="c" time="0.001" classname="test" file="/project/tests/runtimes/bun_test.ts" failure="a > b">
\t\t<failure type="testCodeFailure" message="a > b">
[Error [ERR_TEST_FAILURE]: a > b]
\t\t</failure>
\t</testcase>
\t<!-- tests 2 -->
</testsuites>`;
  expect(readJunitReport(report)).toEqual([
    { file: "/project/tests/runtimes/bun_test.ts", name: "a -> b", group: "with d", outcome: "passed" },
    {
      file: "/project/tests/runtimes/bun_test.ts",
      name: "c",
      group: "test",
      outcome: "failed",
      failure: "[Error [ERR_TEST_FAILURE]: a > b]",
    },
  ]);
});

test("readJunitReport finds no test in an empty or broken report", () => {
  expect(readJunitReport("")).toEqual([]);
  expect(readJunitReport('<testsuites name="bun test"><testcase name="x" file="a')).toEqual([]);
});
