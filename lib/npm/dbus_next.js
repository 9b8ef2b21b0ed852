// @ts-self-types="npm:@jellybrick/dbus-next@0.11.3"
// What deno.json has in place of the package.
import { loadPackage } from "../runtime/installation.ts";

export const { sessionBus } = await loadPackage("npm:@jellybrick/dbus-next@0.11.3");
