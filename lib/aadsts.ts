/**
 * AADSTS numbers, by which Microsoft Entra distinguishes its refusals. They only choose hints: Microsoft says not to branch on
 * them.
 *
 * @module
 */
import { SIGN_IN_AGAIN, type SystemWord, systemWord } from "./errors.ts";

/** Facts about the request that a hint names. */
export interface HintContext {
  /** Source of the token: what helps depends on it. */
  readonly flow: "broker" | "browser" | "device_code";
  readonly clientId: string;
  /** Redirect URI that the app must have registered for this flow. */
  readonly redirectUri: string;
  readonly scopes: readonly string[];
}

/** Returns the words of the system that the hint is for. */
type Words = (word: SystemWord) => string;
type Hint = string | ((context: HintContext, words: Words) => string);

const redirectUri = ({ redirectUri, clientId }: HintContext): string =>
  `the redirect URI ${redirectUri} to the app registration ${clientId} (Authentication, Mobile and desktop applications)`;

/** Hint of each refusal, for all numbers that it has. */
const HINTS: readonly (readonly [codes: readonly number[], hint: Hint])[] = [
  [[50011], (context) => `Add ${redirectUri(context)}`],
  [[7000218], (context) => `Allow public client flows in the app registration; add ${redirectUri(context)}`],
  [[700016, 700011], "Check clientId and authority: the app is not known in this tenant"],
  [
    [53000, 530003],
    ({ flow }, words) =>
      flow === "broker"
        ? `The device has to be enrolled and compliant: see ${words("enrollment")}`
        : "Only the device's broker can prove that the device is managed: sign in through it (requireBroker), and see " +
          `${words("enrollment")}; a device code cannot pass`,
  ],
  [
    [53003],
    ({ flow }) =>
      flow === "device_code"
        ? "The tenant probably forbids device codes: use the broker or the browser"
        : "A policy on place, app or device blocks the sign-in: give your administrator the correlation id and the time",
  ],
  [[530084], "Only a session that is bound to the device passes: use the device's broker (requireBroker)"],
  [
    [50005, 53001],
    (_, words) =>
      `Send the request through the broker (requireBroker); if it was, no ${
        words("systemName")
      } device can meet this policy`,
  ],
  [[50097, 50129, 50155, 50187], registerAgain],
  [[50127], (_, words) => words("installBroker")],
  [[53002], "Your administrator has to approve the app"],
  [
    [50072, 50074, 50076, 50078, 50079, 50158],
    "Sign in once more to pass the check: acquireTokenInteractive with the error's claims",
  ],
  [[50173, 50132, 50133], `The password was changed, or the sign-in was revoked. ${SIGN_IN_AGAIN}`],
  [[70008, 700082], `The sign-in was not used for too long. ${SIGN_IN_AGAIN}`],
  [[70043], `Your tenant limits how long a sign-in lasts. ${SIGN_IN_AGAIN}`],
  [[65001], "Ask an administrator to consent, or visit the address of getAuthorizationRequestUrl"],
  [[65002], "Microsoft does not let this app of its own request this resource: use an app registration of your own"],
  [[50105], "Your administrator has to assign you to the app"],
  [
    [50020, 16000, 50194],
    "The account is not of this tenant, or the app is for one tenant: check the authority and the account",
  ],
  [
    [500011, 650057, 70011],
    ({ scopes }) =>
      `The requested scopes are ${scopes.join(" ") || "none"}: request one resource at a time, such as ` +
      "https://graph.microsoft.com/.default",
  ],
  [[50196], "The same request was sent too often: wait a minute, and see which process repeats it"],
  [[70016], "The person has not confirmed the code yet: keep polling"],
  [[70019], "The code has expired: request a new one"],
  [[50199], "Confirm the sign-in in the browser"],
];

/** Hint for a broker that lacks a method which is optional. */
export const NOT_IMPLEMENTED =
  "This broker cannot do that: himmelblau, for one, neither removes accounts nor signs requests";

/** Hints for texts of the broker that contain no number. */
const BROKER_HINTS: readonly (readonly [pattern: RegExp, hint: Hint])[] = [
  [/\b4kv4v\b/i, (_, words) => words("secretService")],
  [/\b4ko04\b/i, (_, words) => `The broker does not find its key: ${words("unlockKey")}`],
  [/device_authentication_failed/, registerAgain],
  [/token_expired/, SIGN_IN_AGAIN],
  [
    /unable to find account/i,
    "The broker has no account for the person who is logged in to this machine: log in with an Entra account",
  ],
  [/^not implemented$/i, NOT_IMPLEMENTED],
  [
    /^PoP is not available/i,
    "This broker cannot bind tokens (see isPopSupported): acquire the token without authenticationScheme",
  ],
  [/declined scopes/i, "Microsoft Entra did not grant all scopes: request fewer, or the resource's /.default"],
];

/** Returns the AADSTS numbers in a text, each once. */
export function errorCodesIn(text: string): readonly number[] {
  return [...new Set([...text.matchAll(/AADSTS(\d{1,9})/g)].map((match) => Number(match[1])))];
}

/** Returns advice for a refusal, by default for this operating system, or `undefined` if nothing is known. */
export function hintFor(
  refusal: { readonly errorCodes: readonly number[]; readonly subError?: string | undefined; readonly text: string },
  context: HintContext,
  system?: string,
): string | undefined {
  const { errorCodes, subError = "", text } = refusal;
  // The first number is the refusal's own; its text may refer to others.
  const [, hint] = errorCodes.map((code) => HINTS.find(([codes]) => codes.includes(code))).find(Boolean) ??
    BROKER_HINTS.find(([pattern]) => pattern.test(subError) || pattern.test(text)) ?? [];
  return typeof hint === "function" ? hint(context, (word) => systemWord(word, system)) : hint;
}

function registerAgain(_: HintContext, words: Words): string {
  return `Register the device again ${words("registration")}`;
}
