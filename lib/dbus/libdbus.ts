/**
 * The session bus over a Unix socket, through Deno's FFI: functions of libc that are found through libdbus, whose path is the
 * permission for it.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { quoteCommand, readEnvironment } from "../runtime/host.ts";
import { joinBytes } from "../encoding.ts";
import { BUS_DAEMON, BUS_ERROR, DBusError, type Signal } from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";
import { Authentication, MessageSplitter, type UnixSocket } from "./socket.ts";

const FILE = "libdbus-1.so.3";
const LINKER_CACHE = "/etc/ld.so.cache";

/**
 * Opens the first libdbus that can be opened: the one that `LATCHKEY_LIBDBUS` names, else one in the usual directories, else
 * one in the dynamic linker's cache.
 *
 * The path is always absolute: Deno's `dlopen` rejects a bare name if FFI was granted for a path (denoland/deno issue 29246),
 * and the search path could be someone else's.
 *
 * @returns The result of `open`, which throws if it cannot open a path.
 * @throws {LatchkeyError} `missing_dependency` if libdbus is not installed, or Deno may not open it.
 * @throws {LatchkeyError} `configuration` if the library that `LATCHKEY_LIBDBUS` names is not safe to load.
 */
export async function findLibdbus<T>(deno: typeof Deno, open: (path: string) => T): Promise<T> {
  const override = readEnvironment("LATCHKEY_LIBDBUS");
  return override ? await openOverride(deno, override, open) : findUsualLibdbus(deno, open);
}

/** Ignores `LATCHKEY_LIBDBUS`; otherwise as {@linkcode findLibdbus}. */
export function findUsualLibdbus<T>(deno: typeof Deno, open: (path: string) => T): T {
  let permitted = false, failure: unknown;
  for (const path of candidates(deno)) {
    if (!isGranted(deno, { name: "ffi", path })) continue;
    permitted = true;
    try {
      return open(path);
    } catch (error) {
      failure ??= error;
    }
  }
  if (!permitted) {
    throw new LatchkeyError("missing_dependency", "Cannot reach the session bus: Deno may not open libdbus", {
      hint: `Run deno with --allow-ffi=${probablePath(deno)}`,
    });
  }
  throw new LatchkeyError("missing_dependency", `Cannot reach the session bus: ${FILE} was not found`, {
    cause: failure,
    hint:
      "Install libdbus (Debian, Ubuntu: apt install libdbus-1-3; Fedora: dnf install dbus-libs; Arch: pacman -S dbus; " +
      "Alpine: apk add dbus-libs), or set LATCHKEY_LIBDBUS to its absolute path",
  });
}

function* candidates(deno: typeof Deno): Generator<string> {
  yield* usualPaths(deno);
  if (!isGranted(deno, { name: "read", path: LINKER_CACHE })) return;
  let cache;
  try {
    cache = deno.readFileSync(LINKER_CACHE);
  } catch {
    return; // musl has no such cache
  }
  for (const [, path] of new TextDecoder("latin1").decode(cache).matchAll(/\0(\/[^\0]+\/libdbus-1\.so\.3)(?=\0)/g)) {
    yield path!;
  }
}

function usualPaths(deno: typeof Deno): string[] {
  const multiarch = `${deno.build.arch}-linux-gnu`;
  return [
    `/usr/lib/${multiarch}`, // Debian, Ubuntu
    "/usr/lib64", // Fedora, RHEL, openSUSE
    "/usr/lib", // Arch, Alpine
    "/run/current-system/sw/lib", // NixOS
    `/lib/${multiarch}`,
    "/lib64",
    "/lib",
    "/usr/local/lib",
  ].map((directory) => `${directory}/${FILE}`);
}

/** Returns the path for a hint: one that exists, as far as Deno may look. */
function probablePath(deno: typeof Deno): string {
  const paths = usualPaths(deno);
  const exists = (path: string) => isGranted(deno, { name: "read", path }) && fileInfo(deno, path) !== undefined;
  return paths.find(exists) ?? paths[0]!;
}

/** Code over FFI may do anything, so a library that someone else can replace is not opened. */
async function openOverride<T>(deno: typeof Deno, path: string, open: (path: string) => T): Promise<T> {
  const refuse = (why: string, hint: string) =>
    new LatchkeyError("configuration", `Cannot use LATCHKEY_LIBDBUS: ${why}`, { hint });
  if (!path.startsWith("/")) throw refuse("it is not an absolute path", `Set it to the absolute path of ${FILE}`);
  const needed = [{ name: "ffi", path }, { name: "read" }, { name: "sys", kind: "uid" }] as const;
  if (!needed.every((permission) => isGranted(deno, permission))) {
    const flags = quoteCommand([`--allow-ffi=${path}`, "--allow-read", "--allow-sys=uid"]);
    throw new LatchkeyError("missing_dependency", "Cannot use LATCHKEY_LIBDBUS: Deno may not check and open it", {
      hint: `Run deno with ${flags}, or unset LATCHKEY_LIBDBUS`,
    });
  }
  if (!fileInfo(deno, path)?.isFile) throw refuse(`${path} is not a file`, `Set it to the absolute path of ${FILE}`);
  const exposed = await (await import("../files/private_files.ts")).placeOpenToOthers(path);
  if (exposed) {
    const hint = `Put the library where only root or you can write, or run ${quoteCommand(["chmod", "go-w", exposed])}`;
    throw refuse(`others can write to ${exposed}`, hint);
  }
  try {
    return open(path);
  } catch (cause) {
    throw new LatchkeyError("missing_dependency", `Cannot use LATCHKEY_LIBDBUS: ${path} cannot be opened`, {
      cause,
      hint: `Set it to the absolute path of ${FILE}, built for ${deno.build.arch}`,
    });
  }
}

function fileInfo(deno: typeof Deno, path: string): Deno.FileInfo | undefined {
  try {
    return deno.statSync(path);
  } catch {
    return undefined;
  }
}

function isGranted(deno: typeof Deno, permission: Deno.PermissionDescriptor): boolean {
  return deno.permissions.querySync(permission).state === "granted";
}

/**
 * A pointer or a word: a structure of one word, which C passes and returns as it does the word (System V ABI for x86-64, 3.2.3;
 * AAPCS64, 6.8.2 and 6.9). When Deno binds a function without any structure it compiles machine code, which takes 0.2 ms, and
 * pays off after thousands of calls only.
 */
const WORD = { struct: ["usize"] } as const, HALF_WORD = { struct: ["u32"] } as const;

/**
 * Symbols of every connection: functions of libc, which comes with libdbus. libdbus' own connection would need three times as
 * many calls, and answers the authentication step by step.
 */
const CALLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: [HALF_WORD, "i32", "i32"], result: "i32" },
  // int connect(int fd, const struct sockaddr *addr, socklen_t len)
  connect: { parameters: [HALF_WORD, "buffer", "u32"], result: "i32" },
  // ssize_t send(int fd, const void *buf, size_t n, int flags)
  send: { parameters: [HALF_WORD, "buffer", "usize", "i32"], result: "isize" },
  // ssize_t recv(int fd, void *buf, size_t n, int flags)
  recv: { parameters: [HALF_WORD, "buffer", "usize", "i32"], result: "isize" },
  // Once on another thread to wait, once on this one to look. The other thread would read a structure later, when its bytes may be
  // gone: before Deno 2.7.12 nothing keeps them.
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout)
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  poll_now: { name: "poll", parameters: ["buffer", WORD, "i32"], result: "i32" },
  // int eventfd(unsigned int initval, int flags)
  eventfd: { parameters: [HALF_WORD, "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const WAKING = {
  // ssize_t read(int fd, void *buf, size_t count)
  read: { parameters: [HALF_WORD, "buffer", "usize"], result: "isize" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: [HALF_WORD, "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

const ENDING = {
  // int close(int fd)
  close: { parameters: [HALF_WORD], result: "i32" },
  // int access(const char *name, int type)
  access: { parameters: ["buffer", HALF_WORD], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libdbus, opened. All but `calls` are bound on first use. */
interface Libdbus {
  readonly calls: Deno.StaticForeignLibraryInterface<typeof CALLS>;
  readonly waking: () => Deno.StaticForeignLibraryInterface<typeof WAKING>;
  readonly ending: () => Deno.StaticForeignLibraryInterface<typeof ENDING>;
}

let opened: Promise<Libdbus> | undefined;

/** Opens libdbus, once in this process. */
export async function openLibdbus(deno: typeof Deno): Promise<Libdbus> {
  try {
    return await (opened ??= bindLibdbus(deno));
  } catch (error) {
    opened = undefined; // the next call may find it
    throw error;
  }
}

async function bindLibdbus(deno: typeof Deno): Promise<Libdbus> {
  const once = <T>(bind: () => T) => {
    let symbols: T | undefined;
    return () => symbols ??= bind();
  };
  return await findLibdbus(deno, (path) => ({
    calls: deno.dlopen(path, CALLS).symbols,
    waking: once(() => deno.dlopen(path, WAKING).symbols),
    ending: once(() => deno.dlopen(path, ENDING).symbols),
  }));
}

const AF_UNIX = 1, SOCK_STREAM = 1, SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000;
const POLLIN = 1, POLLOUT = 4;
const EFD_NONBLOCK = 0o4000, EFD_CLOEXEC = 0o2000000;

/** Longest name of a socket, in bytes: `sun_path` ends in a zero. */
const MAX_NAME = 107;
const PIECE_LENGTH = 65_536;
/** Pieces before timers and aborts have their turn: a peer may flood us. */
const PIECES_A_TURN = 16;
/** Longest time limit of poll, which takes an `int`. */
const MAX_POLL_MS = 0x7fffffff;

export class LibdbusTransport implements DBusTransport {
  readonly connection: DBusConnection;
  readonly #library: Libdbus;
  /** The sockets that were not tried. */
  readonly #others: UnixSocket[];
  /** An eventfd that ends a poll. */
  readonly #wake: number;
  readonly #piece = new Uint8Array(PIECE_LENGTH);
  #socket = -1;
  #splitter = new MessageSplitter();
  #authentication: Authentication | undefined;
  /** The messages sent before the daemon accepts the authentication. If this socket fails, the next one gets them. */
  #early: Uint8Array<ArrayBuffer>[] | undefined = [];
  #unsent: Uint8Array<ArrayBuffer>[] = [];
  #connected = true;
  #pumping = false;
  #polling = false;
  #closed = false;

  /**
   * Connects to the first of the sockets that works. Replies are read while calls wait, so a daemon that hangs does not block
   * the program, unless its queue of new connections is full, too: then `connect` blocks.
   *
   * @throws {DBusError} if nothing listens at any of them.
   */
  constructor(library: Libdbus, sockets: readonly UnixSocket[], onSignal: (signal: Signal) => void) {
    this.#library = library;
    this.#others = [...sockets];
    const onWaiting = () => {
      if (this.#polling) this.#wakeUp();
      else void this.#pump();
    };
    this.connection = new DBusConnection({ write: (message) => this.#write(message), onSignal, onWaiting });
    this.#connect();
    this.#wake = library.calls.eventfd(half(0), EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake < 0) {
      library.ending().close(half(this.#socket));
      throw new DBusError(`${BUS_ERROR}LimitsExceeded`, "no file descriptor is left");
    }
    this.connection.send({ ...BUS_DAEMON, member: "Hello" });
  }

  isOpen(): boolean {
    if (!this.#closed && !this.#pumping) this.#process(this.#isReadable());
    return !this.#closed && this.#connected;
  }

  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.connection.fail(disconnected("the connection to the session bus was closed"));
    if (!this.#pumping) this.#free();
  }

  /** @throws {DBusError} if no socket is left that can be connected to. */
  #connect(): void {
    const { calls, ending } = this.#library, { kind, name } = this.#others.shift()!;
    const path = encoder.encode(kind === "abstract" ? `\0${name}` : `${name}\0`);
    this.#socket = path.length > MAX_NAME + 1 ? -1 : calls.socket(half(AF_UNIX), SOCK_STREAM | SOCK_CLOEXEC, 0);
    const address = new Uint8Array([AF_UNIX, 0, ...path]);
    if (this.#socket < 0 || calls.connect(half(this.#socket), address, address.length) !== 0) {
      if (this.#socket >= 0) ending().close(half(this.#socket));
      if (this.#others.length > 0) return this.#connect();
      const isMissing = kind === "path" && ending().access(path, half(0)) !== 0, at = `unix:${kind}=${name}`;
      throw isMissing
        ? new DBusError(`${BUS_ERROR}FileNotFound`, `cannot connect to ${at}: it does not exist, or may not be reached`)
        : new DBusError(
          `${BUS_ERROR}NoServer`,
          `cannot connect to ${at}: nothing listens there, or it may not be used`,
        );
    }
    this.#authentication = new Authentication();
    this.#splitter = new MessageSplitter();
    this.#unsent = [Authentication.REQUEST, ...this.#early!];
  }

  /** Writes in the next microtask, so that calls of one moment go out in one piece. */
  #write(message: Uint8Array<ArrayBuffer>): void {
    this.#early?.push(message);
    if (this.#unsent.push(message) === 1 || this.#early) queueMicrotask(() => this.#flush());
  }

  /** Writes as much as the socket takes. */
  #flush(): void {
    if (this.#closed || !this.#connected || this.#unsent.length === 0) return;
    const messages = this.#unsent.splice(0), bytes = messages.length === 1 ? messages[0]! : joinBytes(messages);
    const taken = Number(
      this.#library.calls.send(half(this.#socket), bytes, BigInt(bytes.length), MSG_DONTWAIT | MSG_NOSIGNAL),
    );
    if (taken < bytes.length) this.#unsent.unshift(bytes.subarray(Math.max(0, taken)));
    // The current poll does not wait for room.
    if (this.#unsent.length > 0 && this.#polling) this.#wakeUp();
  }

  /** Writes and, if something can be read, reads as much as is possible without waiting. */
  #process(isReadable: boolean): void {
    try {
      this.#flush();
      for (let turn = 0, more = isReadable; turn < PIECES_A_TURN && more; turn++) more = this.#read();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Reads a piece. Returns true if there may be more. */
  #read(): boolean {
    const { calls } = this.#library;
    const length = Number(calls.recv(half(this.#socket), this.#piece, BigInt(PIECE_LENGTH), MSG_DONTWAIT));
    if (length <= 0) throw disconnected("the connection to the session bus ended");
    let piece: Uint8Array | undefined = this.#piece.subarray(0, length);
    if (this.#authentication) {
      piece = this.#authentication.read(piece);
      if (!piece) return false;
      this.#authentication = this.#early = undefined;
    }
    for (const message of this.#splitter.push(piece)) this.connection.receive(message);
    return length === PIECE_LENGTH && this.#isReadable();
  }

  /** Goes on with the next socket if this one has not accepted us. */
  #fail(error: unknown): void {
    try {
      if (!this.#authentication || this.#others.length === 0) throw error;
      this.#library.ending().close(half(this.#socket));
      this.#connect();
      this.#flush();
    } catch (error) {
      this.#connected = false;
      this.connection.fail(
        error instanceof RangeError ? disconnected("the session bus sent a malformed message") : error,
      );
    }
  }

  /** Drives the connection while calls wait. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4), events = new Int16Array(fds.buffer);
    this.#flush();
    while (this.connection.isWaiting) {
      fds.set([this.#socket, this.#unsent.length > 0 ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      this.#polling = true;
      await calls.poll(bytesOf(fds), 2n, this.#timeout());
      this.#polling = false;
      if (events[7]) this.#library.waking().read(half(this.#wake), new Uint8Array(8), 8n);
      if (!this.#closed) this.#process((events[3]! & ~POLLOUT) !== 0);
      this.connection.expire();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  /** Returns the timeout of poll, which keeps the time limits of calls: the first use of a timer takes Deno 4 ms. */
  #timeout(): number {
    const wait = Math.max(0, Math.ceil(this.connection.nextDeadline - performance.now()));
    return wait === Infinity ? -1 : Math.min(wait, MAX_POLL_MS);
  }

  #isReadable(): boolean {
    const fds = new Int32Array([this.#socket, POLLIN]);
    return this.#library.calls.poll_now(bytesOf(fds), ONE, 0) > 0;
  }

  #wakeUp(): void {
    this.#library.waking().write(half(this.#wake), ONE, 8n);
  }

  #free(): void {
    const { close } = this.#library.ending();
    close(half(this.#socket));
    close(half(this.#wake));
  }
}

const encoder = new TextEncoder();

/** The number 1, as a word. */
const ONE = bytesOf(new BigUint64Array([1n]));

/** The bytes of a {@linkcode HALF_WORD}. */
function half(value: number): Uint8Array<ArrayBuffer> {
  return bytesOf(new Int32Array([value]));
}

function bytesOf(words: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
