// The functions of C that are called by FFI, as their tables and the declarations beside them say.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { commitableFiles } from "../tools/commitable_files.ts";

const TABLES = ["lib/dbus/libdbus.ts", "lib/runtime/windows_api.ts"];
const root = new URL("../../", import.meta.url);
const text = TABLES.map((file) => readFileSync(new URL(file, root), "utf8")).join("\n");

/** A function in a table of symbols, with the C declaration in the line above it. */
const ENTRY =
  /(?:\/\/ (?<declaration>[^\n]+)\n\s+)?(?<name>\w+): \{(?: name: "(?<renamed>\w+)",)? parameters: \[(?<types>[^\]]*)\]/g;
/** The name and the parameters of a C declaration. */
const DECLARATION = /(?<name>\w+)\((?<parameters>[^)]*)\)/;

const entries = [...text.matchAll(ENTRY)].map(({ groups }) => {
  const { declaration = "", name, renamed = name, types } = groups as Record<string, string>;
  return {
    name: renamed!,
    isRenamed: renamed !== name,
    declaration,
    types: types!.split(",").filter((type) => type.trim()),
  };
});

/** Functions that take `...` or a `va_list`: all in libdbus' headers, and those of libc's that a program like ours could want. */
const VARIADIC = new Set([
  ...["dbus_set_error", "dbus_message_new_error_printf", "dbus_message_append_args", "dbus_message_append_args_valist"],
  ...["dbus_message_get_args", "dbus_message_get_args_valist"],
  ...["open", "open64", "openat", "openat64", "fcntl", "fcntl64", "ioctl", "prctl", "syscall", "semctl", "sem_open"],
  ...[
    "execl",
    "execle",
    "execlp",
    "printf",
    "dprintf",
    "fprintf",
    "sprintf",
    "snprintf",
    "asprintf",
    "sscanf",
    "syslog",
  ],
]);

test("every table of symbols is read", () => {
  const sources = commitableFiles().filter((file) => /^(lib|bin)\/.*\.ts$/.test(file));
  const hasTable = (file: string) =>
    /parameters: \[[^\]]*\],\s*result:/.test(readFileSync(new URL(file, root), "utf8"));
  expect(sources.filter(hasTable).sort()).toEqual(TABLES);
  expect(entries.length).toBe(text.match(/\bparameters: \[/g)!.length);
  expect(entries.map(({ name }) => name)).toContain("dbus_connection_open_private");
});

// On arm64, and on x64 for floating point, a variadic function takes its arguments elsewhere than another one: FFI does not know.
test("no variadic function is called", () => {
  expect(entries.filter(({ name, declaration }) => VARIADIC.has(name) || declaration.includes("..."))).toEqual([]);
});

// Before Deno 2.7.12 the bytes of a structure can be gone when the other thread reads them.
test("no structure goes to another thread", () => {
  const nonblocking = text.split("\n").filter((line) => line.includes("nonblocking: true"));
  expect(nonblocking.length).toBeGreaterThan(0);
  expect(nonblocking.filter((line) => /WORD|struct/.test(line))).toEqual([]);
});

test("each function has as many parameters as its declaration", () => {
  const differences = entries.filter(({ isRenamed }) => !isRenamed).filter(({ name, declaration, types }) => {
    const declared = DECLARATION.exec(declaration)?.groups;
    return declared?.["name"] !== name ||
      declared["parameters"]!.split(",").filter((one) => one !== "void").length !== types.length;
  });
  expect(differences).toEqual([]);
});
