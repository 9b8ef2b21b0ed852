/**
 * How a file store stands, for who looks for what is wrong with it.
 *
 * @module
 */
import type { LatchkeyError } from "../errors.ts";
import type { CacheCall } from "./cache_store.ts";
import type { FileStoreOptions } from "./file_store.ts";

/** How a file store stands. */
export interface FileStoreDescription {
  /** Its folder. */
  readonly folder: string;
  /** Where the key is that its files are sealed with, or would be put: `file` is beside them. */
  readonly keyPlace: "secret-service" | "keychain" | "dpapi" | "file";
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
  { folder, keyPlace, signal }: Pick<FileStoreOptions, "folder" | "keyPlace"> & CacheCall = {},
): Promise<FileStoreDescription> {
  const [{ describeStoreKey }, { stateFolder }] = await Promise.all([
    import("./store_key.ts"),
    import("../platform/user_folders.ts"),
  ]);
  const path = folder ?? stateFolder();
  const { place, isMade, why, problem } = await describeStoreKey(path, { keyPlace, signal });
  return { folder: path, keyPlace: place, isKeyMade: isMade, why, problem };
}
