import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTextFile } from "../../../lib/runtime/lifecycle.ts";
import { findTool } from "../../tools/find_tool.js";

const PROGRAM = new URL("../../../lib/runtime/lifecycle.ts", import.meta.url).href;

test.each([["Bun", process.execPath, ["-e"]], ["Node", findTool("node"), ["--input-type=module", "-e"]]])(
  "exit() on %s waits for nothing that still runs, and what was written is there",
  async (_, runtime, flags) => {
    const code = `const { exit, write } = await import(${JSON.stringify(PROGRAM)}); setInterval(() => {}, 1e6);` +
      `write("stdout", "x".repeat(1e6)); exit(3);`;
    const child = Bun.spawn([runtime, ...flags, code], { stdout: "pipe", stderr: "inherit" });
    expect((await new Response(child.stdout).text()).length).toBe(1e6);
    expect(await child.exited).toBe(3);
  },
);

test.each([["Bun", process.execPath, ["-e"]], ["Node", findTool("node"), ["--input-type=module", "-e"]]])(
  "exitSoon() on %s waits for what ends, and not for what does not",
  async (_, runtime, flags) => {
    const code = `const { exitSoon, write } = await import(${JSON.stringify(PROGRAM)}); setInterval(() => {}, 1e6);` +
      `setTimeout(() => write("stdout", "told"), 10); exitSoon(4);`;
    const child = Bun.spawn([runtime, ...flags, code], { stdout: "pipe", stderr: "inherit" });
    expect(await new Response(child.stdout).text()).toBe("told");
    expect(await child.exited).toBe(4);
  },
);

// Notepad and PowerShell write one, and latchkey CONFIG.json refused the file.
test("readTextFile() leaves out a byte order mark", async () => {
  const folder = mkdtempSync(join(tmpdir(), "program-")), path = join(folder, "config.json");
  try {
    writeFileSync(path, "\uFEFF{}\r\n");
    expect(await readTextFile(path)).toBe("{}\r\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
