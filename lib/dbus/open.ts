/**
 * Opens the session bus with the D-Bus client that this runtime has.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { anyOf } from "../remedies.ts";
import { denoNamespace, mayReadEnvironment, readEnvironment } from "../runtime/host.ts";
import { BUS_ERROR, DBusError, type SessionBus } from "./bus.ts";
import { openLibdbus, probablePath } from "./libdbus.ts";
import { ReconnectingBus } from "./reconnecting_bus.ts";
import type { StreamSockets } from "./socket.ts";

/**
 * Opens the session bus. Deno uses libdbus, or `dbus-next` if libdbus is missing or not permitted. Bun and Node use their own
 * sockets: `dbus-next` takes 30 ms to load.
 *
 * @returns The bus, which connects on first use.
 * @throws {LatchkeyError} `missing_dependency` if no D-Bus client is installed, or Deno permits none.
 * @throws {LatchkeyError} `configuration` if `LATCHKEY_LIBDBUS` is invalid.
 * @throws {DBusError} `…NoServer` if this session has no bus, `…BadAddress` if its address is not usable.
 */
export async function openSessionBus(): Promise<SessionBus> {
  const deno = denoNamespace();
  const address = await localAddress(sessionBusAddress());
  if (!deno) return await openWithSockets(address);
  try {
    return new ReconnectingBus("libdbus", await openLibdbus(deno, address));
  } catch (error) {
    // LATCHKEY_LIBDBUS means that one or none.
    if (!isMissing(error) || readEnvironment("LATCHKEY_LIBDBUS")) throw error;
    return await openWithDBusNext(address).catch((other) => {
      if (!isMissing(other)) throw other;
      const remedy = anyOf([error, other].flatMap(({ remedy }) => remedy ?? []));
      throw new LatchkeyError("missing_dependency", error.message, { cause: error.cause, remedy });
    });
  }
}

async function openWithDBusNext(address: string): Promise<SessionBus> {
  const { openDBusNext } = await import("./dbus_next.ts");
  return new ReconnectingBus("dbus-next", await openDBusNext(address));
}

async function openWithSockets(address: string): Promise<SessionBus> {
  const { nodeSockets, StreamTransport, unixSockets } = await import("./socket.ts");
  const addresses = unixSockets(address);
  const { Bun: bunSockets } = globalThis as { readonly Bun?: StreamSockets };
  const sockets = bunSockets ?? nodeSockets(await import("node:net"));
  const client = bunSockets ? "bun" : "node";
  return new ReconnectingBus(client, (onSignal) => new StreamTransport(sockets, addresses, onSignal));
}

function isMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && error.code === "missing_dependency";
}

/** Keeps the unix sockets: for other addresses libdbus would use the network or run programs. */
async function localAddress(address: string): Promise<string> {
  const sockets = address.split(";").filter((one) => one.startsWith("unix:"));
  if (sockets.length > 0) return sockets.join(";");
  const { unixSockets } = await import("./socket.ts");
  unixSockets(address); // throws the reason
  return address;
}

/** Returns the session bus' address, as the D-Bus Specification and systemd define it. */
function sessionBusAddress(): string {
  const address = readEnvironment("DBUS_SESSION_BUS_ADDRESS");
  if (address) return address;
  const directory = readEnvironment("XDG_RUNTIME_DIR");
  if (directory) return `unix:path=${escapeAddress(`${directory}/bus`)}`;
  const names = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"];
  if (!names.every(mayReadEnvironment)) {
    const message = `Cannot reach the session bus: Deno may not read ${names.join(" and ")}`;
    throw new LatchkeyError("missing_dependency", message, {
      remedy: { kind: "run_deno_with", flags: `--allow-env=${names} --allow-ffi=${probablePath(denoNamespace()!)}` },
    });
  }
  throw new DBusError(`${BUS_ERROR}NoServer`, `this session has no bus: neither ${names.join(" nor ")} is set`);
}

/** Escapes all but a few characters as `%xx`. */
function escapeAddress(text: string): string {
  const escape = (byte: number) => `%${byte.toString(16).padStart(2, "0")}`;
  return text.replaceAll(
    /[^-0-9A-Za-z_/.*]/gu,
    (character) => [...new TextEncoder().encode(character)].map(escape).join(""),
  );
}
