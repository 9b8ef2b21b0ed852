import { expect, test } from "bun:test";
import { type AzCall, readAzCall } from "../../../../bin/commands/az/syntax.ts";
import { UsageError } from "../../../../bin/cli/command_line.ts";

const GET = "account get-access-token --resource https://management.azure.com";

function read(line: string | readonly string[]): AzCall {
  const call = readAzCall(typeof line === "string" ? line.split(" ").filter(Boolean) : line);
  if (typeof call === "object" && "line" in call) return call;
  throw new Error("it is the help");
}

test.each(["--output json", "--output=json", "-o json", "-o=json", "-ojson", "-o JSON", "--out json", "--outpu json"])(
  "readAzCall() takes %s as Azure CLI does",
  (options) => {
    const { name, line } = read(`${GET} ${options}`);
    expect(name).toBe("account get-access-token");
    expect(line.text("output")).toBe("json");
  },
);

test.each([
  ["account show --name a", "subscription", "a"],
  ["account show -n a", "subscription", "a"],
  ["account show -sa", "subscription", "a"],
  ["account set --subs a", "subscription", "a"],
  ["account get-access-token --resource-type ARM", "resource-type", "arm"],
  ["account get-access-token --resource r", "resource", "r"],
  ["login -t x --only-show-errors --debug --verbose", "tenant", "x"],
])("readAzCall() reads az %s", (line, option, value) => {
  expect(read(line).line.text(option)).toBe(value);
});

test("readAzCall() reads lists, arguments, and variables that are empty", () => {
  const scoped = read("account get-access-token --scope a b -o tsv").line;
  expect([scoped.list("scope"), scoped.text("output")]).toEqual([["a", "b"], "tsv"]);
  expect(read("config set core.a=1 --only-show-errors core.b=2").line.operands).toEqual(["core.a=1", "core.b=2"]);
  expect(read(["account", "show", "-s", ""]).line.text("subscription")).toBeUndefined();
  expect(read(["account", "show", "--query", "[a, b]"]).line.text("query")).toBe("[a, b]");
});

test.each([
  ...["vm list", "account", "account show now", "--foo", "logout -u jane", "account set", "config set"],
  ...["account get-access", "account show --foo", "account show -o xml", "account show --resource r"],
  ...["account show --query", "account show -o", "account show --o json", "account show -x"],
  ...["account show --subscription --query id", "account show --only-show-errors=no", "account show --query="],
  ...["account get-access-token --res r", "account get-access-token --resource-type foo", "account show more"],
])("readAzCall() does not take az %s", (line) => {
  expect(() => read(line)).toThrow(UsageError);
});

test("readAzCall() has the help of a command and of a group, and the version by either name", () => {
  const help = readAzCall(["account", "show", "--help"]);
  expect(help).toMatchObject({ name: "account show" });
  expect("line" in (help as object)).toBe(false);
  expect(readAzCall(["account", "-h"])).toMatch(/^ {2}az account list +Print/m);
  expect(readAzCall([])).toContain("az version");
  expect([read("--version").name, read("-v").name]).toEqual(["--version", "--version"]);
});
