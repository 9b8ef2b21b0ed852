import { describe, expect, test } from "bun:test";
import { UsageError } from "../../../../bin/cli/command_line.ts";
import { isWholeRequest, MAX_REQUEST_BYTES, readRequest, writeCredential } from "../../../../bin/commands/git/git.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const read = (text: string) => readRequest(bytesOf(text));
const EMPTY = {
  ...{ protocol: "", host: "", username: undefined, secret: undefined, capabilities: new Set<string>() },
  ...{ states: [], challenges: [] },
};

describe("readRequest()", () => {
  test("gives what git wrote, to an empty line or the end", () => {
    const request = { ...EMPTY, protocol: "https", host: "dev.azure.com" };
    expect(read("protocol=https\nhost=dev.azure.com\n")).toEqual(request);
    expect(read("protocol=https\nhost=dev.azure.com")).toEqual(request);
    expect(read("protocol=https\nhost=dev.azure.com\n\nhost=evil.com\n")).toEqual(request);
    expect(read("")).toEqual(EMPTY);
    expect(read("\nprotocol=https\n")).toEqual(EMPTY);
  });

  test("gives lists in order, and an empty value clears one", () => {
    const text =
      "capability[]=authtype\ncapability[]=state\nwwwauth[]=one\nwwwauth[]=\nwwwauth[]=two\nwwwauth[]=a=b\n" +
      "state[]=latchkey:token\nstate[]=manager:x\n";
    expect(read(text)).toEqual({
      ...EMPTY,
      capabilities: new Set(["authtype", "state"]),
      states: ["latchkey:token", "manager:x"],
      challenges: ["two", "a=b"],
    });
  });

  test("takes a credential before a password, an empty user name for none, and passes over what it does not know", () => {
    const text = "username=\npassword=one\nauthtype=Bearer\ncredential=two\noauth_refresh_token=x\nto-come=\n";
    expect(read(text)).toEqual({ ...EMPTY, secret: "two" });
    expect(read("username=jane\npassword=a=b")).toEqual({ ...EMPTY, username: "jane", secret: "a=b" });
  });

  test("takes the longest line and no longer one", () => {
    expect(read(`path=${"x".repeat(65_535 - 6)}\n`)).toEqual(EMPTY);
    expect(() => read(`path=${"x".repeat(65_535 - 5)}\n`)).toThrow("a line has more than 65535 bytes");
  });

  test.each([
    ...["nonsense\n", "=value\n", "protocol=https\nprotocol=https\n", "host=a\nhost=b\n", "host=a\0b\n", "host=a\r\n"],
    ...["pass\0word=x\n", "x=y\n".repeat(MAX_REQUEST_BYTES / 4 + 1)],
  ])("refuses %p, and repeats none of it", (text) => {
    const error = (() => {
      try {
        return read(text);
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toMatch(
      /: (a line is not KEY=VALUE|(protocol|host) appears twice|it contains a NUL or a carriage return|it has more than 1048576 bytes)$/,
    );
  });
});

describe("isWholeRequest()", () => {
  test("finds the empty line in what is new", () => {
    expect(isWholeRequest(bytesOf("\n"), 0)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\n"), 0)).toBe(false);
    expect(isWholeRequest(bytesOf("a=b\n\n"), 4)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\n\nc"), 0)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\nc=d"), 4)).toBe(false);
  });
});

describe("writeCredential()", () => {
  const credential = { username: "jane@contoso.com", token: "token", expiresOn: new Date(1_800_000_000_999) };

  test("writes a user name and a password, or a bearer token; a time in whole seconds", () => {
    expect(writeCredential({ ...credential, isBearer: false })).toBe(
      "username=jane@contoso.com\npassword=token\npassword_expiry_utc=1800000000\n",
    );
    expect(writeCredential({ ...credential, isBearer: true, state: "latchkey:token" })).toBe(
      "capability[]=authtype\ncapability[]=state\nauthtype=Bearer\ncredential=token\nephemeral=1\n" +
        "password_expiry_utc=1800000000\nstate[]=latchkey:token\n",
    );
  });

  test("writes no value that git would take for two", () => {
    for (const end of ["\n", "\r", "\0"]) {
      expect(() => writeCredential({ ...credential, username: `jane${end}host=evil.com`, isBearer: false })).toThrow(
        "line",
      );
      expect(() => writeCredential({ ...credential, token: `token${end}`, isBearer: true })).toThrow("line");
    }
  });
});
