/**
 * Refusals of Microsoft Entra: OAuth errors by the code that they become, and AADSTS numbers. The numbers only choose hints:
 * Microsoft says not to branch on them.
 *
 * @module
 */
import { type LatchkeyErrorCode, SIGN_IN_AGAIN, type SystemWord, systemWord } from "./errors.ts";

/** OAuth errors by the code that they become. */
const OAUTH_ERRORS: readonly (readonly [code: LatchkeyErrorCode, errors: readonly string[]])[] = [
  // A person is needed: OpenID Connect Core, 3.1.2.6; RFC 9470; or a code or refresh token that is no longer valid.
  ["interaction_required", [
    ...["invalid_grant", "interaction_required", "login_required", "account_selection_required", "consent_required"],
    ...["insufficient_user_authentication", "unmet_authentication_requirements", "user_authentication_required"],
  ]],
  // Usually the person declined. `authorization_declined` is Entra's in the device flow.
  ["user_canceled", ["access_denied", "authorization_declined"]],
  // RFC 8628, 3.5: `expired_token`, `authorization_pending` and `slow_down`.
  ["timed_out", ["expired_token"]],
  ["temporarily_unavailable", ["authorization_pending", "slow_down", "temporarily_unavailable", "server_error"]],
  // The app's registration, or what it asks for.
  ["configuration", [
    ...["invalid_client", "unauthorized_client", "invalid_scope", "invalid_target", "invalid_resource"],
    ...["unsupported_grant_type", "unsupported_response_type", "unsupported_response_mode", "invalid_tenant"],
    "not_allowed", // Keycloak's, for a user or client that may not have offline_access
  ]],
  ["untrusted_authority", ["invalid_instance"]],
  ["refused", [
    ...["bad_verification_code", "invalid_request", "invalid_request_object", "invalid_request_uri"],
    ...["request_not_supported", "request_uri_not_supported", "registration_not_supported"],
  ]],
];

/** Returns `undefined` for an unknown error. */
export function codeOfOAuthError(error: string | undefined): LatchkeyErrorCode | undefined {
  return OAUTH_ERRORS.find(([, errors]) => errors.includes(error ?? ""))?.[0];
}

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

const PASS_CHECK = "Sign in once more to pass the check: acquireTokenInteractive with the error's claims";
const CONSENT = "Ask an administrator to consent, or visit the address of getAuthorizationRequestUrl";
const redirectUri = ({ redirectUri, clientId }: HintContext): string =>
  `the redirect URI ${redirectUri} to the app registration ${clientId} (Authentication, Mobile and desktop applications); see redirectUris`;

function addRedirectUri(context: HintContext): string {
  return `Add ${redirectUri(context)}`;
}

/** Hint of each refusal, for all numbers that it has. */
const HINTS: readonly (readonly [codes: readonly number[], hint: Hint])[] = [
  [[50011], addRedirectUri],
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
    PASS_CHECK,
  ],
  [[50173, 50132, 50133], `The password was changed, or the sign-in was revoked. ${SIGN_IN_AGAIN}`],
  [[70008, 700082], `The sign-in was not used for too long. ${SIGN_IN_AGAIN}`],
  [[70043], `Your tenant limits how long a sign-in lasts. ${SIGN_IN_AGAIN}`],
  [[65001], CONSENT],
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

/** Hint of each sub-error: Microsoft's broker gives no AADSTS numbers since 2.5. */
const SUB_ERROR_HINTS: Readonly<Record<string, Hint>> = {
  basic_action: PASS_CHECK,
  additional_action: PASS_CHECK,
  consent_required: CONSENT,
  user_password_expired: `The password has expired. ${SIGN_IN_AGAIN}`,
  bad_token: SIGN_IN_AGAIN,
  token_expired: SIGN_IN_AGAIN,
  device_authentication_failed: registerAgain,
};

/** Hint for a broker that lacks a method which is optional. */
export const NOT_IMPLEMENTED =
  "This broker cannot do that: himmelblau, for one, neither removes accounts nor signs requests";

/** Hints for texts of the broker that contain no number. */
const BROKER_HINTS: readonly (readonly [pattern: RegExp, hint: Hint])[] = [
  // Only Linux' broker has these two numbers.
  [
    /\b4kv4v\b/i,
    "The Secret Service has to be gnome-keyring, on KDE as well: install it and unlock it (latchkey doctor)",
  ],
  [/\b4ko04\b/i, (_, words) => `The broker does not find its key: ${words("unlockKey")}`],
  [/device_authentication_failed/, registerAgain],
  [/token_expired/, SIGN_IN_AGAIN],
  [
    /unable to find account/i,
    "The broker has no account for the person who is logged in to this machine: log in with an Entra account",
  ],
  [/^not implemented$/i, NOT_IMPLEMENTED],
  [/^invalid redirecturi\b/i, addRedirectUri],
  [
    /^PoP is not available/i,
    "This broker cannot bind tokens (see isPopSupported): acquire the token without authenticationScheme",
  ],
  [/declined scopes/i, "Microsoft Entra did not grant all scopes: request fewer, or the resource's /.default"],
];

/** Refusals of Microsoft's broker for a missing redirect URI, since it gives no AADSTS number. Error codes as unsigned numbers. */
const MISSING_REDIRECT_URI = { tag: 557973642, errorCodes: [3399614473, 2156265475] };

/** Returns the AADSTS numbers in a text, each once. */
export function errorCodesIn(text: string): readonly number[] {
  return [...new Set([...text.matchAll(/AADSTS(\d{1,9})/g)].map((match) => Number(match[1])))];
}

interface HintedRefusal {
  readonly errorCodes: readonly number[];
  readonly subError?: string | undefined;
  readonly text: string;
  /** Numbers of a broker; a platform's error code can be signed. */
  readonly broker?: { readonly tag?: number | undefined; readonly errorCode?: number | undefined };
}

/** Returns advice for a refusal, by default for this operating system, or `undefined` if nothing is known. */
export function hintFor(refusal: HintedRefusal, context: HintContext, system?: string): string | undefined {
  const hint = findHint(refusal);
  return typeof hint === "function" ? hint(context, (word) => systemWord(word, system)) : hint;
}

function findHint(refusal: HintedRefusal): Hint | undefined {
  const { subError = "", text, broker: { tag, errorCode = 0 } = {} } = refusal;
  // The first number is the refusal's own; its text may refer to others.
  for (const code of refusal.errorCodes) {
    const [, hint] = HINTS.find(([codes]) => codes.includes(code)) ?? [];
    if (hint !== undefined) return hint;
  }
  const isOfRedirectUri = tag === MISSING_REDIRECT_URI.tag || MISSING_REDIRECT_URI.errorCodes.includes(errorCode >>> 0);
  if (isOfRedirectUri) return addRedirectUri;
  if (Object.hasOwn(SUB_ERROR_HINTS, subError)) return SUB_ERROR_HINTS[subError];
  return BROKER_HINTS.find(([pattern]) => pattern.test(text))?.[1];
}

function registerAgain(_: HintContext, words: Words): string {
  return `Register the device again ${words("registration")}`;
}
