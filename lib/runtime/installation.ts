/**
 * Packages that the app has installed from npm, and the command that runs this program.
 *
 * A package is searched in `node_modules` beside and above the program's main file and latchkey's own files, as Node does. A
 * compiled executable searches only beside itself: whoever unpacks it in a shared folder has not chosen the folders above. The
 * current folder never counts, since somebody else's native code there would run.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { currentRuntime, denoNamespace } from "./host.ts";

/**
 * Loads a package by a specifier such as `npm:yaml@2.9.1`, which only Deno understands. Deno looks up every package that it sees in
 * an import at each start, and downloads it at the first: this it does not see.
 *
 * @throws {LatchkeyError} `missing_dependency` if Deno cannot get the package.
 */
// deno-lint-ignore no-explicit-any -- the files of lib/npm, which call it, declare the types of their packages
export async function loadPackage(specifier: string): Promise<any> {
  try {
    return await import(specifier);
  } catch (cause) {
    throw new LatchkeyError("missing_dependency", `Deno cannot load the package ${specifier}`, {
      cause,
      remedy: `Where its registry can be reached, run deno cache ${specifier}`,
    });
  }
}

/** The last part of a path, with the slash before it, unless that is the root's. */
const LAST_PART = /(?<=[^\\/:])[\\/][^\\/]*$|[^\\/]*$/;

/** Returns true if a main file is inside an executable that Bun made. */
function isInBunExecutable(path: string): boolean {
  return /^(\/\$bunfs\/|[A-Za-z]:[\\/]~BUN[\\/])/.test(path);
}

/** Returns the folders that a package, such as `@azure/msal-node-runtime`, can be in, the first one first. */
export function packageFolders(name: string): readonly string[] {
  const executable = ownExecutable();
  if (executable !== undefined) return packageFoldersAbove(executable, name).slice(0, 1);
  const files = [mainFile(), pathOfUrl(import.meta.url)].filter((path) => path !== undefined);
  return [...new Set(files.flatMap((file) => packageFoldersAbove(file, name)))];
}

/**
 * Returns the folders that a package can be in for a file, from the nearest to the root's. A drive's root is not among them,
 * since everybody may make folders there on Windows.
 */
export function packageFoldersAbove(file: string, name: string): readonly string[] {
  const isWindows = file.includes("\\");
  const separator = isWindows ? "\\" : "/";
  const driveLength = isWindows ? 1 : 0;
  const roots = file.startsWith("\\\\") ? SHARE_LENGTH : driveLength;
  const parts = file.split(/[\\/]/);
  const above = parts.slice(0, -1).map((_, index, all) => all.slice(0, all.length - index));
  return above.filter((folder) => folder.length > roots && folder.at(-1) !== "node_modules")
    .map((folder) => [...folder, "node_modules", ...name.split("/")].join(separator));
}

/** Parts of a share's path: `\\server\share` has four. */
const SHARE_LENGTH = 4;

/** Returns the executable that this program was compiled to. Its modules have paths at which there is no file. */
function ownExecutable(): string | undefined {
  const deno = denoNamespace();
  if (deno) return deno.build.standalone ? deno.execPath() : undefined;
  const { argv: [, main], execPath } = globalThis.process;
  // Node's single executables have their own path in place of the main file's.
  return main && (main === execPath || isInBunExecutable(main)) ? execPath : undefined;
}

/** Returns the program's main file; `undefined` for a program without one, whose path is made up of the current folder. */
function mainFile(): string | undefined {
  const deno = denoNamespace();
  if (deno) return /\/\$deno\$\w+\.\w+$/.test(deno.mainModule) ? undefined : pathOfUrl(deno.mainModule);
  // After a program that is a text, argv has only its arguments.
  const { argv: [, main], execArgv } = globalThis.process;
  const isText = execArgv.some((word) => /^-(-eval|-print|[ep]+)(=|$)/.test(word));
  return main && !isText && /^([A-Za-z]:)?[\\/]/.test(main) ? main : undefined;
}

/** Returns the path of a file's URL; `undefined` for any other URL, such as that of a module that Deno fetched. */
function pathOfUrl(url: string | undefined): string | undefined {
  if (!url?.startsWith("file:///")) return undefined; // bundlers leave none
  const path = decodeURIComponent(new URL(url).pathname);
  return /^\/[A-Za-z]:\//.test(path) ? path.slice(1).replaceAll("/", "\\") : path;
}

/**
 * Returns the command that runs this program: only the compiled executable, else the runtime, its options and the program. The
 * first word is an absolute path. A program cannot see its own flags of Deno, so they are given.
 */
export function ownCommand(denoPermissions: () => readonly string[]): readonly string[] {
  const deno = denoNamespace();
  if (deno) {
    if (deno.build.standalone) return [deno.execPath()];
    const { mainModule } = deno;
    const own = ["run", "--no-prompt", ...denoConfiguration(mainModule), ...denoPermissions()];
    return [deno.execPath(), ...own, moduleWord(mainModule)];
  }
  const { execPath, execArgv, argv: [, program = ""] } = globalThis.process;
  if (isInBunExecutable(program)) return [execPath];
  return [
    execPath,
    // In the current folder Bun reads `bunfig.toml`, whose `preload` it runs, `.env`, and `tsconfig.json`, whose `paths` replace
    // packages. The options against each of these differ between Bun 1.3 and 1.4.
    ...(currentRuntime().name === "Bun" ? [`--cwd=${program.replace(LAST_PART, "")}`] : []),
    ...withoutFiles(execArgv),
    program,
  ];
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

/** Returns true if npm installed the packages, as in a clone that cannot reach JSR. */
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

/** Returns options of Node's or Bun's without those that load files. */
export function withoutFiles(options: readonly string[]): readonly string[] {
  const isValue = (index: number) => LOADS.exec(options[index - 1] ?? "")?.[3] === "";
  return options.filter((option, index) => !LOADS.test(option) && !isValue(index));
}

/** Returns a module as `deno run` takes it: a file's path, a package's name, else its URL, as for a file on Windows. */
export function moduleWord(url: string): string {
  if (/^file:\/\/\/(?![A-Za-z]:)/.test(url)) return decodeURIComponent(new URL(url).pathname);
  const [, name, version, entry] = /^https:\/\/jsr\.io\/(@[^/]+\/[^/]+)\/([^/]+)\/bin\/(latchkey)\.ts$/.exec(url) ?? [];
  return entry === undefined ? url : `jsr:${name}@${version}/cli`;
}
