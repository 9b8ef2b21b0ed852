/**
 * The command that runs this program again, for programs that start it later.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { isInBunExecutable } from "./installed_package.ts";

/** How Deno is to run it: what it was given itself, a program cannot see. */
export interface OwnCommandOptions {
  /** The flags that permit what it needs. */
  readonly denoPermissions: () => readonly string[];
}

/**
 * The command: a compiled executable alone, else the runtime, its options and the program.
 *
 * @param options How Deno is to run it.
 * @returns Words, the first of them an absolute path.
 */
export function ownCommand({ denoPermissions }: OwnCommandOptions): readonly string[] {
  const deno = denoNamespace();
  if (deno) {
    if (deno.build.standalone) return [deno.execPath()];
    const packages = isByPackageJson() ? ["--no-config", "--node-modules-dir=manual"] : [];
    return [deno.execPath(), "run", "--no-prompt", ...packages, ...denoPermissions(), moduleWord(deno.mainModule)];
  }
  const { execPath, execArgv, argv: [, program = ""] } = globalThis.process;
  return isInBunExecutable(program) ? [execPath] : [execPath, ...execArgv, program];
}

/** Whether the packages are those that npm installed, as in a clone where JSR is out of reach. */
function isByPackageJson(): boolean {
  try {
    return import.meta.resolve("@panva/oauth4webapi").startsWith("file:");
  } catch {
    return false; // it was bundled
  }
}

/** A module as it is named to `deno run`: a file's path, a package's name, else its address, as of a file of Windows'. */
export function moduleWord(url: string): string {
  if (/^file:\/\/\/(?![A-Za-z]:)/.test(url)) return decodeURIComponent(new URL(url).pathname);
  const [, name, version, entry] = /^https:\/\/jsr\.io\/(@[^/]+\/[^/]+)\/([^/]+)\/bin\/(latchkey)\.ts$/.exec(url) ?? [];
  return entry === undefined ? url : `jsr:${name}@${version}/cli`;
}
