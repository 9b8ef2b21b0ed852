/** A test in a report, by the names that the runner gave it. */
export interface TestCase {
  /** Path of its suite, if the report has that: Bun's has. */
  readonly file?: string;
  readonly name: string;
  /** The `describe` around it, when it is in no more than one. */
  readonly group: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What the runner says of a failure: the message, and where it was. */
  readonly failure?: string;
}

const TEST_CASE = /<testcase((?:\s+[\w:.-]+="[^"]*")*)\s*(?:\/>|>(.*?)<\/testcase>)/gs;
const FAILURE = /<(?:failure|error)\b((?:\s+[\w:.-]+="[^"]*")*)\s*(?:\/>|>(.*?)<\/(?:failure|error)>)/s;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The tests in a JUnit report as Bun, Deno and Node write it. Their own sums are not read: Deno's count groups as well. */
export function readJunitReport(xml: string): readonly TestCase[] {
  const cases = [...xml.matchAll(TEST_CASE)].map(([, attributes = "", body = ""]): TestCase => {
    const [name, group, file] = ["name", "classname", "file"].map((key) => attribute(attributes, key));
    const test = { name: name!, group: group!, ...(file && { file }) };
    const failure = FAILURE.exec(body);
    if (!failure) return { ...test, outcome: /<skipped\b/.test(body) ? "skipped" : "passed" };
    const [, of = "", text = ""] = failure;
    return { ...test, outcome: "failed", failure: unescape(text).trim() || attribute(of, "message").trim() };
  });
  return xml.includes('<testsuites name="deno test"') ? withoutGroups(cases) : cases;
}

/** Deno lists a `describe` as a test with steps, each step being named `describe > test`. */
function withoutGroups(cases: readonly TestCase[]): readonly TestCase[] {
  const tests = cases.filter(({ name }) => !cases.some((other) => other.name.startsWith(`${name} > `)));
  return tests.map((test) => ({ ...test, group: / > /.test(test.name) ? test.name.split(" > ")[0]! : "" }));
}

function attribute(attributes: string, name: string): string {
  return unescape(new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
}

function unescape(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex, 16));
  });
}
