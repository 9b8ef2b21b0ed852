/**
 * What a shell offers for a value of an option, or for an argument. Pure.
 *
 * @module
 */
import { shellWord } from "../../lib/runtime/host.ts";
import { write } from "../../lib/runtime/program.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { COMMANDS, CONFIG_FILE_COMMAND } from "./commands.ts";
import type { Command, Operand, Option } from "./options.ts";

/** What is offered. */
type CompletedValue =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "files" | "folders" | "command" | "profiles" | "nothing" };

/** What the table calls a value, and what it is then. */
const KINDS: Readonly<Record<string, "files" | "folders" | "command">> = {
  PATH: "files",
  FILE: "files",
  SOCKET: "files",
  DIR: "folders",
  FOLDER: "folders",
  COMMAND: "command",
};

/** What is offered for the value of an option; `undefined` for an option that takes none. */
function completedValueOf(option: Option): CompletedValue | undefined {
  if (option.kind === "switch" || option.kind === "count") return undefined;
  if (option.name === "profile") return { kind: "profiles" };
  return completed(option.value ?? "", option.choices ?? option.suggestions);
}

/** What is offered for a command's arguments beside options; `undefined` for a command that takes none. */
function completedOperandOf({ operands, operand }: Command): CompletedValue | undefined {
  if (operands === 0) return undefined;
  return operand === undefined ? { kind: "files" } : completed(operand.value, operand.choices);
}

/** What an argument beside options is called. */
function operandName({ operand }: { readonly operand?: Operand }): string {
  return operand?.value ?? "FILE";
}

function completed(value: string, words: readonly string[] | undefined): CompletedValue {
  if (words) return { kind: "words", words };
  return { kind: Object.hasOwn(KINDS, value) ? KINDS[value]! : "nothing" };
}

/**
 * A script that makes bash complete `latchkey`.
 *
 * @param commands The commands that a word calls.
 * @param ofFile What is called by the name of a `.json` file.
 */
export function bashCompletions(commands: readonly Command[], ofFile: Command): string {
  const names = commands.map(({ name }) => name);
  return `# bash completion for latchkey: what "latchkey completions bash" prints. File names take bash 4.
_latchkey() {
  local command=\${COMP_WORDS[1]} current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local option='' prefix='' ended='' index word
  local -a words=()
  COMPREPLY=()
  for ((index = 2; index < COMP_CWORD; index++)); do
    if [[ \${COMP_WORDS[index]} == -- ]]; then ended=1; fi
  done
  # "--format=json" is three words where "=" parts them, as it does unless somebody has changed that.
  if [[ $current == = ]]; then
    option=$previous current=''
  elif [[ $previous == = ]]; then
    option=\${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $current == --*=* ]]; then
    option=\${current%%=*} prefix=\${current%%=*}= current=\${current#*=}
  elif [[ $previous == -?* && -z $ended ]]; then
    option=$previous
  fi
  if ((COMP_CWORD == 1)); then
    words=(${wordList([...names, "--help", "--version"])})
    compopt -o default 2>/dev/null
  else
    case $command in
${commands.map((command) => caseOf(shellWord(command.name), command)).join("")}${caseOf("*.json", ofFile)}    help)
      words=(${wordList(names)})
      ;;
    esac
  fi
  for word in "\${words[@]}"; do
    if [[ $word == "$current"* ]]; then
      printf -v word %q "$word"
      COMPREPLY+=("$prefix$word")
    fi
  done
}
complete -F _latchkey latchkey
`;
}

function caseOf(pattern: string, command: Command): string {
  const options = command.options.flatMap((option) => {
    const value = completedValueOf(option);
    return value ? [`      ${flagsOf(option).map(shellWord).join(" | ")})\n${offer(value)}        ;;\n`] : [];
  });
  const operand = completedOperandOf(command);
  const flags = wordList([...command.options.map(({ name }) => `--${name}`), "--help"]);
  const free = operand
    ? `        if [[ -z $ended && $current == -* ]]; then\n          words=(${flags})\n        else\n${
      offer(operand).replace(/^/gm, "  ").trimEnd()
    }\n        fi\n`
    : `        words=(${flags})\n`;
  return `    ${pattern})
      case $option in
${options.join("")}      *)
${free}        ;;
      esac
      ;;
`;
}

function offer(value: CompletedValue): string {
  switch (value.kind) {
    case "words":
      return `        words=(${wordList(value.words)})\n`;
    case "files":
      return "        compopt -o default 2>/dev/null\n";
    case "folders":
      return "        compopt -o dirnames 2>/dev/null\n";
    case "command":
      return `        if [[ $previous == -- ]]; then
          while IFS= read -r word; do words+=("$word"); done < <(compgen -c -- "$current")
        else
          compopt -o default 2>/dev/null
        fi
`;
    case "profiles":
      return `        while IFS= read -r word; do words+=("$word"); done \\
          < <("\${COMP_WORDS[0]}" completions --profiles 2>/dev/null)
`;
    case "nothing":
      return "        :\n";
  }
}

function flagsOf({ name, alias }: Option): readonly string[] {
  return alias ? [`-${alias}`, `--${name}`] : [`--${name}`];
}

function wordList(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}

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
    ...operand ? [line(condition, fishOffer(operand))] : [],
  ].join("");
}

function optionWords(option: Option): readonly string[] {
  const value = completedValueOf(option);
  return [
    ...option.alias ? ["-s", option.alias] : [],
    ...["-l", option.name, "-d", fishWord(option.summary)],
    ...value ? ["-r", ...fishOffer(value)] : [],
  ];
}

function fishOffer(value: CompletedValue): readonly string[] {
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

/**
 * A script that makes zsh complete `latchkey`: to be sourced, or a file named `_latchkey` in a folder of `fpath`.
 *
 * @param commands The commands that a word calls.
 * @param ofFile What is called by the name of a `.json` file.
 */
export function zshCompletions(commands: readonly Command[], ofFile: Command): string {
  const described = commands.map(({ name, summary }) => shellWord(`${escapeColons(name)}:${summary}`));
  return `#compdef latchkey
# zsh completion for latchkey: what "latchkey completions zsh" prints.
_latchkey() {
  local program=$words[1] command=$words[2]
  local -a subcommands=(
${described.map((each) => `    ${each}\n`).join("")}  )
  if ((CURRENT == 2)); then
    _describe -t commands command subcommands
    [[ $PREFIX == -* ]] && compadd -- --help --version
    _files -g '*.json(-.)'
    return
  fi
  shift words
  ((CURRENT--))
  case $command in
${commands.map((command) => zshCaseOf(shellWord(command.name), command)).join("")}${zshCaseOf("*.json", ofFile)}  help)
    _describe -t commands command subcommands
    ;;
  esac
}

_latchkey_profiles() {
  local -a profiles=(\${(f)"$(_call_program profiles \${(q)program} completions --profiles 2>/dev/null)"})
  compadd -a profiles
}

if [[ $funcstack[1] == _latchkey ]]; then _latchkey "$@"; else compdef _latchkey latchkey; fi
`;
}

function zshCaseOf(pattern: string, command: Command): string {
  const specs = [
    ...command.options.flatMap(specsOf),
    "(-h --help)-h[Show this help]",
    "(-h --help)--help[Show this help]",
  ];
  const lines = [...specs, ...operandSpecs(command)].map((spec) => `      ${shellWord(spec)}`);
  return `  ${pattern})
    _arguments -s -S : \\
${lines.join(" \\\n")}
    ;;
`;
}

function specsOf(option: Option): readonly string[] {
  const value = completedValueOf(option), isMany = option.kind === "list" || option.kind === "count";
  const flags = option.alias ? [`-${option.alias}`, `--${option.name}`] : [`--${option.name}`];
  const exclusive = isMany ? "*" : flags.length > 1 ? `(${flags.join(" ")})` : "";
  const summary = option.summary.replaceAll(/[\\[\]]/g, "\\$&");
  return flags.map((flag) => {
    const joint = value ? flag.startsWith("--") ? "=" : "+" : "";
    return `${exclusive}${flag}${joint}[${summary}]${
      value ? `:${escapeColons(nameOf(option))}:${actionOf(value)}` : ""
    }`;
  });
}

function operandSpecs(command: Command): readonly string[] {
  const value = completedOperandOf(command);
  if (!value) return [];
  if (value.kind === "command") return [`*::${operandName(command)}:_normal`];
  const tail = `:${escapeColons(operandName(command))}:${actionOf(value)}`;
  if (!Number.isFinite(command.operands)) return [`*${tail}`];
  return Array.from({ length: command.operands }, (_, index) => `${index + 1}${tail}`);
}

function nameOf({ value, name }: Option): string {
  return value ?? name;
}

function actionOf(value: CompletedValue): string {
  switch (value.kind) {
    case "words":
      return `(${value.words.map((word) => word.replaceAll(/[^\w.-]/g, "\\$&")).join(" ")})`;
    case "files":
      return "_files";
    case "folders":
      return "_files -/";
    case "command":
      return "_command_names -e";
    case "profiles":
      return "_latchkey_profiles";
    case "nothing":
      return " ";
  }
}

function escapeColons(text: string): string {
  return text.replaceAll(/[\\:]/g, "\\$&");
}

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
  const { profileNames } = await import("./profiles.ts");
  write("stdout", (await profileNames()).map((name) => `${name}\n`).join(""));
}

function isShell(word: string): word is keyof typeof SHELLS {
  return Object.hasOwn(SHELLS, word);
}
