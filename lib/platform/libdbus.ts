/**
 * libdbus, found and opened for Deno's FFI.
 *
 * Pointers are `usize` and libc copies the memory, since under a grant for one path (`--allow-ffi=<path>`) Deno refuses
 * UnsafePointer, UnsafePointerView and UnsafeCallback. libc's functions are reached through libdbus' own handle.
 *
 * @module
 */
import { findLibdbus } from "./find_libdbus.ts";
import { DBusError } from "./session_bus.ts";

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
export interface Libdbus {
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
export function takeError(library: Libdbus, failure: BigUint64Array<ArrayBuffer>): DBusError {
  const [name, message] = [...failure].slice(0, 2).map((address) => {
    const text = new Uint8Array(Number(library.failing.strlen(address)));
    library.calls.memcpy(text, address, BigInt(text.length));
    return new TextDecoder().decode(text);
  });
  library.failing.dbus_error_free(new Uint8Array(failure.buffer));
  return new DBusError(name!, message!);
}
