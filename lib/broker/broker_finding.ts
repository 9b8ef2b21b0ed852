/**
 * What became of the search for a broker.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Broker } from "./broker.ts";

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
