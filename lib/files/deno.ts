/**
 * The file system through Deno's own functions: a silent token can need it, and `node:fs` costs as much as the rest of one.
 *
 * @module
 */
import { denoNamespace, isPermitted } from "../runtime/host.ts";
import {
  type FileFacts,
  isFlushUnsupported,
  type LocalFiles,
  locateProcessOnce,
  type OpenFile,
  PRIVATE_FILE,
  PRIVATE_FOLDER,
  readProcessFacts,
  readWhole,
  undefinedIfNotFound,
} from "./files.ts";

/** Limit of attempts to open a file that is being replaced. */
const MAX_ATTEMPTS = 100;

/** Returns the file system on Deno. */
export function denoFiles(): LocalFiles {
  const deno = denoNamespace()!;
  const isWindows = deno.build.os === "windows";

  const factsOf = (info: Deno.FileInfo): FileFacts => ({
    kind: kindOf(info),
    id: `${info.dev}:${info.ino}`,
    owner: isWindows ? undefined : info.uid ?? undefined,
    mode: isWindows ? undefined : info.mode ?? undefined,
    size: info.size,
    changedMs: info.mtime?.getTime() ?? 0,
    timestamps: `${info.mtime?.getTime()} ${info.ctime?.getTime()}`,
  });

  const handle = (file: Deno.FsFile): OpenFile => ({
    facts: () => factsOf(file.statSync()),
    read() {
      file.seekSync(0, deno.SeekMode.Start);
      return readWhole(file.statSync().size, (buffer) => file.readSync(buffer) ?? 0);
    },
    write(bytes) {
      file.seekSync(0, deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    },
    resize: (size) => file.truncateSync(size),
    touch: () => file.utimeSync(new Date(), new Date()),
    flush: () => file.sync(),
    close: () => file.close(),
  });

  const lstat = (path: string) => undefinedIfNotFound(() => factsOf(deno.lstatSync(path)));

  // Deno reads files of /proc only with --allow-all. The check comes first, so that Deno does not prompt.
  const readFile = (path: string) => isPermitted({ name: "read", path }) ? deno.readTextFileSync(path) : "";
  const readLink = (path: string) => isPermitted({ name: "read", path }) ? deno.readLinkSync(path) : "";

  return {
    ownUser: () => isWindows ? undefined : deno.uid() ?? undefined,
    processLocation: () =>
      locateProcessOnce({
        hostname: () => isPermitted({ name: "sys", kind: "hostname" }) ? deno.hostname() : "",
        readFile,
        readLink,
      }),
    processFacts: (pid) => readProcessFacts(pid, { ownPid: deno.pid, readFile, readLink }),
    lstat,
    readLink: (path) => deno.readLinkSync(path),
    // Deno has no O_NOFOLLOW, so the opened file is compared with the facts about the path.
    open(path) {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const seen = lstat(path);
        if (!seen) return undefined;
        if (seen.kind === "link") throw Object.assign(new Error("A symbolic link"), { code: "ELOOP" });
        if (seen.kind !== "file") return unopened(seen);
        const file = undefinedIfNotFound(() => deno.openSync(path));
        if (!file) continue; // it was removed, or is being replaced
        const opened = handle(file);
        if (opened.facts().id === seen.id) return opened;
        opened.close();
      }
      throw Object.assign(new Error("Replaced again and again"), { code: "EBUSY" });
    },
    create: (path) => handle(deno.openSync(path, { read: true, write: true, createNew: true, mode: PRIVATE_FILE })),
    rename: (from, to) => deno.renameSync(from, to),
    remove: (path) => undefinedIfNotFound(() => deno.removeSync(path)),
    setChanged: (path, changedMs) => deno.utimeSync(path, new Date(changedMs), new Date(changedMs)),
    makeFolder: (path) => deno.mkdirSync(path, { recursive: true, mode: PRIVATE_FOLDER }),
    list: (path) => Array.from(deno.readDirSync(path), ({ name, isFile }) => ({ name, isFile })),
    async flushFolder(path) {
      if (isWindows) return;
      const folder = await deno.open(path);
      try {
        await folder.sync();
      } catch (error) {
        if (!isFlushUnsupported(error)) throw error;
      } finally {
        folder.close();
      }
    },
  };
}

/** Returns the facts about a path that is not a file: opening a pipe would wait for its writer. */
function unopened(facts: FileFacts): OpenFile {
  const refuse = () => {
    throw Object.assign(new Error("Not a file"), { code: "EINVAL" });
  };
  return { facts: () => facts, read: refuse, write: refuse, resize: refuse, touch: refuse, flush: refuse, close() {} };
}

function kindOf(info: Deno.FileInfo): FileFacts["kind"] {
  if (info.isSymlink) return "link";
  if (info.isFile) return "file";
  return info.isDirectory ? "folder" : "other";
}
