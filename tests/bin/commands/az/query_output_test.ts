import { expect, test } from "bun:test";
import { UsageError } from "../../../../bin/cli/command_line.ts";
import { azOutput } from "../../../../bin/commands/az/query_output.ts";
import { readAzCall } from "../../../../bin/commands/az/syntax.ts";
import { failure } from "../../../fixture.ts";

const ANSWER = {
  ...{ user: { type: "user", name: "jane" }, id: "1", isDefault: true, state: null, count: 2, tags: ["a", "b"] },
  ...{ list: [{ name: "x", id: 1 }, { name: "yy", id: 2 }], nothing: [] },
};

test.each([
  ["--query id", '"1"\n'],
  ["--query user.name -o tsv", "jane\n"],
  ["--query user -o json", '{\n  "name": "jane",\n  "type": "user"\n}\n'],
  ["--query user.nobody -o tsv", ""],
  ["--query constructor", ""],
  ["--query __proto__", ""],
  ["--query isDefault -o tsv", "true\n"],
  ["--query [isDefault,state,tags,user] -o tsv", "true\nNone\na\tb\njane\tuser\n"],
  ["--query [[isDefault,state,tags,user]] -o tsv", "True\tNone\t2\t\n"],
  ["--query {b:id,a:user.name} -o tsv", "1\tjane\n"],
  ["--query user -o tsv", "jane\tuser\n"],
  ["--query list[?id==`2`].name|[0] -o tsv", "yy\n"],
  ["--query nothing", "[]\n"],
  ["--query nothing -o tsv", ""],
  ["--query nothing -o table", "\n"],
  ["--query {a:user} -o table", "\n"],
  ["--query {b:id,a:user.name} -o table", "B    A\n---  ----\n1    jane\n"],
  ["--query list -o table", "Name\n------\nx\nyy\n"],
  ["--query list[].[name,id] -o table", "Column1    Column2\n---------  ---------\nx          1\nyy         2\n"],
  ["--query list[].name -o table", "Result\n--------\nx\nyy\n"],
  ["--query list -o yaml", "- id: 1\n  name: x\n- id: 2\n  name: yy\n"],
  ["--query user -o jsonc", '{\n  "name": "jane",\n  "type": "user"\n}\n'],
  ["--output none", ""],
])("azOutput() with %s", async (options, text) => {
  const call = readAzCall(`account show ${options}`.split(" "));
  if (typeof call !== "object" || !("line" in call)) return expect.unreachable();
  const output = call.line.text("output")!, query = call.line.text("query");
  expect(await azOutput({ value: ANSWER, output, query })).toBe(text);
});

test("azOutput() sorts keys, and takes rows of a table only without a query", async () => {
  expect(await azOutput({ value: { b: 1, a: { d: undefined, c: "é" } }, output: "json" })).toBe(
    '{\n  "a": {\n    "c": "é"\n  },\n  "b": 1\n}\n',
  );
  const tableOf = () => [{ Z: 1, A: true }];
  expect(await azOutput({ value: [ANSWER], output: "table", tableOf })).toBe("Z    A\n---  ----\n1    True\n");
  expect(await azOutput({ value: [ANSWER], output: "table", query: "[].count", tableOf })).toContain("Result\n");
});

// The value is there once, and would be printed 2^60 times, or 2^24.
test.each([
  ["{a:@,b:@}", 60],
  ["[@,@]", 24],
])("azOutput() refuses the query %s after itself %d times, whose result has too many values", async (part, times) => {
  const query = Array(times).fill(part).join("|");
  await expect(azOutput({ value: ANSWER, output: "json", query })).rejects.toMatchObject({
    code: "refused",
    message: "The result of `--query` has more than 1,000,000 values",
  });
});

test("azOutput() prints as many values as it may", async () => {
  const value = Array(999_999).fill(1);
  expect(await azOutput({ value, output: "tsv", query: "@" })).toHaveLength(2 * value.length);
  await expect(azOutput({ value: [...value, 1], output: "tsv", query: "@" })).rejects.toMatchObject({
    code: "refused",
  });
});

test("azOutput() prints no control characters of others", async () => {
  const value = { id: "\x1b[2J\tx\ny", name: "\x1b[2J\tx\ny" };
  expect(await azOutput({ value, output: "tsv", query: "id" })).toBe("\u{FFFD}[2J\u{FFFD}x\u{FFFD}y\n");
  for (const output of ["table", "yaml", "json", "jsonc"]) {
    expect(await azOutput({ value, output })).not.toMatch(/(?!\n)\p{Cc}/u);
  }
});

// jmespath.js takes a literal without its end, and overflows the stack of a deep query.
test.each(["", "[", "a b", "'a", '"a', "`1", "a[?b=='c]", "a.", "[".repeat(9_000), "a".repeat(20_000), "é", "foo("])(
  "azOutput() refuses the query %p",
  async (query) => {
    const attempt = azOutput({ value: ANSWER, output: "json", query });
    await attempt.then(() => expect.unreachable(), (error) => expect(error).toBeInstanceOf(UsageError));
  },
);

test.each(["nofunction(@)", "abs('x')", "sort_by(@, &a)", "length(`1`)", "list[::0]"])(
  "azOutput() fails at %s, as Azure CLI does",
  async (query) => {
    expect((await failure(azOutput({ value: ANSWER, output: "json", query }))).code).toBe("refused");
  },
);
