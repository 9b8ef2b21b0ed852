// Run by Deno: `make SCRIPT CACHE` writes V8's code cache of a script, and `check SCRIPT CACHE` fails if V8 rejects it.
import { Script } from "node:vm";

const [task, script, cache] = Deno.args, source = Deno.readTextFileSync(script);
if (task === "make") Deno.writeFileSync(cache, new Script(source).createCachedData());
else if (new Script(source, { cachedData: Deno.readFileSync(cache) }).cachedDataRejected) {
  throw new Error("V8 rejects the code cache");
}
