/**
 * Functions of Windows that no runtime offers, by FFI on Deno and Bun. Node has no FFI.
 *
 * All addresses are of Windows' own memory, as numbers, and never of a JavaScript buffer: Deno needs the permission for every
 * library to learn such an address, and so `--allow-ffi` with the two paths is enough.
 *
 * @module
 */
import { denoNamespace, isPermitted, operatingSystem, readEnvironment } from "./host.ts";
import { findOnWindows } from "./process.ts";
import { isThere } from "./path.ts";

/** Data Protection API. Its base64 functions bring bytes into Windows' memory and back. */
const CRYPT32 = {
  // BOOL CryptProtectData(DATA_BLOB *in, LPCWSTR description, DATA_BLOB *entropy, PVOID, CRYPTPROTECT_PROMPTSTRUCT *, DWORD flags, DATA_BLOB *out)
  CryptProtectData: { parameters: ["buffer", "usize", "usize", "usize", "usize", "u32", "buffer"], result: "i32" },
  // BOOL CryptUnprotectData(DATA_BLOB *in, LPWSTR *description, DATA_BLOB *entropy, PVOID, CRYPTPROTECT_PROMPTSTRUCT *, DWORD flags, DATA_BLOB *out)
  CryptUnprotectData: { parameters: ["buffer", "usize", "usize", "usize", "usize", "u32", "buffer"], result: "i32" },
  // BOOL CryptStringToBinaryA(LPCSTR text, DWORD length, DWORD flags, BYTE *bytes, DWORD *size, DWORD *skipped, DWORD *used)
  CryptStringToBinaryA: { parameters: ["buffer", "u32", "u32", "usize", "buffer", "usize", "usize"], result: "i32" },
  // BOOL CryptBinaryToStringA(const BYTE *bytes, DWORD size, DWORD flags, LPSTR text, DWORD *length)
  CryptBinaryToStringA: { parameters: ["usize", "u32", "u32", "buffer", "buffer"], result: "i32" },
} as const;

const KERNEL32 = {
  // HLOCAL LocalAlloc(UINT flags, SIZE_T size)
  LocalAlloc: { parameters: ["u32", "usize"], result: "usize" },
  // HLOCAL LocalFree(HLOCAL memory)
  LocalFree: { parameters: ["usize"], result: "usize" },
  // void RtlZeroMemory(void *memory, SIZE_T size)
  RtlZeroMemory: { parameters: ["usize", "usize"], result: "void" },
  // DWORD GetLastError(void)
  GetLastError: { parameters: [], result: "u32" },
  // HANDLE GetStdHandle(DWORD which)
  GetStdHandle: { parameters: ["i32"], result: "usize" },
  // BOOL GetFileInformationByHandleEx(HANDLE file, FILE_INFO_BY_HANDLE_CLASS kind, LPVOID information, DWORD size)
  GetFileInformationByHandleEx: { parameters: ["usize", "i32", "buffer", "u32"], result: "i32" },
} as const;

type Table = Readonly<
  Record<
    string,
    {
      readonly parameters: readonly ("buffer" | "usize" | "u32" | "i32")[];
      readonly result: "usize" | "u32" | "i32" | "void";
    }
  >
>;
type Values<T> = { -readonly [K in keyof T]: T[K] extends "buffer" ? Uint8Array : number | bigint };
type Functions<T extends Table> = {
  readonly [K in keyof T]: (...values: Values<T[K]["parameters"]>) => T[K]["result"] extends "usize" ? bigint : number;
};

/** Windows' API; `undefined` where there is no FFI, or Deno does not permit it. */
type WindowsApi = Functions<typeof CRYPT32> & Functions<typeof KERNEL32>;

let api: WindowsApi | undefined;

/** Opens Windows' libraries by their whole paths, once. */
export function openWindowsApi(): WindowsApi | undefined {
  if (api || operatingSystem() !== "win32") return api;
  const folder = `${readEnvironment("SystemRoot") ?? "C:\\Windows"}\\System32`;
  const crypt32 = `${folder}\\crypt32.dll`;
  const kernel32 = `${folder}\\kernel32.dll`;
  try {
    const open = opener([crypt32, kernel32]);
    api = open && { ...open(crypt32, CRYPT32), ...open(kernel32, KERNEL32) };
    return api;
  } catch {
    return undefined; // Bun has no FFI on every processor
  }
}

type Open = <T extends Table>(path: string, table: T) => Functions<T>;

function opener(paths: readonly string[]): Open | undefined {
  const deno = denoNamespace();
  if (deno) {
    if (!paths.every((path) => isPermitted({ name: "ffi", path }))) return undefined;
    return (path, table) => deno.dlopen(path, table as Deno.ForeignLibraryInterface).symbols as never;
  }
  // By this function bundlers for other runtimes accept the name.
  const bun = globalThis.process.getBuiltinModule("bun:ffi") as typeof import("bun:ffi") | undefined;
  if (!bun) return undefined;
  const types = { buffer: "ptr", usize: "u64", u32: "u32", i32: "i32", void: "void" } as const;
  return (path, table) => {
    const declarations = Object.entries(table).map(([name, { parameters, result }]) =>
      [name, { args: parameters.map((type) => types[type]), returns: types[result] }] as const
    );
    return bun.dlopen(path, Object.fromEntries(declarations)).symbols as never;
  };
}

/** Handles of the standard streams for GetStdHandle. */
const HANDLES = { stdin: -10, stdout: -11, stderr: -12 };
const DESCRIPTORS = { stdin: 0, stdout: 1, stderr: 2 };
/** FileNameInfo */
const FILE_NAME_INFO = 2;
/** Name of the pipe between a program and a terminal of Git Bash, MSYS2 or Cygwin, such as `\\msys-dd50a72ab4668b33-pty0-to-master`. */
const PTY = /^\\(msys|cygwin)-[\da-f]+-pty\d+-(from|to)-master(-nat)?$/;

/**
 * Returns true if a stream is a terminal of Git Bash, MSYS2 or Cygwin: for Windows it is a named pipe. Node, which cannot see the
 * name, starts Git Bash's own `test`.
 */
export function isMsysTerminal(stream: keyof typeof HANDLES): boolean {
  const api = openWindowsApi();
  if (!api) return denoNamespace() === undefined && isTerminalByTest(DESCRIPTORS[stream]);
  // FILE_NAME_INFO: a DWORD with the length in bytes, and the name in UTF-16.
  const information = new Uint8Array(1024);
  const handle = api.GetStdHandle(HANDLES[stream]);
  if (!api.GetFileInformationByHandleEx(handle, FILE_NAME_INFO, information, information.length)) return false;
  return PTY.test(new TextDecoder("utf-16le").decode(information.subarray(4, 4 + valueOf(information))));
}

/** The stream is the program's standard input, so that it can print nothing to ours. */
function isTerminalByTest(descriptor: number): boolean {
  const program = findOnWindows("test", readEnvironment("PATH"), isThere);
  if (program === undefined) return false;
  const { spawnSync } = globalThis.process.getBuiltinModule("node:child_process");
  return spawnSync(program, ["-t", "0"], { stdio: [descriptor, "ignore", "ignore"], timeout: TEST_LIMIT_MS }).status ===
    0;
}

/** It takes some 50 ms. */
const TEST_LIMIT_MS = 5000;

/** CRYPTPROTECT_UI_FORBIDDEN, as .NET's `ProtectedData` has it */
const UI_FORBIDDEN = 1;
/** CRYPT_STRING_BASE64 */
const BASE64 = 1;
/** CRYPT_STRING_BASE64 | CRYPT_STRING_NOCRLF */
const BASE64_IN_ONE_LINE = 0x40000001;

/**
 * Protects bytes for this user of this machine, or unprotects them: base64 in and out. What Windows allocates is overwritten and
 * freed.
 *
 * @returns The bytes, or Windows' code of the failure.
 */
export function callDpapi(
  api: WindowsApi,
  method: "CryptProtectData" | "CryptUnprotectData",
  base64: string,
): string | { readonly error: number } {
  const text = new TextEncoder().encode(base64);
  const size = word(text.length);
  const given = new Uint8Array(16);
  const taken = new Uint8Array(16);
  const length = new Uint8Array(4);
  const memory = api.LocalAlloc(0, text.length);
  if (!memory) return failure();
  let chars: Uint8Array | undefined;
  try {
    if (!api.CryptStringToBinaryA(text, text.length, BASE64, memory, size, 0, 0)) return failure();
    const blob = new DataView(given.buffer);
    blob.setUint32(0, valueOf(size), true);
    blob.setBigUint64(8, memory, true);
    if (!api[method](given, 0, 0, 0, 0, UI_FORBIDDEN, taken)) return failure();
    const { address, bytes } = blobOf(taken);
    try {
      // With the NUL at its end.
      length.set(word(Math.ceil(bytes / 3) * 4 + 1));
      chars = new Uint8Array(valueOf(length));
      if (!api.CryptBinaryToStringA(address, bytes, BASE64_IN_ONE_LINE, chars, length)) return failure();
      return new TextDecoder().decode(chars.subarray(0, valueOf(length)));
    } finally {
      api.RtlZeroMemory(address, bytes);
      api.LocalFree(address);
    }
  } finally {
    api.RtlZeroMemory(memory, text.length);
    api.LocalFree(memory);
    text.fill(0);
    chars?.fill(0);
  }

  function failure() {
    return { error: api.GetLastError() };
  }
}

/** DATA_BLOB: a DWORD, and at 8 an address. */
function blobOf(blob: Uint8Array) {
  const view = new DataView(blob.buffer);
  return { bytes: view.getUint32(0, true), address: view.getBigUint64(8, true) };
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function valueOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer).getUint32(0, true);
}
