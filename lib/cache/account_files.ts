/**
 * Encrypted files, one for each account, and one that lists the accounts.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { type Lock, withLock } from "../platform/lock.ts";
import { listPrivateFolder, readPrivateFile, replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
import { accountHash } from "./account_hash.ts";
import {
  type AccountList,
  accountsOf,
  NO_ACCOUNTS,
  readAccountList,
  withDocuments,
  withUnsure,
  writeAccountList,
} from "./account_list.ts";
import type { CacheCall, CacheStore } from "./cache_store.ts";
import { renewAlone } from "./renewal_lock.ts";
import { keyIdOf, seal, unseal } from "./sealed_text.ts";
import { findStoreKey, openStoreKey, type StoreKey, type StoreKeyOptions } from "./store_key.ts";

const DOCUMENT_NAME = /^[\da-f]{32}\.sealed$/;
const LIST_NAME = "accounts.sealed";
/** What stands for a document that cannot be unsealed: no document, whoever reads it. */
const UNREADABLE = "(sealed)";
/** How often a lock may be lost before what it was for is done. */
const MAX_ATTEMPTS = 5;

/** Others took the lock over before what was made under it was in its place. */
class Overtaken extends Error {}

/** How the key is had, and where log lines go. */
export type AccountFilesOptions = Pick<StoreKeyOptions, "keyPlace" | "mayPrompt" | "log">;

/** The store, its folder being known. */
export class AccountFiles implements Required<CacheStore> {
  readonly #folder: string;
  readonly #options: AccountFilesOptions;
  #key: StoreKey | undefined;

  /**
   * @param folder Absolute path of the folder.
   * @param options How the key is had.
   */
  constructor(folder: string, options: AccountFilesOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** The list of accounts, and the documents that it is not sure of. */
  async readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    const text = await this.#read(LIST_NAME, call);
    // Where there is no list, the next sign-in makes one.
    const list = text === undefined ? undefined : readAccountList(text);
    const { unsure, accounts } = list ?? { ...NO_ACCOUNTS, unsure: await this.#documentNames() };
    const names = unsure.filter((name) => DOCUMENT_NAME.test(name));
    const documents = await Promise.all(names.map((name) => this.#read(name, call)));
    return [accounts, ...documents.flatMap((document) => document ?? [])].filter((document) => document !== "{}");
  }

  /** The document of an account. */
  async read(homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    return await this.#read(await nameOf(homeAccountId), call);
  }

  /**
   * Changes the document of an account. What it says of accounts goes to the list, in an order that survives a sudden end: the
   * list is first told to be unsure of the document.
   */
  async update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call: CacheCall = {},
  ): Promise<void> {
    const name = await nameOf(homeAccountId);
    const seen = await this.#readToChange(name, call), wanted = change(seen);
    if (wanted === undefined || wanted === seen) return;
    await this.#openKey(call); // a person may have to unlock it: no lock is held meanwhile
    await this.#locked(name, call, async (lock) => {
      const before = await this.#readToChange(name, call), after = change(before);
      if (after === undefined || after === before) return;
      const isListed = before !== undefined && accountsOf(before) === accountsOf(after);
      if (!isListed) await this.#changeList((list) => withUnsure(list, name), call);
      await this.#replace(name, after, { ...call, lock });
      // Whoever took the lock over has changed it again, and the list is to be unsure until they are done.
      const listed = (list: AccountList) =>
        lock.isHeld() ? withDocuments(list, new Map([[name, after]])) : withUnsure(list, name);
      if (!isListed) await this.#changeList(listed, call);
    });
  }

  /** Sets a damaged document aside. */
  async setAside(
    homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    const name = await nameOf(homeAccountId);
    await this.#openKey(call);
    return await this.#locked(name, call, async (lock) => {
      const document = await this.#readToChange(name, call);
      if (document === undefined || !isDamaged(document)) return undefined;
      await this.#changeList((list) => withUnsure(list, name), call);
      if (!lock.isHeld()) throw new Overtaken();
      const place = await setAsideFile(this.#path(name));
      await this.#changeList((list) => withDocuments(list, new Map([[name, undefined]])), call);
      return place;
    });
  }

  /** Renews alone. */
  async alone<T>(homeAccountId: string, work: () => Promise<T>, { signal }: CacheCall = {}): Promise<T> {
    const path = this.#path(await nameOf(homeAccountId));
    if (await readPrivateFile(path, { signal }) === undefined) return await work(); // nothing is there to be renewed
    return await renewAlone(path, work, { signal, log: this.#options.log });
  }

  /** Reads without changing anything. Where the key is lost, that is an error: another session can still have it. */
  async #read(name: string, call: CacheCall): Promise<string | undefined> {
    const bytes = await readPrivateFile(this.#path(name), call);
    if (!bytes) return undefined;
    if (this.#key === undefined || this.#key.id !== keyIdOf(bytes)) {
      this.#key = await findStoreKey(this.#folder, this.#keyOptions(call));
    }
    if (this.#key) return await this.#unseal(bytes, this.#key, name);
    throw new LatchkeyError(
      "configuration",
      `The key of the token cache in ${this.#folder} is lost: key.json is missing`,
      {
        hint: "Bring key.json back, or sign in again: latchkey login begins anew, and what was kept is set aside",
      },
    );
  }

  /** Reads what is about to change. Where the key is lost, a new one is made, and what the old one sealed is unreadable. */
  async #readToChange(name: string, call: CacheCall): Promise<string | undefined> {
    const bytes = await readPrivateFile(this.#path(name), call);
    return bytes && await this.#unseal(bytes, await this.#openKey(call), name);
  }

  async #unseal(bytes: Uint8Array<ArrayBuffer>, key: StoreKey, name: string): Promise<string> {
    return await unseal(bytes, key, { place: name }) ?? UNREADABLE;
  }

  async #replace(
    name: string,
    document: string,
    { lock, ...call }: CacheCall & { readonly lock: Lock },
  ): Promise<void> {
    const key = await this.#openKey(call), sealed = await seal(document, key, { place: name });
    const beforeRenaming = () => {
      if (!lock.isHeld()) throw new Overtaken();
    };
    await replacePrivateFile(this.#path(name), sealed, { ...call, beforeRenaming });
  }

  /** A list that cannot be read is replaced: it has nothing that the documents have not. */
  async #changeList(change: (list: AccountList) => AccountList, call: CacheCall): Promise<void> {
    await this.#locked(LIST_NAME, call, async (lock) => {
      const text = await this.#readToChange(LIST_NAME, call);
      const list = text === undefined ? undefined : readAccountList(text);
      await this.#replace(LIST_NAME, writeAccountList(change(list ?? await this.#collect(call))), { ...call, lock });
    });
  }

  async #collect(call: CacheCall): Promise<AccountList> {
    const documents = new Map<string, string | undefined>(), unsure: string[] = [];
    for (const name of await this.#documentNames()) {
      const document = await this.#readToChange(name, call);
      if (document === UNREADABLE) unsure.push(name);
      else documents.set(name, document);
    }
    return withDocuments({ ...NO_ACCOUNTS, unsure }, documents);
  }

  async #documentNames(): Promise<readonly string[]> {
    return (await listPrivateFolder(this.#folder)).filter((name) => DOCUMENT_NAME.test(name));
  }

  async #openKey(call: CacheCall): Promise<StoreKey> {
    return this.#key = await openStoreKey(this.#folder, this.#keyOptions(call));
  }

  #keyOptions({ signal }: CacheCall): StoreKeyOptions {
    return { ...this.#options, known: this.#key, signal };
  }

  /** Works under a lock; once more when others took it over meanwhile. */
  async #locked<T>(name: string, { signal }: CacheCall, work: (lock: Lock) => Promise<T>): Promise<T> {
    const path = `${this.#path(name)}.lockfile`;
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      try {
        return await withLock(path, work, { signal });
      } catch (error) {
        if (!(error instanceof Overtaken)) throw error;
      }
    }
    throw new LatchkeyError("timed_out", `Cannot hold ${path} for long enough`, { hint: "Try again" });
  }

  #path(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

/** The name of an account's document. */
async function nameOf(homeAccountId: string): Promise<string> {
  return `${await accountHash(homeAccountId)}.sealed`;
}
