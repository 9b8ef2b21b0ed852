/**
 * A broker's status numbers as error codes.
 *
 * @module
 */
import { codeOfOAuthError, errorCodesIn, type RemedyFacts, remedyFor } from "../aadsts.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { descriptionOf, INTERACTION_REQUIRED_CODES, LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { advice, type Remedy, type SystemWord, systemWord } from "../remedies.ts";

const SIGN_IN: Remedy = { kind: "sign_in" };
const SIGN_IN_AGAIN: Remedy = { kind: "sign_in_again" };
const LATER: Remedy = { kind: "try_again", afterSeconds: 60 };
/** Himmelblau's refusals have no status, so only a try shows whether a sign-in helps. */
const SIGN_IN_MAY_HELP: Remedy = {
  kind: "sign_in_again",
  with: "prompt",
  because: "The broker does not say what helps; a sign-in may",
};

/** Returns the words of the system that a remedy is for. */
type Word = (word: SystemWord) => string;

/** MSALRuntime's statuses, by number, each with what to do if the server gave no number of its own. */
const STATUSES: readonly (readonly [code: LatchkeyErrorCode, remedy?: Remedy | ((word: Word) => Remedy)])[] = [
  ["unexpected"], // 0 unexpected
  ["unexpected"], // 1 reserved
  ["interaction_required", SIGN_IN], // 2 interaction required
  // 3 no network
  ["no_network", { kind: "check_network", host: "login.microsoftonline.com" }],
  ["temporarily_unavailable", LATER], // 4 network temporarily unavailable
  ["temporarily_unavailable", LATER], // 5 server temporarily unavailable
  ["refused"], // 6 API contract violation
  ["user_canceled"], // 7 user cancelled
  ["user_canceled"], // 8 application cancelled
  // 9 incorrect configuration
  ["configuration", {
    kind: "check_request",
    parameters: ["clientId", "tenant"],
    then: advice("Check the redirect URIs of the app registration"),
  }],
  ["unexpected"], // 10 insufficient buffer
  // 11 authority untrusted
  ["untrusted_authority", {
    kind: "check_request",
    parameters: ["authority"],
    because: "The broker does not know the authority's host",
  }],
  ["account_unusable", SIGN_IN_AGAIN], // 12 user switched
  ["account_unusable", SIGN_IN_AGAIN], // 13 account unusable
  ["account_unusable", SIGN_IN_AGAIN], // 14 user data removal required
  // 15 key not found
  [
    "unexpected",
    (word) => ({ ...advice(word("unlockKey")), because: "The broker lost its key", then: { kind: "run_doctor" } }),
  ],
  // 16 account not found
  ["account_not_found", { kind: "list_accounts", or: SIGN_IN }],
  ["temporarily_unavailable", LATER], // 17 transient error
  ["interaction_required", SIGN_IN], // 18 account switch
  // 19 required broker missing
  ["broker_unavailable", (word) => advice(word("installBroker"))],
  // 20 device not registered
  ["refused", (word) => advice(`Register the device ${word("registration")}`)],
  // 21 fall back to native MSAL
  ["broker_unavailable", { kind: "disable_broker" }],
];

/** Statuses as brokers send them, from 15 on; up to 14 the numbers agree. */
const WIRE: Readonly<Record<number, number>> = { 15: 17, 16: 18, 17: 20, 18: 15, 19: 16, 20: 19, 21: 21 };

/** Returns MSALRuntime's number of a status that a broker sent; 0 for an unknown one. */
export function statusOfWire(wireStatus: number): number {
  if (Number.isInteger(wireStatus) && wireStatus >= 0 && wireStatus <= 14) return wireStatus;
  return WIRE[wireStatus] ?? 0;
}

/** Returns the error code of MSALRuntime's status; `unexpected` for an unknown one. */
export function codeOfStatus(status: number): LatchkeyErrorCode {
  return STATUSES[status]?.[0] ?? "unexpected";
}

/** Returns `undefined` if nothing is known to help. */
export function remedyOfStatus(status: number, system?: string): Remedy | undefined {
  const remedy = STATUSES[status]?.[1];
  return typeof remedy === "function" ? remedy((word) => systemWord(word, system)) : remedy;
}

interface BrokerRefusal {
  /** MSALRuntime's number. */
  readonly status: number;
  /** @default 0 */
  readonly subStatus?: number | undefined;
  /** Place in the broker's code. */
  readonly tag?: number | undefined;
  /** Error number of the platform. */
  readonly errorCode?: number | undefined;
  /** The broker's text, unescaped. */
  readonly text: string;
  /** Unescaped. */
  readonly subError?: string | undefined;
  /** Claims challenge, as JSON text. */
  readonly claims?: string | undefined;
}

/** Facts of the request for the error of its refusal. */
export interface RefusalContext extends RemedyFacts {
  readonly correlationId: string;
  /** True for a silent request: a sign-in may help after its refusal. @default false */
  readonly isSilent?: boolean | undefined;
}

function numbersOf({ status, tag, errorCode }: BrokerRefusal): string {
  const code = errorCode && `code 0x${(errorCode >>> 0).toString(16)}`; // as Windows writes its own
  return [`status ${status}`, tag && `tag ${tag}`, code].filter(Boolean).join(", ");
}

/** Statuses that do not come from the server: cancellations, and the state of the network, the broker or its keys. */
const OWN_STATUSES: ReadonlySet<number> = new Set([3, 7, 8, 11, 12, 14, 15, 19, 20, 21]);

/** An OAuth error (RFC 6749, 5.2) or sub-error between quotation marks, at the place that `name` marks. */
const quotedWord = (name: string) => new RegExp(`\\b${name}: '([\\w.-]{1,100})'`, "gi");

/**
 * Returns the server's error in the text of a broker. Since 2.5 the text is all that Microsoft's broker tells of it:
 * `Code: 'invalid_grant' description: '(pii)' correlation id: '…' suberror: 'token_expired'`. The description is the server's,
 * so only the first code and the last sub-error count.
 */
function serverErrorIn(text: string): { readonly error?: string | undefined; readonly subError?: string | undefined } {
  const [code] = text.matchAll(quotedWord("code"));
  if (code === undefined) return {};
  return { error: code[1], subError: [...text.matchAll(quotedWord("suberror"))].at(-1)?.[1] };
}

/** Returns the code of the server's error, which is more exact than the broker's status, if the server refused at all. */
function codeOfRefusal(status: number, error: string | undefined): LatchkeyErrorCode {
  const code = codeOfStatus(status);
  const serverCode = OWN_STATUSES.has(status) ? undefined : codeOfOAuthError(error);
  const areForPerson = [code, serverCode].every((each) => each && INTERACTION_REQUIRED_CODES.has(each));
  return areForPerson ? code : serverCode ?? code;
}

export function refusalError(refusal: BrokerRefusal, context: RefusalContext): LatchkeyError {
  const { status, subStatus = 0, tag, errorCode, claims } = refusal;
  const errorDescription = escapeControlCharacters(refusal.text.replace(/^\(pii\)$/, "")); // all of it was personal data
  const errorCodes = errorCodesIn(errorDescription);
  const { error, ...ofText } = serverErrorIn(errorDescription);
  const subError = escapeControlCharacters(refusal.subError ?? "") || ofText.subError;
  const code = codeOfRefusal(status, error);
  const remedy = remedyFor({ errorCodes, subError, text: errorDescription, broker: refusal }, context) ??
    remedyOfStatus(code === codeOfStatus(status) ? status : STATUSES.findIndex(([each]) => each === code)) ??
    (context.isSilent && status === 0 ? SIGN_IN_MAY_HELP : undefined);
  return new LatchkeyError(
    code,
    `The broker refused: ${descriptionOf({ errorDescription, message: numbersOf(refusal) })}`,
    {
      error,
      errorDescription,
      errorCodes,
      subError,
      claims,
      correlationId: context.correlationId,
      broker: { status, subStatus, ...(tag !== undefined && { tag }), ...(errorCode !== undefined && { errorCode }) },
      remedy,
    },
  );
}
