// The entry ./web as a bundler takes it to the edge.
import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { bundleForEdge } from "../tools/bundle_for_edge.ts";

const MAX_BYTES = 40 * 1024;

test("lib/web.ts, bundled and compressed, has 40 KB at most", async () => {
  const { length } = gzipSync(await bundle());
  process.stdout.write(`lib/web.ts: ${(length / 1024).toFixed(1)} KB, bundled and compressed\n`);
  expect(length).toBeLessThanOrEqual(MAX_BYTES);
});

test("lib/web.ts, bundled, imports nothing", async () => {
  expect(new Bun.Transpiler({ loader: "js" }).scanImports(await bundle())).toEqual([]);
});

async function bundle(): Promise<string> {
  const [entry, ...others] = await bundleForEdge("lib/web.ts");
  expect(others).toEqual([]);
  return entry!.contents;
}
