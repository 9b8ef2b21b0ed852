/**
 * The line of a mistake in JSON (RFC 8259). Loaded after the runtime's parser has refused a text.
 *
 * @module
 */

const JSON_TOKEN =
  /\s*(?:[{}[\],:]|"(?:[^"\\\n\r\t]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[-+]?\d+)?|true|false|null)/iy;

/**
 * Returns the number of the line, from 1, at which a text is no longer JSON. Runtimes word it differently, and quote the text, which
 * can have a secret in it.
 */
export function lineOfMistake(text: string): number {
  const tokens = new RegExp(JSON_TOKEN);
  const grammar = new Grammar();
  for (;;) {
    const at = tokens.lastIndex;
    const match = tokens.exec(text);
    if (!match) return lineAt(text, at + /^\s*/.exec(text.slice(at))![0].length);
    const token = match[0].trimStart();
    if (!grammar.take(token)) return lineAt(text, tokens.lastIndex - token.length);
  }
}

type Expected = "value" | "key" | "colon" | "end";

/** The order of JSON's tokens (RFC 8259, 2). */
class Grammar {
  readonly #open: ("{" | "[")[] = [];
  #expected: Expected = "value";
  /** True if a list or an object has just begun, and may also end. */
  #isEmpty = false;

  /** Takes the next token. Returns false if it cannot be here. */
  take(token: string): boolean {
    switch (token) {
      case "{":
      case "[":
        return this.#begin(token);
      case "}":
        return this.#finish("{");
      case "]":
        return this.#finish("[");
      case ",":
        return this.#separate();
      case ":":
        return this.#pass("colon", "value");
      default:
        if (token.startsWith('"') && this.#pass("key", "colon")) return true;
        return this.#pass("value", "end");
    }
  }

  #begin(bracket: "{" | "["): boolean {
    if (this.#expected !== "value") return false;
    this.#open.push(bracket);
    this.#expected = bracket === "{" ? "key" : "value";
    this.#isEmpty = true;
    return true;
  }

  #finish(begun: "{" | "["): boolean {
    const mayFinish = this.#expected === "end" || this.#isEmpty;
    if (!mayFinish || this.#open.pop() !== begun) return false;
    this.#expected = "end";
    this.#isEmpty = false;
    return true;
  }

  #separate(): boolean {
    if (this.#open.length === 0) return false;
    return this.#pass("end", this.#open.at(-1) === "{" ? "key" : "value");
  }

  #pass(expected: Expected, next: Expected): boolean {
    if (this.#expected !== expected) return false;
    this.#expected = next;
    this.#isEmpty = false;
    return true;
  }
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}
