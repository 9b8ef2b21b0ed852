// node --import ./tests/runtimes/node_bun_test.mjs --test SUITE…: `bun:test` is the file beside this one.
import { registerHooks } from "node:module";

const bunTest = new URL("bun_test_module.ts", import.meta.url).href;

registerHooks({
  resolve: (specifier, context, nextResolve) => nextResolve(specifier === "bun:test" ? bunTest : specifier, context),
});
