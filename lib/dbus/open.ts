/**
 * Which client of the session bus this runtime has.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, mayReadEnvironment, readEnvironment } from "../runtime/host.ts";
import { BUS_ERROR, DBusError, type SessionBus } from "./bus.ts";
import { ReconnectingBus } from "./connection.ts";
import { LibdbusConnection, openLibdbus } from "./libdbus.ts";

/**
 * Opens the session bus: on Deno by libdbus, which starts in half the time; by `dbus-next` elsewhere, and where libdbus is
 * not there or Deno may not open it.
 *
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency` when there is no D-Bus client, or Deno permits none.
 * @throws {DBusError} `…NoServer` when this session has no bus, `…BadAddress` when its address is none that can be used.
 */
export async function openSessionBus(): Promise<SessionBus> {
  const deno = denoNamespace(), address = await ofThisMachine(sessionBusAddress());
  if (!deno) return await openByDBusNext(address);
  try {
    return openSessionBusLibdbus(deno, address);
  } catch (error) {
    // Who names a libdbus wants that one.
    if (!isMissing(error) || readEnvironment("LATCHKEY_LIBDBUS")) throw error;
    return await openByDBusNext(address).catch((other) => {
      throw isMissing(other) ? neither(error, other) : other;
    });
  }
}

/** A bus of this machine: libdbus would go over the network for another address, and run programs for some. */
async function ofThisMachine(address: string): Promise<string> {
  const sockets = address.split(";").filter((one) => one.startsWith("unix:"));
  if (sockets.length > 0) return sockets.join(";");
  const { unixSockets } = await import("./dbus_next.ts");
  unixSockets(address); // throws: it says what is wrong with it
  return address;
}

async function openByDBusNext(address: string): Promise<SessionBus> {
  const { openSessionBusDBusNext } = await import("./dbus_next.ts");
  return await openSessionBusDBusNext(address);
}

function isMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && error.code === "missing_dependency";
}

/** Mending libdbus is better, but not in everyone's power. */
function neither(libdbus: LatchkeyError, dbusNext: LatchkeyError): LatchkeyError {
  return new LatchkeyError("missing_dependency", libdbus.message, {
    cause: libdbus.cause,
    hint: `${libdbus.hint}; or, without libdbus: ${dbusNext.hint}`,
  });
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

/**
 * Opens the session bus through libdbus.
 *
 * @param deno Deno's namespace.
 * @param address Address of the bus, in D-Bus' notation.
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: libdbus is not there, not permitted, or not to be trusted.
 */
function openSessionBusLibdbus(deno: typeof Deno, address: string): SessionBus {
  const library = openLibdbus(deno);
  return new ReconnectingBus("libdbus", (onSignal) => new LibdbusConnection(library, address, onSignal));
}
