/**
 * AADSTS numbers, by which Microsoft Entra tells its refusals apart. They choose hints and nothing else: Microsoft says not
 * to branch on them.
 *
 * @module
 */

/** What a hint is written with. */
export interface HintContext {
  /** How the request was made: what helps differs. */
  readonly flow: "broker" | "browser" | "device_code";
  /** The app. */
  readonly clientId: string;
  /** The redirect URI that the app has to have registered for this flow. */
  readonly redirectUri: string;
  /** What was asked for. */
  readonly scopes: readonly string[];
}

type Hint = (context: HintContext) => string;

const SIGN_IN_AGAIN = "Sign in again: latchkey login, or acquireTokenInteractive";
const PASS_THE_CHECK =
  "Sign in once more to pass the check (latchkey login, or acquireTokenInteractive with the error's claims)";
const REGISTER_AGAIN =
  "Register the device again in the Intune app (Company Portal); dsreg --status tells how it stands";
const NOT_MANAGED: Hint = ({ flow }) =>
  flow === "broker"
    ? "See dsreg --status and the Intune app: the device has to be enrolled and compliant"
    : "Only the device's broker can show that the device is managed: use --broker require (enableBrokerOnLinux and its like, " +
      "requireBroker), and see dsreg --status and the Intune app; a device code cannot pass";
const THROUGH_THE_BROKER: Hint = () =>
  "Send the request through the broker (--broker require); where that was done, no Linux device can meet this rule";
const SCOPE: Hint = ({ scopes }) =>
  `Asked for ${scopes.join(" ") || "nothing"}: one resource a request, such as https://graph.microsoft.com/.default; ` +
  "with --resource /.default is added";
const redirectUri: Hint = ({ redirectUri, clientId }) =>
  `Add the redirect URI ${redirectUri} to the app registration ${clientId} (Authentication, Mobile and desktop applications)`;
const always = (hint: string): Hint => () => hint;

/** Rows of numbers that one hint is for. */
const HINTS: readonly (readonly [codes: readonly number[], hint: Hint])[] = [
  [[50011], redirectUri],
  [[7000218], (context) => `Allow public client flows in the app registration; ${decapitalized(redirectUri(context))}`],
  [
    [700016, 700011],
    always("Check --client-id and --tenant (clientId, authority): the app is not known in this tenant"),
  ],
  [[53000, 530003], NOT_MANAGED],
  [
    [53003],
    ({ flow }) =>
      flow === "device_code"
        ? "The tenant probably forbids device codes: use the broker or the browser"
        : "A rule about place, app or device: give your administrator the correlation id and the time",
  ],
  [[530084], always("Only a session that is bound to the device passes: use the device's broker (--broker require)")],
  [[50005, 53001], THROUGH_THE_BROKER],
  [[50097, 50129, 50155, 50187], always(REGISTER_AGAIN)],
  [[50127], always("Install the broker: microsoft-identity-broker, which comes with the Intune app")],
  [[53002], always("Your administrator has to approve the app")],
  [[50072, 50074, 50076, 50078, 50079, 50158], always(PASS_THE_CHECK)],
  [[50173, 50132, 50133], always(`The password was changed, or the sign-in was revoked. ${SIGN_IN_AGAIN}`)],
  [[70008, 700082], always(`The sign-in was not used for too long. ${SIGN_IN_AGAIN}`)],
  [[70043], always(`Your tenant limits how long a sign-in lasts. ${SIGN_IN_AGAIN}`)],
  [
    [65001],
    always("Ask an administrator to consent, or visit the address of getAuthorizationRequestUrl"),
  ],
  [
    [65002],
    always("Microsoft has not let this app of its own ask for this resource: use an app registration of your own"),
  ],
  [[50105], always("Your administrator has to assign you to the app")],
  [
    [50020, 16000, 50194],
    always("The account is not of this tenant, or the app is for one tenant: check --tenant and --account"),
  ],
  [[500011, 650057, 70011], SCOPE],
  [[50196], always("The same request was sent too often: wait a minute, and see which process repeats it")],
  [[70016], always("The person has not confirmed the code yet: keep polling")],
  [[70019], always("The code has ended: ask for a new one")],
  [[50199], always("Confirm the sign-in in the browser")],
];

/** What to do about a broker that lacks a method which is not every broker's. */
export const NOT_IMPLEMENTED =
  "This broker cannot do that: himmelblau, for one, neither removes accounts nor signs requests";

/** What else a text of the broker's can tell, where Entra gave no number. */
const BROKER_HINTS: readonly (readonly [pattern: RegExp, hint: string])[] = [
  [
    /\b4kv4v\b/i,
    "The Secret Service has to be gnome-keyring, on KDE as well: install it and unlock it (latchkey doctor)",
  ],
  [
    /\b4ko04\b/i,
    "The broker does not find its key in the keyring: unlock the login keyring (latchkey doctor), then sign in again",
  ],
  [/device_authentication_failed/, REGISTER_AGAIN],
  [/token_expired/, SIGN_IN_AGAIN],
  [
    /unable to find account/i,
    "The broker has no account for the person who is logged in to this machine: log in with an Entra account",
  ],
  [/^not implemented$/i, NOT_IMPLEMENTED],
  [
    /^PoP is not available/i,
    "This broker cannot bind tokens (isPopSupported tells): ask without authenticationScheme (--pop)",
  ],
  [/declined scopes/i, "Microsoft Entra did not grant all scopes: ask for fewer, or for the resource's /.default"],
];

/** The AADSTS numbers in a text, each once. */
export function errorCodesIn(text: string): readonly number[] {
  return [...new Set([...text.matchAll(/AADSTS(\d{1,9})/g)].map((match) => Number(match[1])))];
}

/**
 * What to do about a refusal.
 *
 * @param refusal Its numbers, and the texts in which a word can tell more.
 * @param context What the hint is written with.
 * @returns A sentence, or `undefined` when nothing is known.
 */
export function hintFor(
  refusal: { readonly errorCodes: readonly number[]; readonly subError?: string | undefined; readonly text: string },
  context: HintContext,
): string | undefined {
  // The first number is the refusal's own; others are what its text refers to.
  for (const code of refusal.errorCodes) {
    const [, hint] = HINTS.find(([codes]) => codes.includes(code)) ?? [];
    if (hint) return hint(context);
  }
  return BROKER_HINTS.find(([pattern]) => pattern.test(refusal.subError ?? "") || pattern.test(refusal.text))?.[1];
}

function decapitalized(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}
