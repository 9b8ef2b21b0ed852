/**
 * The session bus over connections that end: the next one is made when it is needed, and hears what the last one heard.
 *
 * @module
 */
import { disconnected } from "./bus_conversation.ts";
import { denoNamespace } from "./host.ts";
import {
  BUS_DAEMON,
  type CallLimits,
  DBusError,
  type DBusValue,
  isMatch,
  matchRule,
  type MethodCall,
  type SessionBus,
  type SessionBusClient,
  type Signal,
  type SignalMatch,
} from "./session_bus.ts";

/** How often a bus with subscriptions looks for a daemon that came back, and a client that waits for calls alone for signals. */
const LOOK_MS = 200;

/** A connection to a bus, from the first byte to the last. It says Hello, and keeps the program alive while calls wait. */
export interface BusConnection {
  /** Whether calls can be made; what has ended meanwhile, and signals that came, are noticed here at the latest. */
  isOpen(): boolean;
  /** Calls a method; see `SessionBus.call`. */
  call(call: MethodCall, limits: CallLimits): Promise<readonly DBusValue[]>;
  /** Sends a method call; nobody waits for its reply. */
  send(call: MethodCall): void;
  /** Ends the connection; calls under way fail. */
  close(): void;
}

interface Subscription {
  readonly match: SignalMatch;
  readonly listener: (signal: Signal) => void;
}

/** A session bus that makes its connections by one client. */
export class ReconnectingBus implements SessionBus {
  readonly client: SessionBusClient;
  readonly #connect: (onSignal: (signal: Signal) => void) => BusConnection;
  readonly #subscriptions = new Set<Subscription>();
  #connection: BusConnection | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  /**
   * @param client What makes the connections.
   * @param connect Makes one; what it throws is thrown to whoever needed it.
   */
  constructor(client: SessionBusClient, connect: (onSignal: (signal: Signal) => void) => BusConnection) {
    this.client = client;
    this.#connect = connect;
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
    this.#looking ??= idleInterval(() => this.#look(), LOOK_MS);
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
  #connected(): BusConnection {
    if (this.#closed) throw closed();
    if (this.#connection?.isOpen()) return this.#connection;
    this.#connection?.close();
    this.#connection = undefined;
    const connection = this.#connect((signal) => this.#deliver(signal));
    // The daemon takes messages in order, so nothing has to wait for these replies. The rules were accepted before.
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
    if (this.#looking === undefined) return; // to touch timers takes Deno 4 ms
    clearInterval(this.#looking);
    this.#looking = undefined;
  }
}

/** An interval that does not keep the program alive. */
function idleInterval(look: () => void, ms: number): ReturnType<typeof setInterval> {
  const timer: unknown = setInterval(look, ms), deno = denoNamespace();
  if (typeof timer === "number") deno?.unrefTimer(timer);
  else (timer as { unref(): void }).unref();
  return timer as ReturnType<typeof setInterval>;
}

function closed(): DBusError {
  return disconnected("the session bus was closed");
}

function ruleArguments(match: SignalMatch): Pick<MethodCall, "signature" | "body"> {
  return { signature: "s", body: [matchRule(match)] };
}
