// Private files: real ones, of a folder of their own, and programs that are killed while they write.
import { describe, expect, test } from "bun:test";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  listPrivateFolder,
  readPrivateFile,
  replacePrivateFile,
  reserveSpace,
  setAsideFile,
} from "../../../lib/files/private_files.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { failure, rejection, useStage } from "../../fixture.ts";
import { FULL_DISK, READ_ONLY_DISK, type WornDisk } from "../../tools/worn_disk.ts";

const isRoot = process.getuid?.() === 0;
const program = [...ownRuntimePath().program(), fileURLToPath(new URL("file_program.ts", import.meta.url))];
const encoder = new TextEncoder();
const ELSEWHERE = "Choose a file in a folder of your own";
const stage = useStage(), { newFolder } = stage;

/** A file as it has to be, and the folder that it is in. */
function newFile(text = "old", mode = 0o600) {
  const folder = newFolder(), path = join(folder, "tokens");
  fs.writeFileSync(path, text);
  fs.chmodSync(path, mode);
  return { folder, path };
}

const modeOf = (path: string) => (fs.lstatSync(path).mode & 0o7777).toString(8);
const textOf = (path: string) => fs.readFileSync(path, "utf8");
const read = async (path: string) => {
  const bytes = await readPrivateFile(path);
  return bytes && new TextDecoder().decode(bytes);
};
const replace = (path: string, text: string) => replacePrivateFile(path, encoder.encode(text));

/** What each of the functions says to a path that is not safe. */
async function refusals(path: string): Promise<readonly object[]> {
  const errors = [await failure(readPrivateFile(path)), await failure(replace(path, "new"))];
  return errors.map(({ name, code, message, hint }) => ({ name, code, message, hint }));
}

function refused(path: string, reason: string, hint: string) {
  const refusal = {
    name: "LatchkeyError",
    code: "configuration",
    message: `${path} is not safe: ${reason}`,
    hint,
  };
  return [refusal, refusal];
}

describe("readPrivateFile()", () => {
  test("gives what is in a file", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000)), { path } = newFile();
    fs.writeFileSync(path, bytes);
    expect(Buffer.from((await readPrivateFile(path))!).equals(bytes)).toBe(true);
    fs.writeFileSync(path, "");
    expect((await readPrivateFile(path))!.length).toBe(0);
  });

  test("gives nothing where no file or no folder is", async () => {
    expect(await read(join(newFolder(), "nowhere"))).toBe(undefined);
    expect(await read(join(stage.folder, "nowhere", "nowhere", "nothing"))).toBe(undefined);
  });

  test("reads what others may read, and the next replacement ends that", async () => {
    const { folder, path } = newFile("old", 0o644);
    fs.chmodSync(folder, 0o755);
    expect(await read(path)).toBe("old");
    await replace(path, "new");
    expect([modeOf(path), modeOf(folder)]).toEqual(["600", "755"]);
  });

  test("takes a path in the working folder, and through a link further up", async () => {
    const { folder, path } = newFile("here"), link = join(newFolder(), "link");
    fs.symlinkSync(stage.folder, link);
    expect(await read(path.replace(stage.folder, link))).toBe("here");
    const before = process.cwd();
    try {
      process.chdir(folder);
      expect(await read("tokens")).toBe("here");
      await replace("./tokens", "there");
      expect(await read("../" + path.slice(stage.folder.length + 1))).toBe("there");
    } finally {
      process.chdir(before);
    }
  });

  test("does not read what has more bytes than any cache", async () => {
    const { path } = newFile();
    fs.truncateSync(path, 256 * 1024 * 1024 + 1); // takes no room on the disk
    const { code, message, hint } = await failure(readPrivateFile(path));
    expect([code, message]).toEqual([
      "configuration",
      `${path} is too large: 268435457 bytes, more than any token cache has`,
    ]);
    expect(hint).toContain(path);
  });

  test("does not begin when it is aborted", async () => {
    const reason = new Error("enough"), signal = AbortSignal.abort(reason);
    expect(await rejection(readPrivateFile(newFile().path, { signal }))).toBe(reason);
  });

  test("tells a path of no file before it looks", async () => {
    for (const path of ["", "/", "folder/", ".", "..", "a/..", "a/.", "a\0b"]) {
      expect(await rejection(readPrivateFile(path))).toBeInstanceOf(TypeError);
      expect(await rejection(replace(path, ""))).toBeInstanceOf(TypeError);
      expect(await rejection(setAsideFile(path))).toBeInstanceOf(TypeError);
    }
  });
});

describe("replacePrivateFile()", () => {
  test("makes the file and its folder, for their owner alone", async () => {
    const folder = join(newFolder(), "a", "b"), path = join(folder, "tokens");
    await replace(path, "first");
    expect(await read(path)).toBe("first");
    expect([modeOf(path), modeOf(folder), fs.readdirSync(folder)]).toEqual(["600", "700", ["tokens"]]);
  });

  test("leaves what was there to who has it open", async () => {
    const { folder, path } = newFile(), file = fs.openSync(path, "r");
    await replace(path, "new");
    expect([fs.readFileSync(file, "utf8"), textOf(path)]).toEqual(["old", "new"]);
    fs.closeSync(file);
    expect(fs.readdirSync(folder)).toEqual(["tokens"]);
  });

  test("removes what a process was killed in the middle of an hour ago, and nothing else", async () => {
    const { folder, path } = newFile(), hours = new Date(Date.now() - 2 * 3_600_000);
    const left = `.latchkey-${crypto.randomUUID()}.tmp`, fresh = `.latchkey-${crypto.randomUUID()}.tmp`;
    for (const name of [left, fresh, "theirs.tmp"]) fs.writeFileSync(join(folder, name), "");
    for (const name of [left, "theirs.tmp"]) fs.utimesSync(join(folder, name), hours, hours);
    await replace(path, "new");
    expect(fs.readdirSync(folder).sort()).toEqual([fresh, "theirs.tmp", "tokens"]);
    expect((await listPrivateFolder(folder)).toSorted()).toEqual(["theirs.tmp", "tokens"]);
  });

  test("writes nothing when it is aborted", async () => {
    const { folder, path } = newFile(), reason = new Error("enough"), signal = AbortSignal.abort(reason);
    expect(await rejection(replacePrivateFile(path, new Uint8Array(9), { signal }))).toBe(reason);
    const controller = new AbortController();
    const late = rejection(replacePrivateFile(path, new Uint8Array(9), { signal: controller.signal }));
    controller.abort(reason);
    expect(await late as Error).toBe(reason);
    expect([textOf(path), fs.readdirSync(folder)]).toEqual(["old", ["tokens"]]);
  });

  test("gives whole contents to who reads meanwhile, and when it is killed", async () => {
    const { folder, path } = newFile("a".repeat(300_000));
    const lengths = new Set<number>(), mixed: string[] = [];
    for (let kills = 0; kills < 4; kills++) {
      const child = spawn(program[0]!, [...program.slice(1), "replace", path, "300000"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      for (let reads = 0; reads < 25; reads++) {
        const text = await read(path);
        lengths.add(text!.length);
        if (!/^(.)\1*$/.test(text!)) mixed.push(text!);
      }
      const ended = once(child, "close");
      child.kill("SIGKILL");
      await ended;
      const text = textOf(path);
      lengths.add(text.length);
      if (!/^(.)\1*$/.test(text)) mixed.push(text);
    }
    expect([[...lengths], mixed.length]).toEqual([[300_000], 0]);
    expect(await listPrivateFolder(folder)).toEqual(["tokens"]);
  });

  test("does not write what could not be read again", async () => {
    const bytes = new Uint8Array(256 * 1024 * 1024 + 1), { path } = newFile();
    expect(await failure(replacePrivateFile(path, bytes))).toMatchObject({ code: "configuration" });
    expect(textOf(path)).toBe("old");
  });
});

// The sweep compared the file's time with this machine's clock, and removed the very file that was about to be written: after a
// renewal in which the machine had slept for an hour, the new refresh token was gone.
describe("A reservation", () => {
  const temporariesIn = (folder: string) =>
    fs.readdirSync(folder).filter((name) => name.endsWith(".tmp")).map((name) => join(folder, name));
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);

  test("is used after any time, and is not swept by another write of this process", async () => {
    const { folder, path } = newFile(), other = join(folder, "other");
    const reserved = await reserveSpace(path, 100);
    const [temporary] = temporariesIn(folder);
    fs.utimesSync(temporary!, hoursAgo(9), hoursAgo(9));
    await replace(other, "other");
    (await reserveSpace(other, 100)).release();
    expect(temporariesIn(folder)).toEqual([temporary!]);
    await replacePrivateFile(path, encoder.encode("new"), { reserved });
    expect([textOf(path), temporariesIn(folder)]).toEqual(["new", []]);
  });

  test("that another process has removed is made again when it is used", async () => {
    const { folder, path } = newFile(), reserved = await reserveSpace(path, 100);
    for (const temporary of temporariesIn(folder)) fs.rmSync(temporary);
    await replacePrivateFile(path, encoder.encode("new"), { reserved });
    expect([textOf(path), fs.readdirSync(folder)]).toEqual(["new", ["tokens"]]);
  });

  test("is not made again for a write that was aborted, or when the folder is gone as well", async () => {
    const { folder, path } = newFile(), controller = new AbortController(), reason = new Error("enough");
    const reserved = await reserveSpace(path, 100);
    const beforeRenaming = () => {
      for (const temporary of temporariesIn(folder)) fs.rmSync(temporary);
      controller.abort(reason);
    };
    const late = replacePrivateFile(path, encoder.encode("new"), {
      reserved,
      beforeRenaming,
      signal: controller.signal,
    });
    expect(await rejection(late)).toBe(reason);
    expect([textOf(path), fs.readdirSync(folder)]).toEqual(["old", ["tokens"]]);

    const removeFolder = () => fs.rmSync(folder, { recursive: true });
    expect(await failure(replacePrivateFile(path, encoder.encode("new"), { beforeRenaming: removeFolder })))
      .toMatchObject({ code: "configuration", message: `Cannot write ${path}: it does not exist, or was removed` });
  });

  // Another machine's clock, or this one's after it was set.
  test("of another process is swept by its age on the clock of its file system", async () => {
    const { folder, path } = newFile(), temporary = join(folder, `.latchkey-${crypto.randomUUID()}.tmp`);
    fs.writeFileSync(temporary, "");
    const now = Date.now;
    try {
      Date.now = () => now() + 2 * 3_600_000;
      await replace(path, "new");
    } finally {
      Date.now = now;
    }
    expect(fs.readdirSync(folder)).toContain(basename(temporary));
  });
});

describe("A path that is not safe", () => {
  const linkHint = (what: string) => `Give the path of the ${what} that it links to`;

  test("is refused when the file is a link, be it to nowhere", async () => {
    const { folder, path } = newFile();
    for (const target of [path, "nowhere"]) {
      const link = join(folder, `link-${crypto.randomUUID()}`);
      fs.symlinkSync(target, link);
      expect(await refusals(link)).toEqual(refused(link, "it is a symbolic link", linkHint("file")));
      expect([fs.lstatSync(link).isSymbolicLink(), textOf(path)]).toEqual([true, "old"]);
    }
  });

  test("is refused when the folder is a link", async () => {
    const link = join(newFolder(), "link");
    fs.symlinkSync(newFile().folder, link);
    expect(await refusals(join(link, "tokens"))).toEqual(refused(link, "it is a symbolic link", linkHint("folder")));
    // Slashes do not lead behind it.
    expect(await failure(readPrivateFile(`${link}//tokens`))).toMatchObject({ code: "configuration" });
    expect(await failure(listPrivateFolder(`${link}/`))).toMatchObject({ code: "configuration" });
  });

  test("is refused when it is a pipe, a socket or a folder, and is not waited for", async () => {
    const folder = newFolder(),
      pipe = join(folder, "pipe"),
      socket = join(folder, "socket"),
      inner = join(folder, "inner");
    await promisify(execFile)("mkfifo", ["-m", "600", pipe]);
    fs.mkdirSync(inner, { mode: 0o700 });
    const server = createServer().listen(socket);
    await once(server, "listening");
    for (const path of [pipe, socket, inner]) {
      const hint = "Choose another file, or move away what is there";
      expect(await refusals(path)).toEqual(refused(path, "it is not a regular file", hint));
    }
    server.close();
    expect(await listPrivateFolder(folder)).toEqual([]);
  });

  test("is refused when others may write the file", async () => {
    for (const mode of [0o620, 0o602, 0o666]) {
      const { path } = newFile("theirs", mode);
      expect(await refusals(path)).toEqual(refused(path, "others can write to it", `Run chmod go-w ${path}`));
      expect(await failure(setAsideFile(path))).toMatchObject({ code: "configuration" });
      expect([textOf(path), modeOf(path)]).toEqual(["theirs", mode.toString(8)]);
    }
  });

  test("is refused when others may write the folder", async () => {
    for (const mode of [0o770, 0o707, 0o777]) {
      const { folder, path } = newFile();
      fs.chmodSync(folder, mode);
      expect(await refusals(path)).toEqual(refused(folder, "others can write to it", `Run chmod go-w ${folder}`));
      expect(await failure(listPrivateFolder(folder))).toMatchObject({ hint: `Run chmod go-w ${folder}` });
    }
  });

  test("is refused in a folder that people share, whose permissions nobody is told to change", async () => {
    for (const mode of [0o1777, 0o2775, 0o3770]) {
      const { folder, path } = newFile();
      fs.chmodSync(folder, mode);
      expect(await refusals(path)).toEqual(refused(folder, "others can write to it", ELSEWHERE));
    }
    // /tmp: root's, or that of who is not root's.
    const [error] = await refusals(join(tmpdir(), `nothing-${crypto.randomUUID()}`));
    expect(error).toMatchObject({ code: "configuration", hint: ELSEWHERE });
  });

  test("is quoted in the command of the hint", async () => {
    const folder = join(newFolder(), "jane's folder");
    fs.mkdirSync(folder);
    fs.chmodSync(folder, 0o777);
    const { hint } = await failure(listPrivateFolder(folder));
    const command = hint!.replace(/^Run /, "");
    await promisify(execFile)("sh", ["-c", command]);
    expect(await listPrivateFolder(folder)).toEqual([]);
  });

  test("is refused when it belongs to somebody else", async () => {
    // Who is not root can make no file another's, and /etc is root's.
    if (!isRoot) {
      const reason = `it belongs to user 0, and this is user ${process.getuid!()}`;
      return expect(await refusals("/etc/passwd")).toEqual(refused("/etc", reason, ELSEWHERE));
    }
    const { folder, path } = newFile(), reason = "it belongs to user 65534, and this is user 0";
    fs.chownSync(path, 65_534, 65_534);
    const hint = "Run this as that user, or move it away, or choose another file";
    expect(await refusals(path)).toEqual(refused(path, reason, hint));
    fs.chownSync(path, 0, 0);
    fs.chownSync(folder, 65_534, 65_534);
    expect(await refusals(path)).toEqual(
      refused(folder, reason, "Run this as that user, or choose a file in a folder of your own"),
    );
  });
});

describe("A disk that does not serve", () => {
  /** What a program says that runs there. */
  async function onDisk(disk: WornDisk, folder: string, args: readonly string[]) {
    const [file, ...rest] = disk.command(folder, [...program, ...args]);
    return JSON.parse((await promisify(execFile)(file!, rest)).stdout);
  }

  test("is told when it is full, and nothing is left there", async () => {
    const folder = newFolder(), path = join(folder, "tokens");
    const { left, ...failure } = await onDisk(FULL_DISK, folder, ["write", path, "200000"]);
    expect(failure).toMatchObject({
      name: "LatchkeyError",
      code: "configuration",
      message: `Cannot write ${path}: ${FULL_DISK.reason}`,
    });
    expect(failure.hint).toBeTruthy();
    expect(left.filter((name: string) => name !== "full")).toEqual([]);
  });

  test("is told when it is read-only", async () => {
    const { folder, path } = newFile();
    const { left, ...failure } = await onDisk(READ_ONLY_DISK, folder, ["write", path, "10"]);
    expect(failure).toMatchObject({ code: "configuration", message: `Cannot write ${path}: ${READ_ONLY_DISK.reason}` });
    expect([left, textOf(path)]).toEqual([["tokens"], "old"]);
    fs.chmodSync(folder, 0o700);
  });

  test("is told when no folder can be made", async () => {
    const folder = newFolder(), path = join(folder, "new", "tokens");
    const { left, ...failure } = await onDisk(READ_ONLY_DISK, folder, ["write", path, "10"]);
    expect(failure).toMatchObject({ code: "configuration", message: `Cannot write ${path}: ${READ_ONLY_DISK.reason}` });
    expect(left).toBe(undefined);
    fs.chmodSync(folder, 0o700);
  });

  // Node and Bun made the folder above again and again, until the stack was full.
  test("is told when a folder above is a link to nothing", async () => {
    const folder = newFolder(), link = join(folder, "link"), path = join(link, "new", "tokens");
    fs.symlinkSync(join(folder, "nothing"), link);
    expect(await failure(replace(path, ""))).toMatchObject({
      code: "configuration",
      message: expect.stringContaining(`Cannot write ${path}: `),
    });
    expect(fs.readdirSync(folder)).toEqual(["link"]);
  });

  test("is told when a path is too long or leads through a file", async () => {
    const { folder, path } = newFile(), long = join(folder, "x".repeat(300)), through = join(path, "a");
    expect(await failure(replace(long, ""))).toMatchObject({
      message: `Cannot write ${long}: its name is too long`,
      hint: "Choose a shorter path",
    });
    expect(await failure(readPrivateFile(through))).toMatchObject({ code: "configuration" });
    expect(await failure(readPrivateFile(join(through, "b")))).toMatchObject({
      message: `Cannot read ${join(through, "b")}: a component of its path is a file`,
    });
    expect(fs.readdirSync(folder)).toEqual(["tokens"]);
  });
});

describe("setAsideFile()", () => {
  test("renames a file beside it, never over another", async () => {
    const { folder, path } = newFile("first");
    const aside = [await setAsideFile(path)];
    for (const text of ["second", "third"]) {
      await replace(path, text);
      aside.push(await setAsideFile(path));
    }
    expect(aside.map(textOf)).toEqual(["first", "second", "third"]);
    expect(fs.readdirSync(folder).sort()).toEqual(aside.map((each) => each.slice(folder.length + 1)).toSorted());
    for (const each of aside) expect(each).toMatch(/tokens\.damaged-\d{8}T\d{6}Z(-\d)?$/);
  });

  test("says that there is nothing, and leaves nothing", async () => {
    const folder = newFolder(), path = join(folder, "tokens");
    expect(await failure(setAsideFile(path))).toMatchObject({
      code: "configuration",
      message: `Cannot set aside ${path}: it does not exist, or was removed`,
    });
    expect(fs.readdirSync(folder)).toEqual([]);
  });
});

describe("listPrivateFolder()", () => {
  test("gives the names of files alone", async () => {
    const { folder, path } = newFile();
    fs.mkdirSync(join(folder, "folder"));
    fs.symlinkSync(path, join(folder, "link"));
    expect(await listPrivateFolder(folder)).toEqual(["tokens"]);
    expect(await listPrivateFolder(`${folder}/`)).toEqual(["tokens"]);
  });

  test("gives none where no folder is", async () => {
    expect(await listPrivateFolder(join(stage.folder, "nowhere"))).toEqual([]);
  });

  test("refuses a file", async () => {
    const { path } = newFile();
    expect(await failure(listPrivateFolder(path))).toMatchObject({
      message: `${path} is not safe: it is not a folder`,
    });
  });
});
