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
import { parseSignature } from "./dbus_signature.ts";
import { copyText, cString, type Libdbus } from "./libdbus.ts";
import { appendArguments, readArguments } from "./libdbus_message.ts";
import { BUS_ERROR, type CallLimits, DBusError, type DBusValue, type MethodCall, type Signal } from "./session_bus.ts";

const METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4;
const POLLIN = 1, POLLOUT = 4;
const EFD_NONBLOCK = 0o4000, EFD_CLOEXEC = 0o2000000;

/** libdbus does not say what it waits for until the daemon has let us in, so it is driven again after so many milliseconds. */
const AUTHENTICATION_POLL_MS = 20;
/** A line of the authentication is read in one step and answered in the next. */
const AUTHENTICATION_STEPS = 3;

interface PendingCall {
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A connection to a bus, from the first byte to the last. */
export class LibdbusConnection {
  readonly #library: Libdbus;
  readonly #connection: bigint;
  readonly #socket: number;
  readonly #wake: number;
  readonly #calls = new Map<number, PendingCall>();
  readonly #onSignal: (read: () => Signal) => void;
  #pumping = false;
  #closed = false;

  /**
   * Connects; the daemon's answers are read while calls wait, so a daemon that hangs does not hang the program.
   *
   * @param library libdbus.
   * @param address Address of the bus.
   * @param onSignal Called for each signal, with a function that reads it and has to be called at once or never.
   * @throws {DBusError} when nothing listens there.
   */
  constructor(library: Libdbus, address: string, onSignal: (read: () => Signal) => void) {
    const failure = new BigUint64Array(4), socket = new Int32Array(1);
    this.#library = library;
    this.#onSignal = onSignal;
    this.#connection = library.calls.dbus_connection_open_private(cString(address), bytesOf(failure));
    if (this.#connection === 0n) {
      const error = new DBusError(copyText(library, failure[0]!), copyText(library, failure[1]!));
      library.headers.dbus_error_free(bytesOf(failure));
      throw error;
    }
    library.calls.dbus_connection_get_unix_fd(this.#connection, bytesOf(socket));
    this.#socket = socket[0]!;
    this.#wake = library.calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }

  /** Whether calls can be made: what has ended meanwhile is noticed here. */
  isOpen(): boolean {
    if (this.#closed) return false;
    if (!this.#pumping) this.process();
    return this.#isConnected();
  }

  /** Calls a method; see `SessionBus.call`. */
  async call(call: MethodCall, { timeoutMs, signal }: CallLimits): Promise<readonly DBusValue[]> {
    signal?.throwIfAborted();
    const serial = this.send(call);
    return await new Promise((resolve, reject) => {
      const settle = () => {
        this.#calls.delete(serial);
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const giveUp = (reason: unknown) => {
        settle();
        reject(reason);
        if (this.#calls.size === 0) this.#wakeUp();
      };
      const abort = () => giveUp(signal?.reason);
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
        giveUp(
          new LatchkeyError(
            "timed_out",
            `${call.destination} did not answer ${call.member} within ${timeoutMs / 1000} s`,
          ),
        );
      }, timeoutMs);
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.set(serial, {
        resolve: (body) => (settle(), resolve(body)),
        reject: (error) => (settle(), reject(error)),
      });
      void this.#pump();
    });
  }

  /**
   * Sends a method call whose reply nobody waits for.
   *
   * @returns The serial that the reply will name.
   */
  send(call: MethodCall): number {
    const { calls } = this.#library;
    const types = parseSignature(call.signature ?? "");
    const names = [call.destination, call.path, call.interface, call.member] as const;
    const [destination, path, iface, member] = names.map(cString) as [Name, Name, Name, Name];
    const message = calls.dbus_message_new_method_call(destination, path, iface, member);
    try {
      appendArguments(this.#library, message, types, call.body ?? []);
      return this.#sendMessage(message);
    } finally {
      calls.dbus_message_unref(message);
    }
  }

  #sendMessage(message: bigint): number {
    const { calls } = this.#library, serial = new Uint32Array(1);
    calls.dbus_connection_send(this.#connection, message, bytesOf(serial));
    // What did not fit into the socket is written when poll says so, and poll was told before there was anything to write.
    if (this.#pumping && calls.dbus_connection_has_messages_to_send(this.#connection)) this.#wakeUp();
    return serial[0]!;
  }

  /** Writes and reads what can be written and read without waiting. */
  process(): void {
    const { calls } = this.#library;
    let steps = AUTHENTICATION_STEPS;
    do {
      calls.dbus_connection_read_write(this.#connection, 0);
      for (let message; (message = calls.dbus_connection_pop_message(this.#connection)) !== 0n;) {
        try {
          this.#receive(message);
        } finally {
          calls.dbus_message_unref(message);
        }
      }
    } while (this.#isConnected() && (this.#isReadable() || (!this.#isAuthenticated() && --steps > 0)));
    if (!this.#isConnected()) this.#failCalls("the connection to the session bus ended");
  }

  /** Ends the connection; calls under way fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failCalls("the connection to the session bus was closed");
    if (this.#pumping) this.#wakeUp();
    else this.#free();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4), events = new Int16Array(fds.buffer);
    this.process();
    while (this.#calls.size > 0) {
      const authenticated = this.#isAuthenticated();
      const writing = authenticated && calls.dbus_connection_has_messages_to_send(this.#connection);
      fds.set([this.#socket, writing ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      await calls.poll(bytesOf(fds), 2n, authenticated ? -1 : AUTHENTICATION_POLL_MS);
      if (events[7]) calls.read(this.#wake, new Uint8Array(8), 8n);
      this.process();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  #receive(message: bigint): void {
    const { calls } = this.#library;
    const type = calls.dbus_message_get_type(message);
    if (type === SIGNAL) return this.#onSignal(() => this.#readSignal(message));
    if (type === METHOD_CALL) return this.#refuse(message);
    const pending = this.#calls.get(calls.dbus_message_get_reply_serial(message));
    if (!pending) return; // abandoned, or never waited for
    let body;
    try {
      body = readArguments(this.#library, message);
    } catch (cause) {
      return pending.reject(
        new LatchkeyError("invalid_response", "A D-Bus peer answered what cannot be read", { cause }),
      );
    }
    if (type === METHOD_RETURN) return pending.resolve(body);
    if (type === ERROR) {
      const name = copyText(this.#library, this.#library.headers.dbus_message_get_error_name(message));
      pending.reject(new DBusError(name, typeof body[0] === "string" ? body[0] : ""));
    }
  }

  #readSignal(message: bigint): Signal {
    const { headers } = this.#library, text = (address: bigint) => copyText(this.#library, address);
    return {
      sender: text(headers.dbus_message_get_sender(message)),
      path: text(headers.dbus_message_get_path(message)),
      interface: text(headers.dbus_message_get_interface(message)),
      member: text(headers.dbus_message_get_member(message)),
      body: readArguments(this.#library, message),
    };
  }

  /** We serve nothing; whoever calls us is told so instead of being left to wait. */
  #refuse(message: bigint): void {
    const { calls, headers } = this.#library;
    if (headers.dbus_message_get_no_reply(message)) return;
    const reply = headers.dbus_message_new_error(
      message,
      cString(`${BUS_ERROR}UnknownMethod`),
      cString("latchkey serves no methods"),
    );
    this.#sendMessage(reply);
    calls.dbus_message_unref(reply);
  }

  #failCalls(why: string): void {
    for (const pending of this.#calls.values()) pending.reject(new DBusError(`${BUS_ERROR}Disconnected`, why));
  }

  #isConnected(): boolean {
    return this.#library.calls.dbus_connection_get_is_connected(this.#connection) !== 0;
  }

  #isAuthenticated(): boolean {
    return this.#library.calls.dbus_connection_get_is_authenticated(this.#connection) !== 0;
  }

  #isReadable(): boolean {
    const fd = new Int32Array([this.#socket, POLLIN]);
    return this.#library.calls.poll_now(bytesOf(fd), 1n, 0) > 0;
  }

  #wakeUp(): void {
    this.#library.calls.write(this.#wake, bytesOf(new BigUint64Array([1n])), 8n);
  }

  #free(): void {
    const { calls } = this.#library;
    calls.dbus_connection_close(this.#connection);
    calls.dbus_connection_unref(this.#connection);
    calls.close(this.#wake);
  }
}

type Name = ReturnType<typeof cString>;

function bytesOf(
  words: Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
