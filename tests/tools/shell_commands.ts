/** The commands of a piece of shell code, word by word: enough of a shell's grammar for what documents show. Pure. */

/** What ends a command outside of quotation marks; a substitution's command begins behind its parenthesis. */
const ENDS = "|;&()<>\n";

/** Every command of a script, also those of substitutions and those that stand in quotation marks, as in a configuration. */
export function shellCommands(script: string): readonly (readonly string[])[] {
  const commands: string[][] = [[]], quoted: string[] = [], text = script.replaceAll(/\\\n\s*/g, " ");
  let word: string | undefined;
  const endWord = () => {
    if (word !== undefined) commands.at(-1)!.push(word);
    word = undefined;
  };
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]!;
    if (letter === "'" || letter === '"') {
      const end = text.indexOf(letter, at + 1);
      if (end < 0) throw new Error(`A quotation mark is not closed: ${text.slice(at)}`);
      const inside = text.slice(at + 1, end);
      quoted.push(inside.replace(/^!/, ""));
      word = (word ?? "") + inside;
      at = end;
    } else if (letter === "#" && word === undefined) {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end - 1;
    } else if (ENDS.includes(letter)) {
      endWord();
      commands.push([]);
    } else if (/\s/.test(letter)) endWord();
    else word = (word ?? "") + letter;
  }
  endWord();
  return [
    ...commands.filter((words) => words.length > 0),
    ...quoted.filter((inside) => inside.includes(" ") && !/["']/.test(inside)).flatMap(shellCommands),
  ];
}
