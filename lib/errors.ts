/**
 * Errors, their codes, and the logger.
 *
 * @module
 */

import { hintOf, type Remedy, remedyOf } from "./remedies.ts";

/**
 * The cause of a failure. The set is closed, so the compiler checks a `switch` over it.
 *
 * - `interaction_required`: a person has to sign in, consent or pass a check.
 * - `account_unusable`, `account_not_found`: the account has to sign in again, or is unknown.
 * - `user_canceled`: the person, or the broker on their behalf, canceled the sign-in.
 * - `timed_out`: a time limit of this library passed.
 * - `no_network`, `temporarily_unavailable`, `broker_unavailable`: a later retry can help.
 * - `configuration`, `untrusted_authority`, `refused`: the app, its registration or a policy prevents it.
 * - `missing_dependency`: something has to be installed or permitted first; `hint` says what.
 * - `invalid_response`: a server or broker sent an answer that its protocol does not allow.
 * - `unexpected`: everything else; `errorDescription` has the server's or broker's text.
 */
export type LatchkeyErrorCode =
  | "interaction_required"
  | "account_unusable"
  | "account_not_found"
  | "user_canceled"
  | "timed_out"
  | "no_network"
  | "temporarily_unavailable"
  | "broker_unavailable"
  | "configuration"
  | "untrusted_authority"
  | "refused"
  | "missing_dependency"
  | "invalid_response"
  | "unexpected";

/** Codes of refusals that an interactive sign-in resolves. */
export const INTERACTION_REQUIRED_CODES: ReadonlySet<LatchkeyErrorCode> = new Set([
  "interaction_required",
  "account_unusable",
  "account_not_found",
]);

/** A broker's refusal in MSALRuntime's numbers. */
export interface BrokerErrorDetails {
  /** Response status, 0 to 21. */
  readonly status: number;
  /** The detail of the status; 0 if the broker gave none. */
  readonly subStatus: number;
  /** Identifies the line of the broker's code, for its developers; missing with himmelblau. */
  readonly tag?: number;
  /** Platform error number; missing with himmelblau. */
  readonly errorCode?: number;
}

/** Details of a failure. {@linkcode LatchkeyError} has the same fields, and `hint`. */
export interface LatchkeyErrorDetails {
  /** OAuth 2.0 error code of the server, such as `invalid_grant` (RFC 6749, 5.2). */
  readonly error?: string | undefined;
  /** Text of the server or broker, without control characters. */
  readonly errorDescription?: string | undefined;
  /** AADSTS numbers, for looking up and for hints. Do not branch on them. */
  readonly errorCodes?: readonly number[] | undefined;
  /** Microsoft Entra's `suberror`, such as `token_expired`. */
  readonly subError?: string | undefined;
  /** Claims challenge that the next interactive request has to carry, as JSON text. */
  readonly claims?: string | undefined;
  /** UUID of the request in the logs of the broker and the server. */
  readonly correlationId?: string | undefined;
  /** The broker's refusal, if a broker refused. */
  readonly broker?: BrokerErrorDetails | undefined;
  /** The next step for the user or developer; a string is advice. `hint` says it in words. */
  readonly remedy?: Remedy | string | undefined;
  /** The error that caused this one. */
  readonly cause?: unknown;
}

/**
 * The error of every operation that fails. An invalid argument throws an {@linkcode ArgumentError}, which is a `TypeError`, or
 * a `RangeError` instead. An aborted call rethrows the reason of its signal.
 *
 * @example Telling a person what to do
 * ```ts
 * import { LatchkeyError, type PublicClientApplication } from "@latchkey/latchkey";
 *
 * async function token(app: PublicClientApplication): Promise<string | undefined> {
 *   try {
 *     return (await app.acquireToken({ scopes: ["User.Read"], interactive: "never" })).accessToken;
 *   } catch (error) {
 *     if (!(error instanceof LatchkeyError)) throw error;
 *     console.error(error.message, error.hint, error.correlationId);
 *     return undefined;
 *   }
 * }
 * ```
 */
export class LatchkeyError extends Error {
  /** Always `LatchkeyError`. */
  override readonly name = "LatchkeyError";
  /** The cause of the failure. */
  readonly code: LatchkeyErrorCode;
  /** OAuth 2.0 error code of the server, if it sent one. */
  readonly error: string | undefined;
  /** Text of the server or broker. */
  readonly errorDescription: string | undefined;
  /** AADSTS numbers found in that text. */
  readonly errorCodes: readonly number[];
  /** Microsoft Entra's `suberror`. */
  readonly subError: string | undefined;
  /** UUID of the request in the logs of the broker and the server. */
  readonly correlationId: string | undefined;
  /** The broker's refusal. */
  readonly broker: BrokerErrorDetails | undefined;
  /** The next step, as data, where it is known. */
  readonly remedy: Remedy | undefined;
  /** The next step in words, of this API. */
  readonly hint: string | undefined;
  readonly #claims: string | undefined;

  /**
   * Creates an error.
   *
   * @param code The cause of the failure.
   * @param message A sentence for people, without secrets.
   * @param details More about the failure.
   */
  constructor(code: LatchkeyErrorCode, message: string, details: LatchkeyErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.error = details.error;
    this.errorDescription = details.errorDescription;
    this.errorCodes = details.errorCodes ?? [];
    this.subError = details.subError;
    this.correlationId = details.correlationId;
    this.broker = details.broker;
    this.remedy = remedyOf(details.remedy);
    this.hint = this.remedy && hintOf(this.remedy);
    this.#claims = details.claims;
  }

  /** Claims challenge to replay in an interactive request, as JSON text. A getter, so that inspecting the error does not print it. */
  get claims(): string | undefined {
    return this.#claims;
  }
}

/**
 * Returns true if a call failed because a person has to sign in, so that `acquireTokenInteractive` is the next step.
 *
 * @param error The value that the call threw.
 * @returns True for a {@linkcode LatchkeyError} with the code `interaction_required`, `account_unusable` or `account_not_found`.
 *
 * @example Asking the person at a moment that suits them
 * ```ts
 * import { isInteractionRequired, type PublicClientApplication } from "@latchkey/latchkey";
 *
 * async function token(app: PublicClientApplication): Promise<string | undefined> {
 *   try {
 *     return (await app.acquireToken({ scopes: ["User.Read"], interactive: "never" })).accessToken;
 *   } catch (error) {
 *     if (isInteractionRequired(error)) return undefined; // show a sign-in button
 *     throw error;
 *   }
 * }
 * ```
 */
export function isInteractionRequired(error: unknown): boolean {
  return error instanceof LatchkeyError && INTERACTION_REQUIRED_CODES.has(error.code);
}

/** An invalid argument, found before any I/O. The message says what to pass. */
export class ArgumentError extends TypeError {}

/** The oldest supported runtimes. */
export const SUPPORTED_RUNTIMES = "Node 22.18 or later, Bun 1.3 or Deno 2.6";

/**
 * Refuses a runtime that is too old before it fails on a function that it lacks.
 *
 * @throws {LatchkeyError} `missing_dependency` if the runtime is not supported.
 */
export function checkRuntime(): void {
  if (typeof Map.groupBy === "function" && typeof Promise.withResolvers === "function") return;
  throw new LatchkeyError("missing_dependency", `latchkey needs ${SUPPORTED_RUNTIMES}`, {
    remedy: "Update the runtime",
  });
}

/** Returns the short name of a failure: the server's OAuth error code, or the {@linkcode LatchkeyErrorCode} if there is none. */
export function shortNameOf({ error, code }: Pick<LatchkeyError, "error" | "code">): string {
  return error ?? code;
}

/** Returns the description of a failure: the string of the server or broker, or the message if it sent none. */
export function descriptionOf(
  { errorDescription, message }: Pick<LatchkeyError, "errorDescription" | "message">,
): string {
  return errorDescription || message;
}

/** Returns a copy of an error with other details. */
export function withDetails(error: LatchkeyError, details: LatchkeyErrorDetails): LatchkeyError {
  const { code, message, claims, cause } = error;
  return new LatchkeyError(code, message, { ...error, claims, cause, ...details });
}

/** Returns a {@linkcode LatchkeyError} with the id of its request, unless it has one, and any other error unchanged. */
export function withCorrelationId(error: unknown, correlationId: string | undefined): unknown {
  const lacksId = error instanceof LatchkeyError && error.correlationId === undefined;
  return lacksId && correlationId !== undefined ? withDetails(error, { correlationId }) : error;
}

/** Severity of a log line. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** Receives log lines. They never contain a token, cookie, code or claim. */
export type Logger = (level: LogLevel, message: string) => void;
