/**
 * Refusals of Microsoft Entra: OAuth errors by the code that they become, and AADSTS numbers. The numbers only choose remedies:
 * Microsoft says not to branch on them.
 *
 * @module
 */
import type { LatchkeyErrorCode } from "./errors.ts";
import { advice, CANNOT_BIND, type Remedy, remedyOf, type SystemWord, systemWord } from "./remedies.ts";

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

/** Facts about the request that a remedy needs. */
export interface RemedyFacts {
  /** Source of the token: what helps depends on it. */
  readonly flow: "broker" | "browser" | "device_code";
  readonly clientId: string;
  /** Redirect URI that the app must have registered for this flow. */
  readonly redirectUri: string;
  readonly scopes: readonly string[];
}

/** Returns the words of the system that the remedy is for. */
type Words = (word: SystemWord) => string;
type Rule = string | Remedy | ((facts: RemedyFacts, words: Words) => string | Remedy);

const PASS_CHECK: Remedy = { kind: "sign_in_again", with: "claims", because: "The user must pass a check" };
const CONSENT: Remedy = { kind: "consent" };
const SIGN_IN_AGAIN: Remedy = { kind: "sign_in_again" };

function addRedirectUri({ redirectUri, clientId }: RemedyFacts): Remedy {
  return { kind: "register_redirect_uri", redirectUri, clientId };
}

function requestOneResource({ scopes }: RemedyFacts): Remedy {
  return { kind: "request_one_resource", scopes };
}

/** Remedy of each refusal, for all numbers that it has. */
const REMEDIES: readonly (readonly [codes: readonly number[], rule: Rule])[] = [
  [[50011], addRedirectUri],
  [[7000218], (facts) => ({
    ...advice("Allow public client flows in the app registration"),
    then: addRedirectUri(facts),
  })],
  [[700016, 700011], {
    kind: "check_request",
    parameters: ["clientId", "tenant"],
    because: "The app is not known in this tenant",
  }],
  [
    [53000, 530003],
    ({ flow }, words) =>
      flow === "broker" ? `Enroll the device, and make it compliant: see ${words("enrollment")}` : {
        kind: "require_broker",
        because: "Only the device's broker can prove that the device is managed; a device code cannot pass",
        then: advice(`See ${words("enrollment")}`),
      },
  ],
  [
    [53003],
    ({ flow }) =>
      flow === "device_code"
        ? "Use the broker or the browser: the tenant probably forbids device codes"
        : "Give your administrator the correlation id and the time: a policy on place, app or device blocks the sign-in",
  ],
  [[530084], { kind: "require_broker", because: "Only a session that is bound to the device passes" }],
  [
    [50005, 53001],
    (_, words) => ({
      kind: "require_broker",
      then: advice(`If the request went through the broker, no ${words("systemName")} device can meet this policy`),
    }),
  ],
  [[50097, 50129, 50155, 50187], registerAgain],
  [[50127], (_, words) => words("installBroker")],
  [[53002], "Ask your administrator to approve the app"],
  [[50072, 50074, 50076, 50078, 50079, 50158], PASS_CHECK],
  [[50173, 50132, 50133], {
    ...SIGN_IN_AGAIN,
    because: "The password was changed, or the sign-in was revoked",
  }],
  [[70008, 700082], { ...SIGN_IN_AGAIN, because: "The sign-in was not used for too long" }],
  [[70043], { ...SIGN_IN_AGAIN, because: "Your tenant limits how long a sign-in lasts" }],
  [[65001], CONSENT],
  [[65002], "Use an app registration of your own: Microsoft does not let this app of its own request this resource"],
  [[50105], "Ask your administrator to assign you to the app"],
  [[50020, 16000, 50194], {
    kind: "check_request",
    parameters: ["tenant", "account"],
    because: "The account is not of this tenant, or the app is for one tenant",
  }],
  [[500011, 650057, 70011], requestOneResource],
  [[50196], "Wait a minute, and see which process repeats the request: the same one was sent too often"],
  [[70016], "Keep polling: the user has not confirmed the code yet"],
  [[70019], "Request a new code: this one has expired"],
  [[50199], "Confirm the sign-in in the browser"],
];

/** Remedy of each sub-error: Microsoft's broker gives no AADSTS numbers since 2.5. */
const SUB_ERROR_REMEDIES: Readonly<Record<string, Rule>> = {
  basic_action: PASS_CHECK,
  additional_action: PASS_CHECK,
  consent_required: CONSENT,
  user_password_expired: { ...SIGN_IN_AGAIN, because: "The password has expired" },
  bad_token: SIGN_IN_AGAIN,
  token_expired: SIGN_IN_AGAIN,
  device_authentication_failed: registerAgain,
};

/** Remedy for a broker that lacks a method which is optional. */
export const NOT_IMPLEMENTED: Remedy = advice(
  "Go without it: himmelblau, for one, neither removes accounts nor signs requests",
);

/** Remedies for texts of the broker that contain no number. */
const BROKER_REMEDIES: readonly (readonly [pattern: RegExp, rule: Rule])[] = [
  // Only Linux' broker has these two numbers.
  [
    /\b4kv4v\b/i,
    {
      ...advice("Install gnome-keyring, on KDE as well, and unlock it: the broker accepts no other Secret Service"),
      then: { kind: "run_doctor" },
    },
  ],
  [/\b4ko04\b/i, (_, words) => ({
    ...advice(words("unlockKey")),
    because: "The broker does not find its key",
    then: { kind: "run_doctor" },
  })],
  [/device_authentication_failed/, registerAgain],
  [/token_expired/, SIGN_IN_AGAIN],
  [
    /unable to find account/i,
    "Log in to this machine with an Entra account: the broker has none for the user who is logged in",
  ],
  [/^not implemented$/i, NOT_IMPLEMENTED],
  [/^invalid redirecturi\b/i, addRedirectUri],
  [/^PoP is not available/i, CANNOT_BIND],
  [/declined scopes/i, "Request fewer scopes, or the resource's /.default: Microsoft Entra did not grant all of them"],
];

/** Refusals of Microsoft's broker for a missing redirect URI, since it gives no AADSTS number. Error codes as unsigned numbers. */
const MISSING_REDIRECT_URI = { tag: 557973642, errorCodes: [3399614473, 2156265475] };

/** Returns the AADSTS numbers in a text, each once. */
export function errorCodesIn(text: string): readonly number[] {
  return [...new Set([...text.matchAll(/AADSTS(\d{1,9})/g)].map((match) => Number(match[1])))];
}

interface Refusal {
  readonly errorCodes: readonly number[];
  readonly subError?: string | undefined;
  readonly text: string;
  /** Numbers of a broker; a platform's error code can be signed. */
  readonly broker?: { readonly tag?: number | undefined; readonly errorCode?: number | undefined };
}

/** Returns the remedy for a refusal, by default for this operating system, or `undefined` if none is known. */
export function remedyFor(refusal: Refusal, facts: RemedyFacts, system?: string): Remedy | undefined {
  const rule = findRule(refusal);
  return remedyOf(typeof rule === "function" ? rule(facts, (word) => systemWord(word, system)) : rule);
}

function findRule(refusal: Refusal): Rule | undefined {
  const { subError = "", text, broker: { tag, errorCode = 0 } = {} } = refusal;
  // The first number is the refusal's own; its text may refer to others.
  for (const code of refusal.errorCodes) {
    const [, rule] = REMEDIES.find(([codes]) => codes.includes(code)) ?? [];
    if (rule !== undefined) return rule;
  }
  const isOfRedirectUri = tag === MISSING_REDIRECT_URI.tag || MISSING_REDIRECT_URI.errorCodes.includes(errorCode >>> 0);
  if (isOfRedirectUri) return addRedirectUri;
  if (Object.hasOwn(SUB_ERROR_REMEDIES, subError)) return SUB_ERROR_REMEDIES[subError];
  return BROKER_REMEDIES.find(([pattern]) => pattern.test(text))?.[1];
}

function registerAgain(_: RemedyFacts, words: Words): string {
  return `Register the device again ${words("registration")}`;
}
