/**
 * The scopes that the user agreed to for a protected server, in a private file. Providers other than Microsoft can issue a token
 * for any scope, so a server gets only those.
 *
 * @module
 */
import { isObject, type JsonObject, readJson, readText } from "../../lib/encoding.ts";
import { readPrivateFile, replacePrivateFile } from "../../lib/files/private_files.ts";
import { pathIn, stateFolder } from "../../lib/files/user_folders.ts";

/** A server, and who issues its tokens to whom. */
export interface AgreedServer {
  /** URL of the server. */
  readonly server: string;
  /** Resource that its tokens are for. */
  readonly resource: string;
  /** URL of the authority. */
  readonly authority: string;
  readonly clientId: string;
}

/**
 * Returns the scopes that the user agreed to for a server.
 *
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the file cannot be read, or others can write it.
 */
export async function agreedScopes(server: AgreedServer, signal?: AbortSignal): Promise<readonly string[]> {
  const entries = await readEntries(signal);
  return scopesIn(entries.find((entry) => isSameServer(entry, server)));
}

/**
 * Adds scopes to those that the user agreed to for a server.
 *
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` if the file cannot be written.
 */
export async function rememberAgreement(
  server: AgreedServer,
  scopes: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts");
  const path = filePath();
  await withLock(`${path}.lockfile`, async () => {
    const entries = await readEntries(signal);
    const known = entries.find((entry) => isSameServer(entry, server));
    const all = [...new Set([...scopesIn(known), ...scopes])];
    const { clientId: client_id, ...names } = server;
    const servers = [...entries.filter((entry) => entry !== known), { ...names, client_id, scopes: all }];
    const json = `${JSON.stringify({ servers }, undefined, 2)}\n`;
    await replacePrivateFile(path, new TextEncoder().encode(json), { signal });
  }, { signal });
}

/** A file that is damaged has no agreements: the user is asked again. */
async function readEntries(signal: AbortSignal | undefined): Promise<readonly JsonObject[]> {
  const bytes = await readPrivateFile(filePath(), { signal });
  const servers = bytes && readJson(bytes)?.servers;
  return Array.isArray(servers) ? servers.filter(isObject) : [];
}

function isSameServer(entry: JsonObject, { server, resource, authority, clientId }: AgreedServer): boolean {
  return entry.server === server && entry.resource === resource && entry.authority === authority &&
    entry.client_id === clientId;
}

function scopesIn(entry: JsonObject | undefined): readonly string[] {
  return Array.isArray(entry?.scopes) ? entry.scopes.filter((scope) => readText(scope) !== undefined) : [];
}

function filePath(): string {
  return pathIn(stateFolder(), "agreed_scopes.json");
}
