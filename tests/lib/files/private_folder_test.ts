// What is advised where a folder or a file is not safe: the machine's own folders, as each user finds them.
import { expect, test } from "bun:test";
import { lstatSync } from "node:fs";
import type { FileFacts } from "../../../lib/files/files.ts";
import { isPrivateFolder, openLocalFiles, requirePrivateFile } from "../../../lib/files/private_files.ts";
import { failureOf } from "../../tools/failure_of.ts";

const ELSEWHERE = "Choose a file in a folder of your own";

/** The machine's files, looked at by a user. */
async function filesFor(user: number) {
  return { ...await openLocalFiles("/", "read"), ownUser: () => user };
}

async function hintOf(check: () => unknown): Promise<string | undefined> {
  return (await failureOf(Promise.resolve().then(check))).hint;
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
