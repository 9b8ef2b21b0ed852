// A worker in workerd, the runtime of Cloudflare's edge, on loopback: with Web APIs, and nothing of Node's.
import { Miniflare } from "miniflare";
import type { BundledModule } from "./bundle_for_edge.ts";

/** A worker that runs. */
export interface Worker extends AsyncDisposable {
  /** Its address, without a slash at its end. */
  readonly url: string;
}

/**
 * Starts a worker on a port that the system chooses.
 *
 * @param modules Its modules, the one that answers requests first.
 * @param bindings Its `env`.
 */
export async function startWorker(
  modules: readonly BundledModule[],
  bindings: Readonly<Record<string, string>> = {},
): Promise<Worker> {
  const miniflare = new Miniflare({
    // Listed, since Miniflare refuses to look for imports in a script that is in no file.
    modules: modules.map((module) => ({ type: "ESModule", ...module })),
    bindings: { ...bindings },
    compatibilityDate: "2026-06-01",
    host: "127.0.0.1",
    port: 0,
  });
  const { port } = await miniflare.ready;
  return {
    url: `http://localhost:${port}`,
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}
