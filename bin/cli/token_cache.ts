/**
 * The token cache of a command line: its place, and what becomes of its failures.
 *
 * @module
 */
import { isObject } from "../../lib/encoding.ts";
import { homeFolder, stateFolder } from "../../lib/files/user_folders.ts";
import { denoNamespace, missingFlags, operatingSystem, quoteCommand } from "../../lib/runtime/host.ts";
import { folderOf, isThere, pathIn } from "../../lib/runtime/paths.ts";
import { canAsk } from "../../lib/runtime/terminal.ts";
import { fileStore, plaintextStore } from "../../lib/cache/file_store.ts";
import { type CacheCall, type CacheStore, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError, type Logger } from "../../lib/errors.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { STORE } from "./options.ts";
import { messageOf, say } from "./output.ts";

export type TokenPlace =
  | { readonly kind: "file"; readonly folder: string }
  /** `isNamed`: the command line names the path. */
  | { readonly kind: "plaintext"; readonly path: string; readonly isNamed: boolean }
  /** `why`: the reason why no other place can be used, with a hint, if memory was not requested. */
  | { readonly kind: "memory"; readonly why?: LatchkeyError };

type StoredPlace = Exclude<TokenPlace, { readonly kind: "memory" }>;

/**
 * Returns the place that a command line asks for. Nothing is read or created.
 *
 * @throws {UsageError} if options contradict each other, or a path is invalid.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the folder of a requested place is not known.
 */
export function tokenPlace(line: CommandLine): TokenPlace {
  const nearest = line.nearest("store", "cache-file");
  const store = line.get(STORE);
  const path = nearest.includes("cache-file") || store === "plaintext" ? cacheFilePath(line) : undefined;
  if (path !== undefined && nearest.includes("cache-file")) {
    if (!nearest.includes("store") || store === "plaintext") return plaintextIn(path, { isNamed: true });
    throw new UsageError(`--cache-file goes with --store plaintext, not with --store ${store}`);
  }
  switch (store) {
    case "memory":
      return { kind: "memory" };
    case "plaintext": // without a path, a file with the name of MSAL's own examples
      return plaintextIn(path ?? pathIn(stateFolder(), "msal_token_cache.json"), { isNamed: path !== undefined });
    case "file":
    case "auto":
      try {
        return { kind: "file", folder: permitted(stateFolder()) };
      } catch (error) {
        if (store === "auto" && error instanceof LatchkeyError) return { kind: "memory", why: error };
        throw error;
      }
  }
}

/**
 * Returns the path of `--cache-file`, if it was given. A shell does not replace the `~` of `--cache-file=~/cache.json`, or of a
 * variable that was set in quotes: here it is the user's home folder.
 *
 * @throws {UsageError} for the home folder of another user, and for the home folder itself.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the home folder is not known.
 */
export function cacheFilePath(line: CommandLine): string | undefined {
  const path = line.text("cache-file");
  if (!path?.startsWith("~")) return path;
  const [, below] = (operatingSystem() === "win32" ? /^~[\\/]+(.+)$/s : /^~\/+(.+)$/s).exec(path) ?? [];
  if (below !== undefined) return pathIn(homeFolder(), below);
  throw new UsageError(
    `--cache-file takes a file's path, ~/ being your home folder, and not ${JSON.stringify(path)}` +
      `; a file of that name here is ${JSON.stringify(`./${path}`)}`,
  );
}

function plaintextIn(path: string, { isNamed }: { readonly isNamed: boolean }): TokenPlace {
  const [, folder = "."] = /^(.*?)[\\/]+[^\\/]*$/s.exec(path) ?? [];
  permitted(folder || "/");
  return { kind: "plaintext", path, isNamed };
}

function permitted(folder: string): string {
  const flags = denoNamespace() ? missingFlags(folder, "write") : [];
  if (flags.length === 0) return folder;
  throw new LatchkeyError("missing_dependency", `Deno may not keep tokens in ${folder}`, {
    hint: `Run deno with ${quoteCommand(flags)}`,
  });
}

/** Takes a failure, and its reason if that was not reported before. */
export type Notify = (what: string, error: LatchkeyError | undefined) => void;

export interface TokenStoreOptions {
  /** `true`: the keyring may prompt to be unlocked. @default true if stdin and stderr are terminals */
  readonly mayPrompt?: boolean | undefined;
  /** `true`: fails if the token cache cannot be used, instead of going on without. @default false */
  readonly needsCache?: boolean | undefined;
  /**
   * Takes the notices of a command that fails if the token cache cannot be read and nothing else has a token.
   *
   * @default they are printed at once, and the command goes on without
   */
  readonly hold?: Notify | undefined;
}

export interface TokenStore extends CacheStore {
  /** Reports what will prevent storing anything, as far as that is known beforehand; absent if the command needs the cache. */
  tryOut?(call?: CacheCall): Promise<void>;
}

/**
 * Opens the token cache of a command line; `undefined` stands for the application's own memory. Nothing is read or created before
 * its first call.
 *
 * @throws {UsageError} if options contradict each other.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the requested one cannot be used.
 */
export function openTokenStore(
  line: CommandLine,
  logger: Logger,
  { mayPrompt = canAsk(), needsCache, hold }: TokenStoreOptions = {},
): TokenStore | undefined {
  const place = tokenPlace(line);
  if (place.kind === "memory") {
    if (place.why) logger("info", notStored(place));
    return undefined;
  }
  const store = storeIn(place, { mayPrompt, logger });
  if (needsCache) return store;
  return bestEffortStore(store, {
    notify: hold ?? notifyFailure,
    // Whoever names a place wants to know its problem first.
    ...(!hold && place.kind === "file" && line.get(STORE) === "auto" && { instead: memoryStore }),
    tryToWrite: (call) => tryToWrite(place, call),
  });
}

/** Opens a store that reports damaged documents, once, and those that it sets aside. */
function storeIn(place: StoredPlace, options: { readonly mayPrompt: boolean; readonly logger: Logger }): CacheStore {
  const isFile = place.kind === "file";
  const said = new Set<string>();
  const { logger } = options;
  const store = isFile ? fileStore({ folder: place.folder, ...options }) : plaintextStore(place.path, { logger });
  if (!isFile && place.isNamed) {
    const { setAside: _, ...named } = store; // the person's own file stays in its place
    return named;
  }
  const isDamaged = damageTest(place);
  // Without the folder there is nothing to read, and no code is loaded for it.
  const isCreated = () => !isFile || isThere(place.folder);
  const sayOnce = (kind: string, message: string): void => {
    if (!said.has(kind)) say(message);
    said.add(kind);
  };
  return {
    ...store,
    read: async (homeAccountId, call) => isCreated() ? await store.read(homeAccountId, call) : undefined,
    async readAccounts(call) {
      const documents = isCreated() ? await store.readAccounts(call) : [];
      const why = isFile ? "it is damaged, or its key is lost" : "it is damaged";
      if (documents.some(isDamaged)) sayOnce("damage", `${CANNOT_READ}: ${why}. Sign in again: latchkey login`);
      return documents;
    },
    async setAside(homeAccountId, isDamagedNow, call) {
      const path = await store.setAside?.(homeAccountId, isDamagedNow, call);
      if (path !== undefined) {
        sayOnce("set aside", `The token cache was damaged. It was set aside as ${path}, and a new one was started`);
      }
      return path;
    },
  };
}

/** Returns a function that tells a damaged document of a place. */
function damageTest({ kind }: StoredPlace): (document: string) => boolean {
  // An encrypted document is read whole or not at all, and parsing it would cost a silent token time.
  return kind === "file" ? (document) => !document.startsWith("{") : (document) => !isCacheText(document);
}

/** Creates a file beside the token cache and removes it, which shows if anything can be written there. */
async function tryToWrite(place: StoredPlace, { signal }: CacheCall): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts"); // only a sign-in needs it
  const path = place.kind === "file" ? pathIn(place.folder, "sign_in.lockfile") : `${place.path}.sign_in.lockfile`;
  try {
    await withLock(path, async () => {}, { signal, waitMs: 1000 });
  } catch (error) {
    if (!(error instanceof LatchkeyError && error.code === "timed_out")) throw error; // another process tries
  }
}

const CANNOT_READ = "The token cache cannot be read";
const CANNOT_WRITE = "The token cache cannot be written, and nothing is kept for the next run";

export function bestEffortStore(
  store: CacheStore,
  { notify, instead, tryToWrite }: {
    /** Takes the first failure to read, and the first one to write. */
    readonly notify: Notify;
    /** Creates the store that is used once reading has failed. @default none: the caller gets the failure */
    readonly instead?: (() => CacheStore) | undefined;
    /** Finds out if anything can be written. @default that is not known beforehand */
    readonly tryToWrite?: ((call: CacheCall) => Promise<void>) | undefined;
  },
): TokenStore & Required<Pick<TokenStore, "tryOut">> {
  /** Accounts whose damaged documents could not be set aside, and why. They count as missing. */
  const unusable = new Map<string, LatchkeyError>();
  const told = new Set<string>();
  let used = store;
  let spare: CacheStore | undefined;

  function notifyOnce(what: string, error: LatchkeyError): void {
    if (told.has(what)) return;
    notify(what, told.has(error.message) ? undefined : error);
    told.add(what).add(error.message);
  }

  /** Reads; if that fails, reads again from the store that is used instead. */
  async function reading<T>({ signal }: CacheCall, read: (store: CacheStore) => Promise<T>): Promise<T> {
    try {
      return await read(used);
    } catch (error) {
      if (used !== store || !isFailure(error, signal)) throw error;
      notifyOnce(CANNOT_READ, error);
      if (!instead) throw error;
      used = spare ??= instead();
      return await read(used);
    }
  }

  return {
    readAccounts: (call = {}) => reading(call, (store) => store.readAccounts(call)),
    async read(homeAccountId, call = {}) {
      const isUsable = (used: CacheStore) => used !== store || !unusable.has(homeAccountId);
      return await reading(call, async (used) => isUsable(used) ? await used.read(homeAccountId, call) : undefined);
    },
    async update(homeAccountId, change, call = {}) {
      try {
        if (unusable.has(homeAccountId)) throw unusable.get(homeAccountId);
        await store.update(homeAccountId, change, call); // an unreadable file can often be replaced
        used = store; // which has what was just written
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        notifyOnce(CANNOT_WRITE, error);
        if (used === store) throw error;
        await used.update(homeAccountId, change, call);
      }
    },
    async setAside(homeAccountId, isDamaged, call = {}) {
      try {
        return await store.setAside?.(homeAccountId, isDamaged, call);
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        unusable.set(homeAccountId, error);
        notifyOnce(CANNOT_WRITE, error);
        return undefined;
      }
    },
    withLock: async (homeAccountId, work, call) => await (used.withLock?.(homeAccountId, work, call) ?? work()),
    async tryOut(call = {}) {
      let isWriting = true;
      try {
        await tryToWrite?.(call);
        isWriting = false;
        await store.readAccounts(call); // the keyring prompts now, and not after the sign-in
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        notifyOnce(isWriting ? CANNOT_WRITE : CANNOT_READ, error);
      }
    },
  };
}

/** Returns true for a failure of the store, and not of a caller that aborts. */
function isFailure(error: unknown, signal: AbortSignal | undefined): error is LatchkeyError {
  return error instanceof LatchkeyError && signal?.aborted !== true;
}

export function notifyFailure(what: string, error: LatchkeyError | undefined): void {
  say(because(what, error));
}

/** Warns a person who has signed in without a broker that the sign-in ends with the run; by default not if that was requested. */
export function warnIfNotStored(line: CommandLine, { evenIfChosen }: { readonly evenIfChosen?: boolean } = {}): void {
  const place = tokenPlace(line);
  if (place.kind === "memory" && (place.why || evenIfChosen)) say(notStored(place));
}

export function notStored({ why }: TokenPlace & { readonly kind: "memory" }): string {
  return because("Sign-ins last for this run only", why);
}

function because(what: string, why: LatchkeyError | undefined): string {
  return why ? `${what}: ${messageOf(why)}` : what;
}

/**
 * Checks that the file that --cache-file names, if it does, is a token cache or empty. It can be any file of the person's. A
 * failure to read it is left to the user of the store.
 *
 * @throws {UsageError} if it is something else.
 */
export async function requireCacheFile(store: CacheStore, line: CommandLine, signal?: AbortSignal): Promise<void> {
  if (line.text("cache-file") === undefined) return; // most lines name none, and a place takes time to find
  const place = tokenPlace(line);
  if (place.kind !== "plaintext") return;
  let documents: readonly string[];
  try {
    documents = await store.readAccounts({ signal });
  } catch (error) {
    if (isFailure(error, signal)) return;
    throw error;
  }
  if (documents.every(isCacheText)) return;
  throw new UsageError(`Cannot use --cache-file: ${noCache(place.path)}. ${OTHER_FILE}`);
}

export const OTHER_FILE = "Name another file with --cache-file, or move this one away";

export function noCache(path: string): string {
  return `${path} is not a token cache: it has something else in it, or is damaged`;
}

/** Returns true if a text can be a token cache: a JSON object, or nothing. */
export function isCacheText(text: string): boolean {
  try {
    return isObject(JSON.parse(text.trim() || "{}"));
  } catch {
    return false;
  }
}

/**
 * Lists what was set aside in a place.
 *
 * @throws {LatchkeyError} if the folder cannot be read.
 */
export async function findSetAside(place: TokenPlace): Promise<readonly string[]> {
  if (place.kind === "memory") return [];
  const { listSetAside } = await import("../../lib/files/private_files.ts");
  if (place.kind === "file") return await listSetAside(place.folder);
  return await listSetAside(folderOf(place.path), place.path.replace(/^.*[\\/]/s, ""));
}

/** Files that were cleared, or not. */
export interface ClearedFiles {
  /** Message for the user. */
  readonly message: string;
  /** True if all of them were removed. */
  readonly isDone: boolean;
}

/**
 * Removes quarantined files, and the token cache itself if it is damaged, unless an account is still signed in. A file that the
 * command line names is the user's own, and stays. Returns `undefined` if there is nothing to remove.
 */
export async function clearDamagedCaches(
  place: TokenPlace,
  { isAnyAccountLeft, signal }: { readonly isAnyAccountLeft: boolean } & CacheCall,
): Promise<ClearedFiles | undefined> {
  if (place.kind === "memory") return undefined;
  let paths: readonly string[];
  try {
    if (!isAnyAccountLeft) await quarantineDamagedCache(place, signal);
    paths = await findSetAside(place);
    if (paths.length === 0) return undefined;
    if (!isAnyAccountLeft) {
      const { removePrivateFile } = await import("../../lib/files/private_files.ts");
      for (const path of paths) await removePrivateFile(path);
      return { message: `removed what was damaged: ${paths.join(", ")}`, isDone: true };
    }
  } catch (error) {
    if (!isFailure(error, signal)) throw error;
    return { message: `what was damaged may contain tokens, and was not removed: ${error.message}`, isDone: false };
  }
  return { message: `what was set aside as damaged may contain tokens; remove it: ${paths.join(", ")}`, isDone: false };
}

/** Renames the token cache if it is damaged. */
async function quarantineDamagedCache(place: StoredPlace, signal: AbortSignal | undefined): Promise<void> {
  if (place.kind === "plaintext" && place.isNamed) return;
  const isDamaged = damageTest(place);
  const store = place.kind === "file" ? fileStore({ folder: place.folder }) : plaintextStore(place.path);
  const documents = await store.readAccounts({ signal });
  if (documents.some(isDamaged)) await store.setAside?.("", isDamaged, { signal });
}
