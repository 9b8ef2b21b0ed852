/**
 * The file that `--cache-file` names: it can be anything of the person's, until it is seen to be a token cache.
 *
 * @module
 */
import { folderOf, listSetAside, missingFlags, removePrivateFile } from "../../lib/files/private_files.ts";
import { stateFolder } from "../../lib/files/user_folders.ts";
import { denoNamespace, quoteCommand } from "../../lib/runtime/host.ts";
import { isTerminal, isThere, write } from "../../lib/runtime/program.ts";
import { fileStore, plaintextStore } from "../../lib/cache/file_store.ts";
import { type CacheCall, type CacheStore, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError, type Logger } from "../../lib/errors.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { escapeForTerminal } from "./output.ts";
import { cacheFilePath } from "./profiles.ts";

/** What helps where a file is no token cache. */
export const OTHER_FILE = "Name another file with --cache-file, or move this one away";

/** For people: that a file is no token cache. */
export function noCache(path: string): string {
  return `${path} is no token cache: it has something else in it, or is damaged`;
}

/** Whether a text can be a token cache's: a JSON object, or nothing yet. */
export function isCacheText(text: string): boolean {
  try {
    const trimmed = text.trim(), root: unknown = trimmed === "" ? {} : JSON.parse(trimmed);
    return typeof root === "object" && root !== null && !Array.isArray(root);
  } catch {
    return false;
  }
}

/**
 * A store in a file that the person named: it is never set aside.
 *
 * @param store The store.
 */
function inNamedFile({ setAside: _, ...store }: CacheStore): CacheStore {
  return store;
}

/**
 * Makes sure that a file that the person named is a token cache, or nothing yet.
 *
 * @param store The store in that file. A failure to read it is left to who uses it.
 * @param options The file's path; `signal` gives up.
 * @throws {UsageError} when it is something else.
 */
export async function requireCacheFile(
  store: CacheStore,
  { path, signal }: CacheCall & { readonly path: string },
): Promise<void> {
  let documents: readonly string[];
  try {
    documents = await store.readAccounts({ signal });
  } catch (error) {
    if (error instanceof LatchkeyError && !signal?.aborted) return;
    throw error;
  }
  if (!documents.every(isCacheText)) throw new UsageError(`Cannot use --cache-file: ${noCache(path)}. ${OTHER_FILE}`);
}

const passedOver = (why: string): string => `The token cache cannot be read: ${why}. Sign in again: latchkey login`;

/** How it is told. */
interface DamageNotices {
  /** Prints it; called once for each of the two. */
  readonly notice: (what: string) => void;
  /** Whether a document is damaged. */
  readonly isDamaged: (document: string) => boolean;
  /** Whether the key that it was encrypted with can be lost instead. @default false */
  readonly mayBeKey?: boolean | undefined;
}

/**
 * Tells of documents that cannot be read, and of those that are set aside.
 *
 * @param store Whose documents.
 * @param notices How it is told.
 */
function withDamageNotices(
  store: CacheStore,
  { notice, isDamaged, mayBeKey = false }: DamageNotices,
): CacheStore {
  const why = mayBeKey ? "it is damaged, or its key is lost" : "it is damaged";
  const told = new Set<string>();
  const tellOnce = (kind: string, what: string): void => {
    if (!told.has(kind)) notice(what);
    told.add(kind);
  };
  return {
    ...store,
    async readAccounts(call) {
      const documents = await store.readAccounts(call);
      if (documents.some(isDamaged)) tellOnce("passed over", passedOver(why));
      return documents;
    },
    ...(store.setAside && {
      async setAside(homeAccountId, isDamagedNow, call) {
        const place = await store.setAside?.(homeAccountId, isDamagedNow, call);
        if (place !== undefined) {
          tellOnce("set aside", `The token cache was damaged. It was set aside as ${place}, and a new one is begun`);
        }
        return place;
      },
    }),
  };
}

/**
 * Lists what was set aside in a place.
 *
 * @throws {LatchkeyError} if the place cannot be read.
 */
export async function findSetAside(place: TokenPlace): Promise<readonly string[]> {
  switch (place.kind) {
    case "memory":
      return [];
    case "file":
      return await listSetAside(place.folder);
    case "plaintext":
      return await listSetAside(folderOf(place.path), place.path.replace(/^.*[\\/]/s, ""));
  }
}

/**
 * Removes what was set aside, once nobody is signed in any more. Until then, or if it cannot be removed, says where it is.
 *
 * @param place Where tokens are kept.
 * @param options `isAnybodyLeft`: whether somebody is signed in.
 * @returns What to say to somebody who has signed out; `undefined` if nothing was set aside.
 */
export async function clearSetAside(
  place: TokenPlace,
  { isAnybodyLeft }: { readonly isAnybodyLeft: boolean },
): Promise<string | undefined> {
  let paths: readonly string[] = [];
  try {
    paths = await findSetAside(place);
    if (paths.length === 0) return undefined;
    if (!isAnybodyLeft) {
      for (const path of paths) await removePrivateFile(path);
      return `removed what was set aside as damaged: ${paths.join(", ")}`;
    }
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return `what was set aside as damaged may hold tokens, and was not removed: ${error.message}`;
  }
  return `tokens may be in what was set aside as damaged; remove it: ${paths.join(", ")}`;
}

/** Says what failed, and why where that was not said before. */
export type Tell = (what: string, error: LatchkeyError | undefined) => void;

/** What becomes of failures. */
interface ForgivingOptions {
  /** Told of the first failure to read, and of the first one to write. */
  readonly tell: Tell;
  /** Makes what is used once reading has failed. @default none: a failure to read is the caller's */
  readonly instead?: (() => CacheStore) | undefined;
  /** Finds out whether anything can be written. @default that is not known beforehand */
  readonly tryToWrite?: ((call: CacheCall) => Promise<void>) | undefined;
}

/** A store that can be tried out. */
interface ForgivingStore extends CacheStore {
  /** Tells what stands in the way of keeping anything, as far as that is known beforehand. Nothing is kept. */
  tryOut(call?: CacheCall): Promise<void>;
}

const READING = "The token cache cannot be read";
const WRITING = "The token cache cannot be written, and nothing is kept for the next run";

/**
 * Makes it.
 *
 * @param store What may fail.
 * @param options What becomes of failures.
 */
export function bestEffortStore(
  store: CacheStore,
  { tell, instead, tryToWrite }: ForgivingOptions,
): ForgivingStore {
  /** Accounts whose damaged documents could not be set aside, and why: they have none. */
  const given = new Map<string, LatchkeyError>();
  const told = new Set<string>();
  let used = store, spare: CacheStore | undefined;

  function tellOnce(what: string, error: LatchkeyError): void {
    if (told.has(what)) return;
    tell(what, told.has(error.message) ? undefined : error);
    told.add(what).add(error.message);
  }

  /** Reads, once more from what is used instead when it fails. */
  async function reading<T>({ signal }: CacheCall, read: (store: CacheStore) => Promise<T>): Promise<T> {
    try {
      return await read(used);
    } catch (error) {
      if (used !== store || !isFailure(error, signal)) throw error;
      tellOnce(READING, error);
      if (!instead) throw error;
      used = spare ??= instead();
      return await read(used);
    }
  }

  return {
    readAccounts: (call = {}) => reading(call, (store) => store.readAccounts(call)),
    read: (homeAccountId, call = {}) =>
      reading(call, async (used) => {
        return used === store && given.has(homeAccountId) ? undefined : await used.read(homeAccountId, call);
      }),
    async update(homeAccountId, change, call = {}) {
      const unusable = given.get(homeAccountId);
      try {
        if (unusable) throw unusable;
        await store.update(homeAccountId, change, call); // what cannot be read can often be begun anew
        used = store; // what was just written is there
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        tellOnce(WRITING, error);
        if (used === store) throw error;
        await used.update(homeAccountId, change, call);
      }
    },
    async setAside(homeAccountId, isDamaged, call = {}) {
      try {
        return await store.setAside?.(homeAccountId, isDamaged, call);
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        given.set(homeAccountId, error);
        tellOnce(WRITING, error);
        return undefined;
      }
    },
    withLock: async (homeAccountId, work, call) => await (used.withLock?.(homeAccountId, work, call) ?? work()),
    async tryOut(call = {}) {
      let isWriting = true;
      try {
        await tryToWrite?.(call);
        isWriting = false;
        await store.readAccounts(call); // a keyring asks now, and not once the person has signed in
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        tellOnce(isWriting ? WRITING : READING, error);
      }
    },
  };
}

/** Whether it is a failure of the store; a caller that gives up is none. */
function isFailure(error: unknown, signal: AbortSignal | undefined): error is LatchkeyError {
  return error instanceof LatchkeyError && signal?.aborted !== true;
}

/** A place for tokens. */
export type TokenPlace =
  | { readonly kind: "file"; readonly folder: string }
  /** `isNamed`: whether it was the person who said where. */
  | { readonly kind: "plaintext"; readonly path: string; readonly isNamed: boolean }
  /** `why`: what stands in the way of another place, and what mends it, where none was asked for. */
  | { readonly kind: "memory"; readonly why?: LatchkeyError };

/** How a store is opened. */
export interface TokenStoreOptions {
  /** Whether a person may be asked to unlock the keyring. @default where stdin and stderr are a terminal */
  readonly mayPrompt?: boolean | undefined;
  /** Whether to fail where the store cannot be used, instead of going on without. @default false */
  readonly needsCache?: boolean | undefined;
  /**
   * Takes what would be told of the store, where the command is to fail when that cannot be read and nothing else gives what
   * it wants. @default it is told at once, and the command goes on without
   */
  readonly hold?: Tell | undefined;
}

/** A store as a command uses it. Where the command fails with it, it cannot be tried out. */
export type TokenStore = CacheStore & Partial<Pick<ForgivingStore, "tryOut">>;

/** What `--store plaintext` alone means: the name that MSAL's own examples have. */
const PLAINTEXT_NAME = "msal_token_cache.json";

/**
 * The place that a command line asks for. Nothing is read or made.
 *
 * @throws {UsageError} for options that contradict each other, or a path that cannot be meant.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when the folder of a place that was asked for is not known.
 */
export function tokenPlace(line: CommandLine): TokenPlace {
  const nearest = line.nearest("store", "cache-file"), store = line.text("store");
  const path = nearest.includes("cache-file") || store === "plaintext" ? cacheFilePath(line) : undefined;
  if (path !== undefined && nearest.includes("cache-file")) {
    if (!nearest.includes("store") || store === "plaintext") return plaintextIn(path, { isNamed: true });
    throw new UsageError(`--cache-file is for --store plaintext, and not for --store ${store}`);
  }
  switch (store) {
    case "memory":
      return { kind: "memory" };
    case "plaintext":
      return plaintextIn(path ?? `${stateFolder()}/${PLAINTEXT_NAME}`, { isNamed: path !== undefined });
    case "file":
      return { kind: "file", folder: permitted(stateFolder()) };
    default:
      return placeOfItself();
  }
}

/**
 * Opens the store that a command line asks for. Nothing is read or made before its first call.
 *
 * @param line A command line with those options.
 * @param logger Takes the store's log lines.
 * @param options How it is opened.
 * @returns The store; `undefined` where the app's own memory is it.
 * @throws {UsageError} for options that contradict each other.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when what was asked for cannot be.
 */
export function openTokenStore(
  line: CommandLine,
  logger: Logger,
  { mayPrompt = isTerminal("stdin") && isTerminal("stderr"), needsCache, hold }: TokenStoreOptions = {},
): TokenStore | undefined {
  const place = tokenPlace(line);
  if (place.kind === "memory") {
    if (place.why) logger("info", notKept(place));
    return undefined;
  }
  const store = storeIn(place, { mayPrompt, logger });
  if (needsCache) return store;
  return bestEffortStore(store, {
    tell: hold ?? tellFailure,
    // Who named a place wants to know what is wrong with it before anything else.
    ...(!hold && place.kind === "file" && line.text("store") === "auto" && { instead: memoryStore }),
    tryToWrite: (call) => tryToWrite(place, call),
  });
}

/** Tells somebody what failed, and why. */
export function tellFailure(what: string, error: LatchkeyError | undefined): void {
  tell(because(what, error));
}

/**
 * Tells somebody who just signed in without a broker that it ends with the run.
 *
 * @param line The command line.
 * @param options `isEvenChosen`: also where memory was asked for by name.
 */
export function warnIfNotStored(
  line: CommandLine,
  { isEvenChosen }: { readonly isEvenChosen: boolean } = { isEvenChosen: false },
): void {
  const place = tokenPlace(line);
  if (place.kind !== "memory" || !(place.why || isEvenChosen)) return;
  tell(notKept(place));
}

/** What to say to somebody whose sign-in ends with the run. */
export function notKept({ why }: TokenPlace & { readonly kind: "memory" }): string {
  const what = "Sign-ins last for this run alone";
  return because(what, why);
}

function because(what: string, why: LatchkeyError | undefined): string {
  if (!why) return what;
  return `${what}: ${why.message}${why.hint === undefined ? "" : `. ${why.hint}`}`;
}

function tell(what: string): void {
  write("stderr", `latchkey: ${escapeForTerminal(what)}\n`);
}

/** Whether a file can be made shows in one beside it, which goes at once. */
async function tryToWrite(
  place: Exclude<TokenPlace, { readonly kind: "memory" }>,
  { signal }: CacheCall,
): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts"); // who needs no sign-in does without
  const path = place.kind === "file" ? `${place.folder}/sign_in.lockfile` : `${place.path}.sign_in.lockfile`;
  try {
    await withLock(path, async () => {}, { signal, waitMs: 1000 });
  } catch (error) {
    if (!(error instanceof LatchkeyError && error.code === "timed_out")) throw error; // somebody else tries
  }
}

function storeIn(
  place: Exclude<TokenPlace, { readonly kind: "memory" }>,
  options: { readonly mayPrompt: boolean; readonly logger: Logger },
): CacheStore {
  if (place.kind === "file") {
    // What is encrypted comes whole or not at all: to parse it would take a silent token's time.
    const notices = { notice: tell, isDamaged: (document: string) => !document.startsWith("{"), mayBeKey: true };
    return onceMade(place.folder, withDamageNotices(fileStore({ folder: place.folder, ...options }), notices));
  }
  const store = plaintextStore(place.path, { logger: options.logger });
  if (place.isNamed) return inNamedFile(store);
  return withDamageNotices(store, { notice: tell, isDamaged: (document) => !isCacheText(document) });
}

/** Files in a folder; until that is made, they are none, and no code is loaded that could read them. */
function onceMade(folder: string, store: CacheStore): CacheStore {
  return {
    ...store,
    readAccounts: async (call) => isThere(folder) ? await store.readAccounts(call) : [],
    read: async (homeAccountId, call) => isThere(folder) ? await store.read(homeAccountId, call) : undefined,
  };
}

/** The encrypted files, where they can be used at all. */
function placeOfItself(): TokenPlace {
  try {
    return { kind: "file", folder: permitted(stateFolder()) };
  } catch (error) {
    if (error instanceof LatchkeyError) return { kind: "memory", why: error };
    throw error;
  }
}

function plaintextIn(path: string, { isNamed }: { readonly isNamed: boolean }): TokenPlace {
  const [, folder = "."] = /^(.*?)[\\/]+[^\\/]*$/s.exec(path) ?? [];
  permitted(folder || "/");
  return { kind: "plaintext", path, isNamed };
}

/** A folder that Deno lets us use. */
function permitted(folder: string): string {
  const flags = denoNamespace() ? missingFlags(folder, "write") : [];
  if (flags.length === 0) return folder;
  throw new LatchkeyError("missing_dependency", `Deno may not keep tokens in ${folder}`, {
    hint: `Run deno with ${quoteCommand(flags)}`,
  });
}
