import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../lib/errors.ts";
import { fileFailure } from "../../../lib/files/files.ts";

const task = { doing: "write", path: "/home/jane/tokens" };
const named = (code: string, message = `${code}: what a runtime says`) => Object.assign(new Error(message), { code });

describe("fileFailure()", () => {
  test.each([
    ["EACCES", "permission denied"],
    ["EPERM", "permission denied"],
    ["EROFS", "its file system is read-only"],
    ["ENOSPC", "the disk is full"],
    ["EDQUOT", "this user's disk quota is exceeded"],
    ["EFBIG", "it would exceed the limit for the size of a file"],
    ["ENAMETOOLONG", "its name is too long"],
    ["ENOTDIR", "a component of its path is a file"],
    ["EISDIR", "it is a folder"],
    ["ENOENT", "it does not exist, or was removed"],
    ["ELOOP", "it is a symbolic link"],
    ["EBUSY", "another program is using it"],
    ["EMFILE", "this program has too many open files"],
    ["ENFILE", "this machine has too many open files"],
    ["EIO", "the disk has failed"],
    ["ESTALE", "the file server has lost it"],
    ["ECANCELED", "the system says ECANCELED"],
  ])("says in words what %s is", (code, reason) => {
    const error = fileFailure(named(code), task) as LatchkeyError;
    expect(error).toBeInstanceOf(LatchkeyError);
    expect([error.code, error.message]).toEqual(["configuration", `Cannot write /home/jane/tokens: ${reason}`]);
    expect(error.hint).toBeTruthy();
    expect(error.cause).toBe(undefined);
  });

  test("knows errors that Deno gives by number", () => {
    const numbered = (number: number) => (fileFailure(new Error(`Words (os error ${number})`), task) as Error).message;
    expect(numbered(28)).toBe("Cannot write /home/jane/tokens: the disk is full");
    expect(numbered(9999)).toBe("Cannot write /home/jane/tokens: the system says E9999");
  });

  test("names the flag for what Deno does not permit", () => {
    const error = Object.assign(new Error("Requires all access"), { name: "NotCapable" });
    expect(fileFailure(error, task)).toMatchObject({ code: "missing_dependency" });
  });

  test("gives the reason of an aborted call, and what is no error of the system's, as it is", () => {
    const reason = new Error("enough"), signal = AbortSignal.abort(reason);
    expect(fileFailure(named("EIO"), { ...task, signal })).toBe(reason);
    for (
      const error of [new TypeError("mistake"), new LatchkeyError("timed_out", ""), named("ERR_INVALID_ARG_TYPE"), 1]
    ) {
      expect(fileFailure(error, task)).toBe(error);
    }
  });
});
