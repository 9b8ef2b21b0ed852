/**
 * Completions for zsh, from the table of commands. Pure.
 *
 * @module
 */
import { shellWord } from "../lib/platform/host.ts";
import type { Command } from "./command.ts";
import type { Option } from "./command_options.ts";
import { completedOperandOf, type CompletedValue, completedValueOf, operandName } from "./completed_value.ts";

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
${commands.map((command) => caseOf(shellWord(command.name), command)).join("")}${caseOf("*.json", ofFile)}  help)
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

function caseOf(pattern: string, command: Command): string {
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
