/**
 * A token cache in one file, which any number of processes use at once: one document for all accounts, one lock, one replacement.
 * The file is encrypted, or it is the one that MSAL uses as well.
 *
 * What MSAL does to its file, in msal-extensions 1.3.1 for Python and @azure/msal-node-extensions 5.6.1, and what is done about it:
 * - Both write in place, so that who reads meanwhile finds it empty or in part: it is looked at again, with their lock.
 * - Both read it again only when it was changed after they last read it: what is renamed into place gets a time that is after
 *   the renaming, not the one of writing it before.
 * - Node's removes a lock that is another program's, when it was done with its own before; Python's does when it has
 *   `portalocker` and waited for 5 seconds. Hence a file that somebody else has written is not replaced, and a change that was
 *   made without a lock is made again.
 * - Node's looks whether the file was changed before it waits for the lock: a program of its that wrote before can undo what
 *   others wrote meanwhile, programs of its own kind included. Nothing can be done about that from here.
 *
 * @module
 */
import { idKey } from "../account.ts";
import { delayWithJitter } from "../async.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { type FileFacts, fileFailure, type LocalFiles } from "../files/files.ts";
import type { Lock } from "../files/lock.ts";
import {
  folderOf,
  type KnownFile,
  openLocalFiles,
  readKnownFile,
  readPrivateFile,
  replacePrivateFile,
  type ReservedSpace,
  reserveSpace,
  setAsideFile,
} from "../files/private_files.ts";
import type { CacheCall, CacheStore } from "./store.ts";

/** How a document is kept in its file. */
export interface DocumentFormat {
  /** Whether MSAL uses the file as well. */
  readonly isShared: boolean;
  /** Does what may ask a person, before a lock is held. */
  prepare?(call: CacheCall): Promise<void>;
  /**
   * Reads a document out of the file's bytes. Damaged bytes give a text that is not a document.
   *
   * @param call `isForChange`: whether a new document may take its place.
   */
  decode(bytes: Uint8Array<ArrayBuffer>, call: CacheCall & { readonly isForChange: boolean }): Promise<string>;
  /** Makes the file's bytes out of a document. */
  encode(document: string, call: CacheCall): Promise<Uint8Array>;
}

/** MSAL's: JSON that is not encrypted. */
export const MSAL_FORMAT: DocumentFormat = {
  isShared: true,
  decode: (bytes) => Promise.resolve(new TextDecoder().decode(bytes)),
  encode: (document) => Promise.resolve(new TextEncoder().encode(document)),
};

/** How the file is used. */
interface DocumentFileOptions {
  /** How the document is kept in it. */
  readonly format: DocumentFormat;
  /** Takes log lines. @default none */
  readonly log?: Logger | undefined;
}

/** How far ahead the file's time is set, in milliseconds: for so long a program can take between reading it and the clock. */
const AHEAD_MS = 100;
/** For how long a file that is empty or ends too early has not to change, in milliseconds, to be taken for what it is. */
const STILL_MS = 300, DELAY_MS = 30;
/** In how many looks, besides: a machine that stood still itself has seen nothing meanwhile. */
const STILL_LOOKS = 6;
/** For how long one may go on changing, in milliseconds: to write a cache takes much less, and others wait for the lock. */
const RESTLESS_MS = 2000;
/** How old its last change is, in milliseconds, when nobody is writing it by any clock. */
const OLD_MS = 5000;
/** How much can be written so quickly, in bytes, that the file's time does not tell it from what was written before. */
const MOMENTS_BYTES = 1024 * 1024;
/** How often others may come in between. */
const MAX_ATTEMPTS = 20;
/** How long a renewal by another process is waited for, in milliseconds: requests are repeated, and may find the endpoints first. */
const RENEWAL_WAIT_MS = 150_000;
/** By how much a renewal makes a document longer, in bytes, at most: Microsoft Entra's tokens have up to 16 KB each. */
const RENEWAL_BYTES = 128 * 1024;
/** What the lock takes on the disk, in bytes, under which the document is replaced. */
const LOCK_BYTES = 32 * 1024;

/** Somebody else has written the file, or has the lock. */
class Overtaken extends Error {}

/** The store, its path being known. */
export class DocumentFile implements Required<CacheStore> {
  readonly #path: string;
  readonly #format: DocumentFormat;
  readonly #log: Logger | undefined;
  /** The file that was read last, and its document. */
  #known: { readonly file: KnownFile; readonly document: string } | undefined;
  /** Space that renewals have taken for what they bring, by account. */
  readonly #reserved = new Map<string, ReservedSpace>();

  /**
   * @param path Path of the file.
   * @param options How it is used.
   */
  constructor(path: string, { format, log }: DocumentFileOptions) {
    this.#path = path;
    this.#format = format;
    this.#log = log;
  }

  /** The document. */
  async readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    const document = await this.#read(call);
    return document === undefined ? [] : [document];
  }

  /** The document. */
  async read(_homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    return await this.#read(call);
  }

  /** Changes the document. */
  async update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call: CacheCall = {},
  ): Promise<void> {
    if (this.#format.prepare) {
      const { document } = await this.#readForChange(call), wanted = change(document);
      if (wanted === undefined || wanted === document) return;
      await this.#format.prepare(call);
    }
    const reserved = this.#reserved.get(idKey(homeAccountId));
    reserved?.shrink(LOCK_BYTES);
    await this.#lockedUntilDone(call, (lock) => this.#change(change, { ...call, lock, reserved }));
  }

  /** Sets the file aside if it is damaged. */
  async setAside(
    _homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    await this.#format.prepare?.(call);
    let place: string | undefined;
    await this.#lockedUntilDone(call, async (lock) => {
      const files = await openLocalFiles(folderOf(this.#path), "write"), read = await this.#readForChange(call);
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
   * Renews alone, once it is sure that what it brings can be stored: space on the disk is taken for it before.
   *
   * @throws {LatchkeyError} with `error` `cache_not_writable` if that is not sure. `work` has not been called then.
   */
  async withLock<T>(homeAccountId: string, work: () => Promise<T>, call: CacheCall = {}): Promise<T> {
    call.signal?.throwIfAborted();
    if (!(await this.#isThere())) return await work(); // nothing is there to be renewed
    const { withLock } = await import("../files/lock.ts"); // who has a token that is kept does without
    const account = idKey(homeAccountId), path = `${this.#path}.${await hashOf(account)}.renewal.lockfile`;
    let working: Promise<T> | undefined;
    try {
      return await withLock(path, async () => {
        const reserved = await this.#reserve(call);
        this.#reserved.set(account, reserved);
        try {
          return await (working = work());
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
      const result = await working; // throws what the work threw
      if (!(error instanceof LatchkeyError)) throw error;
      this.#log?.("warn", `A token was renewed, and its lock is not as it should be: ${error.message}`);
      return result;
    }
  }

  /** Takes space for the document as it will be after a renewal, and for the lock under which it is written. */
  async #reserve(call: CacheCall): Promise<ReservedSpace> {
    const files = await openLocalFiles(folderOf(this.#path), "read");
    const size = this.#guarded("read", () => files.lstat(this.#path))?.size ?? 0;
    return await reserveSpace(this.#path, size + RENEWAL_BYTES + LOCK_BYTES, call);
  }

  async #read(call: CacheCall): Promise<string | undefined> {
    const known = this.#known, file = await readKnownFile(this.#path, known?.file, call);
    if (!file) return this.#known = undefined;
    if (file === known?.file) return known.document;
    const document = await this.#format.decode(file.bytes, { ...call, isForChange: false });
    this.#known = { file, document };
    if (!this.#format.isShared || file.settled || isWhole(document)) return document;
    try {
      const { withLock } = await import("../files/lock.ts");
      return (await withLock(this.#lockPath, () => this.#readForChange(call), call)).document;
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code === "timed_out") throw error;
      return document; // where no lock can be made, more is not to be had
    }
  }

  /**
   * Reads what may be replaced. In MSAL's file, somebody who lost the lock may still be writing.
   *
   * @throws {LatchkeyError} `timed_out` if that does not end.
   */
  async #readForChange(call: CacheCall): Promise<ReadFile> {
    const files = await openLocalFiles(folderOf(this.#path), "read"), startMs = performance.now();
    for (let seen: string | undefined, sinceMs = 0, looks = 0;;) {
      const facts = this.#guarded("read", () => files.lstat(this.#path)), mark = markOf(facts);
      const bytes = await readPrivateFile(this.#path, call);
      const document = bytes && await this.#format.decode(bytes, { ...call, isForChange: true });
      const nowMs = performance.now(), isChanged = mark !== seen;
      if (isChanged) seen = mark, sinceMs = nowMs, looks = 0;
      const isStill = ++looks >= STILL_LOOKS && nowMs - sinceMs >= STILL_MS ||
        facts && Date.now() - facts.changedMs >= OLD_MS;
      if (document === undefined || !this.#format.isShared || isStill || isWhole(document)) {
        return { bytes, document, mark };
      }
      if (isChanged && nowMs - startMs >= RESTLESS_MS) throw neverWhole(this.#path);
      await delayWithJitter(DELAY_MS, call.signal);
    }
  }

  /** Reads, merges and writes. @returns Whether that lasts, as far as can be told. */
  async #change(
    change: (document: string | undefined) => string | undefined,
    { lock, reserved, ...call }: CacheCall & { readonly lock: Lock; readonly reserved: ReservedSpace | undefined },
  ): Promise<boolean> {
    const files = await openLocalFiles(folderOf(this.#path), "write"), { isShared } = this.#format;
    const lookAtLock = () => files.lstat(this.#lockPath)?.id;
    const lockId = this.#guarded("write", lookAtLock), read = await this.#readForChange(call);
    const after = change(read.document);
    if (after === undefined || after === read.document) return true;
    const bytes = await this.#format.encode(after, call);
    const beforeRenaming = () => {
      // MSAL for Python writes into a lock that is not its own.
      if (!isShared && !lock.isHeld() || !isAsRead(files, this.#path, read)) throw new Overtaken();
    };
    await replacePrivateFile(this.#path, bytes, { ...call, beforeRenaming, reserved });
    if (!isShared) return true;
    return this.#guarded("write", () => {
      files.setChanged(this.#path, Date.now() + AHEAD_MS);
      return lockId !== undefined && lookAtLock() === lockId;
    });
  }

  /** Does something under the lock, again and again until it lasts. */
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
      hint: "Try again",
    });
  }

  /** Returns true if there is a file, as far as can be told. */
  async #isThere(): Promise<boolean> {
    try {
      return (await openLocalFiles(folderOf(this.#path), "read")).lstat(this.#path) !== undefined;
    } catch {
      return true; // whoever uses it finds out what is wrong
    }
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

/** A renewal that did not begin, since what it brings could not be stored. */
function notWritable({ code, message, hint }: LatchkeyError): LatchkeyError {
  const stake =
    "Nothing was renewed: a server may take a refresh token only once, and a new one that is not stored is a lost sign-in";
  return new LatchkeyError(code, `Cannot keep what a renewal would bring: ${message}`, {
    error: "cache_not_writable",
    hint: hint ? `${hint}. ${stake}` : stake,
  });
}

function neverWhole(path: string): LatchkeyError {
  return new LatchkeyError("timed_out", `Cannot read ${path}: another program writes it all the time`, {
    hint: "End the program that writes it, or choose another file: a token cache is written as a whole",
  });
}

/** Returns 32 hexadecimal digits for an account: ids can have any characters in them, and be of any length. */
async function hashOf(account: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(account)));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns true if a text is JSON, and hence no part of it is missing. */
function isWhole(document: string): boolean {
  try {
    return JSON.parse(document) !== undefined;
  } catch {
    return false;
  }
}

/** What was in the file, and how it looked then. */
interface ReadFile {
  readonly bytes: Uint8Array | undefined;
  readonly document: string | undefined;
  readonly mark: string | undefined;
}

/** What changes when a file is written, unless that is twice in the same moment. */
function markOf(facts: FileFacts | undefined): string | undefined {
  return facts && [facts.id, facts.size, facts.changedMs].join(" ");
}

/** Whether a file is as it was. To write a large one takes longer than a moment. */
function isAsRead(files: LocalFiles, path: string, { bytes, mark }: ReadFile): boolean {
  if (markOf(files.lstat(path)) !== mark) return false;
  if (!bytes || bytes.length > MOMENTS_BYTES) return true;
  const file = files.open(path), now = file?.read();
  file?.close();
  return now?.length === bytes.length && now.every((byte, at) => byte === bytes[at]);
}
