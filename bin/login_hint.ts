/**
 * What to type when a person is needed, said by commands that other programs call: whoever reads it typed none of their
 * options.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { quoteCommand } from "../lib/platform/host.ts";
import type { CommandLine } from "./command_line.ts";
import { EXIT } from "./failure.ts";

/** Options that a sign-in has to have as well, to be the one that the command asks for. */
const OPTIONS = ["client-id", "authority", "tenant", "account", "broker", "store", "cache-file"];

/** Whether nobody but a person can go on: to sign in, or as the one who gave up. */
export function needsPerson(error: LatchkeyError): boolean {
  return [EXIT.interaction_required, EXIT.user_canceled].includes(EXIT[error.code]);
}

/**
 * The sign-in that a command needs, for the shell of this platform.
 *
 * @param line Its command line.
 * @param scopes What the token is for.
 * @param claims A claims challenge to answer. @default none
 */
export function loginCommand(line: CommandLine, scopes: readonly string[], claims?: string): string {
  const given = OPTIONS.filter((name) => !["default", undefined].includes(line.origin(name)));
  return quoteCommand([
    ...["latchkey", "login"],
    ...given.map((name) => [`--${name}`, line.text(name)!]),
    ...scopes.map((scope) => ["--scope", scope]),
    ...(claims === undefined ? [] : [["--claims", claims]]),
  ]);
}

/**
 * The failure of a command, with the sign-in that mends it in its hint, where one does.
 *
 * @param error What the command failed with.
 * @param line Its command line.
 * @param scopes What the token was for.
 * @returns The error to report.
 */
export function withLoginHint(error: unknown, line: CommandLine, scopes: readonly string[]): unknown {
  if (!(error instanceof LatchkeyError) || !needsPerson(error)) return error;
  const { code, message, claims } = error, hint = `Sign in, and try again: ${loginCommand(line, scopes, claims)}`;
  return new LatchkeyError(code, message, { ...error, claims, hint, cause: error });
}
