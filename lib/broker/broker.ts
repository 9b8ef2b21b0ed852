/**
 * What every broker can do.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import type { Authority } from "../authority.ts";
import type { AuthenticationResult } from "../token.ts";

/** How a broker is reached. */
export type BrokerKind = "linux";

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
  /** Authority as the app or the caller named it. */
  readonly authority: Authority;
  /** The account that was chosen; without it the broker takes the one that is signed in to the device. */
  readonly account?: AccountInfo | undefined;
  /** User name of the person who is expected, when no account was chosen. */
  readonly loginHint?: string | undefined;
  /** A claims request as JSON text (OpenID Connect Core, 5.5), client capabilities included. */
  readonly claims?: string | undefined;
  /** Makes the broker renew this token instead of answering from its cache. */
  readonly accessTokenToRenew?: string | undefined;
}

/** A broker that was started. */
export interface Broker {
  /** How it is reached. */
  readonly kind: BrokerKind;
  /**
   * The accounts that it knows.
   *
   * @throws {LatchkeyError} the broker's refusal, `timed_out`, `broker_unavailable`, `invalid_response`.
   */
  getAccounts(call: BrokerCall): Promise<AccountInfo[]>;
  /**
   * A token without any window.
   *
   * @throws {LatchkeyError} the broker's refusal, `timed_out`, `broker_unavailable`, `invalid_response`.
   */
  acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult>;
  /** Its version; `undefined` when it does not tell. */
  version(call: BrokerCall): Promise<string | undefined>;
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
  /** Why it is not active. */
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
}

/** The limits that hold unless others are given. */
export const DEFAULT_TIME_LIMITS: TimeLimits = { pingMs: 5_000, startMs: 25_000, accountsMs: 10_000, silentMs: 30_000 };
