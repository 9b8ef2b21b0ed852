/**
 * Addresses of a bus. Facts: D-Bus Specification, "Server Addresses". Pure.
 *
 * @module
 */
import { BUS_ERROR, DBusError } from "./session_bus.ts";

/** Where a bus listens on this machine. */
export interface UnixSocket {
  /** Whether `name` is that of a file, or one in Linux' abstract namespace. */
  readonly kind: "path" | "abstract";
  readonly name: string;
}

/**
 * The unix sockets among the addresses of a bus, to be tried in order.
 *
 * @param address One or more addresses, such as `unix:path=/run/user/1000/bus`.
 * @throws {DBusError} `…BadAddress` when that is not what addresses look like, or none of them is a unix socket.
 */
export function unixSockets(address: string): UnixSocket[] {
  const sockets = address.split(";").filter((one) => one !== "").flatMap(socketsOf);
  if (sockets.length === 0) throw bad(address, "none of it is a unix socket");
  return sockets;
}

function socketsOf(address: string): UnixSocket[] {
  const [, transport, rest] = /^([^:=,;]+):(.*)$/s.exec(address) ?? [];
  if (transport === undefined) throw bad(address, "it names no transport");
  const values = new Map(
    rest!.split(",").filter((pair) => pair !== "").map((pair) => {
      const [, key, value] = /^([^=]+)=([-0-9A-Za-z_/.*~\\%]*)$/.exec(pair) ?? [];
      if (key === undefined) throw bad(address, "it is not written as key=value");
      return [key, unescape(address, value!)];
    }),
  );
  if (transport !== "unix") return [];
  return (["path", "abstract"] as const).flatMap((kind) => {
    const name = values.get(kind);
    return name ? [{ kind, name }] : [];
  });
}

/** `%xx` is a byte of UTF-8: names of files that are none cannot be given to the runtimes' sockets. */
function unescape(address: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw bad(address, "its %xx are no UTF-8");
  }
}

function bad(address: string, why: string): DBusError {
  return new DBusError(`${BUS_ERROR}BadAddress`, `the address ${JSON.stringify(address)} cannot be used: ${why}`);
}
