// The stand-in for @std/cli does what the documentation of the original says.
import { parseArgs, type ParseOptions } from "@std/cli/parse-args";
import { describe, expect, test } from "bun:test";

type Case = readonly [what: string, args: string, options: ParseOptions, result: Record<string, unknown>];

const cases: readonly Case[] = [
  ["a string takes the next argument", "--tenant common", { string: "tenant" }, { tenant: "common" }],
  ["a string takes what follows =", "--tenant=common", { string: "tenant" }, { tenant: "common" }],
  ["a value may have = in it", "--claims={a=b}", { string: "claims" }, { claims: "{a=b}" }],
  ["a value after = may begin with -", "--name=-x", { string: "name" }, { name: "-x" }],
  ["a string stays one that looks like a number", "--port 0080", { string: "port" }, { port: "0080" }],
  ["a string at the end is empty", "--tenant", { string: "tenant" }, { tenant: "" }],
  ["a string before an option is empty", "--tenant --v", { string: "tenant", boolean: "v" }, { tenant: "", v: true }],
  ["a string before -- is empty", "--tenant -- x", { string: "tenant" }, { tenant: "", _: ["x"] }],
  ["a long string does not take a lone -", "--file -", { string: "file" }, { file: "", _: ["-"] }],
  ["a short string takes a lone -", "-f -", { string: "f" }, { f: "-" }],
  ["a short string does not take an option", "-n -5", { string: "n" }, { n: "", 5: true }],
  ["the last of several strings counts", "--a 1 --a 2", { string: "a" }, { a: "2" }],
  ["an absent string is not in the result", "", { string: "tenant" }, {}],

  ["a boolean is true", "--force", { boolean: "force" }, { force: true }],
  ["an absent boolean is false", "", { boolean: ["force"] }, { force: false }],
  ["a boolean takes no value", "--force x", { boolean: "force" }, { force: true, _: ["x"] }],
  ["a boolean takes the word false", "--force false x", { boolean: "force" }, { force: false, _: ["x"] }],
  ["a short boolean takes the word true", "-f true", { boolean: "f" }, { f: true }],
  ["a boolean may be =false", "--force=false", { boolean: "force" }, { force: false }],
  ["a boolean may be =true", "--force=true", { boolean: "force" }, { force: true }],

  ["letters are a group of booleans", "-abc", { boolean: ["a", "b", "c"] }, { a: true, b: true, c: true }],
  ["the last letter takes the next argument", "-vn 5", { boolean: "v", string: "n" }, { v: true, n: "5" }],
  ["an earlier string of a group is empty", "-art", { string: ["a", "t"] }, { a: "", r: true, t: "" }],
  ["a number may touch its letter", "-n5", { string: "n" }, { n: "5" }],
  ["a value may touch its letter with =", "-n=5", { string: "n" }, { n: "5" }],
  ["a path may touch its letter", "-I/usr/lib", { string: "I" }, { I: "/usr/lib" }],
  ["a - may touch its letter", "-f-", { string: "f" }, { f: "-" }],

  ["strings are collected", "--s a --s=b", { string: "s", collect: "s" }, { s: ["a", "b"] }],
  ["one string is a list, too", "--s a", { string: "s", collect: "s" }, { s: ["a"] }],
  ["an absent list is empty", "", { string: "s", boolean: "b", collect: ["s", "b"] }, { s: [], b: [] }],
  ["booleans are collected", "-v -v", { boolean: "v", collect: "v" }, { v: [true, true] }],
  ["booleans of a group are collected", "-vv", { boolean: "v", collect: "v" }, { v: [true, true] }],

  ["an alias sets all names", "-t x", { string: "tenant", alias: { tenant: "t" } }, { tenant: "x", t: "x" }],
  ["the true name sets the alias", "--tenant x", { string: "t", alias: { tenant: ["t"] } }, { tenant: "x", t: "x" }],
  ["an alias of a boolean is one", "-h x", { boolean: "help", alias: { h: "help" } }, {
    h: true,
    help: true,
    _: ["x"],
  }],
  [
    "an alias collects with its name",
    "-v --verbose",
    { boolean: "verbose", collect: "verbose", alias: { verbose: "v" } },
    { verbose: [true, true], v: [true, true] },
  ],

  ["--no- makes a negatable false", "--x --no-x", { boolean: "x", negatable: "x" }, { x: false }],
  ["the option after --no- counts again", "--no-x --x", { boolean: "x", negatable: "x" }, { x: true }],
  ["--no- of a string is false", "--no-x", { string: "x", negatable: "x" }, { x: false }],
  ["--no- of anything else is an option of that name", "--no-x", { boolean: "x" }, { x: false, "no-x": true }],

  ["a default stands for an absent option", "", { string: "a", default: { a: "x" } }, { a: "x" }],
  ["a default yields to an option", "--a y", { string: "a", default: { a: "x" } }, { a: "y" }],
  ["a default of a boolean", "", { boolean: "b", default: { b: true } }, { b: true }],
  ["a default goes to all names", "", { alias: { a: "b" }, default: { a: 1 } }, { a: 1, b: 1 }],

  ["positionals are strings", "1 a - 2", { string: "_" }, { _: ["1", "a", "-", "2"] }],
  ["positionals may stand between options", "a --s b c", { string: ["s", "_"] }, { s: "b", _: ["a", "c"] }],
  ["stopEarly ends at the first positional", "-v a -v", { boolean: "v", stopEarly: true }, { v: true, _: ["a", "-v"] }],
  ["-- ends the options", "-v -- -v --x", { boolean: "v" }, { v: true, _: ["-v", "--x"] }],
  ["-- lists the rest apart", "a -- b -c", { "--": true }, { _: ["a"], "--": ["b", "-c"] }],
  ["the rest is empty without --", "a", { "--": true }, { _: ["a"], "--": [] }],
  ["only the first -- ends the options", "-- a -- b", { "--": true }, { "--": ["a", "--", "b"] }],

  ["an undeclared option is in the result", "--nope", { string: "s" }, { nope: true }],
  ["an undeclared option takes a value", "--nope x", { string: "s" }, { nope: "x" }],
  ["names of Object's own are names", "--toString --constructor=x", {}, { toString: true, constructor: "x" }],
];

describe("parseArgs", () => {
  test.each(cases)("%s", (_what, args, options, result) => {
    expect(parseArgs(args.split(" ").filter(Boolean), options)).toEqual({ _: [], ...result });
  });

  test("takes arguments with line ends and blanks as they are", () => {
    const args = ["--a=x\ny", "--b", "x y", " "];
    expect(parseArgs(args, { string: ["a", "b", "_"] })).toEqual({ a: "x\ny", b: "x y", _: [" "] });
  });

  test("sees no value in an empty argument", () => {
    expect(parseArgs(["--a", ""], { string: ["a", "_"] })).toEqual({ a: "", _: [""] });
  });

  test("leaves prototypes alone, whatever the names", () => {
    const result = parseArgs(["--__proto__=x", "--__proto__.polluted=x", "--constructor.prototype.polluted=x"]);
    expect(Object.keys(result)).toContain("__proto__");
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
    expect("polluted" in {}).toBe(false);
  });

  test("leaves its arguments alone", () => {
    const args = ["a", "--b", "c"];
    parseArgs(args);
    expect(args).toEqual(["a", "--b", "c"]);
  });
});
