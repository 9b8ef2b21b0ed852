/**
 * The session bus over libdbus, through Deno's FFI.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { advice } from "../remedies.ts";
import { quoteCommand, readEnvironment } from "../runtime/host.ts";
import { BUS_DAEMON, BUS_ERROR, DBusError, type Signal } from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";

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
  let permitted = false;
  let failure: unknown;
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
      remedy: { kind: "run_deno_with", flags: `--allow-ffi=${probablePath(deno)}` },
    });
  }
  throw new LatchkeyError("missing_dependency", `Cannot reach the session bus: ${FILE} was not found`, {
    cause: failure,
    remedy:
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

/** Returns the path for a remedy: one that exists, as far as Deno may look. */
export function probablePath(deno: typeof Deno): string {
  const paths = usualPaths(deno);
  const exists = (path: string) => isGranted(deno, { name: "read", path }) && fileInfo(deno, path) !== undefined;
  return paths.find(exists) ?? paths[0]!;
}

/** Code over FFI may do anything, so a library that someone else can replace is not opened. */
async function openOverride<T>(deno: typeof Deno, path: string, open: (path: string) => T): Promise<T> {
  const refuse = (why: string, remedy: string) =>
    new LatchkeyError("configuration", `Cannot use LATCHKEY_LIBDBUS: ${why}`, { remedy });
  if (!path.startsWith("/")) throw refuse("it is not an absolute path", `Set it to the absolute path of ${FILE}`);
  const needed = [{ name: "ffi", path }, { name: "read" }, { name: "sys", kind: "uid" }] as const;
  if (!needed.every((permission) => isGranted(deno, permission))) {
    const flags = quoteCommand([`--allow-ffi=${path}`, "--allow-read", "--allow-sys=uid"]);
    throw new LatchkeyError("missing_dependency", "Cannot use LATCHKEY_LIBDBUS: Deno may not check and open it", {
      remedy: { kind: "run_deno_with", flags, or: advice("Unset LATCHKEY_LIBDBUS") },
    });
  }
  if (!fileInfo(deno, path)?.isFile) throw refuse(`${path} is not a file`, `Set it to the absolute path of ${FILE}`);
  const exposed = await (await import("../files/permissions.ts")).placeOpenToOthers(path);
  if (exposed) {
    const fix = exposed.command === undefined ? "" : `, or run ${exposed.command}`;
    throw refuse(`others can change ${exposed.path}`, `Put the library where only root or you can write${fix}`);
  }
  try {
    return open(path);
  } catch (cause) {
    throw new LatchkeyError("missing_dependency", `Cannot use LATCHKEY_LIBDBUS: ${path} cannot be opened`, {
      cause,
      remedy: `Set it to the absolute path of ${FILE}, built for ${deno.build.arch}`,
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
const WORD = { struct: ["usize"] } as const;
const HALF_WORD = { struct: ["u32"] } as const;

/** Symbols of every method call. The rest have tables of their own, and are bound on first use. */
const CALLS = {
  // DBusConnection *dbus_connection_open_private(const char *address, DBusError *error)
  dbus_connection_open_private: { parameters: ["buffer", "buffer"], result: WORD },
  // dbus_bool_t dbus_connection_get_unix_fd(DBusConnection *connection, int *fd)
  dbus_connection_get_unix_fd: { parameters: [WORD, "buffer"], result: "i32" },
  // dbus_bool_t dbus_connection_read_write(DBusConnection *connection, int timeout_milliseconds): true while connected
  dbus_connection_read_write: { parameters: [WORD, "i32"], result: "i32" },
  // dbus_bool_t dbus_connection_has_messages_to_send(DBusConnection *connection)
  dbus_connection_has_messages_to_send: { parameters: [WORD], result: "i32" },
  // dbus_bool_t dbus_connection_send(DBusConnection *connection, DBusMessage *message, dbus_uint32_t *serial)
  dbus_connection_send: { parameters: [WORD, WORD, "usize"], result: "i32" },
  // DBusMessage *dbus_connection_pop_message(DBusConnection *connection)
  dbus_connection_pop_message: { parameters: [WORD], result: WORD },
  // DBusMessage *dbus_message_demarshal(const char *str, int len, DBusError *error)
  dbus_message_demarshal: { parameters: ["buffer", "i32", "usize"], result: WORD },
  // dbus_bool_t dbus_message_marshal(DBusMessage *message, char **marshalled_data_p, int *len_p)
  dbus_message_marshal: { parameters: [WORD, "buffer", "buffer"], result: "i32" },
  // void dbus_message_unref(DBusMessage *message)
  dbus_message_unref: { parameters: [WORD], result: "void" },
  // void dbus_free(void *memory)
  dbus_free: { parameters: [WORD], result: "void" },
  // void *memcpy(void *dest, const void *src, size_t n)
  memcpy: { parameters: ["buffer", WORD, "usize"], result: "void" },
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
  read: { parameters: ["i32", "buffer", WORD], result: "isize" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", WORD], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

const ENDING = {
  // void dbus_connection_close(DBusConnection *connection)
  dbus_connection_close: { parameters: [WORD], result: "void" },
  // void dbus_connection_unref(DBusConnection *connection)
  dbus_connection_unref: { parameters: [WORD], result: "void" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const FAILING = {
  // void dbus_error_free(DBusError *error)
  dbus_error_free: { parameters: ["buffer"], result: "void" },
  // size_t strlen(const char *s)
  strlen: { parameters: [WORD], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libdbus, opened. All but `calls` are bound on first use. */
interface Libdbus {
  readonly calls: Deno.StaticForeignLibraryInterface<typeof CALLS>;
  readonly waking: () => Deno.StaticForeignLibraryInterface<typeof WAKING>;
  readonly ending: () => Deno.StaticForeignLibraryInterface<typeof ENDING>;
  readonly failing: () => Deno.StaticForeignLibraryInterface<typeof FAILING>;
}

let opened: Promise<Libdbus> | undefined;

/**
 * Opens libdbus, once in this process.
 *
 * @returns A function that connects to the address.
 * @throws {LatchkeyError} `missing_dependency` if libdbus is not installed, or Deno does not permit it.
 */
export async function openLibdbus(
  deno: typeof Deno,
  address: string,
): Promise<(onSignal: (signal: Signal) => void) => DBusTransport> {
  try {
    opened ??= bindLibdbus(deno);
    const library = await opened;
    return (onSignal) => new LibdbusTransport(library, address, onSignal);
  } catch (error) {
    opened = undefined; // the next call may find it
    throw error;
  }
}

async function bindLibdbus(deno: typeof Deno): Promise<Libdbus> {
  const once = <T>(bind: () => T) => {
    let symbols: T | undefined;
    return () => {
      symbols ??= bind();
      return symbols;
    };
  };
  return await findLibdbus(deno, (path) => ({
    calls: deno.dlopen(path, CALLS).symbols,
    waking: once(() => deno.dlopen(path, WAKING).symbols),
    ending: once(() => deno.dlopen(path, ENDING).symbols),
    failing: once(() => deno.dlopen(path, FAILING).symbols),
  }));
}

/** Reads and frees a C `DBusError`: name and message are its first two pointers. */
function takeError(library: Libdbus, failure: BigUint64Array<ArrayBuffer>): DBusError {
  const [name, message] = [...failure].slice(0, 2).map((pointer) => {
    const address = word(pointer);
    const text = new Uint8Array(Number(library.failing().strlen(address)));
    library.calls.memcpy(text, address, BigInt(text.length));
    return new TextDecoder().decode(text);
  });
  library.failing().dbus_error_free(bytesOf(failure));
  return new DBusError(name!, message!);
}

const POLLIN = 1;
const POLLOUT = 4;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** libdbus reads a line of the authentication in one step and answers it in the next. */
const AUTHENTICATION_STEPS = 3;
/** Steps before timers and aborts have their turn, each of 2 KiB: a peer may flood us. */
const STEPS_A_TURN = 512;
/** During the authentication libdbus does not say what it waits for, so it is driven in growing intervals. */
const AUTHENTICATION_POLL_MS = { first: 1, longest: 64 };
/** Longest time limit of poll, which takes an `int`. */
const MAX_POLL_MS = 0x7fffffff;

class LibdbusTransport implements DBusTransport {
  readonly connection: DBusConnection;
  readonly #library: Libdbus;
  /** Pointer to libdbus' connection. */
  readonly #handle: Word;
  readonly #socket: number;
  /** An eventfd that ends a poll. */
  readonly #wake: number;
  #connected = true;
  /** True once the daemon has sent a message. */
  #authenticated = false;
  #pumping = false;
  #polling = false;
  #closed = false;

  /**
   * Connects. Replies are read while calls wait, so a daemon that hangs does not block the program, unless its queue of new
   * connections is full, too: then `connect` blocks.
   *
   * @throws {DBusError} if nothing listens at the address.
   */
  constructor(library: Libdbus, address: string, onSignal: (signal: Signal) => void) {
    const failure = new BigUint64Array(4);
    const socket = new Int32Array(1);
    this.#library = library;
    const onWaiting = () => {
      if (this.#polling) this.#wakeUp();
      else void this.#pump();
    };
    this.connection = new DBusConnection({ write: (message) => this.#write(message), onSignal, onWaiting });
    this.#handle = library.calls.dbus_connection_open_private(encoder.encode(`${address}\0`), bytesOf(failure));
    if (isNull(this.#handle)) throw takeError(library, failure);
    library.calls.dbus_connection_get_unix_fd(this.#handle, bytesOf(socket));
    this.#socket = socket[0]!;
    this.#wake = library.calls.eventfd(new Uint8Array(4), EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake < 0) {
      this.#free();
      throw new DBusError(`${BUS_ERROR}LimitsExceeded`, "no file descriptor is left");
    }
    this.connection.send({ ...BUS_DAEMON, member: "Hello" });
  }

  isOpen(): boolean {
    if (!this.#closed && !this.#pumping) this.#process();
    return !this.#closed && this.#connected;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.connection.fail(disconnected("the connection to the session bus was closed"));
    if (!this.#pumping) this.#free();
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#library;
    const message = calls.dbus_message_demarshal(bytes, bytes.length, 0n);
    if (isNull(message)) {
      throw new RangeError("Cannot call over D-Bus: the message exceeds a limit of D-Bus, or memory is short");
    }
    calls.dbus_connection_send(this.#handle, message, 0n);
    calls.dbus_message_unref(message);
    // The rest of a message that did not fit into the socket: the current poll does not wait for room.
    if (this.#polling && calls.dbus_connection_has_messages_to_send(this.#handle)) this.#wakeUp();
  }

  /** Writes and reads as much as is possible without waiting. */
  #process(): void {
    try {
      this.#exchange();
      if (!this.#connected) this.connection.fail(disconnected("the connection to the session bus ended"));
    } catch (error) {
      this.#connected = false;
      this.connection.fail(error);
    }
  }

  #exchange(): void {
    const { calls } = this.#library;
    let steps = AUTHENTICATION_STEPS;
    for (let turn = 0; turn < STEPS_A_TURN && steps > 0; turn++) {
      this.#connected = calls.dbus_connection_read_write(this.#handle, 0) !== 0;
      for (;;) {
        const message = calls.dbus_connection_pop_message(this.#handle);
        if (isNull(message)) break;
        this.#authenticated = true;
        this.connection.receive(this.#takeBytes(message));
      }
      if (!this.#connected) return;
      if (this.#isReadable()) steps = AUTHENTICATION_STEPS;
      else steps = this.#authenticated ? 0 : steps - 1;
    }
  }

  /** Drives the connection while calls wait. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4);
    const events = new Int16Array(fds.buffer);
    let waitMs = AUTHENTICATION_POLL_MS.first;
    this.#process();
    while (this.connection.isWaiting) {
      const authenticated = this.#authenticated;
      const writing = authenticated && calls.dbus_connection_has_messages_to_send(this.#handle);
      fds.set([this.#socket, writing ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      this.#polling = true;
      await calls.poll(bytesOf(fds), 2n, this.#timeout(authenticated ? Infinity : waitMs));
      this.#polling = false;
      waitMs = Math.min(2 * waitMs, AUTHENTICATION_POLL_MS.longest);
      if (events[7]) this.#library.waking().read(this.#wake, new Uint8Array(8), word(8n));
      if (!this.#closed) this.#process();
      this.connection.expire();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  /** Returns the timeout of poll, which keeps the time limits of calls: the first use of a timer takes Deno 4 ms. */
  #timeout(atMost: number): number {
    const wait = Math.min(atMost, Math.max(0, Math.ceil(this.connection.nextDeadline - performance.now())));
    return wait === Infinity ? -1 : Math.min(wait, MAX_POLL_MS);
  }

  /** Copies a message, and frees it. */
  #takeBytes(message: Word): Uint8Array<ArrayBuffer> {
    const { calls } = this.#library;
    const address = new BigUint64Array(1);
    const length = new Int32Array(1);
    const done = calls.dbus_message_marshal(message, bytesOf(address), bytesOf(length));
    calls.dbus_message_unref(message);
    if (!done) throw new RangeError("Cannot read from D-Bus: memory is short");
    const bytes = new Uint8Array(length[0]!);
    calls.memcpy(bytes, bytesOf(address), BigInt(bytes.length));
    calls.dbus_free(bytesOf(address));
    return bytes;
  }

  #isReadable(): boolean {
    return this.#library.calls.poll_now(bytesOf(new Int32Array([this.#socket, POLLIN])), word(1n), 0) > 0;
  }

  #wakeUp(): void {
    this.#library.waking().write(this.#wake, word(1n), word(8n));
  }

  #free(): void {
    const ending = this.#library.ending();
    ending.dbus_connection_close(this.#handle);
    ending.dbus_connection_unref(this.#handle);
    ending.close(this.#wake);
  }
}

const encoder = new TextEncoder();

/** The bytes of a {@linkcode WORD}. */
type Word = Uint8Array<ArrayBuffer>;

function word(value: bigint): Word {
  return bytesOf(new BigUint64Array([value]));
}

function isNull(pointer: Word): boolean {
  return pointer.every((byte) => byte === 0);
}

function bytesOf(words: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
