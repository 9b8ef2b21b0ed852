/**
 * What every broker can do.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import type { Authority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import type { PopScheme, WindowHandle } from "../request.ts";
import type { AuthenticationResult } from "../token.ts";

/**
 * How a broker is reached. `linux`: on the session bus. `wsl`: Windows' own, from WSL. `msalruntime`: through Microsoft's
 * library, on Windows and macOS.
 */
export type BrokerKind = "linux" | "wsl" | "msalruntime";

/** What goes with each call. */
export interface BrokerCall {
  /** UUID of the request in the logs of the broker and the server. */
  readonly correlationId: string;
  /** Lets the caller go at once. */
  readonly signal?: AbortSignal | undefined;
}

/** A request for a token. */
export interface BrokerTokenRequest {
  /** What is asked for; reserved scopes are left out on the way. */
  readonly scopes: readonly string[];
  /** Authority that is asked: with a chosen account, that of its tenant. */
  readonly authority: Authority;
  /** The account that was chosen; without it the broker takes the one that is signed in to the device. */
  readonly account?: AccountInfo | undefined;
  /** User name of the person who is expected, when no account was chosen. */
  readonly loginHint?: string | undefined;
  /** A claims request as JSON text (OpenID Connect Core, 5.5), client capabilities included. */
  readonly claims?: string | undefined;
  /** The HTTP request that the token is to be bound to. */
  readonly pop?: PopScheme | undefined;
  /** More parameters of the authorization request, such as `domain_hint`. */
  readonly extraParameters?: Readonly<Record<string, string>> | undefined;
  /** Makes the broker renew this token instead of answering from its cache. */
  readonly accessTokenToRenew?: string | undefined;
}

/** A request for a token that a person is asked for. */
export interface BrokerInteractiveRequest extends BrokerTokenRequest {
  /** The window that the sign-in window belongs to. */
  readonly parentWindowHandle?: WindowHandle | undefined;
  /** Called just before the window opens. */
  readonly onBeforeWindow?: (() => void) | undefined;
}

/** A cookie that signs a browser in. Inspecting or logging it does not show its value. */
export interface SsoCookie {
  /** Such as `x-ms-RefreshTokenCredential`. */
  readonly name: string;
  /** As it goes into a `Cookie` header. */
  readonly value: string;
}

/** A broker that came or went. */
export interface BrokerChange {
  /** Whether it runs now. One that stopped, because it was idle, is started by the next call. */
  readonly running: boolean;
}

/** A broker that was started. Every method throws its refusal, `timed_out`, `broker_unavailable`, `invalid_response`. */
export interface Broker {
  /** How it is reached. */
  readonly kind: BrokerKind;
  /**
   * Whether others on the machine can read what it is asked, in the list of processes: then it is shown no token, and
   * renews none. @default false
   */
  readonly requestsAreVisible?: boolean;
  /** The accounts that it knows. */
  getAccounts(call: BrokerCall): Promise<AccountInfo[]>;
  /** A token without any window. */
  acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult>;
  /** A token by a window: it takes as long as the person does. An abort lets the caller go at once and ends the window. */
  acquireTokenInteractively(request: BrokerInteractiveRequest, call: BrokerCall): Promise<AuthenticationResult>;
  /** Takes an account from the broker, and so perhaps from all apps of the device. */
  removeAccount(account: AccountInfo, call: BrokerCall): Promise<void>;
  /** Cookies that sign a browser in at `request.url` with the request's account. */
  acquireSsoCookies(
    request: { readonly account: AccountInfo; readonly authority: Authority; readonly url: string },
    call: BrokerCall,
  ): Promise<SsoCookie[]>;
  /** A token that is bound to one HTTP request and names it: a Signed HTTP Request. */
  signHttpRequest(
    request: { readonly account: AccountInfo; readonly scheme: PopScheme },
    call: BrokerCall,
  ): Promise<string>;
  /** Whether it can bind tokens to requests. */
  isPopSupported(call: BrokerCall): Promise<boolean>;
  /** Its version; `undefined` when it does not tell. */
  version(call: BrokerCall): Promise<string | undefined>;
  /** Tells when it comes and goes, until the returned object is disposed of. Does not keep the program alive. */
  watch(listener: (change: BrokerChange) => void): Promise<Disposable>;
  /** Frees the connection to it. */
  close(): void;
}

/** What is known of the broker. */
export interface BrokerStatus {
  /** `active`: it is used. `off`: it was not asked for, or does not apply. `unavailable`: it was asked for and cannot be used. */
  readonly state: "active" | "off" | "unavailable";
  /** How it is reached, when it is active. */
  readonly kind: BrokerKind | null;
  /** Its version, when it tells. */
  readonly version: string | null;
  /** Why it is not active; when it is, why another one, which goes before it, is not. */
  readonly reason: string | null;
}

/** Time limits in milliseconds. */
export interface TimeLimits {
  /** For a sign of life from a broker that runs. @default 5_000 */
  readonly pingMs: number;
  /** For a sign of life from one that has to be started. @default 25_000 */
  readonly startMs: number;
  /** For a list of accounts. @default 10_000 */
  readonly accountsMs: number;
  /** For a silent token. @default 30_000 */
  readonly silentMs: number;
  /** For the person's sign-in in the browser; a broker's window has none. @default 300_000 */
  readonly browserMs: number;
}

/** The limits that hold unless others are given. */
export const DEFAULT_TIME_LIMITS: TimeLimits = {
  pingMs: 5_000,
  startMs: 25_000,
  accountsMs: 10_000,
  silentMs: 30_000,
  browserMs: 300_000,
};

/** What was found: a broker that was started, or why there is none. */
export type BrokerFinding =
  | {
    readonly state: "active";
    readonly broker: Broker;
    /** Why one that goes before it is not the one. */
    readonly reason?: string | undefined;
  }
  | { readonly state: "off" | "unavailable"; readonly reason: string; readonly hint?: string | undefined };

/** The error of a call that needs the broker which was not found. */
export function noBroker(
  finding: Exclude<BrokerFinding, { readonly state: "active" }>,
  correlationId?: string | undefined,
): LatchkeyError {
  const message = finding.state === "off" ? `There is no broker: ${finding.reason}` : finding.reason;
  return new LatchkeyError("broker_unavailable", message, { hint: finding.hint, correlationId });
}
