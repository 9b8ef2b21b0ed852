/**
 * A token cache in one file for any number of processes: one document for all accounts, one lock, one replacement. The
 * file is encrypted, or it is MSAL's.
 *
 * MSAL's writers (msal-extensions 1.3.1 for Python, @azure/msal-node-extensions 5.6.1), and the answer to each fact:
 * - Both write in place, so that a reader can find the file empty or incomplete: it is read again, under their lock.
 * - Both reload only a file that changed after they last read it: a replaced file gets a time after the renaming, not
 *   the earlier one of the writing.
 * - Node's removes another program's lock if it released its own before; Python's does with `portalocker` after 5
 *   seconds. Hence a file that somebody else wrote is not replaced, and a change that was made without the lock is made
 *   again.
 * - Node's compares the time before it waits for the lock: a program that wrote before can undo what others wrote
 *   meanwhile, MSAL's own programs included. Nothing can be done about that here.
 *
 * @module
 */
import { idKey } from "../account.ts";
import { delayWithJitter } from "../async.ts";
import { encodeHex } from "../encoding.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { withNote } from "../remedies.ts";
import { type FileFacts, fileFailure, type LocalFiles } from "../files/files.ts";
import type { Lock } from "../files/lock.ts";
import { openLocalFiles } from "../files/permissions.ts";
import {
  isSameContent,
  type KnownFile,
  readKnownFile,
  readPrivateFile,
  replacePrivateFile,
  type ReservedSpace,
  reserveSpace,
  setAsideFile,
} from "../files/private_files.ts";
import { folderOf } from "../runtime/path.ts";
import type { CacheCall, CacheStore } from "./store.ts";

/** Encoding of a document in its file. */
export interface DocumentFormat {
  /** True if MSAL uses the file as well. */
  readonly isShared: boolean;
  /** Does what may prompt the user, before a lock is held. */
  prepare?(call: CacheCall): Promise<void>;
  /**
   * Decodes the file's bytes. Damaged bytes give a text that is not a document.
   *
   * @param call `isForChange`: true if a new document may replace it.
   */
  decode(bytes: Uint8Array<ArrayBuffer>, call: CacheCall & { readonly isForChange: boolean }): Promise<string>;
  /** Encodes a document. */
  encode(document: string, call: CacheCall): Promise<Uint8Array>;
}

/** MSAL's format: JSON that is not encrypted. */
export const MSAL_FORMAT: DocumentFormat = {
  isShared: true,
  decode: (bytes) => Promise.resolve(new TextDecoder().decode(bytes)),
  encode: (document) => Promise.resolve(new TextEncoder().encode(document)),
};

/** Milliseconds by which the file's time is set ahead: a program can take that long from reading the file to the clock. */
const AHEAD_MS = 100;
/** Time in milliseconds after which an incomplete, unchanged file counts as damaged. */
const STILL_MS = 300;
const DELAY_MS = 30;
/** Number of looks at it, besides: a machine that stood still itself has seen nothing meanwhile. */
const STILL_LOOKS = 6;
/** Time in milliseconds that it may keep changing: writing a cache takes much less, and others wait for the lock. */
const RESTLESS_MS = 2000;
/** Time from the file's last change to the making of our lock, in milliseconds, after which no program is writing the file. */
const OLD_MS = 5000;
/** Size up to which a file can be written twice within the resolution of its time, in bytes. */
const MOMENTS_BYTES = 1024 * 1024;
/** Number of attempts to write while others do. */
const MAX_ATTEMPTS = 20;
/** Timeout for another process's renewal, in milliseconds: requests are retried, and may first look up the endpoints. */
const RENEWAL_WAIT_MS = 150_000;
/** Growth of a document by a renewal, in bytes, at most: Microsoft Entra's tokens have up to 16 KB each. */
const RENEWAL_BYTES = 128 * 1024;
/** Disk space of the lock under which the document is replaced, in bytes. */
const LOCK_BYTES = 32 * 1024;

/** Another program wrote the file, or took the lock over. */
class Overtaken extends Error {}

export class DocumentFile implements Required<CacheStore> {
  readonly #path: string;
  readonly #format: DocumentFormat;
  readonly #log: Logger | undefined;
  /** The file that was read last, and its document. An incomplete one is not kept: another program may be writing it. */
  #known: { readonly file: KnownFile; readonly document: string } | undefined;
  /** Disk space that is reserved for renewals, by account. */
  readonly #reserved = new Map<string, ReservedSpace>();

  constructor(path: string, { format, log }: { format: DocumentFormat; log: Logger | undefined }) {
    this.#path = path;
    this.#format = format;
    this.#log = log;
  }

  async readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    const document = await this.read("", call);
    return document === undefined ? [] : [document];
  }

  async read(_homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    const known = this.#known;
    const file = await readKnownFile(this.#path, known?.file, call);
    if (!file) {
      this.#known = undefined;
      return undefined;
    }
    if (file.bytes === known?.file.bytes) {
      this.#known = { file, document: known.document };
      return known.document;
    }
    const document = await this.#format.decode(file.bytes, { ...call, isForChange: false });
    const isComplete = !this.#format.isShared || file.settled !== undefined || isWhole(document);
    this.#known = isComplete ? { file, document } : undefined;
    if (isComplete) return document;
    try {
      const { withLock } = await import("../files/lock.ts");
      return (await withLock(this.#lockPath, () => this.#readForChange(call), call)).document;
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code === "timed_out") throw error;
      return document; // no lock can be made, so this has to do
    }
  }

  async update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call: CacheCall = {},
  ): Promise<void> {
    if (this.#format.prepare) {
      const { document } = await this.#readForChange(call);
      const wanted = change(document);
      if (wanted === undefined || wanted === document) return;
      await this.#format.prepare(call);
    }
    const reserved = this.#reserved.get(idKey(homeAccountId));
    reserved?.shrink(LOCK_BYTES);
    await this.#lockedUntilDone(call, (lock) => this.#change(change, { ...call, lock, reserved }));
  }

  async setAside(
    _homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    await this.#format.prepare?.(call);
    let place: string | undefined;
    await this.#lockedUntilDone(call, async (lock) => {
      const files = await this.#openFolder("write");
      const read = await this.#readForChange(call);
      if (read.document === undefined || !isDamaged(read.document)) return true;
      const beforeRenaming = () => {
        if (!lock.isHeld() || !isAsRead(files, this.#path, read)) throw new Overtaken();
      };
      place = await setAsideFile(this.#path, { ...call, beforeRenaming });
      return true;
    });
    return place;
  }

  /**
   * Does a renewal once it is certain that its tokens can be stored: disk space is reserved for them before.
   *
   * @throws {LatchkeyError} with `error` `cache_not_writable` if they could not be stored. `work` has not been called
   * then.
   */
  async withLock<T>(homeAccountId: string, work: () => Promise<T>, call: CacheCall = {}): Promise<T> {
    call.signal?.throwIfAborted();
    // A file that cannot be seen counts as there: the next use reports the error.
    const isMissing = await this.#openFolder("read").then((files) => !files.lstat(this.#path)).catch(() => false);
    if (isMissing) return await work(); // there is nothing to renew
    const { withLock } = await import("../files/lock.ts"); // not needed for a cached token
    const account = idKey(homeAccountId);
    const path = `${this.#path}.${await hashOf(account)}.renewal.lockfile`;
    let working: Promise<T> | undefined;
    try {
      return await withLock(path, async () => {
        const reserved = await this.#reserve(call);
        this.#reserved.set(account, reserved);
        try {
          working = work();
          return await working;
        } finally {
          this.#reserved.delete(account);
          reserved.release();
        }
      }, { ...call, waitMs: RENEWAL_WAIT_MS });
    } catch (error) {
      if (!working) {
        call.signal?.throwIfAborted();
        throw error instanceof LatchkeyError ? notWritable(error) : error;
      }
      const result = await working; // rethrows the work's error
      if (!(error instanceof LatchkeyError)) throw error;
      this.#log?.("warn", `A token was renewed, but its lock failed: ${error.message}`);
      return result;
    }
  }

  /** Reserves space for the document after a renewal, and for the lock under which it is written. */
  async #reserve(call: CacheCall): Promise<ReservedSpace> {
    const files = await this.#openFolder("read");
    const size = this.#guarded("read", () => files.lstat(this.#path))?.size ?? 0;
    return await reserveSpace(this.#path, size + RENEWAL_BYTES + LOCK_BYTES, call);
  }

  /**
   * Reads the document to replace. In MSAL's file, a program that lost the lock may still be writing.
   *
   * @throws {LatchkeyError} `timed_out` if it does not stop writing.
   */
  async #readForChange(call: CacheCall): Promise<ReadFile> {
    const files = await this.#openFolder("read");
    const startMs = performance.now();
    // Both times are by the file system's clock: a file server's can differ from this machine's.
    const lockedMs = this.#guarded("read", () => files.lstat(this.#lockPath))?.changedMs ?? -Infinity;
    for (let seen: string | undefined, sinceMs = 0, looks = 0;;) {
      const facts = this.#guarded("read", () => files.lstat(this.#path));
      const mark = markOf(facts);
      const bytes = await readPrivateFile(this.#path, call);
      const document = bytes && await this.#format.decode(bytes, { ...call, isForChange: true });
      const nowMs = performance.now();
      const isChanged = mark !== seen;
      if (isChanged) {
        seen = mark;
        sinceMs = nowMs;
        looks = 0;
      }
      const isStill = ++looks >= STILL_LOOKS && nowMs - sinceMs >= STILL_MS ||
        facts && lockedMs - facts.changedMs >= OLD_MS;
      if (document === undefined || !this.#format.isShared || isStill || isWhole(document)) {
        return { bytes, document, mark };
      }
      if (isChanged && nowMs - startMs >= RESTLESS_MS) {
        throw new LatchkeyError("timed_out", `Cannot read ${this.#path}: another program writes it all the time`, {
          remedy: "End the program that writes it, or choose another file: a token cache is written as a whole",
        });
      }
      await delayWithJitter(DELAY_MS, call.signal);
    }
  }

  /** Reads, changes and writes the document. Returns false if another program may undo that. */
  async #change(
    change: (document: string | undefined) => string | undefined,
    { lock, reserved, ...call }: CacheCall & { readonly lock: Lock; readonly reserved: ReservedSpace | undefined },
  ): Promise<boolean> {
    const files = await this.#openFolder("write");
    const { isShared } = this.#format;
    const lookAtLock = () => files.lstat(this.#lockPath)?.id;
    const lockId = this.#guarded("write", lookAtLock);
    const read = await this.#readForChange(call);
    const after = change(read.document);
    if (after === undefined || after === read.document) return true;
    const bytes = await this.#format.encode(after, call);
    const beforeRenaming = () => {
      // Not for MSAL's file: MSAL for Python writes into locks that are not its own.
      if (!isShared && !lock.isHeld() || !isAsRead(files, this.#path, read)) throw new Overtaken();
    };
    await replacePrivateFile(this.#path, bytes, { ...call, beforeRenaming, reserved });
    if (!isShared) return true;
    return this.#guarded("write", () => {
      files.setChanged(this.#path, Date.now() + AHEAD_MS);
      return lockId !== undefined && lookAtLock() === lockId;
    });
  }

  /** Repeats work under the lock until it returns true. */
  async #lockedUntilDone(call: CacheCall, work: (lock: Lock) => Promise<boolean>): Promise<void> {
    const { withLock } = await import("../files/lock.ts");
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      try {
        if (await withLock(this.#lockPath, work, call)) return;
      } catch (error) {
        if (!(error instanceof Overtaken)) throw error;
      }
    }
    throw new LatchkeyError("timed_out", `Cannot write ${this.#path}: other programs write it all the time`, {
      remedy: { kind: "try_again" },
    });
  }

  #openFolder(access: "read" | "write"): Promise<LocalFiles> {
    return openLocalFiles(folderOf(this.#path), access);
  }

  #guarded<T>(doing: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw fileFailure(error, { doing, path: this.#path });
    }
  }

  get #lockPath(): string {
    return `${this.#path}.lockfile`;
  }
}

function notWritable({ code, message, remedy }: LatchkeyError): LatchkeyError {
  const reason = "Nothing was renewed: a server may accept a refresh token only once, and to lose the new one " +
    "is to lose the sign-in";
  return new LatchkeyError(code, `Cannot store the tokens of a renewal: ${message}`, {
    error: "cache_not_writable",
    remedy: withNote(remedy, reason),
  });
}

/** Returns 32 hexadecimal digits for an account: ids can have any characters and any length. */
async function hashOf(account: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(account)));
  return encodeHex(hash.subarray(0, 16));
}

/** Returns true if a text is JSON, so that no part of it is missing. */
function isWhole(document: string): boolean {
  try {
    return JSON.parse(document) !== undefined;
  } catch {
    return false;
  }
}

interface ReadFile {
  readonly bytes: Uint8Array | undefined;
  readonly document: string | undefined;
  readonly mark: string | undefined;
}

/** Returns a text that changes when the file is written, unless that is twice within the resolution of its time. */
function markOf(facts: FileFacts | undefined): string | undefined {
  return facts && [facts.id, facts.size, facts.timestamps].join(" ");
}

/** Returns true if a file is unchanged. To write a large one takes longer than the resolution of its time. */
function isAsRead(files: LocalFiles, path: string, { bytes, mark }: ReadFile): boolean {
  if (markOf(files.lstat(path)) !== mark) return false;
  if (!bytes || bytes.length > MOMENTS_BYTES) return true;
  const file = files.open(path);
  const now = file?.read();
  file?.close();
  return now !== undefined && isSameContent(now, bytes);
}
