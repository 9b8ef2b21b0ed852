/**
 * The token cache of a command line: its place, and what becomes of its failures.
 *
 * @module
 */
import { isObject } from "../../lib/encoding.ts";
import { homeFolder, stateFolder } from "../../lib/files/user_folders.ts";
import { denoNamespace, missingFlags, operatingSystem, quoteCommand } from "../../lib/runtime/host.ts";
import { folderOf, isThere, pathIn } from "../../lib/runtime/path.ts";
import { canAsk } from "../../lib/runtime/terminal.ts";
import { fileStore, plaintextStore } from "../../lib/cache/file_store.ts";
import { type CacheCall, type CacheStore, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError, type Logger } from "../../lib/errors.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { STORE } from "./options.ts";
import { messageOf } from "./failures.ts";
import { say } from "./output.ts";

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
    remedy: { kind: "run_deno_with", flags: quoteCommand(flags) },
  });
}

/** Something that the user should know of the token cache. */
export interface Notice {
  readonly what: string;
  /** The failure that is the reason. */
  readonly error?: LatchkeyError | undefined;
}

/** Prints notices: each once, with its reason unless another one had the same. */
export class NoticePrinter {
  readonly #told = new Set<string>();

  /** Prints a notice. */
  readonly tell = ({ what, error }: Notice): void => {
    if (this.#told.has(what)) return;
    say(error && !this.#told.has(error.message) ? `${what}: ${messageOf(error)}` : what);
    this.#told.add(what);
    if (error) this.#told.add(error.message);
  };
}

/** Options of {@linkcode openTokenStore}. */
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
  readonly hold?: ((notice: Notice) => void) | undefined;
}

/** The token cache of a command line. */
export interface TokenStore extends CacheStore {
  /** Reports what will prevent storing anything, as far as that is known beforehand. */
  tryOut(call?: CacheCall): Promise<void>;
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
  { mayPrompt = canAsk(), needsCache = false, hold }: TokenStoreOptions = {},
): TokenStore | undefined {
  const place = tokenPlace(line);
  if (place.kind === "memory") {
    if (place.why) logger("info", notStored(place));
    return undefined;
  }
  const store = place.kind === "file"
    ? fileStore({ folder: place.folder, mayPrompt, logger })
    : plaintextStore(place.path, { logger });
  // A user who names a place must learn of its problem first.
  const hasSpare = !hold && !needsCache && place.kind === "file" && line.get(STORE) === "auto";
  return new ReportingStore(place, store, { needsCache, hasSpare, tell: hold ?? new NoticePrinter().tell });
}

const CANNOT_READ = "The token cache cannot be read";
const CANNOT_WRITE = "The token cache cannot be written, and nothing is kept for the next run";

/** Options of a {@linkcode ReportingStore}. */
interface ReportingOptions {
  /** `true`: failures are the caller's, and no notices. */
  readonly needsCache: boolean;
  /** `true`: once reading has failed, the run goes on with a store in memory. */
  readonly hasSpare: boolean;
  readonly tell: (notice: Notice) => void;
}

/** A store that reports its failures, damaged documents and what it quarantines, and goes on where the command can. */
export class ReportingStore implements TokenStore {
  readonly setAside?: NonNullable<CacheStore["setAside"]>;
  readonly #place: StoredPlace;
  readonly #store: CacheStore;
  readonly #options: ReportingOptions;
  /** Accounts whose damaged documents could not be quarantined, and why. They count as missing. */
  readonly #unusable = new Map<string, LatchkeyError>();
  #spare: CacheStore | undefined;
  #used: CacheStore;

  /** Reports on `store`, which is in `place`. */
  constructor(place: StoredPlace, store: CacheStore, options: ReportingOptions) {
    this.#place = place;
    this.#store = store;
    this.#used = store;
    this.#options = options;
    // A file that the user names stays in its place.
    if (place.kind === "file" || !place.isNamed) this.setAside = this.#quarantine;
  }

  readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    return this.#read(call, async (store) => {
      const documents = await store.readAccounts(call);
      if (store === this.#store) this.#reportDamage(documents);
      return documents;
    }, []);
  }

  read(homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    return this.#read(call, async (store) => {
      const isUnusable = store === this.#store && this.#unusable.has(homeAccountId);
      return isUnusable ? undefined : await store.read(homeAccountId, call);
    }, undefined);
  }

  async update(
    homeAccountId: string,
    change: Parameters<CacheStore["update"]>[1],
    call: CacheCall = {},
  ): Promise<void> {
    try {
      const unusable = this.#unusable.get(homeAccountId);
      if (unusable) throw unusable;
      await this.#store.update(homeAccountId, change, call); // a file that cannot be read can often be replaced
      this.#used = this.#store; // which has what was just written
    } catch (error) {
      this.#report(CANNOT_WRITE, error, call);
      if (this.#used === this.#store) throw error;
      await this.#used.update(homeAccountId, change, call);
    }
  }

  async withLock<T>(homeAccountId: string, work: () => Promise<T>, call?: CacheCall): Promise<T> {
    return await (this.#used.withLock?.(homeAccountId, work, call) ?? work());
  }

  async tryOut(call: CacheCall = {}): Promise<void> {
    let isWritable = false;
    try {
      await tryToWrite(this.#place, call);
      isWritable = true;
      this.#reportDamage(await this.#store.readAccounts(call)); // the keyring prompts now, and not after the sign-in
    } catch (error) {
      this.#report(isWritable ? CANNOT_READ : CANNOT_WRITE, error, call);
    }
  }

  /** Reads; if that fails, reads again from the store in memory. */
  async #read<T>(call: CacheCall, read: (store: CacheStore) => Promise<T>, nothing: T): Promise<T> {
    const used = this.#used;
    try {
      // Without the folder there is nothing to read, and no code is loaded for it.
      if (used === this.#store && this.#place.kind === "file" && !isThere(this.#place.folder)) return nothing;
      return await read(used);
    } catch (error) {
      if (used !== this.#store) throw error;
      this.#report(CANNOT_READ, error, call);
      if (!this.#options.hasSpare) throw error;
      this.#spare ??= memoryStore();
      this.#used = this.#spare;
      return await read(this.#spare);
    }
  }

  readonly #quarantine: NonNullable<CacheStore["setAside"]> = async (homeAccountId, isDamaged, call = {}) => {
    try {
      const path = await this.#store.setAside?.(homeAccountId, isDamaged, call);
      if (path !== undefined) {
        const what = `The token cache was damaged. It was set aside as ${path}, and a new one was started`;
        this.#options.tell({ what });
      }
      return path;
    } catch (error) {
      const failure = this.#report(CANNOT_WRITE, error, call);
      this.#unusable.set(homeAccountId, failure);
      return undefined;
    }
  };

  #reportDamage(documents: readonly string[]): void {
    if (!documents.some(damageTest(this.#place))) return;
    const why = this.#place.kind === "file" ? "it is damaged, or its key is lost" : "it is damaged";
    this.#options.tell({ what: `${CANNOT_READ}: ${why}. Sign in again: latchkey login` });
  }

  /** Reports a failure of the store and returns it. Rethrows it if the command needs the cache, and what is no failure of the store. */
  #report(what: string, error: unknown, { signal }: CacheCall): LatchkeyError {
    if (this.#options.needsCache || !isFailure(error, signal)) throw error;
    this.#options.tell({ what, error });
    return error;
  }
}

/** Returns a function that tells a damaged document of a place. */
function damageTest({ kind }: StoredPlace): (document: string) => boolean {
  // An encrypted document is read whole or not at all, and parsing it would cost a silent token time.
  return kind === "file" ? (document) => !document.startsWith("{") : (document) => !isCacheText(document);
}

/** Creates a file next to the token cache and removes it, which shows if anything can be written there. */
async function tryToWrite(place: StoredPlace, { signal }: CacheCall): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts"); // only a sign-in needs it
  const path = place.kind === "file" ? pathIn(place.folder, "sign_in.lockfile") : `${place.path}.sign_in.lockfile`;
  try {
    await withLock(path, async () => {}, { signal, waitMs: 1000 });
  } catch (error) {
    if (!(error instanceof LatchkeyError && error.code === "timed_out")) throw error; // another process tries
  }
}

/** Returns true for a failure of the store, and not of a caller that aborts. */
function isFailure(error: unknown, signal: AbortSignal | undefined): error is LatchkeyError {
  return error instanceof LatchkeyError && signal?.aborted !== true;
}

/** Warns a person who has signed in without a broker that the sign-in ends with the run; by default not if that was requested. */
export function warnIfNotStored(line: CommandLine, { evenIfChosen }: { readonly evenIfChosen?: boolean } = {}): void {
  const place = tokenPlace(line);
  if (place.kind === "memory" && (place.why || evenIfChosen)) say(notStored(place));
}

export function notStored({ why }: TokenPlace & { readonly kind: "memory" }): string {
  const what = "Sign-ins last for this run only";
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
interface ClearedFiles {
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
