/**
 * Check of where tokens are kept that came without a broker.
 *
 * @module
 */
import { folderOf, listPrivateFolder, openLocalFiles } from "../../lib/files/private_files.ts";
import { quoteCommand } from "../../lib/runtime/host.ts";
import { isWsl } from "../../lib/runtime/program.ts";
import { describeFileStore, type FileStoreDescription } from "../../lib/cache/file_store.ts";
import type { CacheStore } from "../../lib/cache/store.ts";
import { isObject } from "../cli/output.ts";
import { findSetAside, isCacheText, noCache, OTHER_FILE, type TokenPlace } from "../cli/token_cache.ts";
import { type Check, failed, type Finding, notChecked, ok } from "./check.ts";

/** Permission bits of group and others. */
const OTHERS = 0o077;

const KEY_PLACES: Readonly<Record<FileStoreDescription["keyPlace"], (folder: string) => string>> = {
  "secret-service": () => "in the keyring (Secret Service)",
  "keychain": () => "in the macOS Keychain",
  "dpapi": (folder) => `in ${folder}/key.json, protected by Windows for this user (DPAPI)`,
  "file": (folder) => `in ${folder}/key.json`,
};

/** Whether tokens can be kept, and nobody else has them. */
export const tokenCache: Check = {
  id: "token_cache",
  limitMs: 10_000,
  async run({ tokenPlace, cache }, { signal }) {
    const place = tokenPlace();
    switch (place.kind) {
      case "memory":
        if (!place.why) return ok("sign-ins without a broker last for one run each, as --store memory asks for");
        return notChecked(`sign-ins without a broker last for one run each: ${place.why.message}`, place.why.hint);
      case "plaintext":
        return whereItIs(place.path, await withSetAside(place, await examinePlaintext(place, cache, signal)));
      case "file":
        return whereItIs(place.folder, await withSetAside(place, await examineFiles(place, cache, signal)));
    }
  },
};

function whereItIs(path: string, finding: Finding): Finding {
  if (!isOnWindowsDrive(path)) return finding;
  return {
    ...finding,
    detail: `${finding.detail}; ${WINDOWS_DRIVE.detail}`,
    fix: finding.fix ?? WINDOWS_DRIVE.fix,
  };
}

/** Names what was set aside as damaged: nobody can use it, but tokens can be in it. */
async function withSetAside(place: TokenPlace, finding: Finding): Promise<Finding> {
  const paths = finding.state === "ok" ? await findSetAside(place) : [];
  if (paths.length === 0) return finding;
  const remove = quoteCommand(["rm", ...paths]);
  return {
    ...finding,
    detail: `${finding.detail}; tokens may be in what was set aside as damaged: ${paths.join(", ")}`,
    fix: finding.fix === undefined ? remove : `${finding.fix}; ${remove}`,
  };
}

async function examineFiles(
  { folder }: TokenPlace & { readonly kind: "file" },
  store: CacheStore,
  signal: AbortSignal,
): Promise<Finding> {
  // First of all: it says what is wrong with the folder.
  const names = await listPrivateFolder(folder);
  const open = await openToOthers(folder, [folder, ...names.map((name) => `${folder}/${name}`)]);
  if (open.length > 0) return failed(...exposed(open, quoteCommand(["chmod", "-R", "go-rwx", folder])));
  const { path, keyPlace, isKeyMade, why, problem } = await describeFileStore({ folder, signal });
  // The reason was written down with the key, and need not be true any more.
  const key = `${KEY_PLACES[keyPlace](folder)} (${isKeyMade ? "when the key was made: " : ""}${why})`;
  if (!isKeyMade) {
    if (names.some((name) => `${folder}/${name}` === path)) {
      const what = `the key of the token cache in ${folder} is lost: key.json is missing`;
      return failed(
        `${what}, and ${path} is encrypted with it`,
        `Bring key.json back, or go on without. ${beginAnew(folder)}`,
      );
    }
    const detail = `nothing is kept yet; it would be in ${folder}, encrypted, and its key ${key}`;
    return ok(problem ? `${detail}. ${problem.message}` : detail, problem?.hint);
  }
  if (problem) {
    return failed(`the key is ${key}, but: ${problem.message}`, problem.hint ?? `Look at ${folder}/key.json`);
  }
  const documents = await store.readAccounts({ signal });
  const detail = `${countAccounts(documents)} in ${folder}, encrypted; the key is ${key}`;
  if (documents.every(isCacheText)) return ok(detail);
  return failed(
    `${path} is damaged, or encrypted with a lost key; the key is ${key}`,
    beginAnew(folder),
  );
}

/** How to go on with a new document. */
function beginAnew(folder: string): string {
  const move = quoteCommand(["mv", folder, `${folder}.old`]);
  return `Sign in again: latchkey login. It sets aside what cannot be read; if that fails: ${move}`;
}

async function examinePlaintext(
  { path, isNamed }: TokenPlace & { readonly kind: "plaintext" },
  store: CacheStore,
  signal: AbortSignal,
): Promise<Finding> {
  const documents = await store.readAccounts({ signal });
  if (documents.length === 0) return ok(`nothing is kept yet; it would be in ${path}, unencrypted`);
  const open = await openToOthers(folderOf(path), [path]);
  if (open.length > 0) return failed(...exposed(open, quoteCommand(["chmod", "go-rwx", path])));
  if (!documents.every(isCacheText)) {
    return isNamed
      ? failed(noCache(path), OTHER_FILE)
      : failed(`${path} is damaged`, "Sign in again: latchkey login sets it aside, and begins anew");
  }
  return ok(`${countAccounts(documents)} in ${path}, unencrypted`);
}

/** How many accounts documents have, in words. */
function countAccounts(documents: readonly string[]): string {
  const ids = new Set(documents.filter(isCacheText).flatMap(accountIds));
  return `${ids.size} account${ids.size === 1 ? "" : "s"}`;
}

function accountIds(document: string): readonly unknown[] {
  const { Account: accounts } = JSON.parse(document.trim() || "{}") as { readonly Account?: unknown };
  return isObject(accounts)
    ? Object.values(accounts).flatMap((each) => isObject(each) ? [each.home_account_id] : [])
    : [];
}

/** Those that others can read: what they can write is refused before. */
async function openToOthers(folder: string, paths: readonly string[]): Promise<readonly string[]> {
  const files = await openLocalFiles(folder, "read");
  return paths.filter((path) => ((files.lstat(path)?.mode ?? 0) & OTHERS) !== 0);
}

function exposed([path, ...more]: readonly string[], fix: string): [detail: string, fix: string] {
  return [`others can look into ${path}${more.length > 0 ? ` and ${more.length} more` : ""}`, fix];
}

/** What is wrong with files there. */
const WINDOWS_DRIVE = {
  detail: "it is on a drive of Windows', which is slow from WSL, and where locks do not hold",
  fix: "Keep it in Linux' own file system: XDG_STATE_HOME, or --cache-file, below your Linux home folder",
};

/** Whether a path leads to one, where WSL mounts them unless it is told otherwise. */
function isOnWindowsDrive(path: string): boolean {
  return isWsl() === true && /^\/mnt\/[a-z](\/|$)/i.test(path);
}
