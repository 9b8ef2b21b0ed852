/** A test in a report, by the names that the runner gave it. */
export interface TestCase {
  readonly name: string;
  /** The `describe` around it, when it is in no more than one. */
  readonly group: string;
  /** The file, where the runner tells it. */
  readonly file: string | undefined;
  readonly outcome: "passed" | "failed" | "skipped";
}

const TEST_CASE = /<testcase((?:\s+[\w:.-]+="[^"]*")*)\s*(?:\/>|>(.*?)<\/testcase>)/gs;

/** The tests in a JUnit report as Bun, Deno and Node write it. Their own sums are not read: Deno's count groups as well. */
export function readJunitReport(xml: string): readonly TestCase[] {
  const cases = [...xml.matchAll(TEST_CASE)].map(([, attributes = "", body = ""]): TestCase => ({
    name: attribute(attributes, "name") ?? "",
    group: attribute(attributes, "classname") ?? "",
    file: attribute(attributes, "file"),
    outcome: /<(failure|error)\b/.test(body) ? "failed" : /<skipped\b/.test(body) ? "skipped" : "passed",
  }));
  return xml.includes('<testsuites name="deno test"') ? withoutGroups(cases) : cases;
}

/** Deno lists a `describe` as a test with steps, each step being named `describe > test`. */
function withoutGroups(cases: readonly TestCase[]): readonly TestCase[] {
  const tests = cases.filter(({ name }) => !cases.some((other) => other.name.startsWith(`${name} &gt; `)));
  return tests.map((test) => ({ ...test, group: / &gt; /.test(test.name) ? test.name.split(" &gt; ")[0]! : "" }));
}

function attribute(attributes: string, name: string): string | undefined {
  return new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1];
}
