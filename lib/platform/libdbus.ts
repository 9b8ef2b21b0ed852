/**
 * libdbus, found and opened for Deno's FFI.
 *
 * Pointers are `usize` and libc copies the memory, since under a grant for one path (`--allow-ffi=<path>`) Deno refuses
 * UnsafePointer, UnsafePointerView and UnsafeCallback. libc's functions are reached through libdbus' own handle.
 *
 * @module
 */
import { findLibdbus } from "./find_libdbus.ts";

/** What every method call needs. Opening costs 0.055 ms a symbol, so the rest has tables of its own. */
const CALLS = {
  // DBusConnection *dbus_connection_open_private(const char *address, DBusError *error)
  dbus_connection_open_private: { parameters: ["buffer", "buffer"], result: "usize" },
  // dbus_bool_t dbus_connection_get_unix_fd(DBusConnection *connection, int *fd)
  dbus_connection_get_unix_fd: { parameters: ["usize", "buffer"], result: "i32" },
  // dbus_bool_t dbus_connection_get_is_connected(DBusConnection *connection)
  dbus_connection_get_is_connected: { parameters: ["usize"], result: "i32" },
  // dbus_bool_t dbus_connection_get_is_authenticated(DBusConnection *connection)
  dbus_connection_get_is_authenticated: { parameters: ["usize"], result: "i32" },
  // dbus_bool_t dbus_connection_read_write(DBusConnection *connection, int timeout_milliseconds)
  dbus_connection_read_write: { parameters: ["usize", "i32"], result: "i32" },
  // dbus_bool_t dbus_connection_has_messages_to_send(DBusConnection *connection)
  dbus_connection_has_messages_to_send: { parameters: ["usize"], result: "i32" },
  // dbus_bool_t dbus_connection_send(DBusConnection *connection, DBusMessage *message, dbus_uint32_t *serial)
  dbus_connection_send: { parameters: ["usize", "usize", "buffer"], result: "i32" },
  // DBusMessage *dbus_connection_pop_message(DBusConnection *connection)
  dbus_connection_pop_message: { parameters: ["usize"], result: "usize" },
  // void dbus_connection_close(DBusConnection *connection)
  dbus_connection_close: { parameters: ["usize"], result: "void" },
  // void dbus_connection_unref(DBusConnection *connection)
  dbus_connection_unref: { parameters: ["usize"], result: "void" },
  // DBusMessage *dbus_message_new_method_call(const char *bus_name, const char *path, const char *iface, const char *method)
  dbus_message_new_method_call: { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "usize" },
  // int dbus_message_get_type(DBusMessage *message)
  dbus_message_get_type: { parameters: ["usize"], result: "i32" },
  // dbus_uint32_t dbus_message_get_reply_serial(DBusMessage *message)
  dbus_message_get_reply_serial: { parameters: ["usize"], result: "u32" },
  // void dbus_message_unref(DBusMessage *message)
  dbus_message_unref: { parameters: ["usize"], result: "void" },
  // void dbus_message_iter_init_append(DBusMessage *message, DBusMessageIter *iter)
  dbus_message_iter_init_append: { parameters: ["usize", "buffer"], result: "void" },
  // dbus_bool_t dbus_message_iter_append_basic(DBusMessageIter *iter, int type, const void *value)
  dbus_message_iter_append_basic: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  // dbus_bool_t dbus_message_iter_init(DBusMessage *message, DBusMessageIter *iter)
  dbus_message_iter_init: { parameters: ["usize", "buffer"], result: "i32" },
  // int dbus_message_iter_get_arg_type(DBusMessageIter *iter)
  dbus_message_iter_get_arg_type: { parameters: ["buffer"], result: "i32" },
  // void dbus_message_iter_get_basic(DBusMessageIter *iter, void *value)
  dbus_message_iter_get_basic: { parameters: ["buffer", "buffer"], result: "void" },
  // dbus_bool_t dbus_message_iter_next(DBusMessageIter *iter)
  dbus_message_iter_next: { parameters: ["buffer"], result: "i32" },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout): once to wait on another thread, once to look
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  poll_now: { name: "poll", parameters: ["buffer", "usize", "i32"], result: "i32" },
  // int eventfd(unsigned int initval, int flags)
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count)
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // void *memcpy(void *dest, const void *src, size_t n)
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "usize" },
  // size_t strlen(const char *s)
  strlen: { parameters: ["usize"], result: "usize" },
  // char *strdup(const char *s)
  strdup: { parameters: ["buffer"], result: "usize" },
  // void free(void *ptr)
  free: { parameters: ["usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What containers need, both ways. */
const CONTAINERS = {
  // dbus_bool_t dbus_message_iter_open_container(DBusMessageIter *iter, int type, const char *contained_signature, DBusMessageIter *sub)
  dbus_message_iter_open_container: { parameters: ["buffer", "i32", "buffer", "buffer"], result: "i32" },
  // dbus_bool_t dbus_message_iter_close_container(DBusMessageIter *iter, DBusMessageIter *sub)
  dbus_message_iter_close_container: { parameters: ["buffer", "buffer"], result: "i32" },
  // void dbus_message_iter_abandon_container(DBusMessageIter *iter, DBusMessageIter *sub)
  dbus_message_iter_abandon_container: { parameters: ["buffer", "buffer"], result: "void" },
  // void dbus_message_iter_recurse(DBusMessageIter *iter, DBusMessageIter *sub)
  dbus_message_iter_recurse: { parameters: ["buffer", "buffer"], result: "void" },
  // int dbus_message_iter_get_element_type(DBusMessageIter *iter)
  dbus_message_iter_get_element_type: { parameters: ["buffer"], result: "i32" },
  // void dbus_message_iter_get_fixed_array(DBusMessageIter *iter, void *value, int *n_elements)
  dbus_message_iter_get_fixed_array: { parameters: ["buffer", "buffer", "buffer"], result: "void" },
  // char *dbus_message_iter_get_signature(DBusMessageIter *iter)
  dbus_message_iter_get_signature: { parameters: ["buffer"], result: "usize" },
  // void dbus_free(void *memory)
  dbus_free: { parameters: ["usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What signals, errors and calls to us need. */
const HEADERS = {
  // const char *dbus_message_get_error_name(DBusMessage *message), and so the next four
  dbus_message_get_error_name: { parameters: ["usize"], result: "usize" },
  dbus_message_get_sender: { parameters: ["usize"], result: "usize" },
  dbus_message_get_path: { parameters: ["usize"], result: "usize" },
  dbus_message_get_interface: { parameters: ["usize"], result: "usize" },
  dbus_message_get_member: { parameters: ["usize"], result: "usize" },
  // dbus_bool_t dbus_message_get_no_reply(DBusMessage *message)
  dbus_message_get_no_reply: { parameters: ["usize"], result: "i32" },
  // DBusMessage *dbus_message_new_error(DBusMessage *reply_to, const char *error_name, const char *error_message)
  dbus_message_new_error: { parameters: ["usize", "buffer", "buffer"], result: "usize" },
  // void dbus_error_free(DBusError *error)
  dbus_error_free: { parameters: ["buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libdbus, opened. */
export interface Libdbus {
  /** Absolute path that it was opened by. */
  readonly path: string;
  /** What every method call needs. */
  readonly calls: Deno.StaticForeignLibraryInterface<typeof CALLS>;
  /** What containers need; opened on first use. */
  readonly containers: Deno.StaticForeignLibraryInterface<typeof CONTAINERS>;
  /** What signals, errors and calls to us need; opened on first use. */
  readonly headers: Deno.StaticForeignLibraryInterface<typeof HEADERS>;
}

let opened: Libdbus | undefined;

/**
 * Opens libdbus, once a program.
 *
 * @param deno Deno's namespace.
 * @returns The library.
 * @throws {LatchkeyError} `missing_dependency` when it is not there, or Deno does not permit to open it.
 */
export function openLibdbus(deno: typeof Deno): Libdbus {
  return opened ??= findLibdbus(deno, (path) => openAt(deno, path));
}

function openAt(deno: typeof Deno, path: string): Libdbus {
  const { symbols } = deno.dlopen(path, CALLS);
  let containers: Libdbus["containers"] | undefined, headers: Libdbus["headers"] | undefined;
  return {
    path,
    calls: symbols,
    get containers() {
      return containers ??= deno.dlopen(path, CONTAINERS).symbols;
    },
    get headers() {
      return headers ??= deno.dlopen(path, HEADERS).symbols;
    },
  };
}

/** Text as C has it. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** A copy of `length` bytes of C's memory. */
export function copyBytes(library: Libdbus, address: bigint, length: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(length);
  if (length > 0) library.calls.memcpy(copy, address, BigInt(length));
  return copy;
}

/** Text at an address of C's memory; empty for NULL. */
export function copyText(library: Libdbus, address: bigint): string {
  return address === 0n ? "" : decoder.decode(copyBytes(library, address, Number(library.calls.strlen(address))));
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
