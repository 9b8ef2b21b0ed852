/**
 * One connection through libdbus.
 *
 * Every libdbus call runs on the JS thread and returns at once. What waits is `poll`, on another thread, and only while
 * replies are awaited, so that an idle program ends by itself; an eventfd wakes it. `…_send_with_reply_and_block` would make
 * the calls of a connection wait for each other, and could not be abandoned. Replies are matched by their serial instead of
 * by DBusPendingCall, so that an abandoned call leaves nothing behind.
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
import { type Libdbus, takeError } from "./libdbus.ts";
import { BUS_ERROR, type CallLimits, DBusError, type DBusValue, type MethodCall, type Signal } from "./session_bus.ts";

const POLLIN = 1, POLLOUT = 4;
const EFD_NONBLOCK = 0o4000, EFD_CLOEXEC = 0o2000000;

/** A line of the authentication is read in one step and answered in the next. */
const AUTHENTICATION_STEPS = 3;
/** A step reads 2 KiB. */
const STEPS_A_TURN = 512;
/** libdbus does not say what it waits for until the daemon has let us in, so it is driven again after so long, then longer. */
const AUTHENTICATION_POLL_MS = { first: 1, longest: 64 };
/** An `int` of milliseconds is what poll takes. */
const MAX_POLL_MS = 0x7fffffff;

interface PendingCall {
  /** When the time limit passes, on the clock of `performance.now()`. */
  readonly deadline: number;
  readonly giveUp: () => void;
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A connection to a bus, from the first byte to the last. */
export class LibdbusConnection {
  readonly #library: Libdbus;
  readonly #connection: bigint;
  readonly #socket: number;
  readonly #wake: number;
  readonly #onSignal: (signal: Signal) => void;
  readonly #calls = new Map<number, PendingCall>();
  #serial = 0;
  /** No call has an earlier one. */
  #nextDeadline = Infinity;
  #connected = true;
  /** Whether the daemon has let us in: it has sent a message. */
  #authenticated = false;
  #pumping = false;
  #closed = false;

  /**
   * Connects. The daemon's answers are read while calls wait, so a daemon that hangs does not hang the program.
   *
   * @param library libdbus.
   * @param address Address of the bus.
   * @param onSignal Called for each signal.
   * @throws {DBusError} when nothing listens there.
   */
  constructor(library: Libdbus, address: string, onSignal: (signal: Signal) => void) {
    const failure = new BigUint64Array(4), socket = new Int32Array(1);
    this.#library = library;
    this.#onSignal = onSignal;
    this.#connection = library.calls.dbus_connection_open_private(encoder.encode(`${address}\0`), bytesOf(failure));
    if (this.#connection === 0n) throw takeError(library, failure);
    library.calls.dbus_connection_get_unix_fd(this.#connection, bytesOf(socket));
    this.#socket = socket[0]!;
    this.#wake = library.calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake >= 0) return;
    this.#free();
    throw new DBusError(`${BUS_ERROR}LimitsExceeded`, "no file descriptor is left");
  }

  /** Whether calls can be made; what has ended meanwhile is noticed here. */
  isOpen(): boolean {
    if (!this.#closed && !this.#pumping) this.#process();
    return !this.#closed && this.#connected;
  }

  /** Calls a method; see `SessionBus.call`. */
  async call(call: MethodCall, { timeoutMs, signal }: CallLimits): Promise<readonly DBusValue[]> {
    signal?.throwIfAborted();
    const serial = this.send(call);
    return await new Promise((resolve, reject) => {
      const settle = () => {
        this.#calls.delete(serial);
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => {
        settle();
        reject(signal?.reason);
        if (this.#calls.size === 0) this.#wakeUp();
      };
      const deadline = performance.now() + (timeoutMs ?? Infinity);
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.set(serial, {
        deadline,
        giveUp: () => {
          settle();
          reject(
            new LatchkeyError(
              "timed_out",
              `${call.destination} did not answer ${call.member} within ${timeoutMs! / 1000} s`,
            ),
          );
        },
        resolve: (body) => (settle(), resolve(body)),
        reject: (error) => (settle(), reject(error)),
      });
      if (deadline < this.#nextDeadline) {
        this.#nextDeadline = deadline;
        if (this.#pumping) this.#wakeUp();
      }
      void this.#pump();
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
    const { calls } = this.#library, serial = ++this.#serial;
    const bytes = encodeMessage({ ...message, serial });
    const address = calls.dbus_message_demarshal(bytes, bytes.length, 0n);
    if (address === 0n) {
      throw new RangeError("Cannot call over D-Bus: the message breaks a limit of D-Bus, or memory is short");
    }
    calls.dbus_connection_send(this.#connection, address, 0n);
    calls.dbus_message_unref(address);
    // What did not fit into the socket is written when poll says so, and poll was told before there was anything to write.
    if (this.#pumping && calls.dbus_connection_has_messages_to_send(this.#connection)) this.#wakeUp();
    return serial;
  }

  /** Writes and reads what can be written and read without waiting. */
  #process(): void {
    try {
      this.#exchange();
      if (!this.#connected) this.#failCalls(disconnected("the connection to the session bus ended"));
    } catch (error) {
      this.#connected = false;
      this.#failCalls(error);
    }
  }

  #exchange(): void {
    const { calls } = this.#library;
    let steps = AUTHENTICATION_STEPS;
    // A peer that floods us gets so many steps; then timers and aborts have their turn.
    for (let turn = 0; turn < STEPS_A_TURN && steps > 0; turn++) {
      this.#connected = calls.dbus_connection_read_write(this.#connection, 0) !== 0;
      for (let message; (message = calls.dbus_connection_pop_message(this.#connection)) !== 0n;) this.#receive(message);
      if (!this.#connected) return;
      if (this.#isReadable()) steps = AUTHENTICATION_STEPS;
      else steps = this.#authenticated ? 0 : steps - 1;
    }
  }

  /** Ends the connection; calls under way fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failCalls(disconnected("the connection to the session bus was closed"));
    if (this.#pumping) this.#wakeUp();
    else this.#free();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4), events = new Int16Array(fds.buffer);
    let waitMs = AUTHENTICATION_POLL_MS.first;
    this.#process();
    while (this.#calls.size > 0) {
      const authenticated = this.#authenticated;
      const writing = authenticated && calls.dbus_connection_has_messages_to_send(this.#connection);
      fds.set([this.#socket, writing ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      await calls.poll(bytesOf(fds), 2n, this.#timeout(authenticated ? Infinity : waitMs));
      waitMs = Math.min(2 * waitMs, AUTHENTICATION_POLL_MS.longest);
      if (events[7]) this.#library.waking.read(this.#wake, new Uint8Array(8), 8n);
      if (!this.#closed) this.#process();
      this.#expireCalls();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  /** How long poll may wait, in milliseconds. It keeps the time limits: to start its own timers takes Deno 4 ms. */
  #timeout(atMost: number): number {
    const wait = Math.min(atMost, Math.max(0, Math.ceil(this.#nextDeadline - performance.now())));
    return wait === Infinity ? -1 : Math.min(wait, MAX_POLL_MS);
  }

  #expireCalls(): void {
    const now = performance.now();
    if (now < this.#nextDeadline) return;
    this.#nextDeadline = Infinity;
    for (const { deadline, giveUp } of this.#calls.values()) {
      if (deadline <= now) giveUp();
      else this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
    }
  }

  #receive(address: bigint): void {
    this.#authenticated = true;
    const message = decodeMessage(this.#takeBytes(address));
    const { type, body, replySerial = 0 } = message;
    if (type === SIGNAL) return body && this.#onSignal(asSignal(message));
    if (type === METHOD_CALL) return this.#refuse(message);
    const pending = this.#calls.get(replySerial);
    if (!pending) return; // abandoned, or never waited for
    if (!body) pending.reject(new LatchkeyError("invalid_response", "A D-Bus peer answered what is not carried"));
    else if (type === METHOD_RETURN) pending.resolve(body);
    else if (type === ERROR) {
      pending.reject(new DBusError(message.errorName ?? "", typeof body[0] === "string" ? body[0] : ""));
    }
  }

  /** A message's bytes; the message is given back. */
  #takeBytes(message: bigint): Uint8Array<ArrayBuffer> {
    const { calls } = this.#library, address = new BigUint64Array(1), length = new Int32Array(1);
    const done = calls.dbus_message_marshal(message, bytesOf(address), bytesOf(length));
    calls.dbus_message_unref(message);
    if (!done) throw new RangeError("Cannot read from D-Bus: memory is short");
    const bytes = new Uint8Array(length[0]!);
    calls.memcpy(bytes, address[0]!, BigInt(bytes.length));
    calls.dbus_free(address[0]!);
    return bytes;
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

  #failCalls(error: unknown): void {
    for (const pending of this.#calls.values()) pending.reject(error);
  }

  #isReadable(): boolean {
    return this.#library.calls.poll_now(bytesOf(new Int32Array([this.#socket, POLLIN])), 1n, 0) > 0;
  }

  #wakeUp(): void {
    this.#library.waking.write(this.#wake, bytesOf(new BigUint64Array([1n])), 8n);
  }

  #free(): void {
    const { ending } = this.#library;
    ending.dbus_connection_close(this.#connection);
    ending.dbus_connection_unref(this.#connection);
    ending.close(this.#wake);
  }
}

function disconnected(why: string): DBusError {
  return new DBusError(`${BUS_ERROR}Disconnected`, why);
}

function asSignal({ sender = "", path = "", interface: name = "", member = "", body = [] }: DBusMessage): Signal {
  return { sender, path, interface: name, member, body };
}

const encoder = new TextEncoder();

function bytesOf(words: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
