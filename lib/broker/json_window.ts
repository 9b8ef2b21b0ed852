/**
 * Windows as a broker's JSON has them.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import { operatingSystem } from "../platform/host.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../window_handle.ts";

/** A window by its number (X11), or by the name that a Wayland compositor exported it under. */
export type JsonWindow = { readonly id: number } | { readonly exportedHandle: string };

/**
 * Reads a window handle. A console has no window of its own that a broker on Linux could use.
 *
 * @throws {TypeError} when it cannot be one.
 */
export function readWindow(handle: WindowHandle | undefined): JsonWindow {
  if (handle === undefined || handle === CONSOLE_WINDOW_HANDLE) return { id: 0 };
  if (typeof handle === "string") {
    const [, x11] = /^x11:([0-9a-f]{1,8})$/i.exec(handle) ?? [];
    if (x11) return { id: Number.parseInt(x11, 16) };
    const exportedHandle = handle.replace(/^wayland:/, "");
    if (exportedHandle && !/^x11:/i.test(handle)) return { exportedHandle };
  }
  const id = handle instanceof Uint8Array
    ? numberOfBytes(handle)
    : typeof handle === "bigint"
    ? Number(handle)
    : handle;
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return { id };
  throw new ArgumentError("Cannot acquire a token: parentWindowHandle is not a window's handle");
}

/**
 * A window of Windows': 64 bits, whatever sign a number was given with.
 *
 * @returns `undefined` for what has no number of 64 bits.
 */
export function windowBits(handle: WindowHandle | undefined): bigint | undefined {
  if (handle instanceof Uint8Array && [4, 8].includes(handle.length)) {
    return handle.reduceRight((number, byte) => number * 256n + BigInt(byte), 0n);
  }
  const number = typeof handle === "number" && Number.isSafeInteger(handle) ? BigInt(handle) : handle;
  if (typeof number !== "bigint") return undefined;
  const bits = BigInt.asUintN(64, number);
  return number === bits || number === BigInt.asIntN(64, number) ? bits : undefined;
}

/**
 * Makes sure, before a broker is looked for, that a handle can be a window's: Windows' have all 64 bits.
 *
 * @param handle The handle.
 * @param system Operating system, in Node's words.
 * @throws {TypeError} when it cannot be one.
 */
export function checkWindow(handle: WindowHandle | undefined, system: string = operatingSystem()): void {
  if (system !== "win32" || windowBits(handle) === undefined) readWindow(handle);
}

/** As the machine has it in memory: all that this runs on are little-endian. */
function numberOfBytes(bytes: Uint8Array): number {
  if (bytes.length !== 4 && bytes.length !== 8) return NaN;
  return bytes.reduceRight((number, byte) => number * 256 + byte, 0);
}
