/**
 * Checks, and how they are done: at once as far as they can be, each within its time, none ending the others.
 *
 * @module
 */
import { LatchkeyError, type PublicClientApplication } from "../mod.ts";
import type { SessionBus } from "../lib/platform/session_bus.ts";

/** How a check ended. `unknown`: it could not, or need not, be done. */
export interface Finding {
  readonly state: "ok" | "failed" | "unknown";
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
export interface Meanwhile {
  /** Aborted when its time is over. */
  readonly signal: AbortSignal;
  /** Whether an earlier check (`after`, `needs`) ended with ok. */
  isOk(id: string): boolean;
}

/** All is well. */
export function ok(detail: string, fix?: string): Finding {
  return { state: "ok", detail, fix };
}

/** Something is wrong. */
export function failed(detail: string, fix?: string): Finding {
  return { state: "failed", detail, fix };
}

/** It could not, or need not, be looked at. */
export function notChecked(why: string, fix?: string): Finding {
  return { state: "unknown", detail: `not checked: ${why}`, fix };
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
  if (missing) return { id, ...notChecked(`it needs ${missing.id}`) };
  if (signal?.aborted) return { id, ...notChecked("the time was over") };
  const isOk = (name: string) => earlier.some(({ id, state }) => id === name && state === "ok");
  return {
    id,
    ...await withinLimit(check.limitMs, signal, async (signal) => await check.run(patient, { signal, isOk })),
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
    return outer?.aborted ? failed("it was not done when the time was over") : asFailure(error);
  } finally {
    clearTimeout(timer);
    limit.abort();
  }
}

/** A failure in the words of its error. */
export function asFailure(error: unknown): Finding {
  if (error instanceof LatchkeyError) return failed(error.errorDescription || error.message, error.hint);
  return failed(error instanceof Error ? error.message || error.name : String(error));
}
