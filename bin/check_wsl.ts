/**
 * Check of the way from WSL to Windows' broker.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { readEnvironment } from "../lib/platform/host.ts";
import { isPermitted } from "../lib/platform/permission.ts";
import { isThere } from "../lib/platform/program.ts";
import { isAtLeast } from "../lib/platform/runtime.ts";
import { interopEnvironment } from "../lib/platform/wsl_interop.ts";
import { findWslProxy, WSL_HINTS, wslVersion } from "../lib/platform/wsl_program.ts";
import { NO_BROKER_WANTED } from "./check_broker.ts";
import { type Check, failed, type Finding, notChecked, ok } from "./doctor_check.ts";

/** The first in which Windows' broker can show its window. */
const FIRST_WITH_WINDOW = "2.4.13";
/** What Linux runs programs of Windows' by, under either name (microsoft/WSL issue 13449). */
const INTEROP = ["WSLInterop", "WSLInterop-late"].map((name) => `/proc/sys/fs/binfmt_misc/${name}`);

/** WSL's own part in reaching Windows' broker, and what is wrong with it. */
export const wsl: Check = {
  id: "wsl",
  limitMs: 12_000,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    const finding = await examine(broker === "ok", signal);
    if (finding.state !== "failed" || broker !== "ok") return finding;
    const { kind } = await app.brokerStatus({ signal });
    return { ...finding, state: "unknown", detail: `${finding.detail}; the ${kind} broker is used nevertheless` };
  },
};

async function examine(brokerRuns: boolean, signal: AbortSignal): Promise<Finding> {
  let proxy, version;
  try {
    proxy = await findWslProxy(signal);
    version = await wslVersion(signal);
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    if (error.code === "missing_dependency") return notChecked(error.message, error.hint);
    return failed(error.message, error.hint ?? WSL_HINTS.restart);
  }
  const facts = [`WSL ${version ?? "of an unknown version"}`, proxy, await interopFact()].filter(Boolean).join(", ");
  if (isPermitted({ name: "read", path: proxy }) && !isThere(proxy)) {
    return failed(`${facts}: there is no such program`, WSL_HINTS.drive);
  }
  // The files only hint at it: they are named otherwise now and then.
  if (!brokerRuns && isInteropOff()) return failed(`${facts}: interop seems to be off`, WSL_HINTS.interop);
  const isOld = version === undefined || !isAtLeast(version, FIRST_WITH_WINDOW);
  return isOld ? ok(facts, `${WSL_HINTS.update}, when a sign-in window does not show`) : ok(facts);
}

/** What there is to say of the session's way to Windows. */
async function interopFact(): Promise<string | undefined> {
  const { WSL_INTEROP: found } = await interopEnvironment();
  if (found !== undefined) return `WSL_INTEROP is not set to a socket in use, ${found} is taken`;
  if (!isPermitted({ name: "env", variable: "WSL_INTEROP" })) return undefined;
  return readEnvironment("WSL_INTEROP") === undefined ? "WSL_INTEROP is not set" : undefined;
}

function isInteropOff(): boolean {
  return INTEROP.every((path) => isPermitted({ name: "read", path }) && !isThere(path));
}
