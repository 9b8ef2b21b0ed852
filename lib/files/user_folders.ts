/**
 * The folders in which a program stores a user's data and settings; on macOS all are `~/Library/Application Support/latchkey`.
 *
 * Each function throws a `LatchkeyError`: `configuration` if the variable of the folder is not set; `missing_dependency` if
 * Deno may not read it.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { mayReadEnvironment, operatingSystem, readEnvironment, requireFlags } from "../runtime/host.ts";
import { isAbsolutePath, pathIn } from "../runtime/path.ts";

/** A base folder: the variable of the XDG Base Directory Specification, its default below the home folder, Windows' variable. */
interface BaseFolder {
  readonly xdg: string;
  readonly below: string;
  readonly windows: string;
}

const CONFIG: BaseFolder = { xdg: "XDG_CONFIG_HOME", below: ".config", windows: "APPDATA" };

/** Returns the folder for state: below `$XDG_STATE_HOME` or `~/.local/state`; on Windows below `%LOCALAPPDATA%`, which does not roam. */
export function stateFolder(): string {
  return latchkeyBelow({ xdg: "XDG_STATE_HOME", below: ".local/state", windows: "LOCALAPPDATA" });
}

/** Returns the folder for settings: below `$XDG_CONFIG_HOME` or `~/.config`; on Windows below `%APPDATA%`. */
export function configFolder(): string {
  return latchkeyBelow(CONFIG);
}

/** Returns the folder in which all programs have their settings. */
export function configHome(): string {
  return pathOf(CONFIG);
}

/** Returns the folder for what comes with the program: below `$XDG_DATA_HOME` or `~/.local/share`; elsewhere as for state. */
export function dataFolder(): string {
  return latchkeyBelow({ xdg: "XDG_DATA_HOME", below: ".local/share", windows: "LOCALAPPDATA" });
}

export function homeFolder(): string {
  return requireFolder(operatingSystem() === "win32" ? "USERPROFILE" : "HOME");
}

function latchkeyBelow(base: BaseFolder): string {
  return pathIn(pathOf(base), "latchkey");
}

function pathOf({ xdg, below, windows }: BaseFolder): string {
  switch (operatingSystem()) {
    case "win32":
      return requireFolder(windows);
    case "darwin":
      return `${homeFolder()}/Library/Application Support`;
    default:
      requireReadable(xdg, "HOME");
      return readFolder(xdg) ?? `${homeFolder()}/${below}`;
  }
}

function requireFolder(name: string): string {
  requireReadable(name);
  const folder = readFolder(name);
  if (folder !== undefined) return folder;
  throw new LatchkeyError("configuration", `${name} is not set to the absolute path of a folder`, {
    remedy: `Set ${name} to your folder, or give an absolute path instead`,
  });
}

/** Reads a variable, without slashes at its end. A relative path counts as not set, as the XDG specification says. */
function readFolder(name: string): string | undefined {
  const value = readEnvironment(name);
  return value !== undefined && isAbsolutePath(value) ? value.replace(/[\\/]+$/, "") : undefined;
}

function requireReadable(...names: readonly string[]): void {
  const missing = names.every(mayReadEnvironment) ? [] : [`--allow-env=${names.join(",")}`];
  requireFlags(missing, "read the path of the home folder");
}
