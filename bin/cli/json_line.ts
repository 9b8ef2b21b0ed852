/**
 * The line of a mistake in JSON. Runtimes word it differently, and quote the text, which can have a secret in it.
 *
 * @module
 */

const TOKEN =
  /\s*(?:([{}[\],:])|"(?:[^"\\\n\r\t]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[-+]?\d+)?|true|false|null)/iy;

/** Returns the number of the line, from 1, at which a text is no longer JSON. */
export function lineOfMistake(text: string): number {
  const tokens = new RegExp(TOKEN);
  const open: string[] = [];
  // `isEmpty`: a list or an object has just begun, and may also end.
  let expected: "value" | "key" | "colon" | "end" = "value";
  let isEmpty = false;
  let at = 0;
  for (;;) {
    const match = tokens.exec(text);
    if (!match) return lineAt(text, at + /^\s*/.exec(text.slice(at))![0].length);
    const mark = match[1];
    const isString = mark === undefined && match[0].trimStart().startsWith('"');
    const start = tokens.lastIndex - match[0].trimStart().length;
    if (mark === "{" || mark === "[") {
      if (expected !== "value") return lineAt(text, start);
      open.push(mark);
      [expected, isEmpty] = [mark === "{" ? "key" : "value", true];
    } else if (mark === "}" || mark === "]") {
      const isClosing = expected === "end" || isEmpty;
      if (!isClosing || open.pop() !== (mark === "}" ? "{" : "[")) return lineAt(text, start);
      [expected, isEmpty] = ["end", false];
    } else if (mark === ",") {
      if (expected !== "end" || open.length === 0) return lineAt(text, start);
      [expected, isEmpty] = [open.at(-1) === "{" ? "key" : "value", false];
    } else if (mark === ":") {
      if (expected !== "colon") return lineAt(text, start);
      expected = "value";
    } else if (expected === "key" && isString) [expected, isEmpty] = ["colon", false];
    else if (expected === "value") [expected, isEmpty] = ["end", false];
    else return lineAt(text, start);
    at = tokens.lastIndex;
  }
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}
