/**
 * Small files with secrets: other users of the machine can neither read nor replace them, and a write is atomic.
 *
 * The functions throw a `LatchkeyError`: `configuration` if the system refuses, or a file or folder is not safe, since it is
 * another user's, others can write to it, or it is a link; `missing_dependency` if Deno does not permit it.
 *
 * @module
 */
import { delay } from "../async.ts";
import { LatchkeyError } from "../errors.ts";
import { operatingSystem } from "../runtime/host.ts";
import { folderOf, pathIn, withoutSlashes } from "../runtime/path.ts";
import { errorCodeOf, type FileFacts, fileFailure, type LocalFiles, type OpenFile } from "./files.ts";
import {
  isPrivateFolder,
  makePrivateFolder,
  openLocalFiles,
  openRegularFile,
  requirePrivateFile,
  requireUnreadable,
} from "./permissions.ts";

interface PrivateFileCall {
  /** Ends the call with the signal's reason; a file is replaced completely or not at all. */
  readonly signal?: AbortSignal | undefined;
}

interface ReadOptions extends PrivateFileCall {
  /** Refuses a file that others can read, such as a key whose folder was copied without its permissions. @default false */
  readonly isSecret?: boolean | undefined;
}

interface RenameOptions extends PrivateFileCall {
  /** Called right before the rename. If it throws, the file stays as it was, and the caller gets the error. */
  readonly beforeRenaming?: (() => void) | undefined;
}

interface ReplaceOptions extends RenameOptions {
  /** Space from {@linkcode reserveSpace}. The call uses it up, even if it fails. */
  readonly reserved?: ReservedSpace | undefined;
}

/** Larger files are no token cache, and would use up the memory. */
const MAX_BYTES = 256 * 1024 * 1024;
/** Name of a file that is being written. */
const TEMPORARY = /^\.latchkey-[\da-f-]{36}\.tmp$/;
/** Age at which another process's temporary file counts as left behind by one that was killed, and interval of sweeps. */
const ABANDONED_MS = 3_600_000;
/** The most random bytes that one call gives. */
const MAX_RANDOM_BYTES = 65_536;
/** End of the name of a file that was set aside. */
const SET_ASIDE = /\.damaged-\d{8}T\d{6}Z(?:-\d+)?$/;
/** Age of a change in milliseconds at which the next change gets another time on any file system. */
const SETTLED_MS = 5000;
/** Windows lets a program open a file for itself alone, such as a scanner for viruses or for a backup. It usually takes a moment. */
const WINDOWS_ATTEMPTS = 50;
const WINDOWS_DELAY_MS = 20;
const MAY_BE_IN_USE: readonly string[] = ["EPERM", "EACCES", "EBUSY"];

interface Task extends PrivateFileCall {
  readonly doing: "read" | "write" | "set aside" | "remove";
  readonly path: string;
  /** @default the folder of the file */
  readonly folder?: string;
}

async function perform<T>(
  { doing, path, signal, folder = folderOf(path) }: Task,
  work: (files: LocalFiles, folder: string) => T | Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, doing === "read" ? "read" : "write");
  const mayBeRepeated = doing === "read" || doing === "remove";
  try {
    return mayBeRepeated ? await untilFree(() => work(files, folder), signal) : await work(files, folder);
  } catch (error) {
    throw fileFailure(error, { doing, path, signal });
  }
}

/** Repeats what fails because another program has a file open. */
async function untilFree<T>(work: () => T | Promise<T>, signal?: AbortSignal): Promise<T> {
  const attempts = operatingSystem() === "win32" ? WINDOWS_ATTEMPTS : 1;
  for (let attempt = 1;; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attempts || !MAY_BE_IN_USE.includes(errorCodeOf(error))) throw error;
      await delay(WINDOWS_DELAY_MS, signal);
    }
  }
}

/** Reads a file; `undefined` if it, or its folder, does not exist. */
export async function readPrivateFile(
  path: string,
  { signal, isSecret = false }: ReadOptions = {},
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return await perform({ doing: "read", path, signal }, (files, folder) => {
    const file = isPrivateFolder(files, folder) ? openRegularFile(files, path) : undefined;
    if (!file) return undefined;
    try {
      const facts = file.facts();
      requirePrivateFile(files, path, facts);
      if (isSecret) requireUnreadable(path, facts);
      requireSize(path, facts.size);
      return file.read();
    } finally {
      file.close();
    }
  });
}

/** A file as it was when it was read. */
export interface KnownFile {
  /** Its content: the same array as of the call before if the content is the same. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its facts, which any later write changes; `undefined` if the last write was too recent for that. */
  readonly settled: FileFacts | undefined;
}

/**
 * Reads a file, or returns the result of the last call if it has not changed; `undefined` if it does not exist. The content is
 * compared if the clock cannot tell: two writes within its resolution leave the same timestamps.
 */
export async function readKnownFile(
  path: string,
  known: KnownFile | undefined,
  { signal }: PrivateFileCall = {},
): Promise<KnownFile | undefined> {
  const folder = folderOf(path);
  const nowMs = Date.now();
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "read");
  const before = factsIfReadable();
  if (known?.settled && before && isSame(known.settled, before)) return known;

  const read = await readPrivateFile(path, { signal });
  if (!read) return undefined;
  const after = factsIfReadable();
  const isSettled = before && after && isSame(before, after) && nowMs - after.changedMs > SETTLED_MS;
  const bytes = known && isSameContent(known.bytes, read) ? known.bytes : read;
  return { bytes, settled: isSettled ? after : undefined };

  function factsIfReadable(): FileFacts | undefined {
    try {
      return isPrivateFolder(files, folder) ? files.lstat(path) : undefined;
    } catch {
      return undefined; // the read reports it
    }
  }
}

function isSame(one: FileFacts, other: FileFacts): boolean {
  return one.id === other.id && one.size === other.size && one.timestamps === other.timestamps &&
    one.kind === other.kind && one.owner === other.owner && one.mode === other.mode;
}

/** Returns true if two files have the same bytes. */
export function isSameContent(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) {
    if (one[at] !== other[at]) return false; // a function call a byte would take ten times as long
  }
  return true;
}

/**
 * Replaces or creates a file, and creates its folder if it is missing. A reader sees the old or the new content, even after a
 * power failure.
 */
export async function replacePrivateFile(
  path: string,
  bytes: Uint8Array,
  { signal, beforeRenaming, reserved }: ReplaceOptions = {},
): Promise<void> {
  await perform({ doing: "write", path, signal }, async (files, folder) => {
    prepareToWrite(files, path, bytes.length);
    const write = { path, bytes, signal, beforeRenaming };
    const isReplaced = await moveIntoPlace(files, reserved?.take() ?? createTemporary(files, folder), write);
    // Another process may take an old reservation for one that was left behind. What is to be written must not go with it.
    if (!isReplaced && !await moveIntoPlace(files, createTemporary(files, folder), write)) {
      throw Object.assign(new Error("The temporary file was removed again"), { code: "ENOENT" });
    }
    await files.flushFolder(folder);
  });
}

interface Write extends RenameOptions {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Writes a temporary file and renames it. Returns false if it was removed meanwhile; after any other failure, removes it. */
async function moveIntoPlace(
  files: LocalFiles,
  temporary: TemporaryFile,
  { path, bytes, signal, beforeRenaming }: Write,
): Promise<boolean> {
  const { file } = temporary;
  try {
    try {
      file.write(bytes);
      file.resize(bytes.length);
      await file.flush();
    } finally {
      file.close();
    }
    signal?.throwIfAborted();
    beforeRenaming?.();
    await rename(files, temporary.path, path);
    ownTemporaries.delete(temporary.name);
    return true;
  } catch (error) {
    const isRemoved = isMissing(files, temporary.path);
    removeTemporary(files, temporary);
    if (isRemoved && !signal?.aborted) return false;
    throw error;
  }
}

function isMissing(files: LocalFiles, path: string): boolean {
  try {
    return files.lstat(path) === undefined;
  } catch {
    return false; // the failure that led here says more
  }
}

/** Takes space, so that a later {@linkcode replacePrivateFile} cannot fail for lack of it. The caller uses or releases it. */
export async function reserveSpace(
  path: string,
  size: number,
  { signal }: PrivateFileCall = {},
): Promise<ReservedSpace> {
  return await perform({ doing: "write", path, signal }, async (files, folder) => {
    prepareToWrite(files, path, size);
    const temporary = createTemporary(files, folder);
    const space = new ReservedSpace(files, temporary);
    try {
      const bytes = new Uint8Array(size);
      for (let at = 0; at < size; at += MAX_RANDOM_BYTES) {
        crypto.getRandomValues(bytes.subarray(at, at + MAX_RANDOM_BYTES));
      }
      temporary.file.write(bytes);
      await temporary.file.flush();
      return space;
    } catch (error) {
      space.release();
      throw error;
    }
  });
}

/** Space on the disk, held by a file of random bytes: file systems that compress cannot make it smaller. */
export class ReservedSpace {
  readonly #files: LocalFiles;
  #temporary: TemporaryFile | undefined;

  constructor(files: LocalFiles, temporary: TemporaryFile) {
    this.#files = files;
    this.#temporary = temporary;
  }

  /** Gives some bytes back, for the lock that the later write needs. */
  shrink(size: number): void {
    const file = this.#temporary?.file;
    file?.resize(Math.max(0, file.facts().size - size));
  }

  /** Hands over the file to be written; `undefined` if it is used up. */
  take(): TemporaryFile | undefined {
    const temporary = this.#temporary;
    this.#temporary = undefined;
    return temporary;
  }

  /** Gives the space back, if it is not used up. */
  release(): void {
    const temporary = this.take();
    temporary?.file.close();
    if (temporary) removeTemporary(this.#files, temporary);
  }
}

interface TemporaryFile {
  readonly name: string;
  readonly path: string;
  readonly file: OpenFile;
}

/** Names of the temporary files that this process is going to rename or remove. A folder can have several paths. */
const ownTemporaries = new Set<string>();

function createTemporary(files: LocalFiles, folder: string): TemporaryFile {
  const name = `.latchkey-${crypto.randomUUID()}.tmp`;
  const path = pathIn(folder, name);
  const file = files.create(path);
  ownTemporaries.add(name);
  try {
    sweep(files, folder, file.facts().changedMs);
  } catch {
    // A folder that cannot be listed is no reason to lose what is to be written.
  }
  return { name, path, file };
}

function removeTemporary(files: LocalFiles, { name, path }: TemporaryFile): void {
  ownTemporaries.delete(name);
  removeIfPossible(files, path);
}

function prepareToWrite(files: LocalFiles, path: string, size: number): void {
  requireSize(path, size);
  makePrivateFolder(files, folderOf(path));
  const facts = files.lstat(path);
  if (facts) requirePrivateFile(files, path, facts);
}

function requireSize(path: string, size: number): void {
  if (size <= MAX_BYTES) return;
  const remedy = `Check what ${path} is, and move it away`;
  const reason = `${size} bytes, more than any token cache has`;
  throw new LatchkeyError("configuration", `${path} is too large: ${reason}`, { remedy });
}

/** Renames a damaged file to a free name beside it, and returns its new path. */
export async function setAsideFile(path: string, { signal, beforeRenaming }: RenameOptions = {}): Promise<string> {
  return await perform({ doing: "set aside", path, signal }, async (files, folder) => {
    isPrivateFolder(files, folder);
    const facts = files.lstat(path);
    if (facts) requirePrivateFile(files, path, facts);
    const aside = reserveName(files, `${path}.damaged-${new Date().toISOString().replace(/[-:]|\.\d+/g, "")}`);
    try {
      beforeRenaming?.();
      await rename(files, path, aside);
    } catch (error) {
      removeIfPossible(files, aside);
      throw error;
    }
    await files.flushFolder(folder);
    return aside;
  });
}

/** Creates an empty file with a free name, so that the rename replaces nobody else's file. */
function reserveName(files: LocalFiles, wanted: string): string {
  for (let count = 1;; count++) {
    const path = count === 1 ? wanted : `${wanted}-${count}`;
    try {
      files.create(path).close();
      return path;
    } catch (error) {
      if (errorCodeOf(error) !== "EEXIST") throw error;
    }
  }
}

/** Lists the paths of the files of a folder, or only those of one name, that were set aside, the oldest first. */
export async function listSetAside(folder: string, name?: string): Promise<readonly string[]> {
  const names = await listPrivateFolder(folder);
  return names.filter((each) => SET_ASIDE.test(each) && (name === undefined || each.replace(SET_ASIDE, "") === name))
    .toSorted().map((each) => pathIn(folder, each));
}

/** Removes a file, if it exists. */
export async function removePrivateFile(path: string): Promise<void> {
  await perform({ doing: "remove", path }, (files, folder) => {
    if (isPrivateFolder(files, folder)) files.remove(path);
  });
}

/** Lists the names of the files in a folder, in no order, except those that are being written; none if it does not exist. */
export async function listPrivateFolder(path: string): Promise<readonly string[]> {
  return await perform({ doing: "read", path, folder: withoutSlashes(path) }, (files, folder) => {
    if (!isPrivateFolder(files, folder)) return [];
    return files.list(folder).filter(({ name, isFile }) => isFile && !TEMPORARY.test(name)).map(({ name }) => name);
  });
}

/** Times at which folders were last swept, in milliseconds since 1970 by the clock of their file system. */
const sweptMs = new Map<string, number>();

/**
 * Removes what killed processes left behind, at most once an hour. The age of a file is the time until `nowMs`, at which the
 * same file system made another one: a file server's clock can differ from this machine's. Files of this process are kept,
 * whatever their age: the machine may have slept in the middle of a renewal.
 */
function sweep(files: LocalFiles, folder: string, nowMs: number): void {
  const sinceMs = nowMs - (sweptMs.get(folder) ?? -Infinity);
  if (sinceMs >= 0 && sinceMs < ABANDONED_MS) return;
  sweptMs.set(folder, nowMs);
  for (const { name, isFile } of files.list(folder)) {
    if (!isFile || !TEMPORARY.test(name) || ownTemporaries.has(name)) continue;
    const path = pathIn(folder, name);
    const facts = files.lstat(path);
    if (facts && nowMs - facts.changedMs > ABANDONED_MS) removeIfPossible(files, path);
  }
}

async function rename(files: LocalFiles, from: string, to: string): Promise<void> {
  try {
    await untilFree(() => files.rename(from, to));
  } catch (error) {
    // A file was created in the same folder a moment ago, so what Windows denies is the one that is open.
    const isInUse = operatingSystem() === "win32" && MAY_BE_IN_USE.includes(errorCodeOf(error));
    throw isInUse ? Object.assign(new Error("In use"), { code: "EBUSY" }) : error;
  }
}

/** Removes a file. A failure must not hide the error that led here. */
function removeIfPossible(files: LocalFiles, path: string): void {
  try {
    files.remove(path);
  } catch {
    // A later sweep tries again.
  }
}
