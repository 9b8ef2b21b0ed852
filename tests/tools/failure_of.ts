import { expect } from "bun:test";
import { inspect } from "node:util";
import { LatchkeyError } from "../../lib/errors.ts";

/** The error that a call fails with. */
export async function failureOf(call: Promise<unknown>): Promise<LatchkeyError> {
  try {
    await call;
  } catch (error) {
    return error as LatchkeyError;
  }
  throw new Error("It did not fail");
}

/** Fails when a secret can be seen in an error, whichever way it is shown. */
export function expectNoSecret(error: LatchkeyError, ...secrets: readonly string[]): void {
  expect(error).toBeInstanceOf(LatchkeyError);
  expect(error.cause).toBeUndefined();
  const shown = [error.message, error.stack, error.hint, inspect(error, { depth: 9 }), JSON.stringify(error)].join(
    "\n",
  );
  for (const secret of secrets) expect(shown).not.toContain(secret);
}
