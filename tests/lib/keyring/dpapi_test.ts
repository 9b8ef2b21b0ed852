// What Windows PowerShell is told to protect, and how its answers are read. The program itself runs on Windows alone.
import { describe, expect, test } from "bun:test";
import { commandOf, readPowerShellReply } from "../../../lib/keyring/system.ts";
import { rejection } from "../../fixture.ts";

const read = (...printed: [string, string?]) =>
  new Promise((resolve) => resolve(readPowerShellReply(reply(...printed))));
const reply = (stdout: string, stderr = "") => ({ code: 0, stdout, stderr });

describe("commandOf()", () => {
  test("runs Windows' own PowerShell, by its whole path, without a profile or questions", () => {
    const [program, ...args] = commandOf("Protect", "C:\\Windows");
    expect(program).toBe("C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe");
    expect(args.slice(0, -1)).toEqual(["-NoLogo", "-NoProfile", "-NonInteractive", "-Command"]);
  });

  test("gives a script that needs no quoting, protects for this user, and reads from standard input", () => {
    for (const method of ["Protect", "Unprotect"] as const) {
      const script = commandOf(method, "C:\\Windows").at(-1)!;
      expect(script).not.toMatch(/["\n\r%^&<>|]/);
      expect(script).toContain(`[Security.Cryptography.ProtectedData]::${method}($bytes, $null, 'CurrentUser')`);
      expect(script).toContain("[Console]::In.ReadToEnd()");
      expect(script.split("{").length).toBe(script.split("}").length);
    }
  });
});

describe("readReply()", () => {
  test("reads what was protected", () => {
    expect(readPowerShellReply(reply("AQAAANCMnd8=\r\n"))).toBe("AQAAANCMnd8=");
  });

  test.each([-2146893813, -2146893819, -2147024883, 13])("knows what is another user's or machine's (%p)", (code) => {
    expect(readPowerShellReply(reply(`failed ${code}`))).toBeUndefined();
  });

  test("tells other failures by their number", async () => {
    expect(await rejection(read("failed -2147024891"))).toMatchObject({
      name: "KeyringError",
      problem: "failed",
      detail: "error 0x80070005",
    });
  });

  test.each(["", "A", "=", "failed", "failed x", "#< CLIXML"])("takes %j for a failure", async (stdout) => {
    const error = await rejection(read(stdout, "what was said\r\n"));
    expect(error).toMatchObject({ problem: "failed", detail: "PowerShell: what was said" });
  });
});
