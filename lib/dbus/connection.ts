/**
 * A connection to a bus: method calls and their replies, signals, and calls to us, which are refused. Replies are matched by
 * serial, so an abandoned call leaves nothing behind. A transport carries the messages, and keeps the time.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { BUS_ERROR, type CallLimits, DBusError, type DBusValue, type MethodCall, type Signal } from "./bus.ts";
import {
  type DBusMessage,
  decodeMessage,
  encodeMessage,
  ERROR,
  METHOD_CALL,
  METHOD_RETURN,
  NO_AUTO_START,
  NO_REPLY_EXPECTED,
  SIGNAL,
} from "./marshal.ts";

/** Carries the messages of a connection. It says Hello, and keeps the program alive while calls wait. */
export interface DBusTransport {
  readonly connection: DBusConnection;
  /** Returns true if calls can be made. Delivers signals that have come, and notices an end of the connection. */
  isOpen(): boolean;
  /** Ends the connection. Pending calls fail. */
  close(): void;
}

/** The transport's part of a connection. */
interface ConnectionHandlers {
  readonly write: (message: Uint8Array<ArrayBuffer>) => void;
  readonly onSignal: (signal: Signal) => void;
  /** Called when calls begin or cease to wait, and when the next deadline becomes an earlier one. */
  readonly onWaiting: () => void;
}

interface WaitingCall {
  /** End of the time limit, on the clock of `performance.now()`. */
  readonly deadline: number;
  readonly timeOut: () => void;
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
}

export class DBusConnection {
  readonly #handlers: ConnectionHandlers;
  readonly #calls = new Map<number, WaitingCall>();
  #serial: number;
  /** A time before which no time limit ends, on the clock of `performance.now()`. Transports only read it. */
  nextDeadline: number = Infinity;

  /** @param lastSerial Serial of the last message that the transport sent on its own. */
  constructor(handlers: ConnectionHandlers, lastSerial = 0) {
    this.#handlers = handlers;
    this.#serial = lastSerial;
  }

  get isWaiting(): boolean {
    return this.#calls.size > 0;
  }

  /** As `SessionBus.call`. */
  async call(call: MethodCall, { timeoutMs = Infinity, signal }: CallLimits): Promise<readonly DBusValue[]> {
    signal?.throwIfAborted();
    const serial = this.send(call);
    const { destination, member } = call;
    return await new Promise((resolve, reject) => {
      const settle = () => {
        this.#calls.delete(serial);
        signal?.removeEventListener("abort", onAbort);
        if (this.isWaiting) return;
        this.nextDeadline = Infinity;
        this.#handlers.onWaiting();
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(signal?.reason);
      const deadline = performance.now() + timeoutMs;
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#calls.set(serial, {
        deadline,
        timeOut: () =>
          fail(new LatchkeyError("timed_out", `${destination} did not answer ${member} within ${timeoutMs / 1000} s`)),
        resolve: (body) => {
          settle();
          resolve(body);
        },
        reject: fail,
      });
      if (deadline >= this.nextDeadline && this.#calls.size > 1) return;
      this.nextDeadline = Math.min(this.nextDeadline, deadline);
      this.#handlers.onWaiting();
    });
  }

  /** Sends a method call without waiting for its reply, which will name the returned serial. */
  send(call: MethodCall): number {
    return this.#sendMessage({ ...call, type: METHOD_CALL, flags: call.autoStart === false ? NO_AUTO_START : 0 });
  }

  #sendMessage(message: Omit<DBusMessage, "serial">): number {
    const serial = ++this.#serial;
    this.#handlers.write(encodeMessage({ ...message, serial }));
    return serial;
  }

  receive(bytes: Uint8Array<ArrayBuffer>): void {
    const message = decodeMessage(bytes);
    const { type, body, replySerial = 0 } = message;
    if (type === METHOD_CALL) return this.#refuse(message);
    if (type === SIGNAL) {
      const { sender = "", path = "", interface: name = "", member = "" } = message;
      return body && this.#handlers.onSignal({ sender, path, interface: name, member, body });
    }
    const waiting = this.#calls.get(replySerial);
    if (!waiting) return; // abandoned, or nobody waited for it
    if (!body) waiting.reject(new LatchkeyError("invalid_response", "A D-Bus reply has unsupported types"));
    else if (type === METHOD_RETURN) waiting.resolve(body);
    else if (type === ERROR) {
      waiting.reject(new DBusError(message.errorName ?? "", typeof body[0] === "string" ? body[0] : ""));
    }
  }

  /** Answers a call to us, which would wait for its time limit otherwise. */
  #refuse({ flags = 0, sender, serial }: DBusMessage): void {
    if (flags & NO_REPLY_EXPECTED) return;
    const errorName = `${BUS_ERROR}UnknownMethod`;
    const text = { signature: "s", body: ["latchkey serves no methods"] };
    this.#sendMessage({ type: ERROR, errorName, destination: sender, replySerial: serial, ...text });
  }

  /** Fails the calls whose time limit has ended. */
  expire(): void {
    const now = performance.now();
    if (now < this.nextDeadline) return;
    this.nextDeadline = Infinity;
    for (const { deadline, timeOut } of this.#calls.values()) {
      if (deadline <= now) timeOut();
      else this.nextDeadline = Math.min(this.nextDeadline, deadline);
    }
  }

  fail(error: unknown): void {
    for (const waiting of this.#calls.values()) waiting.reject(error);
  }
}

export function disconnected(why: string): DBusError {
  return new DBusError(`${BUS_ERROR}Disconnected`, why);
}
