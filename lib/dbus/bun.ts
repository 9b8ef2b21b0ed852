/**
 * The session bus over a unix socket of Bun, which starts in half the time that `dbus-next` and `node:net` take.
 *
 * @module
 */
import { BUS_DAEMON, BUS_ERROR, DBusError, type Signal } from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";
import { MessageSplitter, type UnixSocket } from "./dbus_next.ts";

/** The part of Bun's API that is used here. */
export interface BunSockets {
  connect(options: {
    readonly unix: string;
    readonly socket: {
      open(socket: BunSocket): void;
      data(socket: BunSocket, piece: Uint8Array): void;
      drain(socket: BunSocket): void;
      close(socket: BunSocket): void;
      error(socket: BunSocket, error: Error): void;
    };
  }): Promise<BunSocket>;
}

interface BunSocket {
  /** Returns how many bytes were taken. The rest has to be written after `drain`. */
  write(bytes: Uint8Array): number;
  end(): void;
  ref(): void;
  unref(): void;
}

/**
 * The authentication, which is sent with the first messages in one piece: EXTERNAL without a user id, which the daemon knows by
 * the socket, also where a container maps user ids (D-Bus Specification, "Authentication Protocol").
 */
const AUTHENTICATION = new TextEncoder().encode("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
/** Longest answer to it, in bytes. */
const MAX_ANSWER = 16_384;
/** Longest delay of a timer, in milliseconds. */
const MAX_DELAY_MS = 0x7fffffff;

/** A connection to a bus over a socket of Bun. */
export class BunTransport implements DBusTransport {
  readonly connection: DBusConnection;
  readonly #bun: BunSockets;
  readonly #splitter = new MessageSplitter();
  /** The daemon's answer to the authentication, until it has agreed. */
  #answer: string | undefined = "";
  #unsent: Uint8Array[] = [AUTHENTICATION];
  #socket: BunSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /** Starts to connect to the first of the sockets that works. */
  constructor(bun: BunSockets, sockets: readonly UnixSocket[], onSignal: (signal: Signal) => void) {
    this.#bun = bun;
    this.connection = new DBusConnection({
      write: (message) => this.#write(message),
      onSignal,
      onWaiting: () => this.#keepTime(),
    });
    this.connection.send({ ...BUS_DAEMON, member: "Hello" });
    this.#connect(sockets);
  }

  isOpen(): boolean {
    return !this.#ended;
  }

  close(): void {
    this.#end(disconnected("the connection to the session bus was closed"));
  }

  #connect([socket, ...others]: readonly UnixSocket[]): void {
    const { kind, name } = socket!;
    this.#bun.connect({
      unix: kind === "abstract" ? `\0${name}` : name,
      socket: {
        open: (socket) => this.#flush(socket),
        data: (_, piece) => this.#read(piece),
        drain: (socket) => this.#flush(socket),
        close: () => this.#end(disconnected("the connection to the session bus ended")),
        error: (_, error) => this.#end(disconnected(error.message)),
      },
    }).catch((error: Error) => {
      if (others.length > 0) return this.#connect(others);
      const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
      const message = `cannot connect to ${name}: ${error.message}`;
      this.#end(new DBusError(BUS_ERROR + (isMissing ? "FileNotFound" : "NoServer"), message));
    });
  }

  /** Writes in the next microtask, so that calls of one moment go out in one piece. */
  #write(message: Uint8Array): void {
    if (this.#unsent.push(message) === 1) queueMicrotask(() => this.#socket && this.#flush(this.#socket));
  }

  #flush(socket: BunSocket): void {
    this.#socket = socket;
    const bytes = concat(this.#unsent.splice(0)), taken = socket.write(bytes);
    if (taken < bytes.length) this.#unsent.unshift(bytes.subarray(Math.max(0, taken)));
    this.#keepTime();
  }

  #read(piece: Uint8Array): void {
    try {
      const messages = this.#answer === undefined ? piece : this.#authenticate(this.#answer, piece);
      for (const message of messages ? this.#splitter.push(messages) : []) this.connection.receive(message);
    } catch (error) {
      this.#end(error instanceof DBusError ? error : disconnected("the session bus sent a malformed message"));
    }
  }

  /** Returns what follows the daemon's answer to the authentication; `undefined` if more of that has to come. */
  #authenticate(answer: string, piece: Uint8Array): Uint8Array | undefined {
    const text = answer + String.fromCharCode(...piece.subarray(0, MAX_ANSWER));
    const [whole] = /^(DATA\r\n)?OK [^\r\n]*\r\n/.exec(text) ?? [];
    if (whole !== undefined) {
      this.#answer = undefined;
      return piece.subarray(whole.length - answer.length);
    }
    if (text.length >= MAX_ANSWER || /^(?!DATA\r|OK )[^\r]*\r/m.test(text)) {
      throw new DBusError(`${BUS_ERROR}AuthFailed`, "the session bus refuses the authentication");
    }
    this.#answer = text;
    return undefined;
  }

  /** Keeps the program alive while calls wait, and enforces their time limits. */
  #keepTime(): void {
    clearTimeout(this.#timer);
    const { isWaiting, nextDeadline } = this.connection;
    if (this.#ended) this.#socket?.end();
    else if (isWaiting) this.#socket?.ref();
    else this.#socket?.unref();
    if (!isWaiting || nextDeadline === Infinity) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(nextDeadline - performance.now())), MAX_DELAY_MS);
    this.#timer = setTimeout(() => (this.connection.expire(), this.#keepTime()), delayMs);
  }

  #end(error: DBusError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.connection.fail(error);
    this.#keepTime();
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}
