/** Replaces lib/broker/detect.ts in workers on the edge and in pages, which have no broker. */
import type { Authority } from "../../lib/authority.ts";
import { type BrokerFinding, type BrokerFlags, isAnyWanted } from "../../lib/broker/broker.ts";
import type { JsonBrokerOptions } from "../../lib/broker/client.ts";
import { LatchkeyError } from "../../lib/errors.ts";

/**
 * Finds no broker.
 *
 * @throws {LatchkeyError} `missing_dependency` if one is enabled.
 */
export function findBroker(flags: BrokerFlags, options: JsonBrokerOptions): Promise<BrokerFinding> {
  if (isBrokerEnabled(flags, options.authority)) {
    return Promise.reject(
      new LatchkeyError("missing_dependency", "There is no way to a broker: this is latchkey's build for the edge", {
        remedy: "Leave enableBrokerOn… out there, or import the entry ./web, which has the calls of web apps alone; " +
          "a program on a device gets the whole build from Deno, Bun or Node",
      }),
    );
  }
  const reason = isAnyWanted(flags)
    ? `brokers do not serve the authority ${options.authority.url}`
    : "it is not enabled";
  return Promise.resolve({ state: "off", reason });
}

/** Returns true if the app enables a broker on any platform, for an authority that brokers serve. */
export function isBrokerEnabled(flags: BrokerFlags, authority: Authority): boolean {
  return isAnyWanted(flags) && authority.kind === "entra";
}

/**
 * Opens no channel.
 *
 * @throws {LatchkeyError} `broker_unavailable` always.
 */
export function openBrokerChannel(): Promise<never> {
  return Promise.reject(new LatchkeyError("broker_unavailable", "No session bus has a broker on the edge"));
}
