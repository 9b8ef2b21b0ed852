/**
 * Checks of latchkey doctor, and how they run: concurrently where possible, each within its own time limit.
 *
 * @module
 */
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import type { PublicClientApplication } from "../../../lib/application.ts";
import { untilAborted } from "../../../lib/async.ts";
import type { CacheStore } from "../../../lib/cache/store.ts";
import { descriptionOf, LatchkeyError } from "../../../lib/errors.ts";
import { advice, hintOf, type HintWords, type Remedy, remedyOf } from "../../../lib/remedies.ts";
import type { TokenPlace } from "../../cli/token_cache.ts";

/** Placeholder of a client id for checks that send none. */
export const NO_CLIENT_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Result of a check. `unknown`: not needed, or not permitted by Deno, which is no failure. `blocked`: needed, but not
 * possible; checks that need this one are blocked too.
 */
export interface Finding {
  readonly state: "ok" | "failed" | "blocked" | "unknown";
  /** One line. May contain foreign text. */
  readonly detail: string;
  readonly fix?: Remedy | undefined;
}

export interface CheckResult extends Omit<Finding, "fix"> {
  readonly id: string;
  /** The remedy as a command. */
  readonly fix?: string | undefined;
}

/** The app and the options that all checks share. */
export interface CheckContext {
  /** The app, or one with a placeholder id if no client id was given. */
  readonly app: PublicClientApplication;
  readonly clientId: string | undefined;
  readonly username: string | undefined;
  readonly scopes: readonly string[];
  readonly authority: string;
  readonly redirectPath?: string | undefined;
  readonly tenantId: string | undefined;
  /** The profile that options were taken from, or the reason why none could be read. */
  readonly profile: { readonly name: string | undefined; readonly problem: Error | undefined };
  /** The command of the sign-in that the command line needs. */
  readonly signIn: string;
  /** Returns words for remedies: commands with the options of this command line. `claims` are a challenge to answer. */
  words(claims?: string): HintWords;
  /** Returns the location of tokens that did not come from a broker; throws if there can be none as requested. */
  tokenPlace(): TokenPlace;
  readonly cache: CacheStore;
  /** Opens the session bus on the first call; later calls return the same bus. */
  bus(): Promise<SessionBus>;
}

export interface Check {
  /** Name in the report. Stable: scripts look for it. */
  readonly id: string;
  readonly limitMs: number;
  /** `true`: it only matters if a broker is wanted. @default false */
  readonly isForBroker?: boolean;
  /** Checks that must succeed first, if they run at all. */
  readonly needs?: readonly string[];
  /** Checks that must end first. */
  readonly after?: readonly string[];
  /** Runs the check until its time limit, at which the signal aborts. An exception is a failure. */
  run(context: CheckContext, progress: Progress): Finding | Promise<Finding>;
}

interface Progress {
  readonly signal: AbortSignal;
  /** Returns the state of an earlier check (`after`, `needs`); `undefined` if this platform does not have it. */
  stateOf(id: string): Finding["state"] | undefined;
}

export const RUN_VERBOSE = "Run latchkey doctor -vv to see the steps before the failure";
const RAISE_TIMEOUT = "Raise the time limit: latchkey doctor --timeout 120";

export function ok(detail: string, fix?: Remedy | string): Finding {
  return { state: "ok", detail, fix: remedyOf(fix) };
}

export function failed(detail: string, fix: Remedy | string): Finding {
  return { state: "failed", detail, fix: remedyOf(fix) };
}

export function notChecked(reason: string, fix?: Remedy | string): Finding {
  return { state: "unknown", detail: `not checked: ${reason}`, fix: remedyOf(fix) };
}

export function blockedBy(id: string): Finding {
  return { state: "blocked", detail: `not checked: it needs ${id}`, fix: advice(`Fix ${id} first`) };
}

/** Returns a failure that does no harm at present: it is reported, but does not count. */
export function tolerated(finding: Finding, reason: string): Finding {
  return { ...finding, state: "unknown", detail: `${finding.detail}; ${reason}` };
}

export function asFailure(error: unknown): Finding {
  if (error instanceof LatchkeyError) {
    return failed(descriptionOf(error), error.remedy ?? RUN_VERBOSE);
  }
  return failed(error instanceof Error ? error.message || error.name : String(error), RUN_VERBOSE);
}

/** Runs checks, each of which stands after those in its `needs` and `after`. Returns their results in the same order. */
export async function runChecks(
  checks: readonly Check[],
  context: CheckContext,
  signal?: AbortSignal,
): Promise<readonly CheckResult[]> {
  const results = new Map<string, Promise<CheckResult>>();
  for (const check of checks) {
    const { id, needs = [], after = [] } = check;
    const earlier = Promise.all([...needs, ...after].flatMap((name) => results.get(name) ?? []));
    const run = async (earlier: readonly CheckResult[]) => {
      const { fix, ...finding } = await runCheck(check, earlier, context, signal);
      return { id, ...finding, fix: fix && hintOf(fix, context.words()) };
    };
    results.set(id, earlier.then(run));
  }
  return await Promise.all(results.values());
}

async function runCheck(
  { needs = [], limitMs, isForBroker, run }: Check,
  earlier: readonly CheckResult[],
  context: CheckContext,
  signal: AbortSignal | undefined,
): Promise<Finding> {
  const stateOf = (name: string) => earlier.find(({ id }) => id === name)?.state;
  const missing = earlier.find(({ id, state }) => needs.includes(id) && state !== "ok");
  if (missing) return missing.state === "unknown" ? notChecked(`it needs ${missing.id}`) : blockedBy(missing.id);
  if (isForBroker && stateOf("broker") === "unknown") return notChecked("no broker is asked for");
  if (signal?.aborted) {
    return { state: "blocked", detail: "not checked: the time was over", fix: advice(RAISE_TIMEOUT) };
  }
  const limit = new AbortController();
  const ends = AbortSignal.any([...(signal ? [signal] : []), limit.signal]);
  const timer = setTimeout(() => limit.abort(new Error(`it took longer than ${limitMs / 1000} s`)), limitMs);
  const running = async () => await run(context, { signal: ends, stateOf });
  // A check that ignores its signal is abandoned; one that returns leaves nothing running.
  try {
    return await untilAborted(running(), ends);
  } catch (error) {
    return signal?.aborted ? failed("it was not finished when the time was over", RAISE_TIMEOUT) : asFailure(error);
  } finally {
    clearTimeout(timer);
    limit.abort();
  }
}
