/**
 * Opens the session bus with the D-Bus client that this runtime has, and reconnects after a restart of the daemon.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { anyOf } from "../hints.ts";
import { denoNamespace, mayReadEnvironment, readEnvironment } from "../runtime/host.ts";
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
  type SessionBusClient,
  type Signal,
  type SignalMatch,
} from "./bus.ts";
import { type DBusTransport, disconnected } from "./connection.ts";
import { openLibdbus, probablePath } from "./libdbus.ts";
import type { StreamSockets } from "./socket.ts";

/**
 * Opens the session bus. Deno uses libdbus, or `dbus-next` if libdbus is missing or not permitted. Bun and Node use their own
 * sockets: `dbus-next` takes 30 ms to load.
 *
 * @returns The bus, which connects on first use.
 * @throws {LatchkeyError} `missing_dependency` if no D-Bus client is installed, or Deno permits none.
 * @throws {LatchkeyError} `configuration` if `LATCHKEY_LIBDBUS` is invalid.
 * @throws {DBusError} `…NoServer` if this session has no bus, `…BadAddress` if its address is not usable.
 */
export async function openSessionBus(): Promise<SessionBus> {
  const deno = denoNamespace();
  const address = await localAddress(sessionBusAddress());
  if (!deno) return await openWithSockets(address);
  try {
    return new ReconnectingBus("libdbus", await openLibdbus(deno, address));
  } catch (error) {
    // LATCHKEY_LIBDBUS means that one or none.
    if (!isMissing(error) || readEnvironment("LATCHKEY_LIBDBUS")) throw error;
    return await openWithDBusNext(address).catch((other) => {
      if (!isMissing(other)) throw other;
      const remedy = anyOf([error, other].flatMap(({ remedy }) => remedy ?? []));
      throw new LatchkeyError("missing_dependency", error.message, { cause: error.cause, remedy });
    });
  }
}

async function openWithDBusNext(address: string): Promise<SessionBus> {
  const { openDBusNext } = await import("./dbus_next.ts");
  return new ReconnectingBus("dbus-next", await openDBusNext(address));
}

async function openWithSockets(address: string): Promise<SessionBus> {
  const { nodeSockets, StreamTransport, unixSockets } = await import("./socket.ts");
  const addresses = unixSockets(address);
  const { Bun: bunSockets } = globalThis as { readonly Bun?: StreamSockets };
  const sockets = bunSockets ?? nodeSockets(await import("node:net"));
  const client = bunSockets ? "bun" : "node";
  return new ReconnectingBus(client, (onSignal) => new StreamTransport(sockets, addresses, onSignal));
}

function isMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && error.code === "missing_dependency";
}

/** Keeps the unix sockets: for other addresses libdbus would use the network or run programs. */
async function localAddress(address: string): Promise<string> {
  const sockets = address.split(";").filter((one) => one.startsWith("unix:"));
  if (sockets.length > 0) return sockets.join(";");
  const { unixSockets } = await import("./socket.ts");
  unixSockets(address); // throws the reason
  return address;
}

/** Returns the session bus' address, as the D-Bus Specification and systemd define it. */
function sessionBusAddress(): string {
  const address = readEnvironment("DBUS_SESSION_BUS_ADDRESS");
  if (address) return address;
  const directory = readEnvironment("XDG_RUNTIME_DIR");
  if (directory) return `unix:path=${escapeAddress(`${directory}/bus`)}`;
  const names = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"];
  if (!names.every(mayReadEnvironment)) {
    const message = `Cannot reach the session bus: Deno may not read ${names.join(" and ")}`;
    throw new LatchkeyError("missing_dependency", message, {
      remedy: { kind: "run_deno_with", flags: `--allow-env=${names} --allow-ffi=${probablePath(denoNamespace()!)}` },
    });
  }
  throw new DBusError(`${BUS_ERROR}NoServer`, `this session has no bus: neither ${names.join(" nor ")} is set`);
}

/** Escapes all but a few characters as `%xx`. */
function escapeAddress(text: string): string {
  const escape = (byte: number) => `%${byte.toString(16).padStart(2, "0")}`;
  return text.replaceAll(
    /[^-0-9A-Za-z_/.*]/gu,
    (character) => [...new TextEncoder().encode(character)].map(escape).join(""),
  );
}

/** Interval at which a bus with subscriptions looks for signals and for a restarted daemon. */
const POLL_MS = 200;

type OnSignal = (signal: Signal) => void;

interface Subscription {
  readonly match: SignalMatch;
  readonly listener: OnSignal;
}

class ReconnectingBus implements SessionBus {
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
    // The daemon handles messages in order, and has accepted these rules before, so nobody waits for the replies.
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
