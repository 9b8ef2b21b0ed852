// What is sent to macOS' `security`, and how its answers are read. The program itself runs on macOS alone.
import { describe, expect, test } from "bun:test";
import {
  addCommand,
  commandOf,
  findCommand,
  readKeychainReply,
  readPowerShellReply,
} from "../../../lib/keyring/system.ts";
import { rejection } from "../../fixture.ts";

const NAME = { service: "latchkey", account: "0b6e6f5e-5c1a-4a52-9d3e-0f1de8a3c111" };
const TEXT = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
const called = <T>(call: () => T) => new Promise<T>((resolve) => resolve(call()));
const reply = (stdout: string, stderr = "") => ({ code: 0, stdout, stderr });

describe("findCommand()", () => {
  test("asks for one secret", () => {
    expect(findCommand(NAME)).toBe(
      '"find-generic-password" "-s" "latchkey" "-a" "0b6e6f5e-5c1a-4a52-9d3e-0f1de8a3c111" "-w"\n'.replace(
        /^"(.*?)"/,
        "$1",
      ),
    );
  });

  test.each(['"', "\\", "\n", "'", "$(x)", "`x`", "é", "", "a\0b", "a;b", "a\rb", "\u2028"])(
    "does not send a word with %j in it",
    (word) => {
      expect(() => findCommand({ ...NAME, account: word })).toThrow(TypeError);
      expect(() => addCommand({ ...NAME, label: "x", text: word })).toThrow(TypeError);
    },
  );
});

describe("addCommand()", () => {
  test("stores a secret in one line of a length that `security` reads", () => {
    const line = addCommand({ ...NAME, label: "latchkey: key of the token cache", text: TEXT });
    expect(line).toBe(
      'add-generic-password "-U" "-s" "latchkey" "-a" "0b6e6f5e-5c1a-4a52-9d3e-0f1de8a3c111" ' +
        `"-l" "latchkey: key of the token cache" "-w" "${TEXT}"\n`,
    );
    expect(line.length).toBeLessThan(4096);
  });

  test("does not say the secret when it refuses it", async () => {
    const error = await rejection(called(() => addCommand({ ...NAME, label: "x", text: `${TEXT}"` })));
    expect(String(error.stack)).not.toContain(TEXT);
  });
});

describe("readReply()", () => {
  test("reads a secret", () => {
    expect(readKeychainReply(reply(`${TEXT}\n`))).toBe(TEXT);
  });

  test("knows a secret that is not there", () => {
    const says = "security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain.\n" +
      "find-generic-password: returned 44\n";
    expect(readKeychainReply(reply("", says))).toBeUndefined();
  });

  test.each([
    ["security: SecKeychainSearchCopyNext: User interaction is not allowed.\n", "locked"],
    ["security: SecKeychainItemCopyContent: User interaction is not allowed.\nreturned 36\n", "locked"],
    ["security: SecKeychainItemCopyContent: User canceled the operation.\n", "dismissed"],
    ["security: SecKeychainItemCopyContent: The user name or passphrase you entered is not correct.\n", "dismissed"],
    ["security: SecKeychainCopyDefault: A default keychain could not be found.\n", "no_keyring"],
    ["security: something else\n", "failed"],
    ["", "failed"],
  ])("tells what %j means", async (stderr, problem) => {
    expect(await rejection(called(() => readKeychainReply(reply("", stderr))))).toMatchObject({
      name: "KeyringError",
      problem,
    });
  });

  test("takes what is no base64 for a failure", () => {
    expect(() => readKeychainReply(reply('0x00FF  "\\000"\n'))).toThrow(expect.objectContaining({ problem: "failed" }));
  });
});

// What Windows PowerShell is told to protect, and how its answers are read. The program itself runs on Windows alone.

const read = (...printed: [string, string?]) =>
  new Promise((resolve) => resolve(readPowerShellReply(reply(...printed))));

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
