/**
 * MSAL's one file, read and written beside MSAL.
 *
 * What MSAL does to it, in msal-extensions 1.3.1 for Python and @azure/msal-node-extensions 5.6.1, and what is done about it:
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
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { type KnownFile, readKnownFile } from "../platform/known_file.ts";
import { fileFailure } from "../platform/file_failure.ts";
import type { FileFacts, LocalFiles } from "../platform/local_files.ts";
import { openLocalFiles } from "../platform/open_local_files.ts";
import { readPrivateFile, replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
import { folderOf } from "../platform/private_folder.ts";
import type { CacheCall, CacheStore } from "./cache_store.ts";
import { type SlicedDocument, sliceDocument } from "./document_slice.ts";
import { waitAbout } from "./wait_about.ts";

/** How far ahead the file's time is set, in milliseconds: for so long a program can take between reading it and the clock. */
const AHEAD_MS = 100;
/** For how long a file that is empty or ends too early has not to change, in milliseconds, to be taken for what it is. */
const STILL_MS = 300, PAUSE_MS = 30;
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

/** Somebody else has written the file. */
class Overtaken extends Error {}

/** The store, its path being known. */
export class PlaintextFile implements Required<CacheStore> {
  readonly #path: string;
  readonly #log: Logger | undefined;
  #known: KnownFile | undefined;
  #document: SlicedDocument | undefined;

  /**
   * @param path Path of the file.
   * @param log Takes log lines.
   */
  constructor(path: string, log: Logger | undefined) {
    this.#path = path;
    this.#log = log;
  }

  /** What is known of all accounts. */
  async readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    const document = await this.#read(call);
    return document ? [document.accounts()] : [];
  }

  /** What is one account's. */
  async read(homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    return (await this.#read(call))?.account(homeAccountId);
  }

  /** Changes the file. */
  async update(
    _homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call: CacheCall = {},
  ): Promise<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      if (await this.#locked(call, () => this.#change(change, call))) return;
    }
    throw new LatchkeyError("timed_out", `Cannot write ${this.#path}: other programs write it all the time`, {
      hint: "Try again",
    });
  }

  /** Sets the file aside when it is damaged. */
  async setAside(
    _homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    return await this.#locked(call, async () => {
      const { document } = await this.#readStill(call);
      return document && isDamaged(document.whole()) ? await setAsideFile(this.#path) : undefined;
    });
  }

  /** Renews alone. */
  async alone<T>(homeAccountId: string, work: () => Promise<T>, { signal }: CacheCall = {}): Promise<T> {
    signal?.throwIfAborted();
    if (!(await this.#isThere())) return await work(); // nothing is there to be renewed
    const { renewAlone } = await import("./renewal_lock.ts"); // who has a token that is kept does without
    const { accountHash } = await import("./account_hash.ts");
    const path = `${this.#path}.${await accountHash(homeAccountId)}`;
    return await renewAlone(path, work, { signal, log: this.#log });
  }

  async #read(call: CacheCall): Promise<SlicedDocument | undefined> {
    const known = await readKnownFile(this.#path, this.#known, call);
    if (known !== this.#known || !known) this.#document = known && sliceDocument(known.bytes);
    this.#known = known;
    const document = this.#document;
    if (!document || known?.settled || document.isWhole()) return document;
    try {
      return (await this.#locked(call, () => this.#readStill(call))).document;
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code === "timed_out") throw error;
      return document; // where no lock can be made, more is not to be had
    }
  }

  /**
   * Reads when nobody has the lock; yet somebody who lost it may still be writing.
   *
   * @throws {LatchkeyError} `timed_out` when that does not end.
   */
  async #readStill(call: CacheCall): Promise<StillFile> {
    const files = await openLocalFiles(folderOf(this.#path), "read"), startMs = performance.now();
    for (let seen: string | undefined, sinceMs = 0, looks = 0;;) {
      const facts = this.#guarded("read", () => files.look(this.#path)), mark = markOf(facts);
      const bytes = await readPrivateFile(this.#path, call), document = bytes && sliceDocument(bytes);
      const nowMs = performance.now(), isChanged = mark !== seen;
      if (isChanged) seen = mark, sinceMs = nowMs, looks = 0;
      const isStill = ++looks >= STILL_LOOKS && nowMs - sinceMs >= STILL_MS ||
        facts && Date.now() - facts.changedMs >= OLD_MS;
      if (!document || isStill || document.isWhole()) return { bytes, document, mark };
      if (isChanged && nowMs - startMs >= RESTLESS_MS) throw neverWhole(this.#path);
      await waitAbout(PAUSE_MS, call.signal);
    }
  }

  /** Reads, merges and writes. @returns Whether that lasts, as far as can be told. */
  async #change(
    change: (document: string | undefined) => string | undefined,
    { signal }: CacheCall,
  ): Promise<boolean> {
    const files = await openLocalFiles(folderOf(this.#path), "write"),
      lookAtLock = () => files.look(this.#lockPath)?.id;
    const lock = this.#guarded("write", lookAtLock), read = await this.#readStill({ signal });
    const before = read.document?.whole(), after = change(before);
    if (after === undefined || after === before) return true;
    const beforeRenaming = () => {
      if (!isAsRead(files, this.#path, read)) throw new Overtaken();
    };
    try {
      await replacePrivateFile(this.#path, new TextEncoder().encode(after), { signal, beforeRenaming });
    } catch (error) {
      if (error instanceof Overtaken) return false;
      throw error;
    }
    return this.#guarded("write", () => {
      files.setChanged(this.#path, Date.now() + AHEAD_MS);
      return lock !== undefined && lookAtLock() === lock;
    });
  }

  /** Whether there is a file, as far as can be told. */
  async #isThere(): Promise<boolean> {
    try {
      return (await openLocalFiles(folderOf(this.#path), "read")).look(this.#path) !== undefined;
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

  async #locked<T>({ signal }: CacheCall, work: () => Promise<T>): Promise<T> {
    const { withLock } = await import("../platform/lock.ts"); // who has a token that is kept does without
    return await withLock(this.#lockPath, work, { signal });
  }

  get #lockPath(): string {
    return `${this.#path}.lockfile`;
  }
}

function neverWhole(path: string): LatchkeyError {
  return new LatchkeyError("timed_out", `Cannot read ${path}: another program writes it all the time`, {
    hint: "End the program that writes it, or choose another file: a token cache is written as a whole",
  });
}

/** What was in the file, and how it looked then. */
interface StillFile {
  readonly bytes: Uint8Array | undefined;
  readonly document: SlicedDocument | undefined;
  readonly mark: string | undefined;
}

/** What changes when a file is written, unless that is twice in the same moment. */
function markOf(facts: FileFacts | undefined): string | undefined {
  return facts && [facts.id, facts.size, facts.changedMs].join(" ");
}

/** Whether a file is as it was. To write a large one takes longer than a moment. */
function isAsRead(files: LocalFiles, path: string, { bytes, mark }: StillFile): boolean {
  if (markOf(files.look(path)) !== mark) return false;
  if (!bytes || bytes.length > MOMENTS_BYTES) return true;
  const file = files.open(path), now = file?.read();
  file?.close();
  return now?.length === bytes.length && now.every((byte, at) => byte === bytes[at]);
}
