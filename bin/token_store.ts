/**
 * Where a command keeps tokens that came without a broker.
 *
 * @module
 */
import {
  type CacheCall,
  type CacheStore,
  fileStore,
  LatchkeyError,
  type Logger,
  memoryStore,
  plaintextStore,
} from "../mod.ts";
import { denoNamespace, quoteCommand } from "../lib/platform/host.ts";
import { missingFlags } from "../lib/platform/open_local_files.ts";
import { isTerminal, isThere, write } from "../lib/platform/program.ts";
import { stateFolder } from "../lib/platform/user_folders.ts";
import { cacheFilePath } from "./cache_file_path.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { withDamageNotices } from "./damage_notices.ts";
import { type ForgivingStore, forgivingStore, type Tell } from "./forgiving_store.ts";
import { inNamedFile, isCacheText } from "./named_cache_file.ts";
import { visible } from "./visible.ts";

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
  return forgivingStore(store, {
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
export function tellIfNotKept(
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
  write("stderr", `latchkey: ${visible(what)}\n`);
}

/** Whether a file can be made shows in one beside it, which goes at once. */
async function tryToWrite(
  place: Exclude<TokenPlace, { readonly kind: "memory" }>,
  { signal }: CacheCall,
): Promise<void> {
  const { withLock } = await import("../lib/platform/lock.ts"); // who needs no sign-in does without
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
