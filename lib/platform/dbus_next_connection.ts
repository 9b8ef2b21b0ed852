/**
 * One connection through `dbus-next`, which finds the socket and says who we are; the messages are read and written here.
 *
 * Its own reader is not let at them. It throws out of an event listener, which ends the program, when any peer sends a
 * message with a file descriptor in its signature and none beside it; it does not tell its calls that the daemon is gone, nor
 * has it time limits; dictionaries lose the types of their keys.
 *
 * @module
 */
import type { Socket } from "node:net";
import { BusConversation, disconnected } from "./bus_conversation.ts";
import { MessageSplitter } from "./message_splitter.ts";
import type { BusConnection } from "./reconnecting_bus.ts";
import { BUS_ERROR, type CallLimits, DBusError, type DBusValue, type MethodCall, type Signal } from "./session_bus.ts";

/** The library, loaded. */
export type DBusNext = typeof import("dbus-next");

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
export class DBusNextConnection implements BusConnection {
  readonly #library: DBusNext;
  readonly #conversation: BusConversation;
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
    this.#conversation = new BusConversation({
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
