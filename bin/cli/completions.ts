/**
 * `latchkey completions`: scripts that make a shell complete commands, options and values.
 *
 * @module
 */
import { powershellWord, shellWord } from "../../lib/runtime/host.ts";
import { type Command, UsageError } from "./command_line.ts";
import { type CommandSyntax, type Option, switchOption } from "./options.ts";
import { print } from "./output.ts";

const SHELLS = { bash: bashCompletions, zsh: zshCompletions, fish: fishCompletions, powershell: powershellCompletions };

export const command: Command = {
  name: "completions",
  summary: "Print the completions for a shell",
  usage: "completions bash|zsh|fish|powershell",
  operands: 1,
  operand: { value: "SHELL", choices: Object.keys(SHELLS) },
  options: [
    {
      ...switchOption("profiles", "Print the names of the profiles, for the completions"),
      environment: false,
    },
  ],
  examples: [
    ["source <(latchkey completions bash)", "Load the completions in ~/.bashrc", ""],
    ["source <(latchkey completions zsh)", "Load the completions in ~/.zshrc, after compinit", ""],
    ["latchkey completions fish > ~/.config/fish/completions/latchkey.fish", "Install the completions", ""],
    [
      "latchkey completions powershell | Out-String | Invoke-Expression",
      "Load the completions in PowerShell's $PROFILE",
    ],
  ],
  async run(line, _signal, loadGroups) {
    const [shell = ""] = line.operands;
    if (line.isOn("profiles")) {
      const { profileNames } = await import("./profiles.ts");
      return print((await profileNames()).map((name) => `${name}\n`).join(""));
    }
    const completions = Object.entries(SHELLS).find(([name]) => name === shell)?.[1];
    if (!completions) {
      const shells = Object.keys(SHELLS).join(", ");
      throw new UsageError(
        shell ? `completions takes ${shells}, not ${JSON.stringify(shell)}` : `A shell is missing: ${shells}`,
      );
    }
    const commands = (await loadGroups()).flatMap((group) => group.commands);
    const isFile = ({ name }: CommandSyntax) => name.endsWith(".json");
    const named = commands.filter((command) => !isFile(command));
    const all = named.flatMap((command) => [command, ...(command.alias ? [{ ...command, name: command.alias }] : [])]);
    print(completions(all, commands.find(isFile)!));
  },
};

/** Kinds of values that a shell completes. */
type Kind = "files" | "folders" | "command" | "profiles" | "nothing";
/** Values that a shell offers: words, or a kind. */
type Completed = readonly string[] | Kind;

/** Kinds by the values' names in the help. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ...["PATH", "FILE", "SOCKET"].map((name) => [name, "files"] as const),
  ...["DIR", "FOLDER"].map((name) => [name, "folders"] as const),
  ["COMMAND", "command"],
]);

function completedValueOf({ kind, name, value = "", choices, suggestions }: Option): Completed | undefined {
  if (kind === "switch" || kind === "count") return undefined;
  return name === "profile" ? "profiles" : choices ?? suggestions ?? KINDS.get(value) ?? "nothing";
}

function completedOperandOf({ operands, operand }: CommandSyntax): Completed | undefined {
  if (operands === 0) return undefined;
  return operand ? operand.choices ?? KINDS.get(operand.value) ?? "nothing" : "files";
}

/** Returns a script that makes bash complete `latchkey`. The name of a `.json` file calls the last command. */
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
    return value ? [`      ${flagsOf(option).map(shellWord).join(" | ")})\n${bashOffer(value)}        ;;\n`] : [];
  });
  const operand = completedOperandOf(command);
  const flags = wordList([...command.options.map(({ name }) => `--${name}`), "--help"]);
  const free = operand
    ? `        if [[ -z $ended && $current == -* ]]; then\n          words=(${flags})\n        else\n${
      bashOffer(operand).replace(/^/gm, "  ").trimEnd()
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

const IN_BASH: Readonly<Record<Kind, string>> = {
  files: "        compopt -o default 2>/dev/null\n",
  folders: "        compopt -o dirnames 2>/dev/null\n",
  command: `        if [[ $previous == -- ]]; then
          while IFS= read -r word; do words+=("$word"); done < <(compgen -c -- "$current")
        else
          compopt -o default 2>/dev/null
        fi
`,
  profiles: `        while IFS= read -r word; do words+=("$word"); done \\
          < <("\${COMP_WORDS[0]}" completions --profiles 2>/dev/null)
`,
  nothing: "        :\n",
};

function bashOffer(value: Completed): string {
  return typeof value === "string" ? IN_BASH[value] : `        words=(${wordList(value)})\n`;
}

function flagsOf({ name, alias }: Option): readonly string[] {
  return alias ? [`-${alias}`, `--${name}`] : [`--${name}`];
}

function wordList(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}

/** Returns a script that makes fish complete `latchkey`. The name of a `.json` file calls the last command. */
export function fishCompletions(commands: readonly CommandSyntax[], configFile: CommandSyntax): string {
  const isFirst = "__latchkey_is_first";
  const names = commands.map(({ name }) => name);
  const lines = [
    ...commands.map(({ name, summary }) => line(isFirst, ["-a", fishWord(fishWord(name)), "-d", fishWord(summary)])),
    line(isFirst, ["-k", "-a", "'(__fish_complete_suffix .json)'"]),
    line(isFirst, ["-l", "help", "-d", "'Show the help'"]),
    line(isFirst, ["-l", "version", "-d", "'Show the version'"]),
    line("__latchkey_calls help", ["-a", listOf(names)]),
    ...commands.map((command) => linesOf(command.name, command)),
    linesOf("*.json", configFile),
  ];
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
${lines.join("")}`;
}

function linesOf(pattern: string, command: CommandSyntax): string {
  const condition = `__latchkey_calls ${fishWord(pattern)}`;
  const operand = completedOperandOf(command);
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

const IN_FISH: Readonly<Record<Kind, readonly string[]>> = {
  files: ["-F"],
  folders: ["-f", "-a", "'(__fish_complete_directories)'"],
  command: ["-F", "-a", "'(complete -C (commandline -ct))'"],
  profiles: ["-f", "-a", "'(__latchkey_profiles)'"],
  nothing: ["-f"],
};

function fishOffer(value: Completed): readonly string[] {
  return typeof value === "string" ? IN_FISH[value] : ["-f", "-a", listOf(value)];
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
 * Returns a script that makes zsh complete `latchkey`: to be sourced, or a file named `_latchkey` in a folder of `fpath`. The name
 * of a `.json` file calls the last command.
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
  const help = ["-h", "--help"].map((flag) => `(-h --help)${flag}[Show this help]`);
  const specs = [...command.options.flatMap(specsOf), ...help, ...operandSpecs(command)];
  const lines = specs.map((spec) => `      ${shellWord(spec)}`);
  return `  ${pattern})
    _arguments -s -S : \\
${lines.join(" \\\n")}
    ;;
`;
}

function specsOf(option: Option): readonly string[] {
  const value = completedValueOf(option);
  const flags = flagsOf(option);
  const exclusive = exclusiveOf(option, flags);
  const summary = option.summary.replaceAll(/[\\[\]]/g, "\\$&");
  const action = value ? `:${escapeColons(option.value ?? option.name)}:${actionOf(value)}` : "";
  return flags.map((flag) => `${exclusive}${flag}${value ? jointOf(flag) : ""}[${summary}]${action}`);
}

/** Returns what tells zsh how often an option may be given: any number of times, or once in one of its forms. */
function exclusiveOf({ kind }: Option, flags: readonly string[]): string {
  if (kind === "list" || kind === "count") return "*";
  return flags.length > 1 ? `(${flags.join(" ")})` : "";
}

/** Returns what joins a flag and its value: `--name=VALUE`, or `-nVALUE`. */
function jointOf(flag: string): string {
  return flag.startsWith("--") ? "=" : "+";
}

function operandSpecs(command: CommandSyntax): readonly string[] {
  const value = completedOperandOf(command);
  const name = command.operand?.value ?? "FILE";
  if (!value) return [];
  if (value === "command") return [`*::${name}:_normal`];
  const tail = `:${escapeColons(name)}:${actionOf(value)}`;
  if (!Number.isFinite(command.operands)) return [`*${tail}`];
  return Array.from({ length: command.operands }, (_, index) => `${index + 1}${tail}`);
}

const IN_ZSH: Readonly<Record<Kind, string>> = {
  files: "_files",
  folders: "_files -/",
  command: "_command_names -e",
  profiles: "_latchkey_profiles",
  nothing: " ",
};

function actionOf(value: Completed): string {
  if (typeof value === "string") return IN_ZSH[value];
  return `(${value.map((word) => word.replaceAll(/[^\w.-]/g, "\\$&")).join(" ")})`;
}

function escapeColons(text: string): string {
  return text.replaceAll(/[\\:]/g, "\\$&");
}

/**
 * Returns a script that makes PowerShell complete `latchkey`, Windows PowerShell 5.1 as well. The name of a `.json` file calls
 * the last command. For what it returns nothing PowerShell offers files.
 */
export function powershellCompletions(commands: readonly CommandSyntax[], configFile: CommandSyntax): string {
  const names = commands.map(({ name }) => name);
  return `# PowerShell completion for latchkey: what "latchkey completions powershell" prints.
Register-ArgumentCompleter -Native -CommandName latchkey -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # Before the cursor, and without the word that is completed.
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object {
        if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { "$_" }
    })
    $program = $words[0]
    $command = if ($words.Count -gt 1) { $words[1] } else { '' }
    $previous = $words[$words.Count - 1]
    $isEnded = $words -ccontains '--'
    $prefix = ''
    $option = if (-not $isEnded -and $words.Count -gt 2 -and $previous -like '-?*') { $previous } else { '' }
    $current = "$wordToComplete" -replace '^[''"]|[''"]$', ''
    if (-not $isEnded -and $current -match '^(--[\\w-]+)=(.*)$') {
        $option = $Matches[1]
        $prefix = "$option="
        $current = $Matches[2]
    }
    $folders = $false
    $offered = @(if ($words.Count -le 1) {
${
    powershellOffers([
      ...commands.map(({ name, summary }) => [name, summary] as const),
      ["--help", "Show the help"],
      ["--version", "Show the version"],
    ])
  }
    } else {
        switch -CaseSensitive -Wildcard ($command) {
${[...commands, { ...configFile, name: "*.json" }].map(powershellCase).join("")}            'help' {
${powershellOffers(names.map((name) => [name, name]))}
                break
            }
        }
    })
    if ($folders) {
        $offered = @(Get-ChildItem -Directory -Path "$current*" -ErrorAction SilentlyContinue | ForEach-Object { , @($_.FullName, $_.FullName) })
        $current = ''
    }
    $offered | Where-Object { $_[0].StartsWith($current, [StringComparison]::Ordinal) } | ForEach-Object {
        $text = $prefix + $_[0]
        $quoted = if ($text -match '^[\\w./\\\\:=+-]+$') { $text } else { "'" + $text.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($quoted, $_[0], 'ParameterValue', $_[1])
    }
}
`;
}

function powershellCase(command: CommandSyntax): string {
  const options = command.options.flatMap((option) => {
    const value = completedValueOf(option);
    if (!value) return [];
    const offer = [powershellOffer(value), "break"].filter(Boolean).join("; ");
    return flagsOf(option).map((flag) => `${powershellWord(flag)} { ${offer} }`);
  });
  const operand = completedOperandOf(command);
  const flags = [
    ...command.options.map(({ name, summary }) => [`--${name}`, summary] as const),
    ["--help", "Show it"] as const,
  ];
  const lines = [
    `${powershellWord(command.name)} {`,
    "    switch -CaseSensitive ($option) {",
    ...options.map((line) => `        ${line}`),
    // Flags, unless something else is being typed.
    `        default { if (-not $isEnded -and ($current -like '-*'${operand ? "" : " -or $current -eq ''"})) {`,
    powershellOffers(flags),
    `        } else { ${operand ? powershellOffer(operand) : ""} } }`,
    "    }",
    "    break",
    "}",
  ];
  return lines.map((line) => `${line.replaceAll(/^/gm, " ".repeat(12))}\n`).join("");
}

const IN_POWERSHELL: Readonly<Record<Kind, string>> = {
  files: "",
  folders: "$folders = $true",
  command:
    'Get-Command "$current*" -CommandType Application -ErrorAction SilentlyContinue | ForEach-Object { , @($_.Name, $_.Name) }',
  profiles: "& $program completions --profiles 2>$null | ForEach-Object { , @($_, $_) }",
  nothing: "",
};

function powershellOffer(value: Completed): string {
  if (typeof value === "string") return IN_POWERSHELL[value];
  return `${value.map((word) => `, @(${powershellWord(word)}, ${powershellWord(word)})`).join("; ")}`;
}

/** Returns lines that offer words, each with a description, which must not be empty. */
function powershellOffers(rows: readonly (readonly [word: string, summary: string])[]): string {
  return rows.map(([word, summary]) => `        , @(${powershellWord(word)}, ${powershellWord(summary)})`).join("\n");
}
