/**
 * `latchkey completions`: scripts that make a shell complete commands, options and values.
 *
 * @module
 */
import { shellWord } from "../../lib/runtime/host.ts";
import { type Command, UsageError } from "./command_line.ts";
import type { CommandSyntax, Option } from "./options.ts";
import { print } from "./output.ts";

const SHELLS = { bash: bashCompletions, zsh: zshCompletions, fish: fishCompletions };

/** The command. */
export const command: Command = {
  name: "completions",
  summary: "Print a shell's completions for latchkey",
  usage: "completions bash|zsh|fish",
  operands: 1,
  operand: { value: "SHELL", choices: Object.keys(SHELLS) },
  options: [
    {
      name: "profiles",
      kind: "switch",
      environment: false,
      summary: "Print the names of the profiles instead, as the completions need them",
    },
  ],
  examples: [
    ["source <(latchkey completions bash)", "in ~/.bashrc"],
    ["source <(latchkey completions zsh)", "in ~/.zshrc, after compinit"],
    ["latchkey completions fish > ~/.config/fish/completions/latchkey.fish", "once"],
  ],
  async run(line, _signal, loadGroups) {
    const [shell = ""] = line.operands;
    if (line.isOn("profiles")) {
      const { profileNames } = await import("./profiles.ts");
      return print((await profileNames()).map((name) => `${name}\n`).join(""));
    }
    if (!isShell(shell)) throw new UsageError(`A shell is missing: ${Object.keys(SHELLS).join(", ")}`);
    const commands = (await loadGroups()).flatMap((group) => group.commands);
    const isFile = ({ name }: CommandSyntax) => name.endsWith(".json");
    print(SHELLS[shell](commands.filter((command) => !isFile(command)), commands.find(isFile)!));
  },
};

function isShell(word: string): word is keyof typeof SHELLS {
  return Object.hasOwn(SHELLS, word);
}

/** Values that a shell offers. */
type CompletedValue =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "files" | "folders" | "command" | "profiles" | "nothing" };

/** Kinds of values, by their names in the help. */
const KINDS: Readonly<Record<string, "files" | "folders" | "command">> = {
  PATH: "files",
  FILE: "files",
  SOCKET: "files",
  DIR: "folders",
  FOLDER: "folders",
  COMMAND: "command",
};

function completedValueOf(option: Option): CompletedValue | undefined {
  if (option.kind === "switch" || option.kind === "count") return undefined;
  if (option.name === "profile") return { kind: "profiles" };
  return completed(option.value ?? "", option.choices ?? option.suggestions);
}

function completedOperandOf({ operands, operand }: CommandSyntax): CompletedValue | undefined {
  if (operands === 0) return undefined;
  return operand === undefined ? { kind: "files" } : completed(operand.value, operand.choices);
}

function completed(value: string, words: readonly string[] | undefined): CompletedValue {
  if (words) return { kind: "words", words };
  return { kind: Object.hasOwn(KINDS, value) ? KINDS[value]! : "nothing" };
}

/**
 * Returns a script that makes bash complete `latchkey`.
 *
 * @param commands The commands that a word calls.
 * @param configFile The command that the name of a `.json` file calls.
 */
export function bashCompletions(commands: readonly CommandSyntax[], configFile: CommandSyntax): string {
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
${commands.map((command) => caseOf(shellWord(command.name), command)).join("")}${caseOf("*.json", configFile)}    help)
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

function caseOf(pattern: string, command: CommandSyntax): string {
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
 * Returns a script that makes fish complete `latchkey`.
 *
 * @param commands The commands that a word calls.
 * @param configFile The command that the name of a `.json` file calls.
 */
export function fishCompletions(commands: readonly CommandSyntax[], configFile: CommandSyntax): string {
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
  }${commands.map((command) => linesOf(command.name, command)).join("")}${linesOf("*.json", configFile)}`;
}

function linesOf(pattern: string, command: CommandSyntax): string {
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

/** Returns words as one argument, which fish splits again. */
function listOf(words: readonly string[]): string {
  return fishWord(words.map(fishWord).join(" "));
}

/** Quotes a word for fish if it needs that. A backslash keeps its meaning within the quotation marks. */
function fishWord(word: string): string {
  return /^[\w./@%+:,-]+$/.test(word) ? word : `'${word.replaceAll(/[\\']/g, "\\$&")}'`;
}

/**
 * Returns a script that makes zsh complete `latchkey`: to be sourced, or a file named `_latchkey` in a folder of `fpath`.
 *
 * @param commands The commands that a word calls.
 * @param configFile The command that the name of a `.json` file calls.
 */
export function zshCompletions(commands: readonly CommandSyntax[], configFile: CommandSyntax): string {
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
${commands.map((command) => zshCaseOf(shellWord(command.name), command)).join("")}${
    zshCaseOf("*.json", configFile)
  }  help)
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

function zshCaseOf(pattern: string, command: CommandSyntax): string {
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
  const flags = flagsOf(option);
  const exclusive = isMany ? "*" : flags.length > 1 ? `(${flags.join(" ")})` : "";
  const summary = option.summary.replaceAll(/[\\[\]]/g, "\\$&");
  return flags.map((flag) => {
    const joint = value ? flag.startsWith("--") ? "=" : "+" : "";
    return `${exclusive}${flag}${joint}[${summary}]${
      value ? `:${escapeColons(option.value ?? option.name)}:${actionOf(value)}` : ""
    }`;
  });
}

function operandSpecs(command: CommandSyntax): readonly string[] {
  const value = completedOperandOf(command);
  if (!value) return [];
  if (value.kind === "command") return [`*::${command.operand?.value ?? "FILE"}:_normal`];
  const tail = `:${escapeColons(command.operand?.value ?? "FILE")}:${actionOf(value)}`;
  if (!Number.isFinite(command.operands)) return [`*${tail}`];
  return Array.from({ length: command.operands }, (_, index) => `${index + 1}${tail}`);
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
