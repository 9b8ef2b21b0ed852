/**
 * One connection through libdbus.
 *
 * Every libdbus call runs on the JS thread and returns at once. What waits is `poll`, on another thread, and only while
 * replies are awaited, so that an idle program ends by itself; an eventfd wakes it. `…_send_with_reply_and_block` would make
 * the calls of a connection wait for each other, and could not be abandoned.
 *
 * @module
 */
import { BusConversation, disconnected } from "./bus_conversation.ts";
import { type Libdbus, takeError } from "./libdbus.ts";
import type { BusConnection } from "./reconnecting_bus.ts";
import {
  BUS_DAEMON,
  BUS_ERROR,
  type CallLimits,
  DBusError,
  type DBusValue,
  type MethodCall,
  type Signal,
} from "./session_bus.ts";

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

/** A connection to a bus, from the first byte to the last. */
export class LibdbusConnection implements BusConnection {
  readonly #library: Libdbus;
  readonly #connection: bigint;
  readonly #socket: number;
  readonly #wake: number;
  readonly #conversation: BusConversation;
  #connected = true;
  /** Whether the daemon has let us in: it has sent a message. */
  #authenticated = false;
  #pumping = false;
  #polling = false;
  #closed = false;

  /**
   * Connects. The daemon's answers are read while calls wait, so a daemon that hangs does not hang the program; only one
   * whose queue of new connections is full as well would, in `connect` itself.
   *
   * @param library libdbus.
   * @param address Address of the bus.
   * @param onSignal Called for each signal.
   * @throws {DBusError} when nothing listens there.
   */
  constructor(library: Libdbus, address: string, onSignal: (signal: Signal) => void) {
    const failure = new BigUint64Array(4), socket = new Int32Array(1);
    this.#library = library;
    const onWaiting = () => {
      if (this.#polling) this.#wakeUp();
      else void this.#pump();
    };
    this.#conversation = new BusConversation({ write: (message) => this.#write(message), onSignal, onWaiting });
    this.#connection = library.calls.dbus_connection_open_private(encoder.encode(`${address}\0`), bytesOf(failure));
    if (this.#connection === 0n) throw takeError(library, failure);
    library.calls.dbus_connection_get_unix_fd(this.#connection, bytesOf(socket));
    this.#socket = socket[0]!;
    this.#wake = library.calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake < 0) {
      this.#free();
      throw new DBusError(`${BUS_ERROR}LimitsExceeded`, "no file descriptor is left");
    }
    this.send({ ...BUS_DAEMON, member: "Hello" });
  }

  /** Whether calls can be made; what has ended meanwhile is noticed here. */
  isOpen(): boolean {
    if (!this.#closed && !this.#pumping) this.#process();
    return !this.#closed && this.#connected;
  }

  /** Calls a method; see `SessionBus.call`. */
  call(call: MethodCall, limits: CallLimits): Promise<readonly DBusValue[]> {
    return this.#conversation.call(call, limits);
  }

  /** Sends a method call; nobody waits for its reply. */
  send(call: MethodCall): void {
    this.#conversation.send(call);
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#library;
    const address = calls.dbus_message_demarshal(bytes, bytes.length, 0n);
    if (address === 0n) {
      throw new RangeError("Cannot call over D-Bus: the message breaks a limit of D-Bus, or memory is short");
    }
    calls.dbus_connection_send(this.#connection, address, 0n);
    calls.dbus_message_unref(address);
    // What did not fit into the socket is written when poll says so, and poll was told before there was anything to write.
    if (this.#polling && calls.dbus_connection_has_messages_to_send(this.#connection)) this.#wakeUp();
  }

  /** Writes and reads what can be written and read without waiting. */
  #process(): void {
    try {
      this.#exchange();
      if (!this.#connected) this.#conversation.fail(disconnected("the connection to the session bus ended"));
    } catch (error) {
      this.#connected = false;
      this.#conversation.fail(error);
    }
  }

  #exchange(): void {
    const { calls } = this.#library;
    let steps = AUTHENTICATION_STEPS;
    // A peer that floods us gets so many steps; then timers and aborts have their turn.
    for (let turn = 0; turn < STEPS_A_TURN && steps > 0; turn++) {
      this.#connected = calls.dbus_connection_read_write(this.#connection, 0) !== 0;
      for (let message; (message = calls.dbus_connection_pop_message(this.#connection)) !== 0n;) {
        this.#authenticated = true;
        this.#conversation.receive(this.#takeBytes(message));
      }
      if (!this.#connected) return;
      if (this.#isReadable()) steps = AUTHENTICATION_STEPS;
      else steps = this.#authenticated ? 0 : steps - 1;
    }
  }

  /** Ends the connection; calls under way fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#conversation.fail(disconnected("the connection to the session bus was closed"));
    if (!this.#pumping) this.#free();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4), events = new Int16Array(fds.buffer);
    let waitMs = AUTHENTICATION_POLL_MS.first;
    this.#process();
    while (this.#conversation.isWaiting) {
      const authenticated = this.#authenticated;
      const writing = authenticated && calls.dbus_connection_has_messages_to_send(this.#connection);
      fds.set([this.#socket, writing ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      this.#polling = true;
      await calls.poll(bytesOf(fds), 2n, this.#timeout(authenticated ? Infinity : waitMs));
      this.#polling = false;
      waitMs = Math.min(2 * waitMs, AUTHENTICATION_POLL_MS.longest);
      if (events[7]) this.#library.waking.read(this.#wake, new Uint8Array(8), 8n);
      if (!this.#closed) this.#process();
      this.#conversation.expire();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  /** How long poll may wait, in milliseconds. It keeps the time limits: to start its own timers takes Deno 4 ms. */
  #timeout(atMost: number): number {
    const wait = Math.min(atMost, Math.max(0, Math.ceil(this.#conversation.nextDeadline - performance.now())));
    return wait === Infinity ? -1 : Math.min(wait, MAX_POLL_MS);
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

const encoder = new TextEncoder();

function bytesOf(words: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
