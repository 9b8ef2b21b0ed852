// Git Bash's terminals, which are named pipes to Windows: a pipe with such a name stands in for one, and Wine's programs for `test`.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { denoRun } from "../../tools/deno_command.ts";
import { findTool } from "../../tools/find_tool.js";
import { whenWine } from "../../windows/tested_executables.ts";

const PROGRAM = fileURLToPath(new URL("msys_terminal_program.ts", import.meta.url));
const { SystemRoot = "C:\\Windows" } = process.env;
const BUN = [findTool("bun")], DENO = [...denoRun(), "--allow-all"], NODE = [findTool("node")];

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "latchkey-"))));
afterAll(() => rmSync(folder, { recursive: true, maxRetries: 5 }));

/** Runs the program with a named pipe as its standard input. */
async function runWith(pipe: string, command: readonly string[], PATH = ""): Promise<string> {
  const server = net.createServer().listen(`\\\\.\\pipe\\${pipe}`);
  await once(server, "listening");
  const stdin = net.connect(`\\\\.\\pipe\\${pipe}`);
  await once(stdin, "connect");
  try {
    const env = { ...process.env, MSYSTEM: "MINGW64", ...(PATH && { PATH }) };
    const child = spawn(command[0]!, [...command.slice(1), PROGRAM], { stdio: [stdin, "pipe", "inherit"], env });
    return (await text(child.stdout!)).trim();
  } finally {
    stdin.destroy();
    server.close();
  }
}

describe("isMsysTerminal()", () => {
  for (const [name, command] of [["Bun", BUN], ["Deno", DENO]] as const) {
    test(`on ${name} knows a terminal from a pipe`, async () => {
      expect(await runWith("msys-dd50a72ab4668b33-pty0-to-master", command)).toBe("stdin");
      expect(await runWith("cygwin-e022582115c10879-pty12-from-master", command)).toBe("stdin");
      expect(await runWith("msys-dd50a72ab4668b33-pipe-0x1", command)).toBe("");
      expect(await runWith("my-msys-dd50a72ab4668b33-pty0-to-master", command)).toBe("");
    });
  }

  // Wine's icacls ends with 0 whatever it is told, and its hostname with 1 for an unknown option.
  whenWine("on Node is what `test -t` says", async () => {
    const says = async (program: string) => {
      const place = join(folder, program);
      mkdirSync(place);
      copyFileSync(join(SystemRoot, "System32", `${program}.exe`), join(place, "test.exe"));
      return await runWith("msys-dd50a72ab4668b33-pty0-to-master", NODE, place);
    };
    expect(await says("icacls")).toBe("stdin stdout stderr");
    expect(await says("hostname")).toBe("");
    expect(await runWith("msys-dd50a72ab4668b33-pty0-to-master", NODE, join(folder, "nothing"))).toBe("");
  });
});
