/**
 * Encrypted files, one for each account, and one that lists the accounts.
 *
 * @module
 */
import { idKey } from "../account.ts";
import { LatchkeyError } from "../errors.ts";
import { withLockFile } from "../platform/lock_file.ts";
import { listPrivateFolder, readPrivateFile, replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
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
    const list = await this.#readList(call) ?? await this.#makeList(call);
    const names = list.unsure.filter((name) => DOCUMENT_NAME.test(name));
    const unsure = await Promise.all(names.map((name) => this.#read(name, call)));
    return [list.accounts, ...unsure.flatMap((document) => document ?? [])].filter((document) => document !== "{}");
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
    await this.#openKey(call); // a person may have to unlock it: no lock is held meanwhile
    await this.#locked(name, call, async () => {
      const before = await this.#read(name, call), after = change(before);
      if (after === undefined || after === before) return;
      const isListed = before !== undefined && accountsOf(before) === accountsOf(after);
      if (!isListed) await this.#changeList((list) => withUnsure(list, name), call);
      await this.#replace(name, after, call);
      if (!isListed) await this.#changeList((list) => withDocuments(list, new Map([[name, after]])), call);
    });
  }

  /** Sets a damaged document aside. */
  async setAside(
    homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    const name = await nameOf(homeAccountId);
    return await this.#locked(name, call, async () => {
      const document = await this.#read(name, call);
      if (document === undefined || !isDamaged(document)) return undefined;
      await this.#changeList((list) => withUnsure(list, name), call);
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

  async #read(name: string, call: CacheCall): Promise<string | undefined> {
    const bytes = await readPrivateFile(this.#path(name), call);
    if (!bytes) return undefined;
    const id = keyIdOf(bytes), key = id === undefined ? undefined : await this.#keyOf(id, call);
    return key && await unseal(bytes, key, { place: name }) || UNREADABLE;
  }

  async #replace(name: string, document: string, call: CacheCall): Promise<void> {
    const key = await this.#openKey(call);
    await replacePrivateFile(this.#path(name), await seal(document, key, { place: name }), call);
  }

  async #openKey(call: CacheCall): Promise<StoreKey> {
    return this.#key = await openStoreKey(this.#folder, this.#keyOptions(call));
  }

  async #readList(call: CacheCall): Promise<AccountList | undefined> {
    const text = await this.#read(LIST_NAME, call);
    return text === undefined ? undefined : readAccountList(text);
  }

  /** The list anew, from all documents: it is not there yet, or cannot be read. */
  async #makeList(call: CacheCall): Promise<AccountList> {
    const unsure = await this.#documentNames();
    if (unsure.length === 0) return NO_ACCOUNTS;
    try {
      return await this.#changeList((list) => list, call);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      this.#options.log?.("info", `The list of accounts cannot be stored: ${error.message}`);
      return { ...NO_ACCOUNTS, unsure };
    }
  }

  /** A list that cannot be read is replaced: it has nothing that the documents have not. */
  async #changeList(change: (list: AccountList) => AccountList, call: CacheCall): Promise<AccountList> {
    return await this.#locked(LIST_NAME, call, async () => {
      const list = change(await this.#readList(call) ?? await this.#collect(call));
      await this.#replace(LIST_NAME, writeAccountList(list), call);
      return list;
    });
  }

  async #collect(call: CacheCall): Promise<AccountList> {
    const documents = new Map<string, string | undefined>(), unsure: string[] = [];
    for (const name of await this.#documentNames()) {
      const document = await this.#read(name, call);
      if (document === UNREADABLE) unsure.push(name);
      else documents.set(name, document);
    }
    return withDocuments({ ...NO_ACCOUNTS, unsure }, documents);
  }

  async #documentNames(): Promise<readonly string[]> {
    return (await listPrivateFolder(this.#folder)).filter((name) => DOCUMENT_NAME.test(name));
  }

  /** The key that sealed a document. Another process can have made a new one since it was last looked for. */
  async #keyOf(id: string, call: CacheCall): Promise<StoreKey | undefined> {
    if (this.#key?.id !== id) this.#key = await findStoreKey(this.#folder, this.#keyOptions(call));
    return this.#key;
  }

  #keyOptions({ signal }: CacheCall): StoreKeyOptions {
    return { ...this.#options, known: this.#key, signal };
  }

  async #locked<T>(name: string, { signal }: CacheCall, work: () => Promise<T>): Promise<T> {
    return await withLockFile(`${this.#path(name)}.lockfile`, work, { signal });
  }

  #path(name: string): string {
    return `${this.#folder}/${name}`;
  }
}

/** The name of an account's document: ids can have any characters in them, and be of any length. */
async function nameOf(homeAccountId: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(idKey(homeAccountId)));
  const hex = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 32)}.sealed`;
}
