/**
 * The time limits of calls to a broker, and of a sign-in in the browser.
 *
 * @module
 */

/** Time limits in milliseconds. */
export interface TimeLimits {
  /** Limit of the first reply from a running broker. @default 5_000 */
  readonly pingMs: number;
  /** Limit of the first reply from a broker that must be started. @default 25_000 */
  readonly startMs: number;
  /** Limit of a list of accounts. @default 10_000 */
  readonly accountsMs: number;
  /** Limit of a silent token. @default 30_000 */
  readonly silentMs: number;
  /** Limit of a sign-in in the browser. A broker's window has no limit. @default 300_000 */
  readonly browserMs: number;
}

export type BrokerTimeLimits = Omit<TimeLimits, "browserMs">;

export const DEFAULT_TIME_LIMITS: BrokerTimeLimits = {
  pingMs: 5_000,
  startMs: 25_000,
  accountsMs: 10_000,
  silentMs: 30_000,
};
