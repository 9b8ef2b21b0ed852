/**
 * The file system by Deno's own functions: a silent token can need it, and `node:fs` alone costs as much as the rest of one.
 *
 * @module
 */
import { denoNamespace, isPermitted } from "../runtime/host.ts";
import {
  BOOT_ID_PATH,
  isFlushUnsupported,
  type FileFacts,
  isNotFound,
  type LocalFiles,
  type OpenFile,
  PID_NAMESPACE_PATH,
  locateProcess,
  type ProcessLocation,
  readWhole,
} from "./files.ts";

/** How often a file may be replaced while it is being opened. */
const MAX_ATTEMPTS = 100;
let place: ProcessLocation | undefined;

/** The file system, on Deno. */
export function denoFiles(): LocalFiles {
  const deno = denoNamespace()!, isWindows = deno.build.os === "windows";

  const factsOf = (info: Deno.FileInfo): FileFacts => ({
    kind: info.isSymlink ? "link" : info.isFile ? "file" : info.isDirectory ? "folder" : "other",
    id: `${info.dev}:${info.ino}`,
    owner: isWindows ? undefined : info.uid ?? undefined,
    mode: isWindows ? undefined : info.mode ?? undefined,
    size: info.size,
    changedMs: info.mtime?.getTime() ?? 0,
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

  const look = (path: string): FileFacts | undefined => {
    try {
      return factsOf(deno.lstatSync(path));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };

  return {
    ownUser: () => isWindows ? undefined : deno.uid() ?? undefined,
    processLocation: () =>
      place ??= locateProcess({
        host: () => isPermitted({ name: "sys", kind: "hostname" }) ? deno.hostname() : "",
        // Deno reads them only with --allow-all. It is asked first, so that it does not ask the person.
        bootId: () => isPermitted({ name: "read", path: BOOT_ID_PATH }) ? deno.readTextFileSync(BOOT_ID_PATH) : "",
        pidNamespace: () =>
          isPermitted({ name: "read", path: PID_NAMESPACE_PATH }) ? deno.readLinkSync(PID_NAMESPACE_PATH) : "",
      }),
    lstat: look,
    // Deno cannot open without following a link: what was opened has to be what was looked at.
    open(path) {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const seen = look(path);
        if (!seen) return undefined;
        if (seen.kind === "link") throw Object.assign(new Error("A symbolic link"), { code: "ELOOP" });
        if (seen.kind !== "file") return unopened(seen);
        const file = openIfThere(deno, path);
        if (!file) continue; // it was removed, or another one is coming
        const opened = handle(file);
        if (opened.facts().id === seen.id) return opened;
        opened.close();
      }
      throw Object.assign(new Error("Replaced again and again"), { code: "EBUSY" });
    },
    create: (path) => handle(deno.openSync(path, { read: true, write: true, createNew: true, mode: 0o600 })),
    rename: (from, to) => deno.renameSync(from, to),
    remove(path) {
      try {
        deno.removeSync(path);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
    setChanged: (path, changedMs) => deno.utimeSync(path, new Date(changedMs), new Date(changedMs)),
    makeFolder: (path) => deno.mkdirSync(path, { recursive: true, mode: 0o700 }),
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

function openIfThere(deno: typeof Deno, path: string): Deno.FsFile | undefined {
  try {
    return deno.openSync(path);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** What is no file is not opened, since to open a pipe is to wait for its writer; its facts are told all the same. */
function unopened(facts: FileFacts): OpenFile {
  const refuse = () => {
    throw Object.assign(new Error("Not a file"), { code: "EINVAL" });
  };
  return {
    facts: () => facts,
    read: refuse,
    write: refuse,
    resize: refuse,
    touch: refuse,
    flush: refuse,
    close: () => {},
  };
}
