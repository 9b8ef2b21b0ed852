/**
 * Errors that Azure's chains of credentials know by name: after one of these the next credential is tried, after any other
 * the chain has failed.
 *
 * @module
 */
import { LatchkeyError, type LatchkeyErrorCode, PERSON_NEEDED } from "../errors.ts";
import type { GetTokenOptions } from "./token_credential.ts";

/** Failures that say that this credential cannot be used here. */
const UNAVAILABLE: ReadonlySet<LatchkeyErrorCode> = new Set(["broker_unavailable", "missing_dependency"]);

/** The credential cannot be used here: there is no broker, or it is not for that tenant. */
export class CredentialUnavailableError extends Error {
  /** By which chains of credentials know it. */
  override readonly name = "CredentialUnavailableError";
}

/** A person is needed, and none may be asked. */
export class AuthenticationRequiredError extends Error {
  /** By which chains of credentials know it. */
  override readonly name = "AuthenticationRequiredError";
  /** What the token was to be for. */
  readonly scopes: string[];
  readonly #options: GetTokenOptions;

  /**
   * Makes an error.
   *
   * @param cause Why a person is needed.
   * @param scopes What the token was to be for.
   * @param options What was said of it.
   */
  constructor(cause: LatchkeyError, scopes: readonly string[], options: GetTokenOptions) {
    super(messageOf(cause), { cause });
    this.scopes = [...scopes];
    this.#options = cause.claims === undefined ? options : { ...options, claims: cause.claims };
  }

  /**
   * What to give to `LatchkeyCredential.authenticate`, the claims that the person has to fulfil included. A getter, so that
   * no inspection prints those.
   */
  get getTokenOptions(): GetTokenOptions {
    return this.#options;
  }
}

/**
 * The error under the name that Azure's chains know.
 *
 * @param error What a request for a token failed with.
 * @param asked What it was for.
 * @returns The error to throw: another one when a chain is to go on.
 */
export function credentialError(
  error: unknown,
  asked: { readonly scopes: readonly string[]; readonly options: GetTokenOptions; readonly mayAsk: boolean },
): unknown {
  if (!(error instanceof LatchkeyError)) return error;
  if (UNAVAILABLE.has(error.code)) return new CredentialUnavailableError(messageOf(error), { cause: error });
  if (asked.mayAsk || !PERSON_NEEDED.has(error.code)) return error;
  return new AuthenticationRequiredError(error, asked.scopes, asked.options);
}

/** A chain shows messages alone. */
function messageOf({ message, hint }: LatchkeyError): string {
  return hint ? `${message}. ${hint}` : message;
}
