// The functions of C that are called by FFI, as their tables and the declarations beside them say.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

const text = readFileSync(new URL("../../lib/dbus/libdbus.ts", import.meta.url), "utf8");

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

/** Functions of libdbus' and of libc's headers that end in an ellipsis, and those that take a `va_list`. */
const VARIADIC =
  /^(dbus_(set_error|message_new_error_printf|message_(append|get)_args(_valist)?)|v?\w*printf|v?\w*scanf|execl\w*|fcntl(64)?|ioctl|open(at)?(64)?|prctl|ptrace|sem_open|semctl|mq_open|mremap|clone|syscall|syslog|ulimit)$/;

test("every table of symbols is read", () => {
  expect(entries.length).toBe(text.match(/\bparameters: \[/g)!.length);
  expect(entries.map(({ name }) => name)).toContain("dbus_connection_open_private");
});

// On arm64, and on x64 for floating point, a variadic function takes its arguments elsewhere than another one: FFI does not know.
test("no variadic function is called", () => {
  expect(entries.filter(({ name, declaration }) => VARIADIC.test(name) || declaration.includes("..."))).toEqual([]);
  for (const name of ["dbus_message_append_args", "dbus_set_error", "open", "fcntl", "snprintf", "execlp"]) {
    expect(name).toMatch(VARIADIC);
  }
});

test("each function has as many parameters as its declaration", () => {
  const differences = entries.filter(({ isRenamed }) => !isRenamed).filter(({ name, declaration, types }) => {
    const declared = DECLARATION.exec(declaration)?.groups;
    return declared?.["name"] !== name || declared["parameters"]!.split(",").length !== types.length;
  });
  expect(differences).toEqual([]);
});
