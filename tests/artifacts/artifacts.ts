/** What was built, for the suites that look at it. */
import process from "node:process";

/** Where things are that were built; a folder has no slash at its end. */
export interface Artifacts {
  /** What they were built from, as `--version` tells it. */
  readonly commit: string | null;
  /** The command line compiled by Deno. */
  readonly byDeno: string;
  /** The command line compiled by Bun. */
  readonly byBun: string;
  /** What `npm pack` made. */
  readonly tarball: string;
  /** A folder in which npm has installed that, and nothing else but what it needs. */
  readonly npmFolder: string;
  /** The same by Bun. */
  readonly bunFolder: string;
}

/** Environment variable that has them, in JSON. */
export const ARTIFACTS = "ARTIFACTS";

/**
 * What was built.
 *
 * @throws {Error} when the suite was not started by run_artifacts.ts
 */
export function artifacts(): Artifacts {
  const text = process.env[ARTIFACTS];
  if (text === undefined) throw new Error(`${ARTIFACTS} names nothing that was built: npm run test:artifacts`);
  return JSON.parse(text);
}
