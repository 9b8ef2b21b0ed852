import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTextFile } from "../../../lib/runtime/path.ts";

// Notepad and PowerShell write one, and latchkey CONFIG.json refused the file.
test("readTextFile() leaves out a byte order mark", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paths-")), path = join(folder, "config.json");
  try {
    writeFileSync(path, "\uFEFF{}\r\n");
    expect(await readTextFile(path)).toBe("{}\r\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
