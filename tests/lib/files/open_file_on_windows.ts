// A file that another program has open for itself alone: a real one, on Windows.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPrivateFile, removePrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import { failure, rejection } from "../../fixture.ts";
import { findTool } from "../../tools/find_tool.js";

/** Opens a file without sharing it, says so, and ends when its standard input does. */
const HOLDER = `
  const { dlopen, ptr } = require("bun:ffi");
  const { symbols } = dlopen("kernel32.dll", {
    CreateFileW: { args: ["ptr", "u32", "u32", "ptr", "u32", "u32", "ptr"], returns: "i64" },
  });
  const path = Buffer.from(process.argv.at(-1) + "\\0", "utf16le");
  const file = symbols.CreateFileW(ptr(path), 0x80000000, 0, null, 3, 0, null);
  process.stdout.write(file === -1n ? "failed" : "open");
  process.stdin.on("data", () => process.exit()).on("end", () => process.exit());
`;

let folder: string, path: string, holder: ChildProcess;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-"));
  path = join(folder, "tokens.json");
  writeFileSync(path, "before");
  holder = spawn(findTool("bun"), ["-e", HOLDER, path], { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = await once(holder.stdout!, "data");
  expect(String(said)).toBe("open");
});
afterEach(async () => {
  await letGo();
  rmSync(folder, { recursive: true, maxRetries: 5 });
});

async function letGo(): Promise<void> {
  if (holder.exitCode !== null) return;
  const exited = once(holder, "exit");
  holder.stdin!.end();
  await exited;
}

const IN_USE = { code: "configuration", message: expect.stringMatching(/tokens\.json: another program is using it$/) };

describe("a file that another program has open", () => {
  test("is not one whose permission is denied", async () => {
    expect(await failure(readPrivateFile(path))).toMatchObject(IN_USE);
    expect(await failure(replacePrivateFile(path, new TextEncoder().encode("after")))).toMatchObject(IN_USE);
    await letGo();
    expect(readFileSync(path, "utf8")).toBe("before");
  });

  test("is read, replaced and removed as soon as it is free", async () => {
    const read = readPrivateFile(path);
    await letGo();
    expect(new TextDecoder().decode(await read)).toBe("before");
    await replacePrivateFile(path, new TextEncoder().encode("after"));
    expect(readFileSync(path, "utf8")).toBe("after");
    await removePrivateFile(path);
    expect(() => readFileSync(path)).toThrow("ENOENT");
  });

  test("can be waited for no longer than the signal says", async () => {
    const call = new AbortController(), read = readPrivateFile(path, { signal: call.signal });
    call.abort(new Error("no more"));
    expect((await rejection(read)).message).toBe("no more");
  });
});
