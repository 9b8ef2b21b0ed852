/**
 * What makes a file, and the folder that it is in, safe from other people of the machine.
 *
 * @module
 */
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { operatingSystem, quoteCommand } from "../runtime/host.ts";
import { errorCodeOf, type FileFacts, fileFailure, type LocalFiles, type OpenFile } from "./files.ts";
import { openLocalFiles } from "./open.ts";

/** Permission bits by which group and others may write, and read. */
const OTHERS_WRITE = 0o022, OTHERS_READ = 0o044;
/** Permission bits of a folder that people share on purpose, as /tmp and /var/local are: sticky, and for a group. */
const SHARED = 0o3000;
/** No command mends a folder that others need as it is. */
const ELSEWHERE = "choose a file in a folder of your own";

/** How often others may be making the same folders. */
const MAX_ATTEMPTS = 5;

/**
 * The folder of a file.
 *
 * @param path Path of the file.
 * @throws {TypeError} when that is no path of a file.
 */
export function folderOf(path: string): string {
  const [, folder, name] = separators().exec(path) ?? [];
  if (!name || path.includes("\0")) throw new ArgumentError(`A path of a file is wanted, not ${JSON.stringify(path)}`);
  return folder === undefined ? "." : withoutSlashes(folder);
}

/** A folder's path without the slashes at its end, by which a link would be followed. */
function withoutSlashes(folder: string): string {
  const pattern = operatingSystem() === "win32" ? /(?<=[^:\\/])[\\/]+$/ : /(?<=[^/])\/+$/;
  return folder.replace(pattern, "");
}

/** Everything before the name, with the last separator, and the name, which is not `.` or `..`. */
function separators(): RegExp {
  return operatingSystem() === "win32"
    ? /^(.*[\\/]|[A-Za-z]:)?(?!\.{1,2}$)([^\\/:]+)$/s
    : /^(.*\/)?(?!\.{1,2}$)([^/]+)$/s;
}

/**
 * Whether a folder is there, and nobody else may change what is in it.
 *
 * @throws {LatchkeyError} `configuration` when it is not safe.
 */
export function isPrivateFolder(files: LocalFiles, folder: string): boolean {
  const facts = files.lstat(folder);
  if (!facts) return false;
  if (facts.kind === "link") refuse(folder, "it is a symbolic link", "Give the path of the folder that it links to");
  if (facts.kind !== "folder") refuse(folder, "it is no folder", "Name a folder, or move away what is there");
  requireOwner(files, folder, facts);
  requireUnshared(folder, facts);
  return true;
}

/**
 * Makes a folder when it is missing, for its owner alone, and sees to it that it is safe.
 *
 * @throws {LatchkeyError} `configuration` when it is not.
 */
export function makePrivateFolder(files: LocalFiles, folder: string): void {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
    if (isPrivateFolder(files, folder)) return;
    try {
      files.makeFolder(folder);
    } catch {
      // Others can be making it, or one above it, at this moment: Deno takes what they made for a file then.
    }
  }
  files.makeFolder(folder);
  isPrivateFolder(files, folder);
}

/**
 * Makes sure that a file is a file of ours that nobody else may write.
 *
 * @throws {LatchkeyError} `configuration` when it is not.
 */
export function requirePrivateFile(files: LocalFiles, path: string, facts: FileFacts): void {
  requireFile(path, facts);
  requireOwner(files, path, facts);
  requireUnshared(path, facts);
}

/**
 * Makes sure that nobody else may read a file.
 *
 * @throws {LatchkeyError} `configuration` when others may.
 */
function requireSecretFile(path: string, { mode = 0 }: FileFacts): void {
  if ((mode & OTHERS_READ) !== 0) refuse(path, "others may read it", `Run ${quoteCommand(["chmod", "600", path])}`);
}

/**
 * Opens a file for reading.
 *
 * @returns `undefined` when nothing is there.
 * @throws {LatchkeyError} `configuration` when it is no file.
 */
export function openRegularFile(files: LocalFiles, path: string): OpenFile | undefined {
  let file;
  try {
    file = files.open(path);
  } catch (error) {
    const facts = files.lstat(path); // a link or a socket, as a rule
    if (facts) requireFile(path, facts);
    throw error;
  }
  try {
    if (file) requireFile(path, file.facts());
    return file;
  } catch (error) {
    file?.close();
    throw error;
  }
}

function requireFile(path: string, { kind }: FileFacts): void {
  if (kind === "link") refuse(path, "it is a symbolic link", "Give the path of the file that it links to");
  if (kind !== "file") refuse(path, "it is no regular file", "Name another file, or move away what is there");
}

function requireOwner(files: LocalFiles, path: string, { owner, kind }: FileFacts): void {
  const own = files.ownUser();
  if (owner === own) return;
  // A file is looked at when its folder was found to be this user's: there it can be renamed, whoever's it is.
  const hint = kind === "folder" ? ELSEWHERE : "move it away, or choose another file";
  refuse(
    path,
    `it belongs to user ${owner}, and this is user ${own}`,
    own === 0 ? `Run this as that user, or ${hint}` : capitalized(hint),
  );
}

function requireUnshared(path: string, { mode = 0, kind }: FileFacts): void {
  if ((mode & OTHERS_WRITE) === 0) return;
  refuse(path, "others may write it", hintForShared(path, kind === "folder" && (mode & SHARED) !== 0));
}

/** What helps where this user's own file or folder can be written by others. */
function hintForShared(path: string, onPurpose: boolean): string {
  // A Windows drive in WSL keeps no modes, unless it is mounted with "metadata".
  if (/^\/mnt\/[a-z](\/|$)/.test(path)) return "Choose a folder of Linux: a Windows drive keeps no permissions";
  return onPurpose ? capitalized(ELSEWHERE) : `Run ${quoteCommand(["chmod", "go-w", path])}`;
}

function capitalized(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}

function refuse(path: string, reason: string, hint: string): never {
  throw new LatchkeyError("configuration", `${path} is not safe for tokens: ${reason}`, { hint });
}

/** Ends a call early. */
interface PrivateFileCall {
  /** Ends the call with the signal's reason; a file is replaced or not, never in part. */
  readonly signal?: AbortSignal | undefined;
}

/** How a file is read. */
interface ReadOptions extends PrivateFileCall {
  /** Whether to refuse what others may read: a key. A folder's permissions get lost where it is copied. @default false */
  readonly isSecret?: boolean | undefined;
}

/** How a file is renamed. */
interface RenameOptions extends PrivateFileCall {
  /**
   * Called when all is on the disk, and only the name is missing. When it throws, the file stays what it was, and the error is
   * the caller's.
   */
  readonly beforeRenaming?: (() => void) | undefined;
}

/** How a file is replaced. */
interface ReplaceOptions extends RenameOptions {
  /** Space that {@linkcode reserveSpace} took for it. It is used up, whatever comes of the call. @default none */
  readonly reserved?: ReservedSpace | undefined;
}

/** Space on the disk, taken by a file of random bytes: file systems that compress cannot make them smaller. */
export class ReservedSpace {
  readonly #files: LocalFiles;
  readonly #path: string;
  #file: OpenFile | undefined;

  /** @param file The file that takes it, open. */
  constructor(files: LocalFiles, path: string, file: OpenFile) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
  }

  /** Gives some of it back, in bytes: for the lock that it takes to use the rest. */
  shrink(size: number): void {
    this.#file?.resize(Math.max(0, this.#file.facts().size - size));
  }

  /** Gives the file away to be written, its path included; `undefined` if it is used up. */
  take(): { readonly path: string; readonly file: OpenFile } | undefined {
    const file = this.#file;
    this.#file = undefined;
    return file && { path: this.#path, file };
  }

  /** Gives it back, if it is not used up. */
  release(): void {
    const taken = this.take();
    taken?.file.close();
    if (taken) removeIfPossible(this.#files, taken.path);
  }
}

/** What is larger is no token cache, and would take the program's memory. */
const MAX_BYTES = 256 * 1024 * 1024;
/** What a file is called while it is being written. */
const UNFINISHED = /^\.latchkey-[\da-f-]{36}\.tmp$/;
/** When a file that is still being written has been left behind by a process that was killed. */
const ABANDONED_MS = 3_600_000;
/** How many random bytes one call gives. */
const MAX_RANDOM_BYTES = 65_536;
/** End of the name of a file that was set aside. */
const SET_ASIDE = /\.damaged-\d{8}T\d{6}Z(?:-\d+)?$/;
/** How old the last change has to be, in milliseconds, so that the next one has another time in any file system. */
const SETTLED_MS = 5000;
/** How often Windows is asked to rename what another program has open for a moment, and how long it takes in between. */
const WINDOWS_ATTEMPTS = 50, WINDOWS_PAUSE_MS = 20;

/** When the unfinished files of a folder were last looked for, in milliseconds since 1970. */
const sweptMs = new Map<string, number>();

/**
 * Reads a file.
 *
 * @param path Its path.
 * @param options Ends the call early.
 * @returns What is in it; `undefined` when it, or its folder, is not there.
 * @throws {LatchkeyError} `configuration` when it cannot be read, is not this user's, or others could have written it;
 * `missing_dependency` when Deno does not permit it.
 */
export async function readPrivateFile(
  path: string,
  { signal, isSecret }: ReadOptions = {},
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const folder = folderOf(path);
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "read");
  try {
    return isPrivateFolder(files, folder) ? readNow(files, path, { isSecret }) : undefined;
  } catch (error) {
    throw fileFailure(error, { doing: "read", path, signal });
  }
}

/** What a file was when it was read. */
export interface KnownFile {
  /** What was in it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * How the file looked, when nobody had written it for some seconds: whoever writes it later makes it look different.
   * `undefined` when it was too young for that.
   */
  readonly settled: FileFacts | undefined;
}

/**
 * Reads a file, unless it is as it was.
 *
 * @param path Its path.
 * @param known What this gave the last time.
 * @param options Ends the call early.
 * @returns The same object when it is as it was; `undefined` when it, or its folder, is not there.
 * @throws {LatchkeyError} as {@linkcode readPrivateFile}
 */
export async function readKnownFile(
  path: string,
  known: KnownFile | undefined,
  { signal }: PrivateFileCall = {},
): Promise<KnownFile | undefined> {
  const folder = folderOf(path), nowMs = Date.now();
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "read"), before = lookSafely(files, { path, folder });
  if (known?.settled && before && isSame(known.settled, before)) return known;

  const bytes = await readPrivateFile(path, { signal });
  if (!bytes) return undefined;
  const after = lookSafely(files, { path, folder });
  const isSettled = before && after && isSame(before, after) && nowMs - after.changedMs > SETTLED_MS;
  return { bytes, settled: isSettled ? after : undefined };
}

/** What is there; `undefined` when reading will say what is wrong. */
function lookSafely(
  files: LocalFiles,
  { path, folder }: { readonly path: string; readonly folder: string },
): FileFacts | undefined {
  try {
    return isPrivateFolder(files, folder) ? files.lstat(path) : undefined;
  } catch {
    return undefined;
  }
}

function isSame(one: FileFacts, other: FileFacts): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function readNow(files: LocalFiles, path: string, { isSecret }: ReadOptions): Uint8Array<ArrayBuffer> | undefined {
  const file = openRegularFile(files, path);
  if (!file) return undefined;
  try {
    const facts = file.facts();
    requirePrivateFile(files, path, facts);
    if (isSecret) requireSecretFile(path, facts);
    requireReadable(path, facts.size);
    return file.read();
  } finally {
    file.close();
  }
}

function requireReadable(path: string, size: number): void {
  if (size <= MAX_BYTES) return;
  throw new LatchkeyError("configuration", `${path} is not for ${size} bytes, more than any token cache has`, {
    hint: `Look at what ${path} is, and move it away`,
  });
}

/**
 * Replaces a file, or makes it, and its folder when that is missing. Who reads it meanwhile, or after the machine lost its
 * power, finds what was there before or what is there now.
 *
 * @param path Its path.
 * @param bytes What is to be in it.
 * @param options Ends the call early, or gives it up at the last moment.
 * @throws {LatchkeyError} `configuration` when it cannot be written or is not safe; `missing_dependency` when Deno does not
 * permit it.
 */
export async function replacePrivateFile(
  path: string,
  bytes: Uint8Array,
  { signal, beforeRenaming, reserved }: ReplaceOptions = {},
): Promise<void> {
  const folder = folderOf(path);
  signal?.throwIfAborted();
  requireReadable(path, bytes.length);
  const files = await openLocalFiles(folder, "write");
  try {
    makePrivateFolder(files, folder);
    const facts = files.lstat(path);
    if (facts) requirePrivateFile(files, path, facts);
    sweep(files, folder);
    await replace(files, { path, bytes, signal, beforeRenaming, reserved });
    await files.flushFolder(folder);
  } catch (error) {
    throw fileFailure(error, { doing: "write", path, signal });
  }
}

interface Replacement extends ReplaceOptions {
  readonly path: string;
  readonly bytes: Uint8Array;
}

async function replace(
  files: LocalFiles,
  { path, bytes, signal, beforeRenaming, reserved }: Replacement,
): Promise<void> {
  const { file, path: unfinished } = reserved?.take() ?? createUnfinished(files, path);
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
    await rename(files, unfinished, path);
  } catch (error) {
    removeIfPossible(files, unfinished);
    throw error;
  }
}

function createUnfinished(files: LocalFiles, path: string): { readonly path: string; readonly file: OpenFile } {
  const folder = folderOf(path), name = `.latchkey-${crypto.randomUUID()}.tmp`;
  const unfinished = folder === "." ? name : `${folder.replace(/\/$/, "")}/${name}`;
  return { path: unfinished, file: files.create(unfinished) };
}

/**
 * Takes space on the disk, so that a file can be replaced later whatever others write until then.
 *
 * @param path Path of the file.
 * @param size Size of what it will be, in bytes.
 * @param options Ends the call early.
 * @returns The space. The caller uses it or gives it back.
 * @throws {LatchkeyError} as {@linkcode replacePrivateFile}
 */
export async function reserveSpace(
  path: string,
  size: number,
  { signal }: PrivateFileCall = {},
): Promise<ReservedSpace> {
  const folder = folderOf(path);
  signal?.throwIfAborted();
  requireReadable(path, size);
  const files = await openLocalFiles(folder, "write");
  try {
    makePrivateFolder(files, folder);
    const facts = files.lstat(path);
    if (facts) requirePrivateFile(files, path, facts);
    const { path: unfinished, file } = createUnfinished(files, path),
      space = new ReservedSpace(files, unfinished, file);
    try {
      const bytes = new Uint8Array(size);
      for (let at = 0; at < size; at += MAX_RANDOM_BYTES) {
        crypto.getRandomValues(bytes.subarray(at, at + MAX_RANDOM_BYTES));
      }
      file.write(bytes);
      await file.flush();
      return space;
    } catch (error) {
      space.release();
      throw error;
    }
  } catch (error) {
    throw fileFailure(error, { doing: "write", path, signal });
  }
}

/**
 * Renames a file that cannot be made sense of to a free name beside it.
 *
 * @param path Its path.
 * @param options Ends the call early, or gives it up at the last moment.
 * @returns Where it is now.
 * @throws {LatchkeyError} `configuration` when that cannot be done; `missing_dependency` when Deno does not permit it.
 */
export async function setAsideFile(
  path: string,
  { signal, beforeRenaming }: RenameOptions = {},
): Promise<string> {
  const folder = folderOf(path), files = await openLocalFiles(folder, "write");
  try {
    isPrivateFolder(files, folder);
    const facts = files.lstat(path);
    if (facts) requirePrivateFile(files, path, facts);
    const aside = reserve(files, `${path}.damaged-${new Date().toISOString().replace(/[-:]|\.\d+/g, "")}`);
    try {
      beforeRenaming?.();
      await rename(files, path, aside);
    } catch (error) {
      removeIfPossible(files, aside);
      throw error;
    }
    await files.flushFolder(folder);
    return aside;
  } catch (error) {
    throw fileFailure(error, { doing: "set aside", path, signal });
  }
}

/** Makes an empty file of a name that is free, so that only what is ours is renamed over. */
function reserve(files: LocalFiles, wanted: string): string {
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

/**
 * Lists the files of a folder that were set aside. They can have secrets in them.
 *
 * @param folder The folder.
 * @param name Name of the file that they were before. @default any
 * @returns Their paths, the oldest first.
 * @throws {LatchkeyError} `configuration` when it cannot be read or is not safe; `missing_dependency` when Deno does not
 * permit it.
 */
export async function listSetAside(folder: string, name?: string): Promise<readonly string[]> {
  const names = await listPrivateFolder(folder), before = (each: string): string => each.replace(SET_ASIDE, "");
  return names.filter((each) => SET_ASIDE.test(each) && (name === undefined || before(each) === name))
    .toSorted().map((each) => `${folder.replace(/\/$/, "")}/${each}`);
}

/**
 * Removes a file, if it is there.
 *
 * @throws {LatchkeyError} `configuration` when it cannot be removed; `missing_dependency` when Deno does not permit it.
 */
export async function removePrivateFile(path: string): Promise<void> {
  const folder = folderOf(path), files = await openLocalFiles(folder, "write");
  try {
    if (isPrivateFolder(files, folder)) files.remove(path);
  } catch (error) {
    throw fileFailure(error, { doing: "remove", path });
  }
}

/**
 * Names of the files in a folder, those that are being written left out.
 *
 * @param path The folder.
 * @returns The names in no order; none when the folder is not there.
 * @throws {LatchkeyError} `configuration` when it cannot be read or is not safe; `missing_dependency` when Deno does not
 * permit it.
 */
export async function listPrivateFolder(path: string): Promise<readonly string[]> {
  const folder = withoutSlashes(path), files = await openLocalFiles(folder, "read");
  try {
    if (!isPrivateFolder(files, folder)) return [];
    return files.list(folder).filter(({ name, isFile }) => isFile && !UNFINISHED.test(name)).map(({ name }) => name);
  } catch (error) {
    throw fileFailure(error, { doing: "read", path });
  }
}

/** Removes what killed processes left, at most once an hour, so that no write pays for it twice. */
function sweep(files: LocalFiles, folder: string): void {
  const now = Date.now();
  if (now - (sweptMs.get(folder) ?? -Infinity) < ABANDONED_MS) return;
  sweptMs.set(folder, now);
  for (const { name } of files.list(folder).filter(({ name, isFile }) => isFile && UNFINISHED.test(name))) {
    const path = `${folder}/${name}`, facts = files.lstat(path);
    if (facts && now - facts.changedMs > ABANDONED_MS) removeIfPossible(files, path);
  }
}

/** Windows does not rename a file over one that another program has open, which mostly is for a moment. */
async function rename(files: LocalFiles, from: string, to: string): Promise<void> {
  const attempts = operatingSystem() === "win32" ? WINDOWS_ATTEMPTS : 1;
  for (let attempt = 1;; attempt++) {
    try {
      return files.rename(from, to);
    } catch (error) {
      if (attempt === attempts || !["EPERM", "EACCES", "EBUSY"].includes(errorCodeOf(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, WINDOWS_PAUSE_MS));
    }
  }
}

/** What cannot be removed is no reason to hide why it was to be: the next sweep finds it. */
function removeIfPossible(files: LocalFiles, path: string): void {
  try {
    files.remove(path);
  } catch {
    // It is gone, or the sweep of another day gets it.
  }
}
