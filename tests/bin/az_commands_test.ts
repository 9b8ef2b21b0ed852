import { expect, test } from "bun:test";
import { type AzCall, azOutput, readAzCall } from "../../bin/az.ts";
import { UsageError } from "../../bin/cli/command_line.ts";

const GET = "account get-access-token --resource https://management.azure.com";

function read(line: string): AzCall {
  const call = readAzCall(line.split(" ").filter(Boolean));
  if ("line" in call) return call;
  throw new Error("it is the help");
}

test.each(["--output json", "--output=json", "-o json", "-o=json", "--only-show-errors", "-t x -s y"])(
  "readAzCall() takes %s as Azure CLI does",
  (options) => {
    const { name, line } = read(`${GET} ${options}`);
    expect(name).toBe("account get-access-token");
    expect(line.text("output")).toBe("json");
  },
);

test.each(["", "vm list", "logout", "account", "account show now", "--foo", "login --username jane"])(
  "readAzCall() leaves az %s to Azure CLI",
  (line) => {
    expect(() => read(line)).toThrow(UsageError);
  },
);

test.each(["--foo", "--output yaml", "--resource", "--query", "more"])("readAzCall() does not take %s", (options) => {
  expect(() => read(`${GET} ${options}`)).toThrow(UsageError);
});

test("readAzCall() has the help of a command, and the version by either name", () => {
  const help = readAzCall(["account", "show", "--help"]);
  expect(["line" in help, help.name]).toEqual([false, "account show"]);
  expect([read("--version").name, read("-v").name]).toEqual(["--version", "--version"]);
});

test.each([
  ["", '{"user":{"name":"jane"},"id":"1"}\n'],
  ["--query id", '"1"\n'],
  ["--query user.name -o tsv", "jane\n"],
  ["--query user -o json", '{"name":"jane"}\n'],
  ["--query user.nobody -o tsv", ""],
  ["--query constructor", ""],
  ["--output none", ""],
])("azOutput() with %s", (options, text) => {
  expect(azOutput({ user: { name: "jane" }, id: "1" }, read(`account show ${options}`).line)).toBe(text);
});

test("azOutput() prints no control characters of others, and one value alone", () => {
  expect(azOutput({ id: "\x1b[2J" }, read("account show --query id -o tsv").line)).toBe("\u{FFFD}[2J\n");
  for (const options of ["-o tsv", "--query user -o tsv", "--query [0]", "--query a||b"]) {
    expect(() => azOutput({ user: {} }, read(`account show ${options}`).line)).toThrow(UsageError);
  }
});
