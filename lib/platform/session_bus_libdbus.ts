/**
 * The session bus through libdbus, on Deno.
 *
 * @module
 */
import { openLibdbus } from "./libdbus.ts";
import { LibdbusConnection } from "./libdbus_connection.ts";
import { ReconnectingBus } from "./reconnecting_bus.ts";
import type { SessionBus } from "./session_bus.ts";

/**
 * Opens the session bus through libdbus.
 *
 * @param deno Deno's namespace.
 * @param address Address of the bus, in D-Bus' notation.
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: libdbus is not there, not permitted, or not to be trusted.
 */
export function openSessionBusLibdbus(deno: typeof Deno, address: string): SessionBus {
  const library = openLibdbus(deno);
  return new ReconnectingBus("libdbus", (onSignal) => new LibdbusConnection(library, address, onSignal));
}
