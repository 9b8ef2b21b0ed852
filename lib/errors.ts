/**
 * The one error that latchkey throws, and its codes.
 *
 * @module
 */

/**
 * What went wrong, as a closed set: a `switch` over it is checked by the compiler.
 *
 * - `interaction_required`: a person has to sign in, consent or pass a check.
 * - `account_unusable`, `account_not_found`: the account has to be signed in again, or is not known.
 * - `user_canceled`: the person, or the broker on their behalf, ended the sign-in.
 * - `timed_out`: a time limit of this library passed.
 * - `no_network`, `temporarily_unavailable`, `broker_unavailable`: trying later can help.
 * - `configuration`, `untrusted_authority`, `refused`: the app, its registration or a policy stands in the way.
 * - `missing_dependency`: something has to be installed or permitted first; `hint` says what.
 * - `invalid_response`: a peer answered what it must not.
 * - `unexpected`: all else, the peer's text kept in `errorDescription`.
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

/** Refusals after which an interactive sign-in is the way on. */
export const INTERACTION_REQUIRED_CODES: ReadonlySet<LatchkeyErrorCode> = new Set([
  "interaction_required",
  "account_unusable",
  "account_not_found",
]);

/** How a broker described its refusal, in MSALRuntime's numbers. */
export interface BrokerErrorDetails {
  /** Response status, 0 to 21. */
  readonly status: number;
  /** What the status was narrowed down to; 0 when the broker said no more. */
  readonly subStatus: number;
  /** Identifies the place in the broker's code, for its makers; absent with himmelblau. */
  readonly tag?: number;
  /** Platform error number; absent with himmelblau. */
  readonly errorCode?: number;
}

/** What is known of a failure beside its code and message. */
export interface LatchkeyErrorDetails {
  /** OAuth 2.0 error code of the server, such as `invalid_grant` (RFC 6749, 5.2). */
  readonly error?: string | undefined;
  /** The text of the server or broker, control characters taken out. */
  readonly errorDescription?: string | undefined;
  /** AADSTS numbers, for looking up and for hints: never branch on them. */
  readonly errorCodes?: readonly number[] | undefined;
  /** Microsoft Entra's `suberror`, such as `token_expired`. */
  readonly subError?: string | undefined;
  /** A claims challenge that the next interactive request has to carry, as JSON text. */
  readonly claims?: string | undefined;
  /** UUID under which the request can be found in the logs of the broker and the server. */
  readonly correlationId?: string | undefined;
  /** Present when a broker refused. */
  readonly broker?: BrokerErrorDetails | undefined;
  /** What the user or developer can do next. */
  readonly hint?: string | undefined;
  /** The error that this one was made from. */
  readonly cause?: unknown;
}

/**
 * Thrown by every operation of latchkey that fails. Mistakes in a call are an {@linkcode ArgumentError}, which is a `TypeError`,
 * or a `RangeError` instead, and an aborted call rethrows the reason of its signal.
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
  /** What went wrong. */
  readonly code: LatchkeyErrorCode;
  /** OAuth 2.0 error code of the server, when it gave one. */
  readonly error: string | undefined;
  /** The text of the server or broker. */
  readonly errorDescription: string | undefined;
  /** AADSTS numbers found in that text. */
  readonly errorCodes: readonly number[];
  /** Microsoft Entra's `suberror`. */
  readonly subError: string | undefined;
  /** UUID of the request in the logs of the broker and the server. */
  readonly correlationId: string | undefined;
  /** How the broker described its refusal. */
  readonly broker: BrokerErrorDetails | undefined;
  /** What the user or developer can do next. */
  readonly hint: string | undefined;
  readonly #claims: string | undefined;

  /**
   * Makes an error.
   *
   * @param code What went wrong.
   * @param message A sentence for people, without any secret.
   * @param details What else is known.
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
    this.hint = details.hint;
    this.#claims = details.claims;
  }

  /** The claims challenge to replay in an interactive request, as JSON text. A getter, so that no inspection prints it. */
  get claims(): string | undefined {
    return this.#claims;
  }
}

/**
 * A mistake in a call, found before anything is opened or asked: a `TypeError` that no bug of the program throws. The message
 * says what to pass.
 */
export class ArgumentError extends TypeError {}

/**
 * The same error with more known of it.
 *
 * @param error An error.
 * @param details What is to stand in it instead.
 */
export function withDetails(error: LatchkeyError, details: LatchkeyErrorDetails): LatchkeyError {
  const { code, message, claims, cause } = error;
  return new LatchkeyError(code, message, { ...error, claims, cause, ...details });
}

/** An error of ours with the id of the request that it ended, unless it has one; any other error as it is. */
export function withCorrelationId(error: unknown, correlationId: string | undefined): unknown {
  const isNameless = error instanceof LatchkeyError && error.correlationId === undefined;
  return isNameless && correlationId !== undefined ? withDetails(error, { correlationId }) : error;
}

/** How serious a log line is. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** Takes log lines. They never have a token, cookie, code or claim in them. */
export type Logger = (level: LogLevel, message: string) => void;
