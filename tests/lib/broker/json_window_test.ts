import { expect, test } from "bun:test";
import { checkWindow, readWindow } from "../../../lib/broker/wire.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../../../lib/request.ts";

test("readWindow() takes no window, and the console, for none that a broker knows", () => {
  expect(readWindow(undefined)).toEqual({ id: 0 });
  expect(readWindow(CONSOLE_WINDOW_HANDLE)).toEqual({ id: 0 });
  expect(CONSOLE_WINDOW_HANDLE).toBe(Symbol.for("latchkey.consoleWindow") as typeof CONSOLE_WINDOW_HANDLE);
});

test.each<[string, WindowHandle, number]>([
  ["a number", 0x1267, 0x1267],
  ["0", 0, 0],
  ["the largest number there is", Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ["a bigint", 0x1267n, 0x1267],
  ["four bytes, the least first", new Uint8Array([0x67, 0x12, 0, 0x80]), 0x80001267],
  ["eight bytes", new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]), 2 ** 33 + 1],
  ["bytes within others", new Uint8Array([9, 9, 1, 0, 0, 0, 9]).subarray(2, 6), 1],
  ["a Buffer, as Electron gives it", Buffer.from([0x67, 0x12, 0, 0]), 0x1267],
  ["the desktop portal's name of an X11 window", "x11:1f4c", 0x1f4c],
  ["the same in capitals", "X11:1F4C", 0x1f4c],
])("readWindow() reads %s", (_, handle, id) => {
  expect(readWindow(handle)).toEqual({ id });
});

test("readWindow() reads a name that Wayland gave out", () => {
  expect(readWindow("wayland:kde:1")).toEqual({ exportedHandle: "kde:1" });
  expect(readWindow("kde-1")).toEqual({ exportedHandle: "kde-1" });
});

test.each<[string, unknown]>([
  ["a number below 0", -1],
  ["a bigint below 0", -1n],
  ["a fraction", 1.5],
  ["NaN", NaN],
  ["an infinite number", Infinity],
  ["a number that is not exact", 2 ** 53],
  ["a bigint that is too large", 2n ** 53n],
  ["bytes that are too many for a number", new Uint8Array(8).fill(255)],
  ["three bytes", new Uint8Array(3)],
  ["no bytes", new Uint8Array()],
  ["an empty text", ""],
  ["Wayland's empty name", "wayland:"],
  ["X11's empty name", "x11:"],
  ["X11's name of no number", "x11:window"],
  ["X11's name of a number that is too large", "X11:123456789"],
  ["null", null],
  ["an object", {}],
  ["another symbol", Symbol("latchkey.consoleWindow")],
])("readWindow() refuses %s", (_, handle) => {
  expect(() => readWindow(handle as WindowHandle)).toThrow(TypeError);
});

test.each<WindowHandle | undefined>(
  [undefined, CONSOLE_WINDOW_HANDLE, 1, -1, 2n ** 64n - 1n, "wayland:kde", new Uint8Array(8).fill(255)],
)("checkWindow() takes what Windows' broker may know: %p", (handle) => {
  checkWindow(handle, "win32");
});

test.each<WindowHandle>([-1, 2n ** 64n - 1n, new Uint8Array(8).fill(255)])(
  "checkWindow() refuses on Linux what only Windows has: %p",
  (handle) => {
    expect(() => checkWindow(handle, "linux")).toThrow(TypeError);
  },
);

test.each<unknown>([1.5, 2n ** 64n, "", new Uint8Array(3), null, {}])("checkWindow() refuses %p", (handle) => {
  for (const system of ["win32", "linux", undefined]) {
    expect(() => checkWindow(handle as WindowHandle, system)).toThrow(TypeError);
  }
});
