// What is sent to macOS' `security`, and how its answers are read. The program itself runs on macOS alone.
import { describe, expect, test } from "bun:test";
import { addCommand, findCommand, readKeychainReply } from "../../../lib/keyring/system.ts";
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
