/**
 * A session bus that reconnects after a lost connection or a restart of the daemon, and renews its subscriptions.
 *
 * @module
 */
import { denoNamespace } from "../runtime/host.ts";
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
} from "./bus.ts";
import { type DBusTransport, disconnected } from "./connection.ts";

/** Interval at which a bus with subscriptions looks for signals and for a restarted daemon. */
const POLL_MS = 200;

type OnSignal = (signal: Signal) => void;

interface Subscription {
  readonly match: SignalMatch;
  readonly listener: OnSignal;
}

/** A session bus that connects on first use, and again after a lost connection or a restart of the daemon. */
export class ReconnectingBus implements SessionBus {
  readonly client: SessionBusClient;
  readonly #connect: (onSignal: OnSignal) => DBusTransport;
  readonly #subscriptions = new Set<Subscription>();
  #transport: DBusTransport | undefined;
  #polling: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(client: SessionBusClient, connect: (onSignal: OnSignal) => DBusTransport) {
    this.client = client;
    this.#connect = connect;
  }

  async call(call: MethodCall, limits: CallLimits = {}): Promise<readonly DBusValue[]> {
    limits.signal?.throwIfAborted();
    return await this.#connected().connection.call(call, limits);
  }

  async subscribe(match: SignalMatch, listener: OnSignal, limits: CallLimits = {}): Promise<Disposable> {
    limits.signal?.throwIfAborted();
    const subscription = { match, listener };
    const { connection } = this.#connected();
    this.#subscriptions.add(subscription); // signals may come with the reply
    try {
      await connection.call(ruleCall("AddMatch", match), limits);
      if (this.#closed) throw closed();
    } catch (error) {
      // The bus has no rule that it refused, and an equal one may be another subscription's.
      if (error instanceof DBusError) this.#subscriptions.delete(subscription);
      else this.#unsubscribe(subscription);
      throw error;
    }
    this.#polling ??= idleInterval(() => this.#poll(), POLL_MS);
    return { [Symbol.dispose]: () => this.#unsubscribe(subscription) };
  }

  close(): void {
    this.#closed = true;
    this.#subscriptions.clear();
    this.#stopPolling();
    this.#transport?.close();
    this.#transport = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #connected(): DBusTransport {
    if (this.#closed) throw closed();
    if (this.#transport?.isOpen()) return this.#transport;
    this.#transport?.close();
    this.#transport = undefined;
    const transport = this.#connect((signal) => this.#deliver(signal));
    // The daemon handles messages in order, and has accepted these rules before, so their replies are not waited for.
    for (const { match } of this.#subscriptions) transport.connection.send(ruleCall("AddMatch", match));
    this.#transport = transport;
    return transport;
  }

  #poll(): void {
    try {
      this.#connected();
    } catch (error) {
      // The daemon is down. The next poll tries again, and a call throws the reason.
      if (!(error instanceof DBusError)) throw error;
    }
  }

  #deliver(signal: Signal): void {
    for (const { match, listener } of this.#subscriptions) {
      // A listener's error is the program's to handle, and must not stop the connection.
      if (isMatch(match, signal)) queueMicrotask(() => listener(signal));
    }
  }

  #unsubscribe(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    if (this.#subscriptions.size === 0) this.#stopPolling();
    if (this.#transport?.isOpen()) this.#transport.connection.send(ruleCall("RemoveMatch", subscription.match));
  }

  #stopPolling(): void {
    if (this.#polling === undefined) return; // the first use of a timer takes Deno 4 ms
    clearInterval(this.#polling);
    this.#polling = undefined;
  }
}

/** Sets an interval that does not keep the program alive. */
function idleInterval(poll: () => void, ms: number): ReturnType<typeof setInterval> {
  const timer: unknown = setInterval(poll, ms);
  const deno = denoNamespace();
  if (typeof timer === "number") deno?.unrefTimer(timer);
  else (timer as { unref(): void }).unref();
  return timer as ReturnType<typeof setInterval>;
}

function closed(): DBusError {
  return disconnected("the session bus was closed");
}

function ruleCall(member: "AddMatch" | "RemoveMatch", match: SignalMatch): MethodCall {
  return { ...BUS_DAEMON, member, signature: "s", body: [matchRule(match)] };
}
