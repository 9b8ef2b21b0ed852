// @ts-self-types="npm:yaml@2.9.1"
// What deno.json has in place of the package.
import { loadPackage } from "../runtime/installation.ts";

export const { Document, isScalar, isSeq, LineCounter, parseDocument } = await loadPackage("npm:yaml@2.9.1");
