/**
 * Results of MSALRuntime, read as the JSON of brokers is: they are the same things by other names. Pure.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { isObject, type JsonObject, number, printable, text } from "../json_values.ts";
import { type RefusalContext, refusalError } from "./broker_refusal.ts";
import type { NativeAccount, NativeResult, NativeToken } from "./msalruntime_library.ts";

/** What Linux' broker cannot be reached by. */
const LOST = /^DBUS failed/i;

/** An account. */
export function rawAccountOf(account: NativeAccount): JsonObject {
  const { homeAccountId, localAccountId, environment, realm, username, displayName, clientInfo } = account;
  return { homeAccountId, localAccountId, environment, realm, username, name: displayName, clientInfo };
}

/** A token, and whose it is. One that is bound to a request is in the header that it is sent in. */
export function rawTokenOf(token: NativeToken): JsonObject {
  const { isPopAuthorization, authorizationHeader, account } = token;
  return {
    accessToken: isPopAuthorization ? authorizationHeader?.split(" ")[1] : token.accessToken,
    accessTokenType: isPopAuthorization ? 1 : 0,
    ...(account && { account: rawAccountOf(account) }),
    expiresOn: token.expiresOn,
    grantedScopes: text(token.grantedScopes),
    idToken: token.rawIdToken,
  };
}

/**
 * Makes sure that a call did not fail.
 *
 * @throws {LatchkeyError} the refusal; `broker_unavailable` when the broker went away.
 */
export function checkResult(result: NativeResult, context: RefusalContext): void {
  try {
    result.CheckError();
  } catch (error) {
    throw nativeError(error, context);
  }
}

/** What the library throws, as an error of ours. */
export function nativeError(thrown: unknown, context: RefusalContext): LatchkeyError {
  const { correlationId } = context;
  if (!isObject(thrown) || number(thrown.errorStatus) === undefined) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new LatchkeyError("unexpected", `MSALRuntime failed: ${printable(message)}`, { correlationId });
  }
  const status = number(thrown.errorStatus)!, said = text(thrown.errorContext) ?? "";
  if (status === 0 && LOST.test(said)) {
    return new LatchkeyError("broker_unavailable", `The broker went away: ${printable(said)}`, {
      correlationId,
      errorDescription: printable(said),
      hint: "Try again; if it stays away, start this program anew",
    });
  }
  return refusalError(
    { status, tag: number(thrown.errorTag), errorCode: number(thrown.errorCode), text: said },
    context,
  );
}
