/**
 * A broker's refusal as an error. Pure.
 *
 * @module
 */
import { errorCodesIn, type HintContext, hintFor } from "../aadsts.ts";
import { LatchkeyError } from "../errors.ts";
import { printable } from "../json_values.ts";
import { codeOfStatus, hintOfStatus } from "./broker_status.ts";

/** How a broker refused. */
export interface BrokerRefusal {
  /** MSALRuntime's number. */
  readonly status: number;
  /** What the status was narrowed down to. @default 0 */
  readonly subStatus?: number | undefined;
  /** The place in the broker's code. */
  readonly tag?: number | undefined;
  /** Platform error number. */
  readonly errorCode?: number | undefined;
  /** What the broker says of it, as it came. */
  readonly text: string;
  /** Microsoft Entra's `suberror`, as it came. */
  readonly subError?: string | undefined;
  /** A claims challenge, as JSON text. */
  readonly claims?: string | undefined;
}

/** What a refusal is told with. */
export interface RefusalContext extends HintContext {
  /** UUID of the request. */
  readonly correlationId: string;
}

/** Makes the error of a refusal. */
export function refusalError(refusal: BrokerRefusal, context: RefusalContext): LatchkeyError {
  const { status, subStatus = 0, tag, errorCode, claims } = refusal;
  const errorDescription = printable(refusal.text), errorCodes = errorCodesIn(errorDescription);
  const subError = printable(refusal.subError ?? "") || undefined;
  return new LatchkeyError(codeOfStatus(status), `The broker refused: ${errorDescription || `status ${status}`}`, {
    errorDescription,
    errorCodes,
    subError,
    claims,
    correlationId: context.correlationId,
    broker: { status, subStatus, ...(tag !== undefined && { tag }), ...(errorCode !== undefined && { errorCode }) },
    hint: hintFor({ errorCodes, subError, text: errorDescription }, context) ?? hintOfStatus(status),
  });
}
