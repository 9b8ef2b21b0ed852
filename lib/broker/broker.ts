/**
 * The broker, as the rest of the library sees it.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import type { Authority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import type { Remedy } from "../remedies.ts";
import type { PopScheme, RequestOptions, TokenQuery, WindowHandle } from "../request.ts";
import type { AuthenticationResult } from "../token.ts";

/**
 * The way to a broker. `linux`: over the session bus. `wsl`: the broker of Windows, from WSL. `msalruntime`: through
 * Microsoft's library, on Windows and macOS.
 */
export type BrokerKind = "linux" | "wsl" | "msalruntime";

export interface BrokerCall extends RequestOptions {
  readonly correlationId: string;
}

/** A request for a token. Reserved scopes are not sent. By default it is for the account that is signed in to the device. */
export interface BrokerTokenRequest extends Pick<TokenQuery, "scopes" | "account" | "claims" | "pop"> {
  /** Authority of the token; with a chosen account, that of its tenant. */
  readonly authority: Authority;
  /** Expected user name if no account was chosen. */
  readonly loginHint?: string | undefined;
  /** More parameters of the authorization request, such as `domain_hint`. */
  readonly extraParameters?: Readonly<Record<string, string>> | undefined;
  /** Token for the broker to renew, instead of answering from its cache. */
  readonly accessTokenToRenew?: string | undefined;
}

export interface BrokerInteractiveRequest extends BrokerTokenRequest {
  readonly parentWindowHandle?: WindowHandle | undefined;
  /** Called just before the window opens. */
  readonly onBeforeWindow?: (() => void) | undefined;
}

/** A cookie that signs a browser in. Inspecting or logging it does not show its value. */
export interface SsoCookie {
  /** Name, such as `x-ms-RefreshTokenCredential`. */
  readonly name: string;
  /** Value, as it goes into a `Cookie` header. */
  readonly value: string;
}

/** A started broker. Every method throws its refusal, `timed_out`, `broker_unavailable` or `invalid_response`. */
export interface Broker {
  readonly kind: BrokerKind;
  /**
   * True if others on the machine can read its requests in the process list. Such a broker is never sent a token, so it
   * renews none. @default false
   */
  readonly requestsAreVisible?: boolean;
  getAccounts(call: BrokerCall): Promise<AccountInfo[]>;
  acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult>;
  /** Acquires a token in a window, without a time limit. An abort closes the window. */
  acquireTokenInteractively(request: BrokerInteractiveRequest, call: BrokerCall): Promise<AuthenticationResult>;
  /** Removes an account from the broker, and so perhaps from all apps of the device. */
  removeAccount(account: AccountInfo, call: BrokerCall): Promise<void>;
  /** Acquires cookies that sign a browser in at `request.url`. */
  acquireSsoCookies(
    request: { readonly account: AccountInfo; readonly authority: Authority; readonly url: string },
    call: BrokerCall,
  ): Promise<SsoCookie[]>;
  /** Acquires a Signed HTTP Request: a token that is bound to one HTTP request and names it. */
  signHttpRequest(
    request: { readonly account: AccountInfo; readonly scheme: PopScheme },
    call: BrokerCall,
  ): Promise<string>;
  isPopSupported(call: BrokerCall): Promise<boolean>;
  /** Returns `undefined` if the broker does not report its version. */
  version(call: BrokerCall): Promise<string | undefined>;
  close(): void;
}

/** The broker's state. */
export interface BrokerStatus {
  /** `active`: in use. `off`: not enabled, or not applicable. `unavailable`: enabled, but unusable. */
  readonly state: "active" | "off" | "unavailable";
  /** The way to the broker, if it is active. */
  readonly kind: BrokerKind | null;
  /** The broker's version, if it was asked for, and the broker reports one. */
  readonly version: string | null;
  /** The reason why the broker is not active; if it is active, why a preferred one is not. */
  readonly reason: string | null;
  /** The failure, `broker_unavailable`, of a broker that is installed and cannot be started. @default none */
  readonly failure?: LatchkeyError;
}

/** The result of a search: a started broker, or why there is none. */
export type BrokerFinding =
  | {
    readonly state: "active";
    readonly broker: Broker;
    /** The reason why a preferred broker is not used. */
    readonly reason?: string | undefined;
  }
  | {
    readonly state: "off" | "unavailable";
    readonly reason: string;
    readonly remedy?: Remedy | undefined;
    /** True if a broker is installed: then its failure is the cause of what fails without it. @default false */
    readonly isInstalled?: boolean | undefined;
    /** Options that enable the broker of this platform, if none of them is set. */
    readonly enabledBy?: readonly (keyof BrokerFlags)[] | undefined;
  };

/** Returns the error of a call that needs a broker, after a search that found no usable one. */
export function noBroker(
  finding: Exclude<BrokerFinding, { readonly state: "active" }>,
  correlationId?: string | undefined,
): LatchkeyError {
  const message = finding.state === "off" ? `There is no broker: ${finding.reason}` : finding.reason;
  return new LatchkeyError("broker_unavailable", message, { remedy: finding.remedy, correlationId });
}

/** Platforms on which an app wants the broker. */
export interface BrokerFlags {
  /** Windows. An aborted call keeps Node running until the broker answers. @default false */
  readonly enableBrokerOnWindows?: boolean;
  /** Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnWsl?: boolean;
  /** macOS. The broker's window blocks JavaScript: neither a signal nor a time limit has any effect. @default false */
  readonly enableBrokerOnMac?: boolean;
  /** Linux, and Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnLinux?: boolean;
}

export function isAnyWanted(flags: BrokerFlags): boolean {
  const { enableBrokerOnWindows, enableBrokerOnWsl, enableBrokerOnMac, enableBrokerOnLinux } = flags;
  return [enableBrokerOnWindows, enableBrokerOnWsl, enableBrokerOnMac, enableBrokerOnLinux].some(Boolean);
}
