/**
 * Where libdbus is on this machine: always an absolute path, since a bare name fails in Deno's `dlopen` when FFI was
 * granted for a path (denoland/deno issue 29246), and since the search path could be someone else's.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { quoteCommand, readEnvironment } from "../runtime/host.ts";
import {
  BUS_DAEMON,
  BUS_ERROR,
  type CallLimits,
  DBusError,
  type DBusValue,
  type MethodCall,
  type Signal,
} from "./bus.ts";
import { DBusConnection, type DBusTransport, disconnected } from "./connection.ts";

const FILE = "libdbus-1.so.3";
const LINKER_CACHE = "/etc/ld.so.cache";

/**
 * Opens the first libdbus that can be opened: the one that `LATCHKEY_LIBDBUS` names, else in the usual directories,
 * else as the dynamic linker's cache has it.
 *
 * @param deno Deno's namespace.
 * @param open Opens the library at a path, or throws.
 * @returns What `open` returned.
 * @throws {LatchkeyError} `missing_dependency`, with what to install or permit; `configuration` when `LATCHKEY_LIBDBUS` cannot be trusted.
 */
export function findLibdbus<T>(deno: typeof Deno, open: (path: string) => T): T {
  const override = readEnvironment("LATCHKEY_LIBDBUS");
  if (override) return openOverride(deno, override, open);
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
  for (const directory of usualDirectories(deno)) yield `${directory}/${FILE}`;
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

function usualDirectories(deno: typeof Deno): string[] {
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
  ];
}

/** The path to name in a hint: one that exists, as far as may be looked. */
function probablePath(deno: typeof Deno): string {
  const paths = usualDirectories(deno).map((directory) => `${directory}/${FILE}`);
  const exists = (path: string) => isGranted(deno, { name: "read", path }) && fileInfo(deno, path) !== undefined;
  return paths.find(exists) ?? paths[0]!;
}

/** FFI is full trust, so a library that someone else could have put there is not opened. */
function openOverride<T>(deno: typeof Deno, path: string, open: (path: string) => T): T {
  const refuse = (why: string, hint: string) =>
    new LatchkeyError("configuration", `Cannot use LATCHKEY_LIBDBUS: ${why}`, { hint });
  if (!path.startsWith("/")) throw refuse("it is not an absolute path", `Set it to the absolute path of ${FILE}`);
  if (
    !isGranted(deno, { name: "ffi", path }) || !isGranted(deno, { name: "read" }) ||
    !isGranted(deno, { name: "sys", kind: "uid" })
  ) {
    throw new LatchkeyError("missing_dependency", "Cannot use LATCHKEY_LIBDBUS: Deno may not check and open it", {
      hint: `Run deno with ${
        quoteCommand([`--allow-ffi=${path}`, "--allow-read", "--allow-sys=uid"])
      }, or unset LATCHKEY_LIBDBUS`,
    });
  }
  if (!fileInfo(deno, path)?.isFile) throw refuse(`${path} is not a file`, `Set it to the absolute path of ${FILE}`);
  const exposed = placeOpenToOthers(path, denoLooks(deno));
  if (exposed) {
    throw refuse(
      `others can write to ${exposed}`,
      `Put the library where only root or you can write, or run ${quoteCommand(["chmod", "go-w", exposed])}`,
    );
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

/** What {@linkcode placeOpenToOthers} asks of a file system. */
export interface PlaceLooks {
  /** User id of this process. */
  readonly ownUser: number;
  /** Owner, mode bits and kind; a link is not followed. Throws if nothing is there. */
  look(path: string): { readonly uid: number | null; readonly mode: number | null; readonly kind: PlaceKind };
  /** Where a link leads. */
  readLink(path: string): string;
}

/** What a place on the way to a file is. */
type PlaceKind = "folder" | "link" | "other";

/**
 * Returns the first place on the way to a file, over every link, that someone else than root and us can change. Code of
 * such a file is not to be run. POSIX only.
 *
 * @param path Absolute path of the file.
 * @param looks The file system.
 * @returns The place's path; `undefined` if only root and we can change what is there.
 * @throws {Error} the file system's own, if a place is missing or cannot be looked at.
 */
export function placeOpenToOthers(path: string, looks: PlaceLooks): string | undefined {
  const ahead = path.split("/");
  let at = "", links = 0;
  while (ahead.length > 0) {
    const name = ahead.shift()!;
    if (name === "." || (name === "" && at !== "")) continue;
    if (name === "..") {
      at = at.slice(0, at.lastIndexOf("/"));
      continue;
    }
    const place = name === "" ? "/" : `${at}/${name}`, { mode, uid, kind } = looks.look(place);
    const sticky = kind === "folder" && (mode! & 0o1000) !== 0;
    const writable = kind !== "link" && (mode! & 0o022) !== 0 && !sticky;
    if ((uid !== 0 && uid !== looks.ownUser) || writable || links > 40) return place;
    if (kind === "link") {
      const target = looks.readLink(place);
      ahead.unshift(...target.split("/"));
      links++;
      if (target.startsWith("/")) at = "";
    } else if (name !== "") at = place;
  }
  return undefined;
}

/** The file system as Deno shows it. */
export function denoLooks(deno: typeof Deno): PlaceLooks {
  return {
    ownUser: deno.uid()!,
    look(path) {
      const { isDirectory, isSymlink, mode, uid } = deno.lstatSync(path);
      return { mode, uid, kind: isSymlink ? "link" : isDirectory ? "folder" : "other" };
    },
    readLink: (path) => deno.readLinkSync(path),
  };
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

/** What every method call needs. Binding costs 0.1 ms a symbol, so the rest has tables of its own. */
const CALLS = {
  // DBusConnection *dbus_connection_open_private(const char *address, DBusError *error)
  dbus_connection_open_private: { parameters: ["buffer", "buffer"], result: "usize" },
  // dbus_bool_t dbus_connection_get_unix_fd(DBusConnection *connection, int *fd)
  dbus_connection_get_unix_fd: { parameters: ["usize", "buffer"], result: "i32" },
  // dbus_bool_t dbus_connection_read_write(DBusConnection *connection, int timeout_milliseconds): whether it is connected
  dbus_connection_read_write: { parameters: ["usize", "i32"], result: "i32" },
  // dbus_bool_t dbus_connection_has_messages_to_send(DBusConnection *connection)
  dbus_connection_has_messages_to_send: { parameters: ["usize"], result: "i32" },
  // dbus_bool_t dbus_connection_send(DBusConnection *connection, DBusMessage *message, dbus_uint32_t *serial)
  dbus_connection_send: { parameters: ["usize", "usize", "usize"], result: "i32" },
  // DBusMessage *dbus_connection_pop_message(DBusConnection *connection)
  dbus_connection_pop_message: { parameters: ["usize"], result: "usize" },
  // DBusMessage *dbus_message_demarshal(const char *str, int len, DBusError *error)
  dbus_message_demarshal: { parameters: ["buffer", "i32", "usize"], result: "usize" },
  // dbus_bool_t dbus_message_marshal(DBusMessage *message, char **marshalled_data_p, int *len_p)
  dbus_message_marshal: { parameters: ["usize", "buffer", "buffer"], result: "i32" },
  // void dbus_message_unref(DBusMessage *message)
  dbus_message_unref: { parameters: ["usize"], result: "void" },
  // void dbus_free(void *memory)
  dbus_free: { parameters: ["usize"], result: "void" },
  // void *memcpy(void *dest, const void *src, size_t n)
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout): once to wait on another thread, once to look
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  poll_now: { name: "poll", parameters: ["buffer", "usize", "i32"], result: "i32" },
  // int eventfd(unsigned int initval, int flags)
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What waking poll takes. */
const WAKING = {
  // ssize_t read(int fd, void *buf, size_t count)
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What the end of a connection takes. */
const ENDING = {
  // void dbus_connection_close(DBusConnection *connection)
  dbus_connection_close: { parameters: ["usize"], result: "void" },
  // void dbus_connection_unref(DBusConnection *connection)
  dbus_connection_unref: { parameters: ["usize"], result: "void" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What a connection that did not begin takes. */
const FAILING = {
  // void dbus_error_free(DBusError *error)
  dbus_error_free: { parameters: ["buffer"], result: "void" },
  // size_t strlen(const char *s)
  strlen: { parameters: ["usize"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libdbus, opened. */
interface Libdbus {
  /** Absolute path that it was opened by. */
  readonly path: string;
  /** What every method call needs. */
  readonly calls: Deno.StaticForeignLibraryInterface<typeof CALLS>;
  /** What waking poll takes; bound on first use. */
  readonly waking: Deno.StaticForeignLibraryInterface<typeof WAKING>;
  /** What the end of a connection takes; bound on first use. */
  readonly ending: Deno.StaticForeignLibraryInterface<typeof ENDING>;
  /** What a connection that did not begin takes; bound on first use. */
  readonly failing: Deno.StaticForeignLibraryInterface<typeof FAILING>;
}

let opened: Libdbus | undefined;

/**
 * Opens libdbus, once a program.
 *
 * @param deno Deno's namespace.
 * @returns The library.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: it is not there, not permitted, or not to be trusted.
 */
export function openLibdbus(deno: typeof Deno): Libdbus {
  return opened ??= findLibdbus(deno, (path) => openAt(deno, path));
}

function openAt(deno: typeof Deno, path: string): Libdbus {
  const { symbols } = deno.dlopen(path, CALLS);
  let waking: Libdbus["waking"] | undefined, ending: Libdbus["ending"] | undefined;
  let failing: Libdbus["failing"] | undefined;
  return {
    path,
    calls: symbols,
    get waking() {
      return waking ??= deno.dlopen(path, WAKING).symbols;
    },
    get ending() {
      return ending ??= deno.dlopen(path, ENDING).symbols;
    },
    get failing() {
      return failing ??= deno.dlopen(path, FAILING).symbols;
    },
  };
}

/** The error that libdbus left in a DBusError: name and message are its first two pointers. */
function takeError(library: Libdbus, failure: BigUint64Array<ArrayBuffer>): DBusError {
  const [name, message] = [...failure].slice(0, 2).map((address) => {
    const text = new Uint8Array(Number(library.failing.strlen(address)));
    library.calls.memcpy(text, address, BigInt(text.length));
    return new TextDecoder().decode(text);
  });
  library.failing.dbus_error_free(new Uint8Array(failure.buffer));
  return new DBusError(name!, message!);
}

const POLLIN = 1, POLLOUT = 4;
const EFD_NONBLOCK = 0o4000, EFD_CLOEXEC = 0o2000000;

/** A line of the authentication is read in one step and answered in the next. */
const AUTHENTICATION_STEPS = 3;
/** A step reads 2 KiB. */
const STEPS_A_TURN = 512;
/** libdbus does not say what it waits for until the daemon has let us in, so it is driven again after so long, then longer. */
const AUTHENTICATION_POLL_MS = { first: 1, longest: 64 };
/** An `int` of milliseconds is what poll takes. */
const MAX_POLL_MS = 0x7fffffff;

/** A connection to a bus, from the first byte to the last. */
export class LibdbusConnection implements DBusTransport {
  readonly #library: Libdbus;
  readonly #connection: bigint;
  readonly #socket: number;
  readonly #wake: number;
  readonly #conversation: DBusConnection;
  #connected = true;
  /** Whether the daemon has let us in: it has sent a message. */
  #authenticated = false;
  #pumping = false;
  #polling = false;
  #closed = false;

  /**
   * Connects. The daemon's answers are read while calls wait, so a daemon that hangs does not hang the program; only one
   * whose queue of new connections is full as well would, in `connect` itself.
   *
   * @param library libdbus.
   * @param address Address of the bus.
   * @param onSignal Called for each signal.
   * @throws {DBusError} when nothing listens there.
   */
  constructor(library: Libdbus, address: string, onSignal: (signal: Signal) => void) {
    const failure = new BigUint64Array(4), socket = new Int32Array(1);
    this.#library = library;
    const onWaiting = () => {
      if (this.#polling) this.#wakeUp();
      else void this.#pump();
    };
    this.#conversation = new DBusConnection({ write: (message) => this.#write(message), onSignal, onWaiting });
    this.#connection = library.calls.dbus_connection_open_private(encoder.encode(`${address}\0`), bytesOf(failure));
    if (this.#connection === 0n) throw takeError(library, failure);
    library.calls.dbus_connection_get_unix_fd(this.#connection, bytesOf(socket));
    this.#socket = socket[0]!;
    this.#wake = library.calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake < 0) {
      this.#free();
      throw new DBusError(`${BUS_ERROR}LimitsExceeded`, "no file descriptor is left");
    }
    this.send({ ...BUS_DAEMON, member: "Hello" });
  }

  /** Whether calls can be made; what has ended meanwhile is noticed here. */
  isOpen(): boolean {
    if (!this.#closed && !this.#pumping) this.#process();
    return !this.#closed && this.#connected;
  }

  /** Calls a method; see `SessionBus.call`. */
  call(call: MethodCall, limits: CallLimits): Promise<readonly DBusValue[]> {
    return this.#conversation.call(call, limits);
  }

  /** Sends a method call; nobody waits for its reply. */
  send(call: MethodCall): void {
    this.#conversation.send(call);
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#library;
    const address = calls.dbus_message_demarshal(bytes, bytes.length, 0n);
    if (address === 0n) {
      throw new RangeError("Cannot call over D-Bus: the message breaks a limit of D-Bus, or memory is short");
    }
    calls.dbus_connection_send(this.#connection, address, 0n);
    calls.dbus_message_unref(address);
    // What did not fit into the socket is written when poll says so, and poll was told before there was anything to write.
    if (this.#polling && calls.dbus_connection_has_messages_to_send(this.#connection)) this.#wakeUp();
  }

  /** Writes and reads what can be written and read without waiting. */
  #process(): void {
    try {
      this.#exchange();
      if (!this.#connected) this.#conversation.fail(disconnected("the connection to the session bus ended"));
    } catch (error) {
      this.#connected = false;
      this.#conversation.fail(error);
    }
  }

  #exchange(): void {
    const { calls } = this.#library;
    let steps = AUTHENTICATION_STEPS;
    // A peer that floods us gets so many steps; then timers and aborts have their turn.
    for (let turn = 0; turn < STEPS_A_TURN && steps > 0; turn++) {
      this.#connected = calls.dbus_connection_read_write(this.#connection, 0) !== 0;
      for (let message; (message = calls.dbus_connection_pop_message(this.#connection)) !== 0n;) {
        this.#authenticated = true;
        this.#conversation.receive(this.#takeBytes(message));
      }
      if (!this.#connected) return;
      if (this.#isReadable()) steps = AUTHENTICATION_STEPS;
      else steps = this.#authenticated ? 0 : steps - 1;
    }
  }

  /** Ends the connection; calls under way fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#conversation.fail(disconnected("the connection to the session bus was closed"));
    if (!this.#pumping) this.#free();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    const { calls } = this.#library;
    const fds = new Int32Array(4), events = new Int16Array(fds.buffer);
    let waitMs = AUTHENTICATION_POLL_MS.first;
    this.#process();
    while (this.#conversation.isWaiting) {
      const authenticated = this.#authenticated;
      const writing = authenticated && calls.dbus_connection_has_messages_to_send(this.#connection);
      fds.set([this.#socket, writing ? POLLIN | POLLOUT : POLLIN, this.#wake, POLLIN]);
      this.#polling = true;
      await calls.poll(bytesOf(fds), 2n, this.#timeout(authenticated ? Infinity : waitMs));
      this.#polling = false;
      waitMs = Math.min(2 * waitMs, AUTHENTICATION_POLL_MS.longest);
      if (events[7]) this.#library.waking.read(this.#wake, new Uint8Array(8), 8n);
      if (!this.#closed) this.#process();
      this.#conversation.expire();
    }
    this.#pumping = false;
    if (this.#closed) this.#free();
  }

  /** How long poll may wait, in milliseconds. It keeps the time limits: to start its own timers takes Deno 4 ms. */
  #timeout(atMost: number): number {
    const wait = Math.min(atMost, Math.max(0, Math.ceil(this.#conversation.nextDeadline - performance.now())));
    return wait === Infinity ? -1 : Math.min(wait, MAX_POLL_MS);
  }

  /** A message's bytes; the message is given back. */
  #takeBytes(message: bigint): Uint8Array<ArrayBuffer> {
    const { calls } = this.#library, address = new BigUint64Array(1), length = new Int32Array(1);
    const done = calls.dbus_message_marshal(message, bytesOf(address), bytesOf(length));
    calls.dbus_message_unref(message);
    if (!done) throw new RangeError("Cannot read from D-Bus: memory is short");
    const bytes = new Uint8Array(length[0]!);
    calls.memcpy(bytes, address[0]!, BigInt(bytes.length));
    calls.dbus_free(address[0]!);
    return bytes;
  }

  #isReadable(): boolean {
    return this.#library.calls.poll_now(bytesOf(new Int32Array([this.#socket, POLLIN])), 1n, 0) > 0;
  }

  #wakeUp(): void {
    this.#library.waking.write(this.#wake, bytesOf(new BigUint64Array([1n])), 8n);
  }

  #free(): void {
    const { ending } = this.#library;
    ending.dbus_connection_close(this.#connection);
    ending.dbus_connection_unref(this.#connection);
    ending.close(this.#wake);
  }
}

const encoder = new TextEncoder();

function bytesOf(words: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
