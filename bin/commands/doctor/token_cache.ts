/**
 * Check of the token cache, which holds tokens that did not come from a broker.
 *
 * @module
 */
import { openLocalFiles } from "../../../lib/files/permissions.ts";
import { testFolder } from "../../../lib/files/placed_file.ts";
import { listPrivateFolder } from "../../../lib/files/private_files.ts";
import { operatingSystem, quoteCommand } from "../../../lib/runtime/host.ts";
import { isWsl } from "../../../lib/runtime/machine.ts";
import { describeFileStore, type FileStoreDescription } from "../../../lib/cache/file_store.ts";
import type { CacheStore } from "../../../lib/cache/store.ts";
import { isObject } from "../../../lib/encoding.ts";
import { advice, followedBy, type Remedy } from "../../../lib/remedies.ts";
import { folderOf, pathIn } from "../../../lib/runtime/path.ts";
import { findSetAside, isCacheText, noCache, OTHER_FILE, type TokenPlace } from "../../cli/token_cache.ts";
import { asFailure, type Check, failed, type Finding, notChecked, ok } from "./check.ts";

const OTHERS = 0o077;

const KEY_LOCATIONS: Readonly<Record<FileStoreDescription["keyLocation"], (folder: string) => string>> = {
  "secret-service": () => "in the keyring (Secret Service)",
  "keychain": () => "in the macOS Keychain",
  "dpapi": (folder) => `in ${pathIn(folder, "key.json")}, protected by Windows for this user (DPAPI)`,
  "file": (folder) => `in ${pathIn(folder, "key.json")}`,
};

/** Checks that tokens can be stored, and that other users cannot read them. */
export const tokenCache: Check = {
  id: "token_cache",
  limitMs: 10_000,
  async run({ tokenPlace, cache }, { signal }) {
    const place = tokenPlace();
    if (place.kind === "memory") {
      const detail = "sign-ins without a broker last for one run each";
      return place.why
        ? notChecked(`${detail}: ${place.why.message}`, place.why.remedy)
        : ok(`${detail}, as --store memory asks for`);
    }
    const [path, finding] = place.kind === "plaintext"
      ? [place.path, await checkPlaintext(place, cache, signal)]
      : [place.folder, await checkEncrypted(place, cache, signal)];
    const setAside = finding.state === "ok" ? await findSetAside(place) : [];
    const findings = [finding];
    if (finding.state === "ok") {
      findings.push(...await checkWritable(place.kind === "plaintext" ? folderOf(path) : path));
    }
    if (setAside.length > 0) {
      // Nobody can use a damaged file, but it may contain tokens.
      const detail = `tokens may be in what was set aside as damaged: ${setAside.join(", ")}`;
      findings.push(ok(detail, removal(setAside)));
    }
    if (isWsl() && /^\/mnt\/[a-z](\/|$)/i.test(path)) findings.push(WINDOWS_DRIVE); // WSL's default mount points
    return {
      state: findings.find(({ state }) => state === "failed")?.state ?? finding.state,
      detail: findings.map(({ detail }) => detail).join("; "),
      fix: findings.flatMap(({ fix }) => fix ?? []).reduceRight<Remedy | undefined>(
        (rest, fix) => followedBy(fix, rest),
        undefined,
      ),
    };
  },
};

/** Returns commands that remove files. PowerShell's `del` takes only one. */
function removal(paths: readonly string[]): string {
  if (operatingSystem() !== "win32") return quoteCommand(["rm", ...paths]);
  return paths.map((path) => quoteCommand(["del", path])).join(", ");
}

const WINDOWS_DRIVE = ok(
  "it is on a Windows drive, which is slow from WSL, and on which locks do not hold",
  "Keep it in Linux' own file system: XDG_STATE_HOME, or --cache-file, below your Linux home folder",
);

async function checkEncrypted(
  { folder }: TokenPlace & { readonly kind: "file" },
  store: CacheStore,
  signal: AbortSignal,
): Promise<Finding> {
  // First: its error says what is wrong with the folder.
  const names = await listPrivateFolder(folder);
  const exposed = await exposedDetail(folder, [folder, ...names.map((name) => pathIn(folder, name))]);
  if (exposed) return failed(exposed, quoteCommand(["chmod", "-R", "go-rwx", folder]));
  const { path, keyLocation, isKeyMade, why, problem } = await describeFileStore({ folder, signal });
  // The reason was stored with the key, and may be out of date.
  const key = `${KEY_LOCATIONS[keyLocation](folder)} (${isKeyMade ? "when the key was made: " : ""}${why})`;
  if (!isKeyMade) {
    if (names.some((name) => pathIn(folder, name) === path)) {
      return failed(
        `the key of the token cache in ${folder} is lost: key.json is missing, and ${path} is encrypted with it`,
        `Restore key.json, or continue without it. ${signInAgain(folder)}`,
      );
    }
    const detail = `nothing is stored yet; tokens will be in ${folder}, encrypted, and its key ${key}`;
    return ok(problem ? `${detail}. ${problem.message}` : detail, problem?.remedy);
  }
  if (problem) {
    return failed(
      `the key is ${key}, but: ${problem.message}`,
      problem.remedy ?? `Check ${pathIn(folder, "key.json")}`,
    );
  }
  const documents = await store.readAccounts({ signal });
  return documents.every(isCacheText)
    ? ok(`${countAccounts(documents)} in ${folder}, encrypted; the key is ${key}`)
    : failed(`${path} is damaged, or encrypted with a lost key; the key is ${key}`, signInAgain(folder));
}

function signInAgain(folder: string): string {
  const move = quoteCommand([operatingSystem() === "win32" ? "move" : "mv", folder, `${folder}.old`]);
  return `Sign in again: latchkey login. It sets aside unreadable files; if that fails: ${move}`;
}

async function checkPlaintext(
  { path, isNamed }: TokenPlace & { readonly kind: "plaintext" },
  store: CacheStore,
  signal: AbortSignal,
): Promise<Finding> {
  const documents = await store.readAccounts({ signal });
  if (documents.length === 0) return ok(`nothing is stored yet; tokens will be in ${path}, unencrypted`);
  const exposed = await exposedDetail(folderOf(path), [path]);
  if (exposed) return failed(exposed, quoteCommand(["chmod", "go-rwx", path]));
  if (documents.every(isCacheText)) return ok(`${countAccounts(documents)} in ${path}, unencrypted`);
  return isNamed
    ? failed(noCache(path), OTHER_FILE)
    : failed(`${path} is damaged`, "Sign in again: latchkey login sets it aside and creates a new one");
}

/** Returns what is wrong if nothing can be stored in a folder, or that this is not known. */
async function checkWritable(folder: string): Promise<readonly Finding[]> {
  try {
    return await testFolder(folder) ? [] : [ok("Deno does not permit testing whether it can be written to")];
  } catch (error) {
    const { detail, fix } = asFailure(error);
    return [
      failed(
        `nothing can be stored there: ${detail}`,
        followedBy(fix, advice("To keep tokens elsewhere: --cache-file, or XDG_STATE_HOME")),
      ),
    ];
  }
}

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

/** Returns `undefined` if other users can read none of the paths. Paths that they can write were refused before. */
async function exposedDetail(folder: string, paths: readonly string[]): Promise<string | undefined> {
  const files = await openLocalFiles(folder, "read");
  const [path, ...more] = paths.filter((path) => ((files.lstat(path)?.mode ?? 0) & OTHERS) !== 0);
  if (path === undefined) return undefined;
  return `other users can read ${path}${more.length > 0 ? ` and ${more.length} more` : ""}`;
}
