/**
 * The session bus through libdbus, on Deno.
 *
 * @module
 */
import { type Libdbus, openLibdbus } from "./libdbus.ts";
import { LibdbusConnection } from "./libdbus_connection.ts";
import {
  BUS_DAEMON,
  BUS_ERROR,
  type CallLimits,
  DBusError,
  type DBusValue,
  isMatch,
  matchRule,
  type MethodCall,
  type SessionBus,
  type Signal,
  type SignalMatch,
} from "./session_bus.ts";

/** How long a signal may lie while no call is under way: anything that waits for it would keep the program alive. */
const SIGNAL_POLL_MS = 200;

/**
 * Opens the session bus through libdbus.
 *
 * @param deno Deno's namespace.
 * @param address Address of the bus, in D-Bus' notation.
 * @returns The bus; it connects when it is first called.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: libdbus is not there, not permitted, or not to be trusted.
 */
export function openSessionBusLibdbus(deno: typeof Deno, address: string): SessionBus {
  return new LibdbusSessionBus(deno, openLibdbus(deno), address);
}

interface Subscription {
  readonly match: SignalMatch;
  readonly listener: (signal: Signal) => void;
}

class LibdbusSessionBus implements SessionBus {
  readonly #deno: typeof Deno;
  readonly #library: Libdbus;
  readonly #address: string;
  readonly #subscriptions = new Set<Subscription>();
  #connection: LibdbusConnection | undefined;
  #signalTimer: number | undefined;
  #closed = false;

  constructor(deno: typeof Deno, library: Libdbus, address: string) {
    this.#deno = deno;
    this.#library = library;
    this.#address = address;
  }

  async call(call: MethodCall, limits: CallLimits = {}): Promise<readonly DBusValue[]> {
    limits.signal?.throwIfAborted();
    return await this.#connected().call(call, limits);
  }

  async subscribe(
    match: SignalMatch,
    listener: (signal: Signal) => void,
    limits: CallLimits = {},
  ): Promise<Disposable> {
    limits.signal?.throwIfAborted();
    const subscription = { match, listener }, connection = this.#connected();
    this.#subscriptions.add(subscription); // signals may come with the reply
    try {
      await connection.call({ ...BUS_DAEMON, member: "AddMatch", ...ruleArguments(match) }, limits);
      if (this.#closed) throw closed();
    } catch (error) {
      // A rule that the bus refused is not there to be removed, and an equal one may be another subscription's.
      if (error instanceof DBusError) this.#subscriptions.delete(subscription);
      else this.#unsubscribe(subscription);
      throw error;
    }
    if (this.#signalTimer === undefined) {
      this.#signalTimer = setInterval(() => this.#look(), SIGNAL_POLL_MS) as unknown as number; // Node's types say Timeout
      this.#deno.unrefTimer(this.#signalTimer);
    }
    return { [Symbol.dispose]: () => this.#unsubscribe(subscription) };
  }

  close(): void {
    this.#closed = true;
    this.#subscriptions.clear();
    this.#stopLooking();
    this.#connection?.close();
    this.#connection = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The connection, made anew when there is none or the daemon ended it. */
  #connected(): LibdbusConnection {
    if (this.#closed) throw closed();
    if (this.#connection?.isOpen()) return this.#connection;
    this.#connection?.close();
    this.#connection = undefined;
    const connection = new LibdbusConnection(this.#library, this.#address, (signal) => this.#deliver(signal));
    // The daemon takes messages in order, so nothing has to wait for these replies. The rules were accepted before.
    connection.send({ ...BUS_DAEMON, member: "Hello" });
    for (const { match } of this.#subscriptions) {
      connection.send({ ...BUS_DAEMON, member: "AddMatch", ...ruleArguments(match) });
    }
    return this.#connection = connection;
  }

  #look(): void {
    try {
      this.#connected();
    } catch (error) {
      // The daemon is down; the next look tries again, and calls made meanwhile say so themselves.
      if (!(error instanceof DBusError)) throw error;
    }
  }

  #deliver(signal: Signal): void {
    for (const { match, listener } of this.#subscriptions) {
      // What a listener throws is the program's to see, and must not stop the connection.
      if (isMatch(match, signal)) queueMicrotask(() => listener(signal));
    }
  }

  #unsubscribe(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    if (this.#subscriptions.size === 0) this.#stopLooking();
    if (this.#connection?.isOpen()) {
      this.#connection.send({ ...BUS_DAEMON, member: "RemoveMatch", ...ruleArguments(subscription.match) });
    }
  }

  #stopLooking(): void {
    if (this.#signalTimer === undefined) return;
    clearInterval(this.#signalTimer);
    this.#signalTimer = undefined;
  }
}

function closed(): DBusError {
  return new DBusError(`${BUS_ERROR}Disconnected`, "the session bus was closed");
}

function ruleArguments(match: SignalMatch): Pick<MethodCall, "signature" | "body"> {
  return { signature: "s", body: [matchRule(match)] };
}
