/**
 * Where a package of npm's is that the app has installed, and that is no dependency of latchkey's.
 *
 * It is looked for in the `node_modules` of these files' folders, and of those above them, as Node does: of the program's main
 * file, of latchkey's own, and of the executable that a program was compiled to. The folder that a program happens to be
 * started in is not one of them, since native code that somebody put there would be run; it counts where the program has
 * no file.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";

/** Whether a main file is where Bun has those of the executables that it makes. */
export function isInBunExecutable(path: string): boolean {
  return /^(\/\$bunfs\/|[A-Za-z]:[\\/]~BUN[\\/])/.test(path);
}

/**
 * Folders that a package can be in, the first one first. Nothing is looked at.
 *
 * @param name The package's name, such as `@azure/msal-node-runtime`.
 */
export function packageFolders(name: string): readonly string[] {
  return [...new Set(startingFiles().flatMap((file) => packageFoldersAbove(file, name)))];
}

/**
 * Folders that a package can be in for a file, from the nearest to the root's. A drive's root is none of them, since
 * everybody may make folders there on Windows. Pure.
 */
export function packageFoldersAbove(file: string, name: string): readonly string[] {
  const isWindows = file.includes("\\"), separator = isWindows ? "\\" : "/";
  const isShare = file.startsWith("\\\\"), roots = isShare ? 4 : isWindows ? 1 : 0; // \\server\share is four
  const parts = file.split(/[\\/]/);
  const above = parts.slice(0, -1).map((_, index, all) => all.slice(0, all.length - index));
  return above.filter((folder) => folder.length > roots && folder.at(-1) !== "node_modules")
    .map((folder) => [...folder, "node_modules", ...name.split("/")].join(separator));
}

function startingFiles(): readonly string[] {
  const deno = denoNamespace(), own = pathOfUrl(import.meta.url);
  if (deno) {
    const main = deno.build.standalone ? deno.execPath() : pathOfUrl(deno.mainModule);
    return [main, own].filter((path) => path !== undefined);
  }
  const { argv: [, main], execPath, getBuiltinModule } = globalThis.process;
  // Node's single executables have their own path in place of the main file's.
  if (main && isInBunExecutable(main)) return [execPath];
  const here = main ?? `${globalThis.process.cwd()}/program`;
  return [getBuiltinModule("node:path").resolve(here), ...(own === undefined ? [] : [own])];
}

/** The path of a file's URL; `undefined` for what is no file of this machine, such as a module that Deno fetched. */
function pathOfUrl(url: string | undefined): string | undefined {
  if (!url?.startsWith("file:///")) return undefined; // bundlers leave none
  const path = decodeURIComponent(new URL(url).pathname);
  return /^\/[A-Za-z]:\//.test(path) ? path.slice(1).replaceAll("/", "\\") : path;
}
