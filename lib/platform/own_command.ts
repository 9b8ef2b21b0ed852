/**
 * The command that runs this program again, for programs that start it later, in whatever folder they happen to be: git in a
 * clone of a stranger's, for one. Nothing that is in that folder is run or read on the way.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { isInBunExecutable } from "./installed_package.ts";
import { currentRuntime } from "./runtime.ts";

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
    const { mainModule } = deno, own = ["run", "--no-prompt", ...denoConfiguration(mainModule), ...denoPermissions()];
    return [deno.execPath(), ...own, moduleWord(mainModule)];
  }
  const { execPath, execArgv, argv: [, program = ""] } = globalThis.process;
  if (isInBunExecutable(program)) return [execPath];
  return [
    execPath,
    ...(currentRuntime().name === "Bun" ? [ownFolder(program)] : []),
    ...withoutFiles(execArgv),
    program,
  ];
}

/**
 * Has Bun start in the program's own folder. In the current one it reads `bunfig.toml`, whose `preload` it runs, `.env`, and
 * `tsconfig.json`, whose `paths` take the place of packages. The options against each of these differ between Bun 1.3 and 1.4.
 */
function ownFolder(program: string): string {
  return `--cwd=${program.replace(/(?<=[^\\/:])[\\/][^\\/]*$|[^\\/]*$/, "")}`;
}

/**
 * Deno looks for its configuration above a program's file; above the current folder if the program is JSR's, which takes none.
 * With "manual", a program from the network would take its packages from `node_modules` of the current folder.
 */
function denoConfiguration(mainModule: string): readonly string[] {
  const without = ["--no-config", "--no-lock"];
  if (!mainModule.startsWith("file:")) return [...without, "--node-modules-dir=none"];
  return isByPackageJson() ? [...without, "--node-modules-dir=manual"] : [];
}

/** Whether the packages are those that npm installed, as in a clone where JSR is out of reach. */
function isByPackageJson(): boolean {
  try {
    return import.meta.resolve("@panva/oauth4webapi").startsWith("file:");
  } catch {
    return false; // it was bundled
  }
}

/** Options that name code or settings to load, which a later run would look for in its current folder. */
const LOADS =
  /^(-r|-c|--(require|import|preload|loader|experimental-loader|env-file|env-file-if-exists|config|experimental-config-file|tsconfig-override|cwd))(=|$)|^--experimental-default-config-file$/;

/** Options of Node's or Bun's without those that load files. */
export function withoutFiles(options: readonly string[]): readonly string[] {
  const isValue = (index: number) => LOADS.exec(options[index - 1] ?? "")?.[3] === "";
  return options.filter((option, index) => !LOADS.test(option) && !isValue(index));
}

/** A module as it is named to `deno run`: a file's path, a package's name, else its address, as of a file of Windows'. */
export function moduleWord(url: string): string {
  if (/^file:\/\/\/(?![A-Za-z]:)/.test(url)) return decodeURIComponent(new URL(url).pathname);
  const [, name, version, entry] = /^https:\/\/jsr\.io\/(@[^/]+\/[^/]+)\/([^/]+)\/bin\/(latchkey)\.ts$/.exec(url) ?? [];
  return entry === undefined ? url : `jsr:${name}@${version}/cli`;
}
