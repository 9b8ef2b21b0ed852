import { afterEach, describe, expect, test } from "bun:test";
import { readCommandLine, UsageError } from "../../../bin/cli/command_line.ts";
import type { CommandSyntax } from "../../../bin/cli/options.ts";

const COMMAND: CommandSyntax = {
  ...{ name: "try", summary: "", usage: "", operands: 1, examples: [] },
  options: [
    { name: "force-refresh", kind: "switch", summary: "" },
    { name: "verbose", alias: "v", kind: "count", summary: "" },
    { name: "claims", kind: "text", summary: "" },
  ],
};
const WRAPPER: CommandSyntax = { ...COMMAND, name: "wrap", wraps: true, operands: Infinity };
const VARIABLES = ["LATCHKEY_FORCE_REFRESH", "LATCHKEY_VERBOSE"] as const;

afterEach(() => {
  for (const name of VARIABLES) delete process.env[name];
});

const read = (words: string, command = COMMAND) => readCommandLine(command, words.split(" ").filter(Boolean));

describe("readCommandLine() of a switch", () => {
  test.each(
    [
      ["--force-refresh", true],
      ...["yes", "1", "on", "true", "YES"].map((word) => [`--force-refresh=${word}`, true] as const),
      ...["no", "0", "off", "false", "No"].map((word) => [`--force-refresh=${word}`, false] as const),
      ["--force-refresh --force-refresh=no", false],
      ["--force-refresh=no --force-refresh", true],
      ["--force-refresh false", false],
      ["", false],
    ] as const,
  )("%p is %p", (words, isOn) => {
    expect(read(words).isOn("force-refresh")).toBe(isOn);
  });

  test.each(["maybe", "", "2", "yes please", "a\nb"])("refuses =%p", (value) => {
    const refused = () => readCommandLine(COMMAND, [`--force-refresh=${value}`]);
    expect(refused).toThrow(UsageError);
    expect(refused).toThrow(`--force-refresh takes yes or no, not ${JSON.stringify(value)}`);
  });

  test("counts before the environment, be it a no", () => {
    process.env.LATCHKEY_FORCE_REFRESH = "yes";
    expect(read("").isOn("force-refresh")).toBe(true);
    for (const words of ["--force-refresh=no", "--force-refresh false"]) {
      const line = read(words);
      expect([line.isOn("force-refresh"), line.origin("force-refresh")]).toEqual([false, "command line"]);
    }
    expect(read("").origin("force-refresh")).toBe("environment");
  });

  test("leaves values of other options, and what comes after a lone --, as they are", () => {
    expect(read("--claims=--force-refresh=maybe").text("claims")).toBe("--force-refresh=maybe");
    expect(read("-- --force-refresh=maybe").operands).toEqual(["--force-refresh=maybe"]);
    expect(read("--force-refresh=off -- tool --force-refresh=maybe -v=7", WRAPPER).operands).toEqual([
      ...["tool", "--force-refresh=maybe", "-v=7"],
    ]);
  });
});

describe("readCommandLine() of a count", () => {
  test.each(
    [
      ["", 0],
      ["-v", 1],
      ["-vv", 2],
      ["-v --verbose", 2],
      ["--verbose=2", 2],
      ["--verbose=0", 0],
      ["--verbose=yes", 1],
      ["--verbose=no", 0],
      ["--verbose=1 -v", 2],
    ] as const,
  )("%p is %p", (words, times) => {
    expect(read(words).count("verbose")).toBe(times);
  });

  test.each(["--verbose=loud", "--verbose=10", "--verbose=", "-v=3", "-v3"])("refuses %p", (words) => {
    expect(() => read(words)).toThrow(UsageError);
  });

  test("is taken from the environment, as a number or as yes and no", () => {
    for (const [value, times] of [["2", 2], ["yes", 1], ["on", 1], ["no", 0], ["0", 0]] as const) {
      process.env.LATCHKEY_VERBOSE = value;
      expect({ value, times: read("").count("verbose") }).toEqual({ value, times });
    }
    expect(read("--verbose=0").count("verbose")).toBe(0);
    process.env.LATCHKEY_VERBOSE = "loud";
    expect(() => read("")).toThrow('LATCHKEY_VERBOSE takes 0 to 9, yes or no, not "loud"');
    expect(read("-v").count("verbose")).toBe(1);
  });
});
