// @ts-self-types="npm:uqr@0.1.3"
// What deno.json has in place of the package.
import { loadPackage } from "../runtime/installation.ts";

export const { renderUnicodeCompact } = await loadPackage("npm:uqr@0.1.3");
