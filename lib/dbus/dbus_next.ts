/**
 * Addresses of a bus. Facts: D-Bus Specification, "Server Addresses". Pure.
 *
 * @module
 */
import type { Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, quoteCommand } from "../runtime/host.ts";
import {
  BUS_ERROR,
  type CallLimits,
  DBusError,
  type DBusValue,
  type MethodCall,
  type SessionBus,
  type Signal,
} from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected, ReconnectingBus } from "./connection.ts";

/** Where a bus listens on this machine. */
interface UnixSocket {
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

/** What tells how long a message is: a byte order, numbers at fixed places, and the length of the fields that follow. */
const HEADER_LENGTH = 16;
const MAX_LENGTH = 128 * 1024 * 1024;
const BYTE_ORDERS = "lB"; // little, big

/** Puts the pieces in which messages come together. */
export class MessageSplitter {
  #message = new Uint8Array(HEADER_LENGTH);
  #filled = 0;

  /**
   * Takes the next piece.
   *
   * @returns The messages that are whole by now, in order.
   * @throws {RangeError} when it is no message; nothing that follows can be read then.
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
  if (!BYTE_ORDERS.includes(order) || length > MAX_LENGTH) throw new RangeError("The bytes are no D-Bus message");
  return length;
}

/** The library, loaded. */
type DBusNext = typeof import("dbus-next");

/** What `dbus-next` 0.11 does not declare. */
interface UndeclaredBus {
  readonly _connection: InnerConnection;
  on(event: "error", listener: (error: Error) => void): void;
}

interface InnerConnection {
  /** The socket, once there is one. */
  readonly stream?: Socket;
  on(event: "connect" | "end", listener: () => void): void;
}

/** It says Hello itself, in the first message. */
const HELLO_SERIAL = 1;
/** Longest delay of a timer, in milliseconds. */
const MAX_DELAY_MS = 0x7fffffff;
/** Thrown at `dbus-next` when the daemon has let us in, so that it goes no further. */
const TAKEN_OVER = new Error("the connection is read by latchkey");

/** A connection to a bus, from the first byte to the last. */
class DBusNextConnection implements DBusTransport {
  readonly #library: DBusNext;
  readonly #conversation: DBusConnection;
  readonly #splitter = new MessageSplitter();
  /** What is to be said when the daemon has let us in; from then on the stream takes it. */
  #unsent: Uint8Array[] | undefined = [];
  #inner: InnerConnection | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /**
   * Connects. Nothing waits for it but the calls that are made.
   *
   * @param library `dbus-next`.
   * @param addresses Where the bus listens, to be tried in order.
   * @param onSignal Called for each signal.
   */
  constructor(library: DBusNext, addresses: readonly string[], onSignal: (signal: Signal) => void) {
    this.#library = library;
    this.#conversation = new DBusConnection({
      write: (message) => this.#unsent ? this.#unsent.push(message) : this.#inner?.stream?.write(message),
      onSignal,
      onWaiting: () => this.#keepTime(),
    }, HELLO_SERIAL);
    this.#connectSoon(addresses);
  }

  isOpen(): boolean {
    return !this.#ended;
  }

  call(call: MethodCall, limits: CallLimits): Promise<readonly DBusValue[]> {
    return this.#conversation.call(call, limits);
  }

  send(call: MethodCall): void {
    this.#conversation.send(call);
  }

  close(): void {
    this.#end(disconnected("the connection to the session bus was closed"));
  }

  /** `dbus-next` listens for its socket's errors a microtask late, which is in time in a microtask: events wait for all. */
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
    setTimeout(() => { // there is a stream by then
      inner.stream?.once("connect", () => this.#keepTime()); // Deno 2.6 forgets what it was told before
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
        for (const message of this.#splitter.push(piece)) this.#conversation.receive(message);
      }
    } catch {
      this.#end(disconnected("the session bus sent what is no message"));
    }
  }

  /** Keeps the program alive while calls wait, and their time limits. */
  #keepTime(): void {
    clearTimeout(this.#timer);
    const stream = this.#inner?.stream, { isWaiting, nextDeadline } = this.#conversation;
    if (this.#ended) stream?.unref().destroySoon(); // after what was written
    else if (isWaiting) stream?.ref();
    else stream?.unref();
    if (!isWaiting || nextDeadline === Infinity) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(nextDeadline - performance.now())), MAX_DELAY_MS);
    this.#timer = setTimeout(() => (this.#conversation.expire(), this.#keepTime()), delayMs);
  }

  #end(error: DBusError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#conversation.fail(error);
    this.#keepTime();
  }
}

function notConnected(address: string, error: Error): DBusError {
  const { code, message } = error as NodeJS.ErrnoException;
  const name = code === undefined ? "AuthFailed" : code === "ENOENT" ? "FileNotFound" : "NoServer";
  return new DBusError(BUS_ERROR + name, `cannot connect to ${address}: ${message}`);
}

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
