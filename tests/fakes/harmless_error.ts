/** Whether an error, or a line of a log, can be printed: nothing in it deceives a terminal, and no token is in it. */
import { expect } from "bun:test";
import { inspect } from "node:util";
import type { LatchkeyError } from "../../mod.ts";
import { SECRET } from "./failures.ts";
import { UNSAFE } from "./hostile_texts.ts";

/** An error with all its causes, inspected, is this long at most. */
const MAX_LENGTH = 50_000;

export function expectHarmless(error: LatchkeyError): void {
  for (const text of textsOf(error)) {
    expectHarmlessText(text);
    expect(text.length).toBeLessThan(MAX_LENGTH);
  }
}

export function expectHarmlessText(text: string): void {
  expect(text).not.toMatch(UNSAFE);
  for (const part of SECRET.split(".").slice(1)) expect(text).not.toContain(part);
}

/** All that a program could print of it; what is inspected has lines of its own. */
function textsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { message, stack = "", cause, ...rest } = error as Error & Record<string, unknown>;
  const ofDeno = typeof Deno === "undefined" ? "" : Deno.inspect(error);
  const lines = [stack, inspect(error, { depth: 9, showHidden: true }), ofDeno];
  return [
    ...[message, JSON.stringify(error)],
    ...Object.values(rest).filter((value) => typeof value === "string"),
    ...lines.map((text) => text.replaceAll("\n", "")),
    ...textsOf(cause),
  ];
}
