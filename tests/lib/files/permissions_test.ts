// What is advised where a folder or a file is not safe: the machine's own folders, as each user finds them.
import { expect, test } from "bun:test";
import { lstatSync } from "node:fs";
import type { FileFacts } from "../../../lib/files/files.ts";
import { chmodCommand, isPrivateFolder, openLocalFiles, requirePrivateFile } from "../../../lib/files/permissions.ts";
import { failure } from "../../fixture.ts";

const ELSEWHERE = "Choose a file in a folder of your own";

/** The machine's files, looked at by a user. */
async function filesFor(user: number) {
  return { ...await openLocalFiles("/", "read"), ownUser: () => user };
}

async function hintOf(check: () => unknown): Promise<string | undefined> {
  return (await failure(Promise.resolve().then(check))).hint;
}

test("isPrivateFolder() advises no command that would change a folder of root's", async () => {
  const files = await filesFor(65_534);
  for (const folder of ["/", "/etc", "/usr", "/tmp", "/var/tmp"]) {
    expect(await hintOf(() => isPrivateFolder(files, folder))).toBe(ELSEWHERE);
  }
});

test("isPrivateFolder() advises no command that would close a folder that people share, be the user root", async () => {
  const { uid } = lstatSync("/tmp"), files = await filesFor(uid);
  expect(await hintOf(() => isPrivateFolder(files, "/tmp"))).toBe(ELSEWHERE);
});

test("isPrivateFolder() advises root to be the user whose folder it is", async () => {
  const files = await filesFor(0), look = (): FileFacts => ({ ...files.lstat("/")!, owner: 1000 });
  expect(await hintOf(() => isPrivateFolder({ ...files, lstat: look }, "/home/jane"))).toBe(
    "Run this as that user, or choose a file in a folder of your own",
  );
});

test("requirePrivateFile() advises to move away another's file, and to close one's own", async () => {
  const files = await filesFor(1000), own: FileFacts = { ...files.lstat("/etc/passwd")!, owner: 1000 };
  expect(await hintOf(() => requirePrivateFile(files, "/home/jane/a b", { ...own, owner: 0 }))).toBe(
    "Move it away, or choose another file",
  );
  expect(await hintOf(() => requirePrivateFile(files, "/home/jane/a b", { ...own, mode: 0o100664 }))).toBe(
    "Run chmod go-w '/home/jane/a b'",
  );
  expect(await hintOf(() => requirePrivateFile(files, "/mnt/c/tokens", { ...own, mode: 0o100666 }))).toBe(
    "Choose a Linux folder: a Windows drive keeps no permissions",
  );
});

// Root was advised to close /tmp to others, or /run to all: programs of the machine need these folders as they are.
test("chmodCommand() advises no command for another user's folder, a shared one, or the system's", () => {
  const advised = (path: string, mode: number, { owner = 0, user = 0 } = {}) =>
    chmodCommand("go-w", path, { kind: "folder", mode, owner, user });
  for (const path of ["/", "/run", "/srv/data", "/usr/local/lib", "/var/lib/x", "/tmp", "folder"]) {
    expect({ path, command: advised(path, 0o777) }).toEqual({ path, command: undefined });
  }
  expect([advised("/var/tmp/x", 0o1777), advised("/var/tmp/x", 0o2775), advised("/home/jane", 0o775, { owner: 1000 })])
    .toEqual([undefined, undefined, undefined]);
  expect(advised("/home/jane/x", 0o775, { owner: 1001, user: 1000 })).toBeUndefined();
  expect(advised("/var/tmp/x", 0o775)).toBe("chmod go-w /var/tmp/x");
  expect(advised("/tmp/x y", 0o777)).toBe("chmod go-w '/tmp/x y'");
  expect(advised("/home/jane", 0o775, { owner: 1000, user: 1000 })).toBe("chmod go-w /home/jane");
});
