/**
 * What is said over one connection to a bus: calls that wait for their replies, signals that come, calls to us that are
 * refused. Replies are matched by their serial, so that an abandoned call leaves nothing behind. How bytes travel, and what
 * keeps the time, is its connection's.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace } from "../runtime/host.ts";
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

/** What a connection does for its conversation. */
interface Carrier {
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
export class DBusConnection {
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

/** How often a bus with subscriptions looks for a daemon that came back, and a client that waits for calls alone for signals. */
const LOOK_MS = 200;

/** A connection to a bus, from the first byte to the last. It says Hello, and keeps the program alive while calls wait. */
export interface DBusTransport {
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
  readonly #connect: (onSignal: (signal: Signal) => void) => DBusTransport;
  readonly #subscriptions = new Set<Subscription>();
  #connection: DBusTransport | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  /**
   * @param client What makes the connections.
   * @param connect Makes one; what it throws is thrown to whoever needed it.
   */
  constructor(client: SessionBusClient, connect: (onSignal: (signal: Signal) => void) => DBusTransport) {
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
  #connected(): DBusTransport {
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
