// @ts-self-types="npm:jmespath@0.16.0"
// What deno.json has in place of the package.
import { loadPackage } from "../runtime/installation.ts";

export default (await loadPackage("npm:jmespath@0.16.0")).default;
