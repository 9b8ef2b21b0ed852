import { describe, expect, test } from "bun:test";
import { readLines } from "../../../../bin/commands/mcp/messages.ts";

const never = new AbortController().signal;

async function linesOf(text: string, length: number, limit?: number): Promise<string[]> {
  const lines: string[] = [];
  async function* input() {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
  }
  for await (const line of readLines(input(), never, limit)) {
    lines.push(line === "too long" ? line : new TextDecoder().decode(line));
  }
  return lines;
}

describe("readLines()", () => {
  test.each([1, 2, 3, 7, 100])("gives each line, in chunks of %d bytes", async (length) => {
    expect(await linesOf('é\n\n{"a":1}\r\nend', length)).toEqual(["é", '{"a":1}\r', "end"]);
  });

  test.each([1, 4, 100])("keeps nothing of a line that is too long, and goes on (%d bytes)", async (length) => {
    expect(await linesOf("12345\n123456\nx\n1234567890", length, 5)).toEqual(["12345", "too long", "x", "too long"]);
  });

  test("a signal ends it", async () => {
    const abort = new AbortController();
    const waiting = readLines({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }, abort.signal)
      .next();
    abort.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });
});
