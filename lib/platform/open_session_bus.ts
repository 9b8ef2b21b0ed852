/**
 * Which client of the session bus this runtime has.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, mayReadEnvironment, readEnvironment } from "./host.ts";
import { BUS_ERROR, DBusError, type SessionBus } from "./session_bus.ts";
import { openSessionBusLibdbus } from "./session_bus_libdbus.ts";

/**
 * Opens the session bus, by libdbus on Deno.
 *
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency` when this runtime has no D-Bus client or is not permitted to use it.
 * @throws {DBusError} `…NoServer` when this session has no bus.
 */
// deno-lint-ignore require-await -- other clients are loaded when they are needed
export async function openSessionBus(): Promise<SessionBus> {
  const deno = denoNamespace();
  if (!deno) {
    throw new LatchkeyError(
      "missing_dependency",
      "Cannot reach the session bus: there is no D-Bus client for this runtime",
      {
        hint: "Run the program with Deno",
      },
    );
  }
  return openSessionBusLibdbus(deno, sessionBusAddress());
}

/** Address of the session bus, as the D-Bus Specification and systemd give it. */
function sessionBusAddress(): string {
  const address = readEnvironment("DBUS_SESSION_BUS_ADDRESS");
  if (address) return address;
  const directory = readEnvironment("XDG_RUNTIME_DIR");
  if (directory) return `unix:path=${escapeAddress(`${directory}/bus`)}`;
  const names = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"];
  if (!names.every(mayReadEnvironment)) {
    throw new LatchkeyError(
      "missing_dependency",
      `Cannot reach the session bus: Deno may not read ${names.join(" and ")}`,
      {
        hint: `Run deno with --allow-env=${names} --allow-ffi=<path of libdbus-1.so.3>`,
      },
    );
  }
  throw new DBusError(`${BUS_ERROR}NoServer`, `this session has no bus: neither ${names.join(" nor ")} is set`);
}

/** Values in an address have all but a few characters as `%xx`. */
function escapeAddress(text: string): string {
  const escape = (byte: number) => `%${byte.toString(16).padStart(2, "0")}`;
  return text.replaceAll(
    /[^-0-9A-Za-z_/.*]/gu,
    (character) => [...new TextEncoder().encode(character)].map(escape).join(""),
  );
}
