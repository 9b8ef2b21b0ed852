/**
 * What is said over one connection to a bus: calls that wait for their replies, signals that come, calls to us that are
 * refused. Replies are matched by their serial, so that an abandoned call leaves nothing behind. How bytes travel, and what
 * keeps the time, is its connection's.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
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
} from "./dbus_message.ts";
import { BUS_ERROR, type CallLimits, DBusError, type DBusValue, type MethodCall, type Signal } from "./session_bus.ts";

/** What a connection does for its conversation. */
export interface Carrier {
  /** Sends a message. */
  readonly write: (message: Uint8Array<ArrayBuffer>) => void;
  /** Called for each signal. */
  readonly onSignal: (signal: Signal) => void;
  /** Called when calls begin or cease to wait, and when a time limit is set that passes before all others. */
  readonly onWaiting: () => void;
}

interface WaitingCall {
  /** When the time limit passes, on the clock of `performance.now()`. */
  readonly deadline: number;
  readonly giveUp: () => void;
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A conversation with a bus. */
export class BusConversation {
  readonly #carrier: Carrier;
  readonly #calls = new Map<number, WaitingCall>();
  #serial: number;
  #nextDeadline = Infinity;

  /**
   * @param carrier Its connection.
   * @param lastSerial Serial of the last message that was sent before it.
   */
  constructor(carrier: Carrier, lastSerial = 0) {
    this.#carrier = carrier;
    this.#serial = lastSerial;
  }

  /** Whether a call waits for its reply. */
  get isWaiting(): boolean {
    return this.#calls.size > 0;
  }

  /** No time limit passes before, on the clock of `performance.now()`. */
  get nextDeadline(): number {
    return this.#nextDeadline;
  }

  /** Calls a method; see `SessionBus.call`. */
  async call(call: MethodCall, { timeoutMs, signal }: CallLimits): Promise<readonly DBusValue[]> {
    signal?.throwIfAborted();
    const serial = this.send(call);
    return await new Promise((resolve, reject) => {
      const settle = () => {
        this.#calls.delete(serial);
        signal?.removeEventListener("abort", abort);
        if (this.isWaiting) return;
        this.#nextDeadline = Infinity;
        this.#carrier.onWaiting();
      };
      const abort = () => (settle(), reject(signal?.reason));
      const tooLong = () =>
        new LatchkeyError(
          "timed_out",
          `${call.destination} did not answer ${call.member} within ${timeoutMs! / 1000} s`,
        );
      const deadline = performance.now() + (timeoutMs ?? Infinity);
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.set(serial, {
        deadline,
        giveUp: () => (settle(), reject(tooLong())),
        resolve: (body) => (settle(), resolve(body)),
        reject: (error) => (settle(), reject(error)),
      });
      if (deadline >= this.#nextDeadline && this.#calls.size > 1) return;
      this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
      this.#carrier.onWaiting();
    });
  }

  /**
   * Sends a method call, whether or not somebody waits for its reply.
   *
   * @returns The serial that the reply will name.
   * @throws {TypeError} when the arguments do not fit the signature.
   */
  send(call: MethodCall): number {
    return this.#sendMessage({ ...call, type: METHOD_CALL, flags: call.autoStart === false ? NO_AUTO_START : 0 });
  }

  #sendMessage(message: Omit<DBusMessage, "serial">): number {
    const serial = ++this.#serial;
    this.#carrier.write(encodeMessage({ ...message, serial }));
    return serial;
  }

  /** Takes a message that came. */
  receive(bytes: Uint8Array<ArrayBuffer>): void {
    const message = decodeMessage(bytes), { type, body, replySerial = 0 } = message;
    if (type === SIGNAL) return body && this.#carrier.onSignal(asSignal(message));
    if (type === METHOD_CALL) return this.#refuse(message);
    const waiting = this.#calls.get(replySerial);
    if (!waiting) return; // abandoned, or never waited for
    if (!body) waiting.reject(new LatchkeyError("invalid_response", "A D-Bus peer answered what is not carried"));
    else if (type === METHOD_RETURN) waiting.resolve(body);
    else if (type === ERROR) {
      waiting.reject(new DBusError(message.errorName ?? "", typeof body[0] === "string" ? body[0] : ""));
    }
  }

  /** We serve nothing; whoever calls us is told so instead of being left to wait. */
  #refuse({ flags = 0, sender, serial }: DBusMessage): void {
    if (flags & NO_REPLY_EXPECTED) return;
    const text = { signature: "s", body: ["latchkey serves no methods"] };
    this.#sendMessage({
      type: ERROR,
      errorName: `${BUS_ERROR}UnknownMethod`,
      destination: sender,
      replySerial: serial,
      ...text,
    });
  }

  /** Gives up what waits longer than it may. */
  expire(): void {
    const now = performance.now();
    if (now < this.#nextDeadline) return;
    this.#nextDeadline = Infinity;
    for (const { deadline, giveUp } of this.#calls.values()) {
      if (deadline <= now) giveUp();
      else this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
    }
  }

  /** Fails the calls that wait. */
  fail(error: unknown): void {
    for (const waiting of this.#calls.values()) waiting.reject(error);
  }
}

/** The error of calls whose connection is no more. */
export function disconnected(why: string): DBusError {
  return new DBusError(`${BUS_ERROR}Disconnected`, why);
}

function asSignal({ sender = "", path = "", interface: name = "", member = "", body = [] }: DBusMessage): Signal {
  return { sender, path, interface: name, member, body };
}
