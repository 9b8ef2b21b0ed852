/**
 * The path that `--cache-file` names.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { denoNamespace, mayReadEnvironment, operatingSystem, readEnvironment } from "../lib/platform/host.ts";
import { type CommandLine, UsageError } from "./command_line.ts";

/**
 * That path. A shell leaves the `~` of `--cache-file=~/cache.json`, or of a variable that was set in quotes, as it is: here it
 * is the person's home folder.
 *
 * @param line A command line with that option.
 * @returns The path; `undefined` where none is named.
 * @throws {UsageError} for the home folder of somebody else, and for that folder itself.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when the home folder is not known.
 */
export function cacheFilePath(line: CommandLine): string | undefined {
  const path = line.text("cache-file");
  if (!path?.startsWith("~")) return path;
  const [, below] = (operatingSystem() === "win32" ? /^~[\\/]+(.+)$/s : /^~\/+(.+)$/s).exec(path) ?? [];
  if (below !== undefined) return `${homeFolder()}/${below}`;
  throw new UsageError(
    `--cache-file takes a file's path, ~/ being your home folder, and not ${JSON.stringify(path)}` +
      `; a file of that name here is ${JSON.stringify(`./${path}`)}`,
  );
}

function homeFolder(): string {
  const name = operatingSystem() === "win32" ? "USERPROFILE" : "HOME";
  if (denoNamespace() && !mayReadEnvironment(name)) {
    throw new LatchkeyError("missing_dependency", "Deno may not read where the home folder is", {
      hint: `Run deno with --allow-env=${name}, or write the path of --cache-file out`,
    });
  }
  const home = readEnvironment(name);
  if (home) return home.replace(/[\\/]+$/, "");
  throw new LatchkeyError("configuration", `${name} is not set, and --cache-file begins with ~`, {
    hint: `Set ${name} to your home folder, or write the path of --cache-file out`,
  });
}
