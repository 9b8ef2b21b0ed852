/**
 * The D-Bus session bus: method calls and signals. `open.ts` chooses the client that implements it.
 *
 * @module
 */

/**
 * A value, by its type in the signature:
 * `y n q i u d` number · `x t` bigint · `b` boolean · `s o g` string · `ay` Uint8Array · other arrays and structs array ·
 * dictionaries Map · `v` {@linkcode Variant}. File descriptors (`h`) are not supported.
 */
export type DBusValue =
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Variant
  | readonly DBusValue[]
  | ReadonlyMap<DBusValue, DBusValue>;

export interface Variant {
  /** Signature of one complete type. */
  readonly signature: string;
  readonly value: DBusValue;
}

export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Signature of the arguments. @default "" */
  readonly signature?: string;
  /** @default [] */
  readonly body?: readonly DBusValue[];
  /** Makes the bus start the service if it does not run. @default true */
  readonly autoStart?: boolean;
}

export interface CallLimits {
  /** Milliseconds until the call fails with `timed_out`. @default none */
  readonly timeoutMs?: number | undefined;
  /** Ends the call at once with the signal's reason. A later reply is dropped. */
  readonly signal?: AbortSignal | undefined;
}

export interface Signal {
  /** Unique bus name, or `org.freedesktop.DBus` for the bus itself. */
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly DBusValue[];
}

/** A choice of signals. A missing field matches all. `sender` may be a well-known name. */
export interface SignalMatch extends Partial<Omit<Signal, "body">> {
  /** First argument, if it is a string. */
  readonly arg0?: string;
}

/** A D-Bus client: libdbus through Deno's FFI, the sockets of Bun or Node, or the npm package `dbus-next`. */
export type SessionBusClient = "libdbus" | "bun" | "node" | "dbus-next";

/** The session bus. It connects on first use, and again after the daemon restarted. */
export interface SessionBus extends Disposable {
  readonly client: SessionBusClient;
  /**
   * Calls a method.
   *
   * @returns The reply's arguments.
   * @throws {DBusError} if the bus or the peer returns an error, or the connection ends first.
   * @throws {LatchkeyError} `timed_out` if the time limit passes.
   * @throws {LatchkeyError} `invalid_response` if the reply has unsupported types.
   * @throws {TypeError} if the arguments do not fit the signature.
   */
  call(call: MethodCall, limits?: CallLimits): Promise<readonly DBusValue[]>;
  /**
   * Calls `listener` for each signal that matches, until the returned object is disposed of. A subscription survives a
   * restart of the daemon, and does not keep the program alive.
   *
   * @throws {DBusError} if the bus refuses the match rule.
   */
  subscribe(match: SignalMatch, listener: (signal: Signal) => void, limits?: CallLimits): Promise<Disposable>;
  /** Ends the connection. Pending and later calls fail with `org.freedesktop.DBus.Error.Disconnected`. */
  close(): void;
}

/** An error of the bus, a peer or the connection. Its message is the peer's text, unescaped. */
export class DBusError extends Error {
  override readonly name = "DBusError";
  /** D-Bus name of the error, such as `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly errorName: string;

  constructor(errorName: string, message: string) {
    super(message);
    this.errorName = errorName;
  }
}

/** Prefix of the bus' own error names. */
export const BUS_ERROR = "org.freedesktop.DBus.Error.";

/** The bus daemon's object: a method call without `member`, `signature` and `body`. */
export const BUS_DAEMON = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
} as const;

export function matchRule(match: SignalMatch): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  return ["type='signal'", ...Object.entries(match).map(([key, value]) => `${key}=${quoted(value)}`)].join(",");
}

/**
 * Returns true if a signal matches. Any peer can send a signal to our unique name, past every match rule, so all fields are
 * compared again, except a well-known sender: only the bus knows its unique name.
 */
export function isMatch(match: SignalMatch, signal: Signal): boolean {
  const { sender, ...others } = match;
  const { body, ...fields } = signal;
  const isUnique = sender?.startsWith(":") || sender === BUS_DAEMON.destination;
  const facts: Readonly<Record<string, unknown>> = { ...fields, arg0: body[0] };
  return (!isUnique || sender === signal.sender) &&
    Object.entries(others).every(([name, value]) => value === undefined || value === facts[name]);
}

/** Returns true if an error says that a bus name has no owner, and that the bus has not started a service for it. */
function isNoOwner(error: unknown): boolean {
  return error instanceof DBusError &&
    ["ServiceUnknown", "NameHasNoOwner"].some((name) => error.errorName === BUS_ERROR + name);
}

/** Returns the reply to a call; `undefined` if the bus name has no owner. */
export async function undefinedIfNoOwner<T>(reply: Promise<T>): Promise<T | undefined> {
  return await reply.catch((error) => {
    if (!isNoOwner(error)) throw error;
    return undefined;
  });
}
