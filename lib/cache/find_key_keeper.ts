/**
 * Which keeper of keys this system has.
 *
 * @module
 */
import { operatingSystem } from "../platform/host.ts";
import type { KeyKeeper } from "./key_keeper.ts";
import type { KeyPlace, KeySpot } from "./key_record.ts";

/** A keeper, and where its keys are. */
export type FoundKeeper = { readonly [Spot in KeySpot as Spot["place"]]: Keeper<Spot> }[Exclude<KeyPlace, "file">];

interface Keeper<Spot extends KeySpot> {
  readonly place: Spot["place"];
  readonly keeper: KeyKeeper<Spot>;
}

/** Where keys are kept on this system, apart from files. */
export function keyringPlace(): Exclude<KeyPlace, "file"> {
  switch (operatingSystem()) {
    case "darwin":
      return "keychain";
    case "win32":
      return "dpapi";
    default:
      return "secret-service";
  }
}

/** This system's keeper; its code is loaded now. */
export async function findKeyKeeper(): Promise<FoundKeeper> {
  const place = keyringPlace();
  if (place === "secret-service") {
    return { place, keeper: (await import("./secret_service_keeper.ts")).secretServiceKeeper() };
  }
  const { dpapiKeeper, keychainKeeper } = await import("./system_keepers.ts");
  return place === "keychain" ? { place, keeper: keychainKeeper() } : { place, keeper: dpapiKeeper() };
}
