/**
 * Which entries of a token cache are an app's own: a cache can be shared by many apps, in many clouds. Pure.
 *
 * @module
 */
import type { CacheDocument, KeyedEntry } from "./cache_document.ts";
import { appMetadataKey, type CacheEntry, idKey, text } from "./cache_schema.ts";

/** The app that looks. */
export interface CacheApp {
  /** Application (client) id. */
  readonly clientId: string;
  /** The names of the app's cloud, lower case, which count as one; the one that the app goes by first. */
  readonly environments: readonly string[];
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** Whether an entry is of the app's cloud. */
export function isInCloud(entry: CacheEntry, { environments }: CacheApp): boolean {
  return environments.includes(text(entry.environment)?.toLowerCase() ?? "");
}

/** Whether an entry is the app's own, under whatever name of the cloud. */
export function isOfApp(entry: CacheEntry, app: CacheApp): boolean {
  return isInCloud(entry, app) && idKey(text(entry.client_id) ?? "") === idKey(app.clientId);
}

/** What is known of the app. Two entries under two names of a cloud would make MSAL for Node fail, so there is to be one. */
export function appMetadataIn(document: CacheDocument, { clientId, environments }: CacheApp): KeyedEntry | undefined {
  for (const environment of environments) {
    // MSAL for Node lowers the case of these keys, too.
    for (const id of [clientId, clientId.toLowerCase()]) {
      const key = appMetadataKey({ environment, clientId: id }), entry = document.entry("AppMetadata", key);
      if (entry) return { key, entry };
    }
  }
  return undefined;
}
