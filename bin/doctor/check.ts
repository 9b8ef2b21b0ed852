/**
 * Checks, and how they are done: at once as far as they can be, each within its time, none ending the others.
 *
 * @module
 */
import type { SessionBus } from "../../lib/dbus/bus.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import type { CacheStore } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { commandLineHint } from "../cli/failures.ts";
import type { TokenPlace } from "../cli/token_cache.ts";

/**
 * How a check ended. `unknown`: it need not be done, or Deno does not permit it. `blocked`: it was to be done, and could
 * not; whoever waits for it to be ok waits on.
 */
export interface Finding {
  readonly state: "ok" | "failed" | "blocked" | "unknown";
  /** What was seen, in a line. May have foreign text in it. */
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string | undefined;
}

/** A finding with the name of its check. */
export type CheckResult = Finding & { readonly id: string };

/** What checks look at. */
export interface Patient {
  /** The app that is asked for, or a nameless one where no client id was given. */
  readonly app: PublicClientApplication;
  /** Client id as it was given. */
  readonly clientId: string | undefined;
  /** User name that tokens are asked for. */
  readonly username: string | undefined;
  /** What a token is asked for. */
  readonly scopes: readonly string[];
  /** The authority's URL. */
  readonly authority: string;
  /** Path of the redirect URI at an authority that is not Microsoft's, as it was given. */
  readonly redirectPath?: string | undefined;
  /** Tenant that a token is asked of instead of the authority's. */
  readonly tenantId: string | undefined;
  /** The profile that options were taken from, or why none could be. */
  readonly profile: { readonly name: string | undefined; readonly problem: Error | undefined };
  /** Where tokens are kept that came without a broker. Throws where what was asked for cannot be. */
  tokenPlace(): TokenPlace;
  /** What is kept there. */
  readonly cache: CacheStore;
  /** The session bus: opened by the first who asks, and the same for all. */
  bus(): Promise<SessionBus>;
}

/** A check. */
export interface Check {
  /** Its name in the report. Stable: scripts look for it. */
  readonly id: string;
  /** Milliseconds that it may take. */
  readonly limitMs: number;
  /** Checks that have to be ok first, as far as they are done at all. */
  readonly needs?: readonly string[];
  /** Checks that have to end first. */
  readonly after?: readonly string[];
  /** Looks. What it throws is a failed check. */
  run(patient: Patient, now: Meanwhile): Finding | Promise<Finding>;
}

/** What a check knows beside the patient. */
interface Meanwhile {
  /** Aborted when its time is over. */
  readonly signal: AbortSignal;
  /** How an earlier check (`after`, `needs`) ended; `undefined` where this platform has it not. */
  stateOf(id: string): Finding["state"] | undefined;
}

/** What to do about a failure of which no more is known. */
export const LOOK_CLOSER = "Run latchkey doctor -vv to see what was done until then";
const GIVE_TIME = "Give it more time: latchkey doctor --timeout 120";

/** All is well. */
export function ok(detail: string, fix?: string): Finding {
  return { state: "ok", detail, fix };
}

/** Something is wrong, and this is what mends it. */
export function failed(detail: string, fix: string): Finding {
  return { state: "failed", detail, fix };
}

/** It need not, or may not, be looked at. */
export function notChecked(why: string, fix?: string): Finding {
  return { state: "unknown", detail: `not checked: ${why}`, fix };
}

/** It cannot be looked at before another check is ok. */
export function blockedBy(id: string): Finding {
  return { state: "blocked", detail: `not checked: it needs ${id}`, fix: `Mend ${id} first` };
}

/**
 * Does checks.
 *
 * @param checks The checks; what one needs, or comes after, stands before it.
 * @param patient What they look at.
 * @param signal Ends those under way.
 * @returns What they found, in their order.
 */
export async function examine(
  checks: readonly Check[],
  patient: Patient,
  signal?: AbortSignal,
): Promise<readonly CheckResult[]> {
  const results = new Map<string, Promise<CheckResult>>();
  for (const check of checks) results.set(check.id, examineOne(check, results, patient, signal));
  return await Promise.all(results.values());
}

async function examineOne(
  check: Check,
  results: ReadonlyMap<string, Promise<CheckResult>>,
  patient: Patient,
  signal: AbortSignal | undefined,
): Promise<CheckResult> {
  const { id, needs = [], after = [] } = check;
  const earlier = await Promise.all([...needs, ...after].flatMap((name) => results.get(name) ?? []));
  const missing = earlier.find(({ id, state }) => needs.includes(id) && state !== "ok");
  if (missing) {
    return { id, ...(missing.state === "unknown" ? notChecked(`it needs ${missing.id}`) : blockedBy(missing.id)) };
  }
  if (signal?.aborted) return { id, state: "blocked", detail: "not checked: the time was over", fix: GIVE_TIME };
  const stateOf = (name: string) => earlier.find(({ id }) => id === name)?.state;
  return {
    id,
    ...await withinLimit(check.limitMs, signal, async (signal) => await check.run(patient, { signal, stateOf })),
  };
}

/** A check that does not heed its signal is left behind, and one that is done leaves nothing under way. */
async function withinLimit(
  limitMs: number,
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<Finding>,
): Promise<Finding> {
  const limit = new AbortController(), end = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.abort(new Error(`it took longer than ${limitMs / 1000} s`)), limitMs);
  const signal = AbortSignal.any([...(outer ? [outer] : []), limit.signal]);
  signal.addEventListener("abort", () => end.reject(signal.reason), { once: true });
  try {
    return await Promise.race([run(signal), end.promise]);
  } catch (error) {
    return outer?.aborted ? failed("it was not done when the time was over", GIVE_TIME) : asFailure(error);
  } finally {
    clearTimeout(timer);
    limit.abort();
  }
}

/** A failure in the words of its error. */
export function asFailure(error: unknown): Finding {
  if (error instanceof LatchkeyError) {
    return failed(error.errorDescription || error.message, commandLineHint(error.hint) ?? LOOK_CLOSER);
  }
  return failed(error instanceof Error ? error.message || error.name : String(error), LOOK_CLOSER);
}
