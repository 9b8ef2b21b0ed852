/**
 * Windows' and macOS' broker, through Microsoft's library.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Broker } from "./broker.ts";
import type { JsonBrokerOptions } from "./json_broker.ts";

/** Starts it. */
export function startMsalRuntimeBroker(_options: JsonBrokerOptions, _signal?: AbortSignal): Promise<Broker> {
  return Promise.reject(new LatchkeyError("missing_dependency", "MSALRuntime is not here yet"));
}
