/**
 * Token caches in files: an encrypted one for this user, and MSAL's, which other programs use as well. Their code is loaded when
 * they are first used.
 *
 * @module
 */
import { ArgumentError, type LatchkeyError, type Logger } from "../errors.ts";
import type { DocumentFile } from "./document_file.ts";
import { type CacheCall, type CacheStore, lazyStore } from "./store.ts";

/** Where a token cache is kept, and how its key is had. */
export interface FileStoreOptions {
  /** Absolute path of the folder; nothing else is to be in it. @default the user's, such as `~/.local/state/latchkey` */
  readonly folder?: string | undefined;
  /**
   * Where the key is put when a new one is made: `keyring` (Secret Service, macOS Keychain, Windows DPAPI), `file`, beside
   * what it encrypts, or `auto`: the keyring where there is one that can be used.
   *
   * @default "auto"
   */
  readonly keyLocation?: "auto" | "keyring" | "file" | undefined;
  /** Whether the keyring may ask the person to unlock it. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** Takes log lines. @default none */
  readonly logger?: Logger | undefined;
}

/**
 * A store in an encrypted file (AES-GCM), which any number of processes can use at once. It is 0600 in a folder that is 0700; a symbolic link, another owner, or a folder that others can write are refused.
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
  const { folder, keyLocation = "auto" } = options;
  if (folder !== undefined && (typeof folder !== "string" || folder === "")) {
    throw new ArgumentError("Cannot keep tokens in files: folder has to be a path");
  }
  if (!["auto", "keyring", "file"].includes(keyLocation)) {
    throw new ArgumentError('Cannot keep tokens in files: keyLocation has to be "auto", "keyring" or "file"');
  }
  return lazyStore(() => open(options));
}

async function open({ folder, keyLocation, mayPrompt, logger: log }: FileStoreOptions): Promise<DocumentFile> {
  const [{ encryptedStore }, { stateFolder }] = await Promise.all([
    import("./encrypted_store.ts"),
    import("../files/user_folders.ts"),
  ]);
  return encryptedStore(folder ?? stateFolder(), { keyLocation, mayPrompt, log });
}

/** How the file is used. */
export interface PlaintextStoreOptions {
  /** Takes log lines. @default none */
  readonly logger?: Logger | undefined;
}

/**
 * A store in one JSON file that is not encrypted, as MSAL for Python (`msal-extensions`), MSAL for Node
 * (`@azure/msal-node-extensions`) and, where it does not encrypt, the Azure CLI have it: they find what is stored here, and the
 * reverse. While it is written, `PATH.lockfile` keeps the others out.
 *
 * Whoever can read the file has the tokens in it. It is 0600; a symbolic link, another owner, or a folder that others can write
 * are refused.
 *
 * On Deno it needs `--allow-read` and `--allow-write` of the file's folder, and `--allow-sys=uid`.
 *
 * @param path Path of the file, such as `~/.azure/msal_token_cache.json` with the home folder written out. It and its folder are
 * made when they are missing.
 * @param options How it is used. Nothing is opened before the first call.
 * @returns The store.
 * @throws {TypeError} when the path is empty.
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
  if (typeof path !== "string" || path === "") {
    throw new ArgumentError("Cannot keep tokens in a file: its path is missing");
  }
  return lazyStore(async () => {
    const { DocumentFile, MSAL_FORMAT } = await import("./document_file.ts");
    return new DocumentFile(path, { format: MSAL_FORMAT, log: options.logger });
  });
}

/** How a file store stands. */
export interface FileStoreDescription {
  /** Its folder. */
  readonly folder: string;
  /** Path of the encrypted file in it. */
  readonly path: string;
  /** Where the key is that its file is encrypted with, or would be put: `file` is beside them. */
  readonly keyLocation: "secret-service" | "keychain" | "dpapi" | "file";
  /** Whether there is a key yet. */
  readonly isKeyMade: boolean;
  /** For people: why the key is, or would be, there. */
  readonly why: string;
  /** Why the key cannot be had at once, without asking anybody. */
  readonly problem?: LatchkeyError | undefined;
}

/**
 * Tells where the key of a {@linkcode fileStore} is, and whether it can be had. Nobody is asked, and nothing is made.
 *
 * @param options Of the store; `signal` gives up.
 * @returns How it stands.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when its folder cannot be read.
 */
export async function describeFileStore(
  { folder: given, keyLocation, signal }: Pick<FileStoreOptions, "folder" | "keyLocation"> & CacheCall = {},
): Promise<FileStoreDescription> {
  const [{ DOCUMENT_NAME }, { describeEncryptionKey }, { stateFolder }] = await Promise.all([
    import("./encrypted_store.ts"),
    import("./encryption_key.ts"),
    import("../files/user_folders.ts"),
  ]);
  const folder = given ?? stateFolder(), path = `${folder}/${DOCUMENT_NAME}`;
  const { place, isMade, why, problem } = await describeEncryptionKey(folder, { keyLocation, signal });
  return { folder, path, keyLocation: place, isKeyMade: isMade, why, problem };
}
