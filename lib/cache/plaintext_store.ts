/**
 * A token cache in MSAL's one file, which other programs use as well.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { CacheStore } from "./cache_store.ts";
import { lateStore } from "./late_store.ts";

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
  return lateStore(async () => {
    const { PlaintextFile } = await import("./plaintext_file.ts");
    return new PlaintextFile(path, options.logger);
  });
}
