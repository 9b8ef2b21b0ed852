/**
 * Completions for fish, from the table of commands. Pure.
 *
 * @module
 */
import type { Command } from "./command.ts";
import type { Option } from "./command_options.ts";
import { completedOperandOf, type CompletedValue, completedValueOf } from "./completed_value.ts";

/**
 * A script that makes fish complete `latchkey`.
 *
 * @param commands The commands that a word calls.
 * @param ofFile What is called by the name of a `.json` file.
 */
export function fishCompletions(commands: readonly Command[], ofFile: Command): string {
  const names = commands.map(({ name }) => name);
  return `# fish completion for latchkey: what "latchkey completions fish" prints.
function __latchkey_calls
    set -l words (commandline -opc)
    test (count $words) -gt 1; and string match -q -- $argv[1] $words[2]
end

function __latchkey_is_first
    test (count (commandline -opc)) -eq 1
end

function __latchkey_profiles
    set -l words (commandline -opc)
    $words[1] completions --profiles 2>/dev/null
end

complete -c latchkey -f
${
    commands.map(({ name, summary }) =>
      line("__latchkey_is_first", ["-a", fishWord(fishWord(name)), "-d", fishWord(summary)])
    )
      .join("")
  }${line("__latchkey_is_first", ["-k", "-a", "'(__fish_complete_suffix .json)'"])}${
    line("__latchkey_is_first", ["-l", "help", "-d", "'Show the help'"])
  }${line("__latchkey_is_first", ["-l", "version", "-d", "'Show the version'"])}${
    line("__latchkey_calls help", ["-a", listOf(names)])
  }${commands.map((command) => linesOf(command.name, command)).join("")}${linesOf("*.json", ofFile)}`;
}

function linesOf(pattern: string, command: Command): string {
  const condition = `__latchkey_calls ${fishWord(pattern)}`, operand = completedOperandOf(command);
  return [
    ...command.options.map((option) => line(condition, optionWords(option))),
    line(condition, ["-s", "h", "-l", "help", "-d", "'Show this help'"]),
    ...operand ? [line(condition, offer(operand))] : [],
  ].join("");
}

function optionWords(option: Option): readonly string[] {
  const value = completedValueOf(option);
  return [
    ...option.alias ? ["-s", option.alias] : [],
    ...["-l", option.name, "-d", fishWord(option.summary)],
    ...value ? ["-r", ...offer(value)] : [],
  ];
}

function offer(value: CompletedValue): readonly string[] {
  switch (value.kind) {
    case "words":
      return ["-f", "-a", listOf(value.words)];
    case "files":
      return ["-F"];
    case "folders":
      return ["-f", "-a", "'(__fish_complete_directories)'"];
    case "command":
      return ["-F", "-a", "'(complete -C (commandline -ct))'"];
    case "profiles":
      return ["-f", "-a", "'(__latchkey_profiles)'"];
    case "nothing":
      return ["-f"];
  }
}

function line(condition: string, words: readonly string[]): string {
  return `complete -c latchkey -n ${fishWord(condition)} ${words.join(" ")}\n`;
}

/** Words as one argument, which fish takes apart again. */
function listOf(words: readonly string[]): string {
  return fishWord(words.map(fishWord).join(" "));
}

/** A word as fish takes it, in quotation marks when it needs them: a backslash means something within them. */
function fishWord(word: string): string {
  return /^[\w./@%+:,-]+$/.test(word) ? word : `'${word.replaceAll(/[\\']/g, "\\$&")}'`;
}
