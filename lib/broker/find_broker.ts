/**
 * Which broker this machine has. On Linux: the one on the session bus.
 *
 * @module
 */
import type { Authority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import { operatingSystem } from "../platform/host.ts";
import type { Broker } from "./broker.ts";
import type { JsonBrokerOptions } from "./json_broker.ts";

/** On which platforms an app wants the broker. All are off unless they are set. */
export interface BrokerFlags {
  /** Windows. @default false */
  readonly enableBrokerOnWindows?: boolean;
  /** Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnWsl?: boolean;
  /** macOS. @default false */
  readonly enableBrokerOnMac?: boolean;
  /** Linux, and Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnLinux?: boolean;
}

/** What was found: a broker that was started, or why there is none. */
export type BrokerFinding =
  | { readonly state: "active"; readonly broker: Broker }
  | { readonly state: "off" | "unavailable"; readonly reason: string; readonly hint?: string | undefined };

/**
 * Finds and starts the broker of this machine. With the flag of this platform off, nothing is probed.
 *
 * @param flags Where the app wants a broker.
 * @param options What the broker is asked with.
 * @param signal Gives the search up, with its reason.
 * @returns The broker, or why there is none.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: a broker is wanted, and there is no way to ask for it.
 */
export async function findBroker(
  flags: BrokerFlags,
  options: JsonBrokerOptions,
  signal?: AbortSignal,
): Promise<BrokerFinding> {
  const reason = whyOff(flags, options.authority);
  if (reason !== undefined) return { state: "off", reason };
  const { startLinuxBroker } = await import("./linux_broker.ts");
  try {
    return { state: "active", broker: await startLinuxBroker(options, signal) };
  } catch (error) {
    if (signal?.aborted || !(error instanceof LatchkeyError) || error.code !== "broker_unavailable") throw error;
    return { state: "unavailable", reason: error.message, hint: error.hint };
  }
}

/** Whether the app wants a broker on this platform, and for an authority that a broker serves. */
export function isBrokerEnabled(flags: BrokerFlags, authority: Authority): boolean {
  return whyOff(flags, authority) === undefined;
}

function whyOff(flags: BrokerFlags, authority: Authority): string | undefined {
  if (authority.kind !== "entra") return `brokers do not serve the authority ${authority.url}`;
  const system = operatingSystem();
  if (system !== "linux") return `this version of latchkey has no broker for the platform ${system || "it runs on"}`;
  return flags.enableBrokerOnLinux ? undefined : "the broker is not enabled on Linux (enableBrokerOnLinux)";
}

/** The error of a call that needs the broker which was not found. */
export function noBroker(
  finding: Exclude<BrokerFinding, { readonly state: "active" }>,
  correlationId?: string | undefined,
): LatchkeyError {
  const message = finding.state === "off" ? `There is no broker: ${finding.reason}` : finding.reason;
  return new LatchkeyError("broker_unavailable", message, { hint: finding.hint, correlationId });
}
