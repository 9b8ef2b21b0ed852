/**
 * Remedies: the next step after a failure, as data, and its words. Each interface has a table of words for all kinds: that of the
 * API is here, and the command line and the Azure credential have their own.
 *
 * @module
 */

/** Parts that any remedy can have. The hint has them in this order, around the step itself. */
export interface RemedyContext {
  /** Reason for the step, as a sentence. */
  readonly because?: string | undefined;
  /** Condition of the step, such as `Only if you trust it`. */
  readonly when?: string | undefined;
  /** Alternative to the step. */
  readonly or?: Remedy | undefined;
  /** Fact that the reader of the hint must know as well, as a sentence. */
  readonly note?: string | undefined;
  /** The step that follows. */
  readonly then?: Remedy | undefined;
}

/**
 * The next step after a failure, as data; `hint` says it in words. The set of kinds is closed, so the compiler checks a `switch`
 * over it.
 *
 * - `advice`: what no other kind says; `text` is an imperative.
 * - `sign_in`: no user is signed in. `sign_in_again`: a sign-in no longer suffices; `with`: pass the scopes, the error's `claims`,
 *   or a `prompt`. `sign_in_elsewhere`: no browser opens here, and no user can be asked; commands for the sign-in, if the caller has them.
 * - `list_accounts`, `choose_account`: find the account that is meant, or choose one of several users, or tenants of one user.
 * - `consent`: the user or an administrator must consent, at `url` if it is known.
 * - `name_scopes`, `name_resource`: pass the scope, or the resource, in the request.
 * - `request_one_resource`: `scopes` are of several resources, or of none.
 * - `check_request`: correct these `parameters` of the application or the request.
 * - `omit_parameter`: go without this `parameter`, which the broker or provider does not support.
 * - `register_redirect_uri`: add `redirectUri` to the app registration `clientId`.
 * - `enable_broker`: no user is signed in, and a broker could know one: set one of these `options` of the application.
 *   `require_broker`: sign in through the broker only. `disable_broker`: go without it.
 * - `repair_broker`: the broker is installed, but does not start; `text` is an imperative.
 * - `install`: install `package` with `command`. `run_deno_with`: permit what Deno did not, with these `flags`.
 * - `choose_store`: keep tokens in another store.
 * - `run_doctor`: find the cause, which the failure does not tell. `serve_elsewhere`: the broker is on another device, which can
 *   give tokens to this one.
 * - `check_network`: the machine, or its proxy, does not reach `host`.
 * - `try_again`: repeat the call, after this time if it is known.
 */
export type Remedy =
  & RemedyContext
  & (
    | { readonly kind: "advice"; readonly text: string }
    | { readonly kind: "sign_in" }
    | { readonly kind: "sign_in_again"; readonly with?: "scopes" | "claims" | "prompt" | undefined }
    | {
      readonly kind: "sign_in_elsewhere";
      readonly atTerminal?: string | undefined;
      readonly onOtherDevice?: string | undefined;
    }
    | { readonly kind: "list_accounts" }
    | { readonly kind: "choose_account"; readonly among: "users" | "tenants" }
    | { readonly kind: "consent"; readonly url?: string | undefined }
    | { readonly kind: "name_scopes" }
    | { readonly kind: "name_resource" }
    | { readonly kind: "request_one_resource"; readonly scopes: readonly string[] }
    | { readonly kind: "check_request"; readonly parameters: readonly RequestParameter[] }
    | { readonly kind: "omit_parameter"; readonly parameter: "authenticationScheme" | "kid" }
    | { readonly kind: "register_redirect_uri"; readonly redirectUri: string; readonly clientId: string }
    | { readonly kind: "enable_broker"; readonly options: readonly string[] }
    | { readonly kind: "require_broker" }
    | { readonly kind: "disable_broker" }
    | { readonly kind: "repair_broker"; readonly text: string }
    | { readonly kind: "install"; readonly package: string; readonly command: string }
    | { readonly kind: "run_deno_with"; readonly flags: string }
    | { readonly kind: "choose_store" }
    | { readonly kind: "run_doctor" }
    | { readonly kind: "serve_elsewhere" }
    | { readonly kind: "check_network"; readonly host?: string | undefined }
    | { readonly kind: "try_again"; readonly afterSeconds?: number | undefined }
  );

/** A parameter of the application or of a request that a remedy names; `tenant` is the authority's. */
export type RequestParameter = "clientId" | "authority" | "tenant" | "account";

/** Words for a step, as an imperative without a period. `isLast` is false if more of the hint follows. */
type StepWords<K extends Remedy["kind"]> = (
  step: Extract<Remedy, { readonly kind: K }>,
  place: { readonly isLast: boolean },
) => string;

/** An interface's words for every kind of remedy. */
export type HintWords = { readonly [K in Remedy["kind"]]: StepWords<K> };

type CommonKind = "advice" | "repair_broker" | "install" | "run_deno_with" | "check_network" | "try_again";

/** Words that are the same in every interface. */
export const COMMON_WORDS: Pick<HintWords, CommonKind> = {
  advice: ({ text }) => text,
  repair_broker: ({ text }) => text,
  install: ({ command }) => `Install it: ${command}`,
  run_deno_with: ({ flags }) => `Run deno with ${flags}`,
  check_network: ({ host }) =>
    `Check the network, and the proxy if there is one (HTTPS_PROXY, NO_PROXY)${host ? `: it must reach ${host}` : ""}`,
  try_again: ({ afterSeconds }) => afterSeconds === undefined ? "Try again" : `Try again in ${timeText(afterSeconds)}`,
};

/** Words of the library's API. */
export const API_WORDS: HintWords = {
  ...COMMON_WORDS,
  sign_in: () => "Sign in: acquireTokenInteractive",
  sign_in_again: (step) => `Sign in again: acquireTokenInteractive${step.with ? SIGN_IN_WITH[step.with] : ""}`,
  sign_in_elsewhere: () =>
    "Show the user the URL (onSignInAddress), and let them paste the one that it led to (readRedirect)",
  list_accounts: () => "List the accounts: getAccounts",
  choose_account: ({ among }) =>
    among === "tenants"
      ? "Choose one: tenantId or account in the request (getAccounts)"
      : "Choose one: account in the request (getAccounts)",
  consent: ({ url }) => consentAt(url ?? "the URL of getAuthorizationRequestUrl"),
  name_scopes: () => "Pass the scope in the request",
  name_resource: () => "Pass the resource in the request",
  request_one_resource: oneResource,
  check_request: ({ parameters }) =>
    `Check ${parameters.map((name) => name === "tenant" ? "authority" : name).join(" and ")}`,
  omit_parameter: ({ parameter }) =>
    `Ask without ${parameter}${parameter === "authenticationScheme" ? " (see isPopSupported)" : ""}`,
  register_redirect_uri: (step) => `${redirectUriToAdd(step)}; see redirectUris`,
  enable_broker: ({ options }) =>
    `To use the device's broker, set ${options.join(" or ")}; or sign in: acquireTokenInteractive`,
  require_broker: () => "Sign in through the device's broker: requireBroker",
  disable_broker: () => "Go without the broker: do not enable it",
  choose_store: () => "Choose plaintextStore or memoryStore",
  run_doctor: () => "Look for the cause: brokerStatus",
  serve_elsewhere: () => "Get tokens on the device that has the broker, and pass them to this one",
};

/** The parameters of a sign-in, in words of the API. */
export const SIGN_IN_WITH: Readonly<Record<"claims" | "scopes" | "prompt", string>> = {
  scopes: " with these scopes",
  claims: " with the error's claims",
  prompt: " with a prompt",
};

/** Returns the words for a consent that is given at a place. */
export function consentAt(place: string): string {
  return `Ask an administrator to consent, or visit ${place}`;
}

/** Returns the words for scopes of which a request can have only one resource's. */
export function oneResource({ scopes }: { readonly scopes: readonly string[] }): string {
  return `Request one resource at a time, such as https://graph.microsoft.com/.default, not ${
    scopes.join(" ") || "none"
  }`;
}

/** Returns the words for a redirect URI that an app registration lacks. */
export function redirectUriToAdd(step: { readonly redirectUri: string; readonly clientId: string }): string {
  return `Add the redirect URI ${step.redirectUri} to the app registration ${step.clientId} (Authentication, Mobile and desktop applications)`;
}

function timeText(seconds: number): string {
  if (seconds >= 120) return `${Math.ceil(seconds / 60)} minutes`;
  return seconds === 60 ? "a minute" : `${Math.ceil(seconds)} seconds`;
}

/** Returns a remedy in words, by default in those of the API. */
export function hintOf(
  remedy: Remedy,
  words: HintWords = API_WORDS,
  { isLast = true }: { readonly isLast?: boolean } = {},
): string {
  const { because, when, or, note, then } = remedy;
  // The compiler cannot see that a kind's words take that kind.
  const wordsOfStep = words[remedy.kind] as (step: Remedy, place: { readonly isLast: boolean }) => string;
  const isEnd = isLast && !note && !then;
  const step = wordsOfStep(remedy, { isLast: isEnd && !or });
  const conditional = when ? `${when}, ${uncapitalized(step)}` : step;
  const alternative = or ? `; or ${uncapitalized(hintOf(or, words, { isLast: isEnd }))}` : "";
  return [because, conditional + alternative, note, then && hintOf(then, words, { isLast })].filter(Boolean).join(". ");
}

/** Returns a sentence in the form for the middle of another one. */
export function uncapitalized(sentence: string): string {
  return sentence.slice(0, 1).toLowerCase() + sentence.slice(1);
}

/** Returns a sentence in the form for its beginning. */
export function capitalized(sentence: string): string {
  return sentence.slice(0, 1).toUpperCase() + sentence.slice(1);
}

/** Returns a remedy that is followed by another one, if there are two. */
export function followedBy(first: Remedy, next: Remedy | undefined): Remedy;
export function followedBy(first: Remedy | undefined, next: Remedy): Remedy;
export function followedBy(first: Remedy | undefined, next: Remedy | undefined): Remedy | undefined {
  return first && next ? { ...first, then: followedBy(first.then, next) } : first ?? next;
}

/** Returns a remedy with a note after its own. Without a remedy, trying again is one. */
export function withNote(remedy: Remedy | undefined, note: string): Remedy {
  return { ...(remedy ?? { kind: "try_again" }), note: [remedy?.note, note].filter(Boolean).join(". ") };
}

/** Returns remedies of which each may help; `undefined` without any. */
export function anyOf(remedies: readonly Remedy[]): Remedy | undefined {
  const [first, ...others] = remedies;
  if (!first) return undefined;
  return { ...first, or: anyOf([...(first.or ? [first.or] : []), ...others]) };
}

/** Returns advice that is the same in every interface: an imperative without a period. */
export function advice(text: string): Remedy {
  return { kind: "advice", text };
}

/** Returns a step as a remedy: a string is advice. */
export function remedyOf(step: Remedy | string): Remedy;
export function remedyOf(step: Remedy | string | undefined): Remedy | undefined;
export function remedyOf(step: Remedy | string | undefined): Remedy | undefined {
  return typeof step === "string" ? advice(step) : step;
}

/** For a broker that binds no tokens to requests, or none to a key of the caller's. */
export const CANNOT_BIND: Remedy = {
  kind: "omit_parameter",
  parameter: "authenticationScheme",
  because: "This broker cannot bind tokens",
};
export const CANNOT_BIND_TO_KEY: Remedy = {
  kind: "omit_parameter",
  parameter: "kid",
  because: "This broker cannot bind tokens to a key of yours",
};

/** A part of a hint that differs between systems. */
export type SystemWord =
  | "enrollment"
  | "registration"
  | "installBroker"
  | "restartBroker"
  | "accounts"
  | "unlockKey"
  | "setClock"
  | "checkClock"
  | "lookAtAccess"
  | "raiseFileSize"
  | "raiseOpenFiles"
  | "systemName"
  | "configFolder";

type WordOfSystems = readonly [linux: string, windows: string, macos: string];

/** Words of hints that differ between systems: Linux' and any other's, Windows', macOS'. */
const SYSTEM_WORDS: Readonly<Record<SystemWord, WordOfSystems>> = {
  enrollment: ["dsreg --status and the Intune app", "dsregcmd /status and Company Portal", "Company Portal"],
  registration: [
    "in the Intune app (Company Portal); dsreg --status shows its state",
    "in Settings, Accounts, Access work or school; dsregcmd /status shows its state",
    "in Company Portal",
  ],
  installBroker: [
    "Install microsoft-identity-broker, which comes with the Intune app",
    "Check the account manager with dsregcmd /status: Windows 10 and later have the broker",
    "Install Company Portal, and enroll the device: Microsoft's SSO extension comes with it",
  ],
  restartBroker: [
    "systemctl --user restart microsoft-identity-broker",
    "Run dsregcmd /status to check the Windows account manager, then sign out of Windows and in again",
    "Check in Company Portal that the device is enrolled, then restart this Mac",
  ],
  accounts: ["in the Intune app; a locked keyring also hides accounts", "in Settings, Accounts", "in Company Portal"],
  unlockKey: [
    "Unlock the login keyring, then sign in again",
    "Sign out of Windows and in again, then sign in again",
    "Unlock the login keychain, then sign in again",
  ],
  setClock: ["sudo timedatectl set-ntp true", "w32tm /resync", "sudo sntp -sS time.apple.com"],
  checkClock: ["Set the clock. On WSL: sudo hwclock -s", "Set the clock: w32tm /resync", "Set the clock"],
  lookAtAccess: [
    "See who has access with ls -ld on the file and the folders above it, or choose another folder",
    "See who has access with icacls on the file and the folders above it, or choose another folder",
    "See who has access with ls -lde on the file and the folders above it, or choose another folder",
  ],
  raiseFileSize: ["Raise the limit with ulimit -f", "Choose another drive", "Raise the limit with ulimit -f"],
  raiseOpenFiles: ["Close some, or see ulimit -n", "Close some", "Close some, or see ulimit -n"],
  systemName: ["Linux", "Windows", "macOS"],
  configFolder: ["~/.config", "%APPDATA%", "~/Library/Application Support"],
};

/** Returns the operating system by the Web's own word, since web apps on the edge have no other. */
function ownSystem(): string {
  const platform = globalThis.navigator?.platform ?? "";
  if (/^win/i.test(platform)) return "win32";
  return /^mac/i.test(platform) ? "darwin" : "linux";
}

export function isSystemWord(text: string): text is SystemWord {
  return Object.hasOwn(SYSTEM_WORDS, text);
}

/** Returns a hint's words for an operating system, which is named as by Node. @default this one */
export function systemWord(word: SystemWord, system: string = ownSystem()): string {
  const [linux, windows, macos] = SYSTEM_WORDS[word];
  if (system === "win32") return windows;
  return system === "darwin" ? macos : linux;
}
