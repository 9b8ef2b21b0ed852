/** Paths of package.json. */
import { join } from "node:path";
import { ROOT } from "./bundle.ts";

/** The one that npm reads. */
export const PACKAGE_MANIFEST: string = join(ROOT, "package.json");

/** The checkout's own, while npm packs. */
export const CHECKOUT_MANIFEST: string = join(ROOT, "dist/package.json");
