/**
 * Completions for bash, from the table of commands. Pure.
 *
 * @module
 */
import { shellWord } from "../lib/platform/host.ts";
import type { Command } from "./command.ts";
import type { Option } from "./command_options.ts";
import { completedOperandOf, type CompletedValue, completedValueOf } from "./completed_value.ts";

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
