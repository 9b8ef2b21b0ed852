// The entries ./web and ./redis as a bundler takes them to the edge.
import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { bundleForEdge } from "../tools/bundle_for_edge.ts";

const MAX_BYTES = 40 * 1024;

test("lib/web.ts, bundled and compressed, has 40 KB at most", async () => {
  const { length } = gzipSync(await bundle("lib/web.ts"));
  process.stdout.write(`lib/web.ts: ${(length / 1024).toFixed(1)} KB, bundled and compressed\n`);
  expect(length).toBeLessThanOrEqual(MAX_BYTES);
});

test.each(["lib/web.ts", "lib/redis.ts"])("%s, bundled, imports nothing", async (path) => {
  expect(new Bun.Transpiler({ loader: "js" }).scanImports(await bundle(path))).toEqual([]);
});

async function bundle(path: string): Promise<string> {
  const [entry, ...others] = await bundleForEdge(path);
  expect(others).toEqual([]);
  return entry!.contents;
}
