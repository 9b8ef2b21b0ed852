/**
 * The session bus through the npm package `dbus-next`, on Bun, on Node, and on Deno where libdbus cannot be had.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { type UnixSocket, unixSockets } from "./dbus_address.ts";
import { type DBusNext, DBusNextConnection } from "./dbus_next_connection.ts";
import { denoNamespace, quoteCommand } from "./host.ts";
import { ReconnectingBus } from "./reconnecting_bus.ts";
import { BUS_ERROR, DBusError, type SessionBus } from "./session_bus.ts";

/**
 * Opens the session bus through `dbus-next`.
 *
 * @param address Address of the bus, in D-Bus' notation.
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency`: the package is not there, or Deno does not permit what it needs.
 * @throws {DBusError} `…BadAddress` when the bus is not on a unix socket.
 */
export async function openSessionBusDBusNext(address: string): Promise<SessionBus> {
  const sockets = unixSockets(address), addresses = sockets.map(asAddress), deno = denoNamespace();
  if (deno) checkPermissions(deno, sockets);
  const library = await loadDBusNext();
  return new ReconnectingBus("dbus-next", (onSignal) => new DBusNextConnection(library, addresses, onSignal));
}

/** `dbus-next` takes what is between its separators as it stands. */
function asAddress({ kind, name }: UnixSocket): string {
  if (!/[:;,]/.test(name)) return `unix:${kind}=${name}`;
  throw new DBusError(`${BUS_ERROR}BadAddress`, `dbus-next cannot reach ${name}: it has a colon, semicolon or comma`);
}

async function loadDBusNext(): Promise<DBusNext> {
  try {
    return await import("dbus-next");
  } catch (cause) {
    throw new LatchkeyError(
      "missing_dependency",
      "Cannot reach the session bus: the package dbus-next cannot be loaded",
      { cause, hint: "Run npm install dbus-next@npm:@jellybrick/dbus-next@^0.11.3" },
    );
  }
}

/** Deno would ask for what was not granted. Asking who we are takes `sys`, and a socket all the others. */
function checkPermissions(deno: typeof Deno, sockets: readonly UnixSocket[]): void {
  const needed = [["--allow-sys=uid", { name: "sys", kind: "uid" }], ...sockets.flatMap(permissionsOf)] as const;
  const known = needed.map(([flag, permission]) => [flag, stateOf(deno, permission)] as const)
    .filter(([, state]) => state !== undefined);
  if (known.every(([, state]) => state === "granted")) return;
  throw new LatchkeyError("missing_dependency", "Cannot reach the session bus: Deno may not connect to its socket", {
    hint: `Run deno with ${quoteCommand(known.map(([flag]) => flag))}`,
  });
}

/** A name in the abstract namespace has a NUL before it, which no flag can say. */
function permissionsOf({ kind, name }: UnixSocket): [flag: string, permission: Deno.PermissionDescriptor][] {
  const isFile = kind === "path", path = isFile ? { path: name } : {}, host = isFile ? { host: `unix:${name}` } : {};
  const value = isFile ? `=${name}` : "";
  return [
    [`--allow-read${value}`, { name: "read", ...path }],
    [`--allow-write${value}`, { name: "write", ...path }],
    [`--allow-net${isFile ? `=unix:${name}` : ""}`, { name: "net", ...host }],
  ];
}

/** `undefined` for a permission that this Deno does not know: before 2.9 a socket is no host. */
function stateOf(deno: typeof Deno, permission: Deno.PermissionDescriptor): Deno.PermissionState | undefined {
  try {
    return deno.permissions.querySync(permission).state;
  } catch {
    return undefined;
  }
}
