// The key of the token cache, protected by Windows: by FFI on Deno and Bun; on Node by PowerShell, which Wine does not have.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findEncryptionKey, openEncryptionKey } from "../../../lib/cache/encryption_key.ts";
import { commandOf, protect, readPowerShellReply, unprotect } from "../../../lib/keyring/system.ts";
import { currentRuntime } from "../../../lib/runtime/host.ts";
import { runCommand } from "../../../lib/runtime/process.ts";
import { failure, rejection } from "../../fixture.ts";
import { whenWindows, whenWine } from "../../windows/tested_executables.ts";

const hasFfi = currentRuntime().name !== "Node", { SystemRoot = "C:\\Windows" } = process.env;
const never: typeof test = (() => {}) as unknown as typeof test;
const whenProtected = hasFfi ? test : whenWindows, whenUnprotected = hasFfi ? never : whenWine;
const SECRET = btoa("32 bytes, as long as a key is...");

let folder: string, lines: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-"));
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, maxRetries: 5 }));

const log = (level: string, message: string) => void lines.push(`${level} ${message}`);
const keyFile = () => readFileSync(join(folder, "key.json"), "utf8");

describe("protect()", () => {
  whenProtected("gives what unprotect() reads, again and again", async () => {
    for (const size of [1, 2, 3, 32, 1000, 100_000]) {
      const text = btoa("\xff".repeat(size)), encrypted = await protect(text, {});
      expect(await unprotect(encrypted, {})).toBe(text);
    }
  });

  whenProtected("is called with a signal that was aborted", async () => {
    const signal = AbortSignal.abort(new Error("no more"));
    expect((await rejection(protect(SECRET, { signal }))).message).toBe("no more");
    expect((await rejection(unprotect(SECRET, { signal }))).message).toBe("no more");
  });

  // Older versions of latchkey used PowerShell on all runtimes, and Node's still do.
  whenWindows("and PowerShell read each other's", async () => {
    const run = async (method: "Protect" | "Unprotect", input: string) =>
      readPowerShellReply(await runCommand(commandOf(method, SystemRoot), { input }));
    expect(await run("Unprotect", await protect(SECRET, {}))).toBe(SECRET);
    expect(await unprotect((await run("Protect", SECRET))!, {})).toBe(SECRET);
  });
});

describe("unprotect()", () => {
  whenProtected("knows what is not of this user", async () => {
    const encrypted = atob(await protect(SECRET, {}));
    expect(await unprotect(btoa(encrypted.slice(0, -30)), {})).toBeUndefined();
    expect(await unprotect(btoa("something else altogether"), {})).toBeUndefined();
  });
});

describe("openEncryptionKey()", () => {
  whenProtected("keeps a key that only Windows can read", async () => {
    const made = await openEncryptionKey(folder, { log }), text = btoa(String.fromCharCode(...made.bytes));
    expect({ place: made.place, lines }).toEqual({ place: "dpapi", lines: [expect.stringMatching(/^info .*DPAPI/)] });
    expect(JSON.parse(keyFile())).toMatchObject({ place: "dpapi", protected: expect.any(String) });
    expect(keyFile()).not.toContain(text);
    expect((await findEncryptionKey(folder, { log }))?.bytes).toEqual(made.bytes);
  });

  whenProtected("does not replace a key of another user by itself", async () => {
    await openEncryptionKey(folder, { log });
    const record = JSON.stringify({ ...JSON.parse(keyFile()), protected: btoa("another user's") });
    writeFileSync(join(folder, "key.json"), record);
    const error = await failure(findEncryptionKey(folder, { log }));
    expect(error).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("is lost: Windows (DPAPI)"),
    });
    expect(keyFile()).toBe(record);
  });

  // It was an "info" that nobody sees.
  whenUnprotected("warns when the key has to be in a file", async () => {
    const made = await openEncryptionKey(folder, { log });
    expect({ place: made.place, lines }).toEqual({
      place: "file",
      lines: [
        expect.stringMatching(/^warn The key of the token cache goes into .* Windows \(DPAPI\) failed: PowerShell/),
      ],
    });
  });

  whenUnprotected("fails when a keyring was asked for", async () => {
    expect(await failure(openEncryptionKey(folder, { log, keyLocation: "keyring" }))).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("Windows (DPAPI) failed: PowerShell"),
    });
    expect(() => keyFile()).toThrow("ENOENT");
  });

  whenUnprotected("does not replace a protected key that cannot be read", async () => {
    const record = JSON.stringify({ id: crypto.randomUUID(), why: "", place: "dpapi", protected: SECRET });
    writeFileSync(join(folder, "key.json"), record);
    for (const open of [openEncryptionKey, findEncryptionKey]) {
      expect(await failure(open(folder, { log }))).toMatchObject({
        code: "configuration",
        message: expect.stringMatching(/Cannot read the token cache in .*: Windows \(DPAPI\) failed: PowerShell/),
        hint: expect.stringContaining("Log out of Windows"),
      });
    }
    expect(keyFile()).toBe(record);
  });
});
