import { expect, test } from "bun:test";
import { shellCommands } from "./shell_commands.ts";

test("shellCommands finds the commands of pipes, lists, substitutions and redirections", () => {
  expect(shellCommands("a b | c 'd e' && f <(g h) > i\n# j\nK=$(l m) n # o")).toEqual([
    ...[["a", "b"], ["c", "d e"], ["f"], ["g", "h"], ["i"], ["K=$"], ["l", "m"], ["n"]],
    ["d", "e"],
  ]);
});

test("shellCommands joins lines, and looks into quotation marks", () => {
  expect(shellCommands("a \\\n  b \"$(c d)\" '!e f'")).toEqual([
    ["a", "b", "$(c d)", "!e f"],
    ...[["$"], ["c", "d"], ["e", "f"]],
  ]);
});
