/**
 * Which entries of a token cache are an app's own: a cache can be shared by many apps, in many clouds. Pure.
 *
 * @module
 */
import type { CacheDocument, KeyedEntry } from "./cache_document.ts";
import { clientKey } from "../account.ts";
import { environmentKey } from "../authority.ts";
import { appMetadataKey, type CacheEntry, text } from "./cache_schema.ts";

/** The app that looks. */
export interface CacheApp {
  /** Application (client) id. */
  readonly clientId: string;
  /** The names of the app's cloud, as {@linkcode environmentKey} has them, which count as one; the app's own first. */
  readonly environments: readonly string[];
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** The cloud that an entry is of, under the name that it has there. */
export function hostOf({ environment }: CacheEntry): string | undefined {
  const name = text(environment);
  return name && environmentKey(name);
}

/** Whether an entry is of the app's cloud. */
export function isInCloud(entry: CacheEntry, { environments }: CacheApp): boolean {
  return environments.includes(hostOf(entry) ?? "");
}

/** Whether an entry is the app's own, under whatever name of the cloud. */
export function isOfApp(entry: CacheEntry, app: CacheApp): boolean {
  return isInCloud(entry, app) && clientKey(text(entry.client_id) ?? "") === clientKey(app.clientId);
}

/** What is known of the app: one entry, or one for each name of the cloud, where several programs wrote them. */
export function appMetadataIn(document: CacheDocument, { clientId, environments }: CacheApp): readonly KeyedEntry[] {
  // MSAL for Node lowers the case of these keys.
  const ids = [...new Set([clientId, clientId.toLowerCase()])];
  return environments.flatMap((environment) => ids.map((clientId) => appMetadataKey({ environment, clientId })))
    .flatMap((key) => {
      const entry = document.entry("AppMetadata", key);
      return entry ? [{ key, entry }] : [];
    });
}
