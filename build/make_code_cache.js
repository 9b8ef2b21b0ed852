// Run by Deno: make_code_cache.js SCRIPT OUTPUT writes what V8 compiled of a script. make_code_cache.js SCRIPT OUTPUT CACHE writes
// a cache that was made with other flags so that this V8 takes it, which says in the header what flags it has.
import { Script } from "node:vm";

/** Where the header has a hash of the flags. */
const FLAGS = { start: 12, end: 16 };

const [script, output, other] = Deno.args;
const source = Deno.readTextFileSync(script);
let cache = new Script(source).createCachedData();
if (other) {
  const { start, end } = FLAGS, flags = cache.subarray(start, end);
  cache = Deno.readFileSync(other);
  cache.set(flags, start);
  if (new Script(source, { cachedData: cache }).cachedDataRejected) throw new Error("V8 rejects the code cache");
}
Deno.writeFileSync(output, cache);
