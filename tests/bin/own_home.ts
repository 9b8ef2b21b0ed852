/** Homes of their own for runs of the command line, so that none sees what another one, or the developer, has stored. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A home folder. */
export interface OwnHome extends Disposable {
  readonly path: string;
  /** Where the command line keeps its tokens. */
  readonly state: string;
  /** Where its profiles are. */
  readonly config: string;
  /** What a run has to have in its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Makes a home folder; it is removed when it is disposed of. */
export function makeOwnHome(): OwnHome {
  const path = mkdtempSync(join(tmpdir(), "latchkey-home-"));
  const { HOME = "/", XDG_CACHE_HOME = join(HOME, ".cache"), DENO_DIR = join(XDG_CACHE_HOME, "deno") } = process.env;
  return {
    path,
    state: join(path, "state/latchkey"),
    config: join(path, "config/latchkey"),
    env: {
      HOME: path,
      XDG_STATE_HOME: join(path, "state"),
      XDG_CONFIG_HOME: join(path, "config"),
      DENO_DIR, // what Deno has compiled need not be compiled again
      BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0", // Bun would keep it there
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
