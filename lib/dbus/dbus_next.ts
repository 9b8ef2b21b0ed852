/**
 * The session bus over the npm package `dbus-next`.
 *
 * `dbus-next` connects and authenticates; then this module takes over its socket, so that messages, time limits and aborts are
 * the same as with libdbus. All use of what `dbus-next` does not document is in {@linkcode DBusNextTransport}.
 *
 * @module
 */
import type { Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, quoteCommand } from "../runtime/host.ts";
import { BUS_ERROR, DBusError, type Signal } from "./bus.ts";
import { type DBusTransport, disconnected } from "./connection.ts";
import { SocketTransport, type UnixSocket, unixSockets } from "./socket.ts";

/** Version of `@jellybrick/dbus-next` with which its undocumented parts were checked. */
export const CHECKED_VERSION = "0.11.3";

/**
 * Loads `dbus-next`, and returns a function that connects to the bus at an address in D-Bus' notation.
 *
 * @throws {LatchkeyError} `missing_dependency` if the package is missing, or Deno does not permit its use.
 * @throws {DBusError} `…BadAddress` if the bus is not on a unix socket.
 */
export async function openDBusNext(address: string): Promise<(onSignal: (signal: Signal) => void) => DBusTransport> {
  const sockets = unixSockets(address);
  const addresses = sockets.map(asAddress);
  const deno = denoNamespace();
  if (deno) checkPermissions(deno, sockets);
  const library = await loadDBusNext();
  return (onSignal) => new DBusNextTransport(library, addresses, onSignal);
}

type DBusNext = typeof import("dbus-next");

/** Undeclared parts of a `dbus-next` bus. */
interface UndeclaredBus {
  readonly _connection: InnerConnection;
  on(event: "error", listener: (error: Error) => void): void;
}

interface InnerConnection {
  /** The socket, one turn of the event loop after the start. */
  readonly stream?: Socket;
  on(event: "connect" | "end", listener: () => void): void;
}

/** `dbus-next` says Hello in the first message. */
const HELLO_SERIAL = 1;
/** Thrown into `dbus-next` after the authentication, so that it does not read the socket. */
const TAKEN_OVER = new Error("latchkey reads the socket");

/** A connection to a bus over the socket of `dbus-next`. */
class DBusNextTransport extends SocketTransport {
  readonly #library: DBusNext;
  /** Messages that wait for the authentication. */
  #unsent: Uint8Array[] | undefined = [];
  #inner: InnerConnection | undefined;

  /** Starts to connect to the first of the addresses that works. */
  constructor(library: DBusNext, addresses: readonly string[], onSignal: (signal: Signal) => void) {
    super(onSignal, HELLO_SERIAL);
    this.#library = library;
    this.#connectSoon(addresses);
  }

  protected get socket() {
    const stream = this.#inner?.stream;
    return stream && { ref: () => stream.ref(), unref: () => stream.unref(), end: () => stream.unref().destroySoon() };
  }

  protected write(message: Uint8Array): void {
    if (this.#unsent) this.#unsent.push(message);
    else this.#inner?.stream?.write(message);
  }

  /** `dbus-next` adds its listener of errors a microtask late. No event comes before that if this is a microtask, too. */
  #connectSoon(addresses: readonly string[]): void {
    queueMicrotask(() => this.isOpen() && this.#connect(addresses));
  }

  #connect([busAddress = "", ...others]: readonly string[]): void {
    const bus = this.#library.sessionBus({ busAddress, authMethods: ["EXTERNAL"] }) as unknown as UndeclaredBus;
    const inner = bus._connection;
    this.#inner = inner;
    const fail = (error: DBusError) => {
      if (this.#inner !== inner || !this.isOpen()) return;
      this.#inner = undefined;
      inner.stream?.destroy();
      if (this.#unsent && others.length > 0) this.#connectSoon(others);
      else this.end(error);
    };
    bus.on("error", (error) => {
      if (error !== TAKEN_OVER) fail(this.#unsent ? notConnected(busAddress, error) : disconnected(error.message));
    });
    inner.on("end", () => fail(disconnected("the connection to the session bus ended")));
    inner.on("connect", () => {
      this.#takeOver(inner.stream!);
      throw TAKEN_OVER;
    });
    setTimeout(() => { // the stream exists by then
      inner.stream?.once("connect", () => this.keepTime()); // Deno 2.6 forgets an unref() before
      this.keepTime();
    });
  }

  #takeOver(stream: Socket): void {
    stream.on("readable", () => {
      while (this.isOpen()) {
        const piece: Uint8Array | null = stream.read();
        if (piece === null) return;
        this.read(piece);
      }
    });
    for (const message of this.#unsent ?? []) stream.write(message);
    this.#unsent = undefined;
    this.keepTime();
  }
}

function notConnected(address: string, error: Error): DBusError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new DBusError(BUS_ERROR + connectErrorName(code), `cannot connect to ${address}: ${message}`);
}

function connectErrorName(code: string | undefined): string {
  if (code === undefined) return "AuthFailed"; // not an error of the system
  return code === "ENOENT" ? "FileNotFound" : "NoServer";
}

/** `dbus-next` does not unescape addresses. */
function asAddress({ kind, name }: UnixSocket): string {
  if (!/[:;,]/.test(name)) return `unix:${kind}=${name}`;
  throw new DBusError(`${BUS_ERROR}BadAddress`, `dbus-next cannot reach ${name}: it has a colon, semicolon or comma`);
}

async function loadDBusNext(): Promise<DBusNext> {
  try {
    return await import("dbus-next");
  } catch (cause) {
    const message = "Cannot reach the session bus: the package dbus-next cannot be loaded";
    const remedy = cause instanceof LatchkeyError
      ? cause.remedy // from lib/npm
      : `Run npm install dbus-next@npm:@jellybrick/dbus-next@^${CHECKED_VERSION}`;
    throw new LatchkeyError("missing_dependency", message, { cause, remedy });
  }
}

/** Deno would prompt for a missing permission. `dbus-next` reads the user id (`sys`) and opens a socket (the others). */
function checkPermissions(deno: typeof Deno, sockets: readonly UnixSocket[]): void {
  const needed = [["--allow-sys=uid", { name: "sys", kind: "uid" }], ...sockets.flatMap(permissionsOf)] as const;
  const known = needed.map(([flag, permission]) => [flag, stateOf(deno, permission)] as const)
    .filter(([, state]) => state !== undefined);
  if (known.every(([, state]) => state === "granted")) return;
  throw new LatchkeyError("missing_dependency", "Cannot reach the session bus: Deno may not connect to its socket", {
    remedy: { kind: "run_deno_with", flags: quoteCommand(known.map(([flag]) => flag)), when: "Without libdbus" },
  });
}

/** A name in the abstract namespace begins with a NUL, which no flag can contain. */
function permissionsOf({ kind, name }: UnixSocket): [flag: string, permission: Deno.PermissionDescriptor][] {
  if (kind === "abstract") return (["read", "write", "net"] as const).map((name) => [`--allow-${name}`, { name }]);
  return [
    [`--allow-read=${name}`, { name: "read", path: name }],
    [`--allow-write=${name}`, { name: "write", path: name }],
    [`--allow-net=unix:${name}`, { name: "net", host: `unix:${name}` }],
  ];
}

/** `undefined` for a permission that this Deno does not know: before 2.9 a socket is not a host. */
function stateOf(deno: typeof Deno, permission: Deno.PermissionDescriptor): Deno.PermissionState | undefined {
  try {
    return deno.permissions.querySync(permission).state;
  } catch {
    return undefined;
  }
}
