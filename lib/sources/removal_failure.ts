/**
 * What became of an account that was to be forgotten by the app and by the device's broker. Pure.
 *
 * @module
 */
import { LatchkeyError, withDetails } from "../errors.ts";

/** What both ended with. */
export interface Removal {
  /** By the app. */
  readonly forgotten: PromiseSettledResult<void>;
  /** By the broker. */
  readonly removed: PromiseSettledResult<void>;
}

/** The error to report, where one of them failed: it says what was done all the same. */
export function removalFailure({ forgotten, removed }: Removal): unknown {
  const [first, second] = [removed, forgotten].flatMap((end) => end.status === "rejected" ? [end.reason] : []);
  if (!(first instanceof LatchkeyError)) return first;
  if (second === undefined) {
    const done = removed.status === "fulfilled"
      ? "The broker has forgotten the account all the same"
      : "The account is signed out of this app all the same";
    return withDetails(first, { hint: sentences(first.hint, done) });
  }
  if (!(second instanceof LatchkeyError)) return second;
  const { code, claims } = first, message = `${first.message}. The app cannot forget the account: ${second.message}`;
  return new LatchkeyError(code, message, {
    ...{ ...first, claims, cause: new AggregateError([first, second], message) },
    errorDescription: message,
    hint: sentences(first.hint, second.hint),
  });
}

function sentences(...texts: readonly (string | undefined)[]): string | undefined {
  return texts.filter(Boolean).join(". ") || undefined;
}
