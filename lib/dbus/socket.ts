/**
 * Unix sockets of a bus: their addresses, the messages in their stream, and the session bus over a socket of Bun or of `node:net`.
 *
 * @module
 */
import { startTimer } from "../async.ts";
import { joinBytes } from "../encoding.ts";
import { BUS_DAEMON, BUS_ERROR, DBusError, type Signal } from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";

/** A socket on which a bus listens. */
export interface UnixSocket {
  /** `path`: a file. `abstract`: a name in Linux' abstract namespace. */
  readonly kind: "path" | "abstract";
  readonly name: string;
}

/**
 * Returns the unix sockets among the addresses of a bus, in order (D-Bus Specification, "Server Addresses"), such as
 * `unix:path=/run/user/1000/bus`.
 *
 * @throws {DBusError} `…BadAddress` if an address is malformed, or none is a unix socket.
 */
export function unixSockets(address: string): UnixSocket[] {
  const sockets = address.split(";").filter((one) => one !== "").flatMap(socketsOf);
  if (sockets.length === 0) throw bad(address, "it names no unix socket");
  return sockets;
}

function socketsOf(address: string): UnixSocket[] {
  const [, transport, rest] = /^([^:=,;]+):(.*)$/s.exec(address) ?? [];
  if (transport === undefined) throw bad(address, "it names no transport");
  const values = new Map(
    rest!.split(",").filter(Boolean).map((pair) => {
      const [, key, value] = /^([^=]+)=([-0-9A-Za-z_/.*~\\%]*)$/.exec(pair) ?? [];
      if (key === undefined) throw bad(address, "it is not written as key=value");
      return [key, unescape(address, value!)];
    }),
  );
  if (transport !== "unix") return [];
  return (["path", "abstract"] as const).flatMap((kind) => {
    const name = values.get(kind);
    return name ? [{ kind, name }] : [];
  });
}

/** `%xx` is a byte. The runtimes' sockets take only names in UTF-8. */
function unescape(address: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw bad(address, "its %xx are not UTF-8");
  }
}

function bad(address: string, why: string): DBusError {
  return new DBusError(`${BUS_ERROR}BadAddress`, `the address ${JSON.stringify(address)} cannot be used: ${why}`);
}

/** Length of the part of the header that has the message's length. */
const HEADER_LENGTH = 16;
const MAX_LENGTH = 128 * 1024 * 1024;

export class MessageSplitter {
  #message = new Uint8Array(HEADER_LENGTH);
  #filled = 0;

  /**
   * Adds a piece of the stream, and returns the messages that are complete now, in order.
   *
   * @throws {RangeError} if the stream is malformed. The rest of it cannot be read.
   */
  push(piece: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const messages = [];
    for (let rest = piece; rest.length > 0;) {
      const part = rest.subarray(0, this.#message.length - this.#filled);
      this.#message.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled < this.#message.length) break;
      const length = lengthOf(this.#message);
      if (length === this.#filled) {
        messages.push(this.#message);
        this.#message = new Uint8Array(HEADER_LENGTH);
        this.#filled = 0;
      } else {
        this.#message = new Uint8Array(this.#message.buffer.transfer(length));
      }
    }
    return messages;
  }
}

function lengthOf(message: Uint8Array<ArrayBuffer>): number {
  const order = String.fromCharCode(message[0]!);
  const isLittle = order === "l";
  const view = new DataView(message.buffer);
  const body = view.getUint32(4, isLittle);
  const fields = view.getUint32(12, isLittle);
  const length = HEADER_LENGTH + Math.ceil(fields / 8) * 8 + body;
  if (!(isLittle || order === "B") || length > MAX_LENGTH) throw new RangeError("The bytes are not a D-Bus message");
  return length;
}

interface SocketControls {
  ref(): unknown;
  unref(): unknown;
  /** Ends it after the pending writes. */
  end(): void;
}

/** A connection to a bus over a socket of any runtime. */
export abstract class SocketTransport implements DBusTransport {
  readonly connection: DBusConnection;
  readonly #splitter = new MessageSplitter();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** @param lastSerial Serial of the last message that was sent without the connection. */
  constructor(onSignal: (signal: Signal) => void, lastSerial?: number) {
    const write = (message: Uint8Array<ArrayBuffer>) => this.write(message);
    const onWaiting = () => this.keepTime();
    this.connection = new DBusConnection({ write, onSignal, onWaiting }, lastSerial);
  }

  /** The socket, once it exists. */
  protected abstract readonly socket: SocketControls | undefined;
  protected abstract write(message: Uint8Array<ArrayBuffer>): void;

  isOpen(): boolean {
    return !this.#ended;
  }

  close(): void {
    this.end(disconnected("the connection to the session bus was closed"));
  }

  protected read(piece: Uint8Array): void {
    try {
      for (const message of this.#splitter.push(piece)) this.connection.receive(message);
    } catch {
      this.end(disconnected("the session bus sent a malformed message"));
    }
  }

  /** Keeps the program alive while calls wait, and enforces their time limits. */
  protected keepTime(): void {
    clearTimeout(this.#timer);
    const { isWaiting, nextDeadline } = this.connection;
    if (this.#ended) this.socket?.end();
    else if (isWaiting) this.socket?.ref();
    else this.socket?.unref();
    if (!isWaiting || nextDeadline === Infinity) return;
    const delayMs = Math.max(0, Math.ceil(nextDeadline - performance.now()));
    this.#timer = startTimer(() => {
      this.connection.expire();
      this.keepTime();
    }, delayMs);
  }

  protected end(error: DBusError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.connection.fail(error);
    this.keepTime();
  }
}

/** Opens sockets. It has the form of Bun's API, so that Bun's own serves as it is. */
export interface StreamSockets {
  connect(options: {
    readonly unix: string;
    readonly socket: {
      open(socket: StreamSocket): void;
      data(socket: StreamSocket, piece: Uint8Array): void;
      drain(socket: StreamSocket): void;
      close(socket: StreamSocket): void;
      error(socket: StreamSocket, error: Error): void;
    };
  }): Promise<StreamSocket>;
}

interface StreamSocket {
  /** Returns how many bytes were taken. The rest has to be written after `drain`. */
  write(bytes: Uint8Array): number;
  end(): void;
  ref(): void;
  unref(): void;
}

/**
 * The authentication, which is sent in one piece with the first messages. It is EXTERNAL without a user id: the daemon gets
 * that from the socket, even where a container maps user ids (D-Bus Specification, "Authentication Protocol").
 */
const AUTHENTICATION = new TextEncoder().encode("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
/** Longest answer to it, in bytes. */
const MAX_ANSWER = 16_384;

/**
 * Returns the sockets of `node:net`.
 *
 * @param net The part of `node:net` that is used, which takes Deno and Bun too long to load here.
 */
export function nodeSockets({ connect }: Pick<typeof import("node:net"), "connect">): StreamSockets {
  return {
    async connect({ unix, socket: listener }) {
      const socket = connect({ path: unix });
      const stream: StreamSocket = {
        write(bytes) {
          socket.write(bytes);
          return bytes.length; // node:net keeps what the system does not take
        },
        end: () => void socket.end(),
        ref: () => void socket.ref(),
        unref: () => void socket.unref(),
      };
      const { promise: connected, resolve, reject } = Promise.withResolvers<void>();
      socket.once("connect", resolve);
      socket.once("error", reject);
      await connected;
      socket.on("error", (error) => listener.error(stream, error));
      socket.on("close", () => listener.close(stream));
      socket.on("data", (piece) => listener.data(stream, piece));
      listener.open(stream);
      return stream;
    },
  };
}

/** A connection to a bus over a socket of Bun or of `node:net`. */
export class StreamTransport extends SocketTransport {
  readonly #sockets: StreamSockets;
  #connected: StreamSocket | undefined;
  /** The messages sent before the daemon accepts the authentication. If this address fails, the next one gets them. */
  #early: Uint8Array<ArrayBuffer>[] | undefined = [];
  #answer = "";
  #unsent: Uint8Array<ArrayBuffer>[] = [];

  /** Starts to connect to the first of the addresses that works. */
  constructor(sockets: StreamSockets, addresses: readonly UnixSocket[], onSignal: (signal: Signal) => void) {
    super(onSignal);
    this.#sockets = sockets;
    this.connection.send({ ...BUS_DAEMON, member: "Hello" });
    this.#connect(addresses);
  }

  protected get socket(): SocketControls | undefined {
    const socket = this.#connected;
    return socket && {
      ref: () => socket.ref(),
      unref: () => socket.unref(),
      end: () => {
        socket.unref();
        this.#flush();
      },
    };
  }

  #connect([at, ...others]: readonly UnixSocket[]): void {
    const { kind, name } = at!;
    let isOver = false;
    const fail = (error: DBusError) => {
      if (isOver || !this.isOpen()) return;
      isOver = true;
      this.#connected = undefined;
      if (this.#early && others.length > 0) this.#connect(others);
      else this.end(error);
    };
    this.#sockets.connect({
      unix: kind === "abstract" ? `\0${name}` : name,
      socket: {
        open: (socket) => this.#open(socket),
        data: (socket, piece) => {
          if (!this.#early) return this.read(piece);
          if (this.#authenticate(piece)) return;
          socket.end();
          fail(new DBusError(`${BUS_ERROR}AuthFailed`, "the session bus refuses the authentication"));
        },
        drain: () => this.#flush(),
        close: () => fail(disconnected("the connection to the session bus ended")),
        error: (_, error) => fail(disconnected(error.message)),
      },
    }).catch(({ code, message }: Error & { readonly code?: string }) => {
      const errorName = BUS_ERROR + (code === "ENOENT" ? "FileNotFound" : "NoServer");
      fail(new DBusError(errorName, `cannot connect to unix:${kind}=${name}: ${message}${code ? ` (${code})` : ""}`));
    });
  }

  #open(socket: StreamSocket): void {
    if (!this.isOpen()) return socket.end();
    this.#connected = socket;
    this.#answer = "";
    this.#unsent = [AUTHENTICATION, ...this.#early!];
    this.#flush();
    this.keepTime();
  }

  /** Writes in the next microtask, so that calls of one moment go out in one piece. */
  protected write(message: Uint8Array<ArrayBuffer>): void {
    this.#early?.push(message);
    if (this.#unsent.push(message) === 1) queueMicrotask(() => this.#flush());
  }

  /** Writes as much as the socket takes; once all is written, ends the socket if it is to end. */
  #flush(): void {
    const socket = this.#connected;
    if (!socket) return;
    const bytes = joinBytes(this.#unsent.splice(0));
    const taken = bytes.length > 0 ? socket.write(bytes) : 0;
    if (taken < bytes.length) this.#unsent.unshift(bytes.subarray(Math.max(0, taken)));
    else if (!this.isOpen()) socket.end();
  }

  /** Reads a piece of the daemon's answer. Returns false if it is a refusal. */
  #authenticate(piece: Uint8Array): boolean {
    const before = this.#answer.length;
    this.#answer += String.fromCharCode(...piece.subarray(0, MAX_ANSWER));
    const length = agreementLength(this.#answer);
    if (!length) return length === 0;
    this.#early = undefined;
    this.read(piece.subarray(length - before));
    return true;
  }
}

/** Returns the length of an answer that accepts the authentication; 0 if it is incomplete; `undefined` if it refuses. */
function agreementLength(answer: string): number | undefined {
  let length = 0;
  for (const line of answer.split("\r\n").slice(0, -1)) {
    length += line.length + 2;
    if (line.startsWith("OK ")) return length;
    if (!/^DATA( |$)/.test(line)) return undefined;
  }
  return answer.length < MAX_ANSWER ? 0 : undefined;
}
