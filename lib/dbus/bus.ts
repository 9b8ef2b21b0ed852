/**
 * The D-Bus session bus, as far as latchkey needs it: method calls and signals. A seam: `open_session_bus.ts` chooses
 * among its implementations.
 *
 * @module
 */

/**
 * A value as D-Bus knows it, by its type in the signature:
 * `y n q i u d` number · `x t` bigint · `b` boolean · `s o g` string · `ay` Uint8Array · other arrays and structs array ·
 * dictionaries Map · `v` {@linkcode Variant}. File descriptors (`h`) are not carried.
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

/** A value that carries its own type. */
export interface Variant {
  /** Signature of one complete type. */
  readonly signature: string;
  /** The value, of that type. */
  readonly value: DBusValue;
}

/** A method call. */
export interface MethodCall {
  /** Bus name that is called. */
  readonly destination: string;
  /** Object path. */
  readonly path: string;
  /** Interface of the method. */
  readonly interface: string;
  /** Method name. */
  readonly member: string;
  /** Signature of the arguments. @default "" */
  readonly signature?: string;
  /** The arguments. @default [] */
  readonly body?: readonly DBusValue[];
  /** Whether the bus starts the service when it does not run. @default true */
  readonly autoStart?: boolean;
}

/** How long a call may take, and what ends it. */
export interface CallLimits {
  /** Milliseconds until the call fails with `timed_out`. @default none */
  readonly timeoutMs?: number | undefined;
  /** Ends the call at once with the signal's reason; a reply that comes later is dropped. */
  readonly signal?: AbortSignal | undefined;
}

/** Which signals are wanted. What is left out matches all. */
export interface SignalMatch {
  /** Bus name of the sender, well-known or unique. */
  readonly sender?: string;
  /** Object path. */
  readonly path?: string;
  /** Interface of the signal. */
  readonly interface?: string;
  /** Signal name. */
  readonly member?: string;
  /** First argument, when it is a string. */
  readonly arg0?: string;
}

/** A signal that came. */
export interface Signal {
  /** Unique bus name of the sender, or `org.freedesktop.DBus` for the bus itself. */
  readonly sender: string;
  /** Object path. */
  readonly path: string;
  /** Interface of the signal. */
  readonly interface: string;
  /** Signal name. */
  readonly member: string;
  /** Its arguments. */
  readonly body: readonly DBusValue[];
}

/** What makes the connection: libdbus through Deno's FFI, or the npm package `dbus-next`. */
export type SessionBusClient = "libdbus" | "dbus-next";

/** A connection to the session bus. It is made when first used, and made anew after the daemon restarted. */
export interface SessionBus extends Disposable {
  /** What makes the connection. */
  readonly client: SessionBusClient;
  /**
   * Calls a method.
   *
   * @returns The reply's arguments.
   * @throws {DBusError} when bus or peer answer with an error, or the connection ends first.
   * @throws {LatchkeyError} `timed_out` when the time limit passes, `invalid_response` for a reply that cannot be read.
   * @throws {TypeError} when the arguments do not fit the signature.
   */
  call(call: MethodCall, limits?: CallLimits): Promise<readonly DBusValue[]>;
  /**
   * Calls `listener` for each signal that matches, until the returned object is disposed of. A subscription outlives a
   * restart of the daemon and does not keep the program alive.
   *
   * @throws {DBusError} when the bus refuses the match rule.
   */
  subscribe(match: SignalMatch, listener: (signal: Signal) => void, limits?: CallLimits): Promise<Disposable>;
  /** Ends the connection for good; calls under way, and later ones, fail with `org.freedesktop.DBus.Error.Disconnected`. */
  close(): void;
}

/** An error that came over D-Bus, or took its place. Its message is the peer's text. */
export class DBusError extends Error {
  /** Always `DBusError`. */
  override readonly name = "DBusError";
  /** D-Bus name of the error, such as `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly errorName: string;

  /**
   * @param errorName D-Bus name of the error.
   * @param message The text that came with it.
   */
  constructor(errorName: string, message: string) {
    super(message);
    this.errorName = errorName;
  }
}

/** Prefix of the error names that the bus itself uses. */
export const BUS_ERROR = "org.freedesktop.DBus.Error.";

/** The bus daemon's own object, to be completed with `member`, `signature` and `body`. */
export const BUS_DAEMON = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
} as const;

/** A match rule in D-Bus' own notation. */
export function matchRule(match: SignalMatch): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  return ["type='signal'", ...Object.entries(match).map(([key, value]) => `${key}=${quoted(value)}`)].join(",");
}

/**
 * Whether a signal is one that was asked for. Any peer can send a signal to our unique name, past every match rule, so
 * all is compared again; a well-known sender, whose unique name only the bus knows, is left to the rule.
 */
export function isMatch(match: SignalMatch, signal: Signal): boolean {
  const unique = match.sender?.startsWith(":") || match.sender === BUS_DAEMON.destination;
  return (unique ? match.sender === signal.sender : true) &&
    (match.path ?? signal.path) === signal.path &&
    (match.interface ?? signal.interface) === signal.interface &&
    (match.member ?? signal.member) === signal.member &&
    (match.arg0 ?? signal.body[0]) === signal.body[0];
}

/** What the bus says of a name that nobody has, and for which it has, or may start, no service. */
const UNOWNED: ReadonlySet<string> = new Set(["ServiceUnknown", "NameHasNoOwner"].map((name) => BUS_ERROR + name));

/** The reply to a call, or `undefined` when nobody has the name that was called or asked for. */
export async function undefinedIfNoOwner<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof DBusError && UNOWNED.has(error.errorName)) return undefined;
    throw error;
  }
}
