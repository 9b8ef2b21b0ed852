/**
 * Token caches in files: an encrypted one for this user, and MSAL's, which other programs share. Their code is loaded
 * on first use.
 *
 * @module
 */
import { ArgumentError, type LatchkeyError, type Logger } from "../errors.ts";
import { checkOptions, type OptionNames } from "../request.ts";
import { type CacheCall, type CacheStore, lazyStore } from "./store.ts";

/** Options of {@linkcode fileStore}. */
export interface FileStoreOptions {
  /** Absolute path of a folder for this store only. @default the user's, such as `~/.local/state/latchkey` */
  readonly folder?: string | undefined;
  /**
   * Place of a new key: `keyring` (Secret Service, macOS Keychain, Windows DPAPI), `file`, beside the encrypted file,
   * or `auto`: the keyring if it can be used, else the file.
   *
   * @default "auto"
   */
  readonly keyLocation?: "auto" | "keyring" | "file" | undefined;
  /** True if the keyring may prompt the user to unlock it. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** Receives log lines. @default none */
  readonly logger?: Logger | undefined;
}

const FILE_STORE: OptionNames<FileStoreOptions> = { folder: true, keyLocation: true, mayPrompt: true, logger: true };

/**
 * Returns a store in an encrypted file (AES-GCM), which any number of processes can use at once. The file is 0600 in a
 * folder that is 0700. A symbolic link, another owner, or a folder that others can write is an error.
 *
 * On Deno it needs `--allow-read` and `--allow-write` of the folder, `--allow-sys=uid`, `--allow-env` to find it, and
 * the permissions of the session bus for the keyring.
 *
 * @param options Folder and key. Nothing is opened before the first call.
 * @returns The store.
 * @throws {TypeError} if an option is invalid.
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
  checkOptions("fileStore", options, FILE_STORE);
  const { folder, keyLocation = "auto", mayPrompt, logger: log } = options;
  if (folder !== undefined && (typeof folder !== "string" || folder === "")) {
    throw new ArgumentError("Cannot keep tokens in a file: folder is not a path");
  }
  if (!["auto", "keyring", "file"].includes(keyLocation)) {
    throw new ArgumentError('Cannot keep tokens in a file: keyLocation has to be "auto", "keyring" or "file"');
  }
  return lazyStore(async () => {
    const [{ encryptedStore }, { stateFolder }] = await Promise.all([
      import("./encrypted_store.ts"),
      import("../files/user_folders.ts"),
    ]);
    return encryptedStore(folder ?? stateFolder(), { keyLocation, mayPrompt, log });
  });
}

/** Options of {@linkcode plaintextStore}. */
export interface PlaintextStoreOptions {
  /** Receives log lines. @default none */
  readonly logger?: Logger | undefined;
}

const PLAINTEXT_STORE: OptionNames<PlaintextStoreOptions> = { logger: true };

/**
 * Returns a store in one JSON file that is not encrypted. MSAL for Python (`msal-extensions`), MSAL for Node
 * (`@azure/msal-node-extensions`) and, where it does not encrypt, the Azure CLI share it. `PATH.lockfile` locks it.
 *
 * Whoever can read the file has the tokens. It is 0600. A symbolic link, another owner, or a folder that others can
 * write is an error.
 *
 * On Deno it needs `--allow-read` and `--allow-write` of the file's folder, and `--allow-sys=uid`.
 *
 * @param path Path of the file, such as `/home/jane/.azure/msal_token_cache.json`. The file and its folder are made if
 * they are missing.
 * @param options Nothing is opened before the first call.
 * @returns The store.
 * @throws {TypeError} if the path is empty.
 *
 * @example Tokens that the Azure CLI finds
 * ```ts
 * import { plaintextStore, PublicClientApplication } from "@latchkey/latchkey";
 *
 * const cache = plaintextStore("/home/jane/.azure/msal_token_cache.json");
 * const app = new PublicClientApplication({ clientId: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", cache });
 * const [account] = await app.getAccounts();
 * ```
 */
export function plaintextStore(path: string, options: PlaintextStoreOptions = {}): CacheStore {
  checkOptions("plaintextStore", options, PLAINTEXT_STORE);
  if (typeof path !== "string" || path === "") {
    throw new ArgumentError("Cannot keep tokens in a file: its path is missing");
  }
  return lazyStore(async () => {
    const { DocumentFile, MSAL_FORMAT } = await import("./document_file.ts");
    return new DocumentFile(path, { format: MSAL_FORMAT, log: options.logger });
  });
}

/** State of a {@linkcode fileStore}. */
export interface FileStoreDescription {
  /** Its folder. */
  readonly folder: string;
  /** Path of the encrypted file in it. */
  readonly path: string;
  /** Place of the key, or of a new one. `file` is beside the encrypted file. */
  readonly keyLocation: "secret-service" | "keychain" | "dpapi" | "file";
  /** True if there is a key. */
  readonly isKeyMade: boolean;
  /** Reason for the place of the key, for people. */
  readonly why: string;
  /** Why the key cannot be read at once, without a prompt. */
  readonly problem?: LatchkeyError | undefined;
}

/**
 * Describes the key of a {@linkcode fileStore}, and says if it can be read. Nobody is prompted, and nothing is made.
 *
 * @param options Options of the store; `signal` ends the call.
 * @returns The state.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if its folder cannot be read.
 */
export async function describeFileStore(
  { folder: given, keyLocation, signal }: Pick<FileStoreOptions, "folder" | "keyLocation"> & CacheCall = {},
): Promise<FileStoreDescription> {
  const [{ DOCUMENT_NAME }, { describeEncryptionKey }, { stateFolder }, { pathIn }] = await Promise.all([
    import("./encrypted_store.ts"),
    import("./encryption_key.ts"),
    import("../files/user_folders.ts"),
    import("../runtime/path.ts"),
  ]);
  const folder = given ?? stateFolder();
  const path = pathIn(folder, DOCUMENT_NAME);
  const { place, isMade, why, problem } = await describeEncryptionKey(folder, { keyLocation, signal });
  return { folder, path, keyLocation: place, isKeyMade: isMade, why, problem };
}
