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
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";

/** Version of `@jellybrick/dbus-next` with which its undocumented parts were checked. */
export const CHECKED_VERSION = "0.11.3";

/**
 * Loads `dbus-next`.
 *
 * @param address Address of the bus, in D-Bus' notation.
 * @returns A function that connects to the bus.
 * @throws {LatchkeyError} `missing_dependency` if the package is missing, or Deno does not permit its use.
 * @throws {DBusError} `…BadAddress` if the bus is not on a unix socket.
 */
export async function openDBusNext(address: string): Promise<(onSignal: (signal: Signal) => void) => DBusTransport> {
  const sockets = unixSockets(address), addresses = sockets.map(asAddress), deno = denoNamespace();
  if (deno) checkPermissions(deno, sockets);
  const library = await loadDBusNext();
  return (onSignal) => new DBusNextTransport(library, addresses, onSignal);
}

/** A socket on which a bus listens. */
export interface UnixSocket {
  /** `path`: a file. `abstract`: a name in Linux' abstract namespace. */
  readonly kind: "path" | "abstract";
  readonly name: string;
}

/**
 * Returns the unix sockets among the addresses of a bus, in order (D-Bus Specification, "Server Addresses").
 *
 * @param address One or more addresses, such as `unix:path=/run/user/1000/bus`.
 * @throws {DBusError} `…BadAddress` if an address is malformed, or none is a unix socket.
 */
export function unixSockets(address: string): UnixSocket[] {
  const sockets = address.split(";").filter((one) => one !== "").flatMap(socketsOf);
  if (sockets.length === 0) throw bad(address, "it names no unix socket");
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

/** `%xx` is a byte. The runtimes' sockets take only names in UTF-8. */
function unescape(address: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw bad(address, "its %xx are not UTF-8");
  }
}

function bad(address: string, why: string): DBusError {
  return new DBusError(`${BUS_ERROR}BadAddress`, `the address ${JSON.stringify(address)} cannot be used: ${why}`);
}

/** Length of the part of the header that has the message's length. */
const HEADER_LENGTH = 16;
const MAX_LENGTH = 128 * 1024 * 1024;
const BYTE_ORDERS = "lB"; // little, big

/** Splits a stream into messages. */
export class MessageSplitter {
  #message = new Uint8Array(HEADER_LENGTH);
  #filled = 0;

  /**
   * Adds a piece of the stream.
   *
   * @returns The messages that are complete now, in order.
   * @throws {RangeError} if the stream is malformed. The rest of it cannot be read.
   */
  push(piece: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const messages = [];
    for (let rest = piece; rest.length > 0;) {
      const part = rest.subarray(0, this.#message.length - this.#filled);
      this.#message.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled < this.#message.length) break;
      const length = lengthOf(this.#message);
      if (length === this.#filled) {
        messages.push(this.#message);
        this.#message = new Uint8Array(HEADER_LENGTH);
        this.#filled = 0;
      } else {
        const whole = new Uint8Array(length);
        whole.set(this.#message);
        this.#message = whole;
      }
    }
    return messages;
  }
}

function lengthOf(message: Uint8Array<ArrayBuffer>): number {
  const order = String.fromCharCode(message[0]!), view = new DataView(message.buffer);
  const body = view.getUint32(4, order === "l"), fields = view.getUint32(12, order === "l");
  const length = HEADER_LENGTH + Math.ceil(fields / 8) * 8 + body;
  if (!BYTE_ORDERS.includes(order) || length > MAX_LENGTH) throw new RangeError("The bytes are not a D-Bus message");
  return length;
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
/** Longest delay of a timer, in milliseconds. */
const MAX_DELAY_MS = 0x7fffffff;
/** Thrown into `dbus-next` after the authentication, so that it does not read the socket. */
const TAKEN_OVER = new Error("latchkey reads the socket");

/** A connection to a bus over the socket of `dbus-next`. */
class DBusNextTransport implements DBusTransport {
  readonly connection: DBusConnection;
  readonly #library: DBusNext;
  readonly #splitter = new MessageSplitter();
  /** Messages that wait for the authentication. */
  #unsent: Uint8Array[] | undefined = [];
  #inner: InnerConnection | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** Starts to connect to the first of the addresses that works. */
  constructor(library: DBusNext, addresses: readonly string[], onSignal: (signal: Signal) => void) {
    this.#library = library;
    this.connection = new DBusConnection({
      write: (message) => this.#unsent ? this.#unsent.push(message) : this.#inner?.stream?.write(message),
      onSignal,
      onWaiting: () => this.#keepTime(),
    }, HELLO_SERIAL);
    this.#connectSoon(addresses);
  }

  isOpen(): boolean {
    return !this.#ended;
  }

  close(): void {
    this.#end(disconnected("the connection to the session bus was closed"));
  }

  /** `dbus-next` adds its listener of errors a microtask late. No event comes before that if this is a microtask, too. */
  #connectSoon(addresses: readonly string[]): void {
    queueMicrotask(() => this.#ended || this.#connect(addresses));
  }

  #connect([busAddress = "", ...others]: readonly string[]): void {
    const bus = this.#library.sessionBus({ busAddress, authMethods: ["EXTERNAL"] }) as unknown as UndeclaredBus;
    const inner = this.#inner = bus._connection;
    const fail = (error: DBusError) => {
      if (this.#inner !== inner || this.#ended) return;
      this.#inner = undefined;
      inner.stream?.destroy();
      if (this.#unsent && others.length > 0) this.#connectSoon(others);
      else this.#end(error);
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
      inner.stream?.once("connect", () => this.#keepTime()); // Deno 2.6 forgets an unref() before
      this.#keepTime();
    });
  }

  #takeOver(stream: Socket): void {
    stream.on("readable", () => this.#read(stream));
    for (const message of this.#unsent ?? []) stream.write(message);
    this.#unsent = undefined;
    this.#keepTime();
  }

  #read(stream: Socket): void {
    try {
      for (let piece: Uint8Array | null; (piece = stream.read()) !== null;) {
        for (const message of this.#splitter.push(piece)) this.connection.receive(message);
      }
    } catch {
      this.#end(disconnected("the session bus sent a malformed message"));
    }
  }

  /** Keeps the program alive while calls wait, and enforces their time limits. */
  #keepTime(): void {
    clearTimeout(this.#timer);
    const stream = this.#inner?.stream, { isWaiting, nextDeadline } = this.connection;
    if (this.#ended) stream?.unref().destroySoon(); // after the pending writes
    else if (isWaiting) stream?.ref();
    else stream?.unref();
    if (!isWaiting || nextDeadline === Infinity) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(nextDeadline - performance.now())), MAX_DELAY_MS);
    this.#timer = setTimeout(() => (this.connection.expire(), this.#keepTime()), delayMs);
  }

  #end(error: DBusError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.connection.fail(error);
    this.#keepTime();
  }
}

function notConnected(address: string, error: Error): DBusError {
  const { code, message } = error as NodeJS.ErrnoException;
  const name = code === undefined ? "AuthFailed" : code === "ENOENT" ? "FileNotFound" : "NoServer";
  return new DBusError(BUS_ERROR + name, `cannot connect to ${address}: ${message}`);
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
    throw new LatchkeyError("missing_dependency", message, {
      cause,
      hint: `Run npm install dbus-next@npm:@jellybrick/dbus-next@^${CHECKED_VERSION}`,
    });
  }
}

/** Deno would prompt for a missing permission. `dbus-next` reads the user id (`sys`) and opens a socket (the others). */
function checkPermissions(deno: typeof Deno, sockets: readonly UnixSocket[]): void {
  const needed = [["--allow-sys=uid", { name: "sys", kind: "uid" }], ...sockets.flatMap(permissionsOf)] as const;
  const known = needed.map(([flag, permission]) => [flag, stateOf(deno, permission)] as const)
    .filter(([, state]) => state !== undefined);
  if (known.every(([, state]) => state === "granted")) return;
  throw new LatchkeyError("missing_dependency", "Cannot reach the session bus: Deno may not connect to its socket", {
    hint: `Run deno with ${quoteCommand(known.map(([flag]) => flag))}`,
  });
}

/** A name in the abstract namespace begins with a NUL, which no flag can contain. */
function permissionsOf({ kind, name }: UnixSocket): [flag: string, permission: Deno.PermissionDescriptor][] {
  const isFile = kind === "path", path = isFile ? { path: name } : {}, host = isFile ? { host: `unix:${name}` } : {};
  const value = isFile ? `=${name}` : "";
  return [
    [`--allow-read${value}`, { name: "read", ...path }],
    [`--allow-write${value}`, { name: "write", ...path }],
    [`--allow-net${isFile ? `=unix:${name}` : ""}`, { name: "net", ...host }],
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
