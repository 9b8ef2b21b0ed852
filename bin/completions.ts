/**
 * `latchkey completions`: what makes a shell complete the command line.
 *
 * @module
 */
import { write } from "../lib/platform/program.ts";
import { bashCompletions } from "./bash_completions.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { COMMANDS, CONFIG_FILE_COMMAND } from "./command_table.ts";
import { fishCompletions } from "./fish_completions.ts";
import { zshCompletions } from "./zsh_completions.ts";

const SHELLS = { bash: bashCompletions, zsh: zshCompletions, fish: fishCompletions };

/**
 * Prints a shell's completions, or what they ask for.
 *
 * @throws {UsageError} for another shell, or none.
 */
export async function printCompletions(line: CommandLine): Promise<void> {
  const [shell = ""] = line.operands;
  if (line.isOn("profiles")) return await printProfiles();
  if (!isShell(shell)) throw new UsageError(`A shell is missing: ${Object.keys(SHELLS).join(", ")}`);
  write("stdout", SHELLS[shell](COMMANDS, CONFIG_FILE_COMMAND));
}

/** The names of the profiles, a line each. */
async function printProfiles(): Promise<void> {
  const { profileNames } = await import("./profile_file.ts");
  write("stdout", (await profileNames()).map((name) => `${name}\n`).join(""));
}

function isShell(word: string): word is keyof typeof SHELLS {
  return Object.hasOwn(SHELLS, word);
}
