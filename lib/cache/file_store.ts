/**
 * A token cache in encrypted files, for this user alone.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { CacheStore } from "./cache_store.ts";
import type { AccountFiles } from "./account_files.ts";
import { lateStore } from "./late_store.ts";

/** Where a token cache is kept, and how its key is had. */
export interface FileStoreOptions {
  /** Absolute path of the folder; nothing else is to be in it. @default the user's, such as `~/.local/state/latchkey` */
  readonly folder?: string | undefined;
  /**
   * Where the key is put when a new one is made: `keyring` (Secret Service, macOS Keychain, Windows DPAPI), `file`, beside
   * what it seals, or `auto`: the keyring where there is one that can be used.
   *
   * @default "auto"
   */
  readonly keyPlace?: "auto" | "keyring" | "file" | undefined;
  /** Whether the keyring may ask the person to unlock it. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** Takes log lines. @default none */
  readonly logger?: Logger | undefined;
}

/**
 * A store in encrypted files (AES-GCM), one for each account, which any number of processes can use at once. Files are 0600
 * in a folder that is 0700; a symbolic link, another owner, or a folder that others can write are refused.
 *
 * On Deno it needs `--allow-read` and `--allow-write` of the folder, `--allow-sys=uid`, `--allow-env` to find it, and what the
 * session bus needs for the keyring.
 *
 * @param options Where, and how the key is had. Nothing is opened before the first call.
 * @returns The store.
 * @throws {TypeError} when an option is none.
 *
 * @example Tokens that the next run finds
 * ```ts
 * import { fileStore, PublicClientApplication } from "@latchkey/latchkey";
 *
 * const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", cache: fileStore() });
 * const { accessToken } = await app.acquireToken({ scopes: ["User.Read"] });
 * ```
 */
export function fileStore(options: FileStoreOptions = {}): CacheStore {
  const { folder, keyPlace = "auto" } = options;
  if (folder !== undefined && (typeof folder !== "string" || folder === "")) {
    throw new ArgumentError("Cannot keep tokens in files: folder has to be a path");
  }
  if (!["auto", "keyring", "file"].includes(keyPlace)) {
    throw new ArgumentError('Cannot keep tokens in files: keyPlace has to be "auto", "keyring" or "file"');
  }
  return lateStore(() => open(options));
}

async function open({ folder, keyPlace, mayPrompt, logger: log }: FileStoreOptions): Promise<AccountFiles> {
  const [{ AccountFiles }, { stateFolder }] = await Promise.all([
    import("./account_files.ts"),
    import("../platform/user_folders.ts"),
  ]);
  return new AccountFiles(folder ?? stateFolder(), { keyPlace, mayPrompt, log });
}
