/**
 * Where a program keeps what it stores for a person, and what they set.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, mayReadEnvironment, operatingSystem, readEnvironment } from "../runtime/host.ts";

/**
 * The folder for what is stored from run to run: `latchkey` below `$XDG_STATE_HOME`, else `~/.local/state`; on macOS below
 * `~/Library/Application Support`; on Windows below `%LOCALAPPDATA%`, which does not roam.
 *
 * @throws {LatchkeyError} `configuration` when the home folder is not known; `missing_dependency` when Deno may not ask.
 */
export function stateFolder(): string {
  return ownFolder({ xdg: "XDG_STATE_HOME", below: ".local/state", windows: "LOCALAPPDATA" });
}

/**
 * The folder for what a person sets: `latchkey` below `$XDG_CONFIG_HOME`, else `~/.config`; on macOS below
 * `~/Library/Application Support`; on Windows below `%APPDATA%`.
 *
 * @throws {LatchkeyError} `configuration` when the home folder is not known; `missing_dependency` when Deno may not ask.
 */
export function configFolder(): string {
  return ownFolder(CONFIG);
}

/** The folder that all programs have theirs in for what a person sets; see {@linkcode configFolder} for what it throws. */
export function configHome(): string {
  return baseFolder(CONFIG);
}

/**
 * The folder for what comes with the program: `latchkey` below `$XDG_DATA_HOME`, else `~/.local/share`; on macOS and Windows the
 * same as {@linkcode stateFolder}.
 *
 * @throws {LatchkeyError} `configuration` when the home folder is not known; `missing_dependency` when Deno may not ask.
 */
export function dataFolder(): string {
  return ownFolder({ xdg: "XDG_DATA_HOME", below: ".local/share", windows: "LOCALAPPDATA" });
}

/** The person's home folder; see {@linkcode configFolder} for what it throws. */
export function homeFolder(): string {
  return absolute(operatingSystem() === "win32" ? "USERPROFILE" : "HOME");
}

/** Where a folder is, by system. */
interface Place {
  /** The variable of the XDG Base Directory Specification. */
  readonly xdg: string;
  /** Where the folder is below the home folder when that is not set. */
  readonly below: string;
  /** The variable of Windows. */
  readonly windows: string;
}

const CONFIG: Place = { xdg: "XDG_CONFIG_HOME", below: ".config", windows: "APPDATA" };

function ownFolder(place: Place): string {
  return `${baseFolder(place)}${operatingSystem() === "win32" ? "\\" : "/"}latchkey`;
}

function baseFolder({ xdg, below, windows }: Place): string {
  switch (operatingSystem()) {
    case "win32":
      return absolute(windows);
    case "darwin":
      return `${absolute("HOME")}/Library/Application Support`;
    default:
      requireReadable([xdg, "HOME"]);
      return valueOf(xdg) ?? `${absolute("HOME")}/${below}`;
  }
}

/** A variable that has to be there. */
function absolute(name: string): string {
  requireReadable([name]);
  const value = valueOf(name);
  if (value !== undefined) return value;
  throw new LatchkeyError("configuration", `${name} is not set to a folder's absolute path`, {
    hint: `Set ${name} to your folder, or name the file or folder that is to be used`,
  });
}

/** A folder's path, without a slash at its end; a relative one counts as not set, as the XDG Base Directory Specification says. */
function valueOf(name: string): string | undefined {
  const value = readEnvironment(name);
  const isAbsolute = operatingSystem() === "win32" ? /^([A-Za-z]:[\\/]|\\\\)/ : /^\//;
  return value !== undefined && isAbsolute.test(value) ? value.replace(/[\\/]+$/, "") : undefined;
}

function requireReadable(names: readonly string[]): void {
  if (!denoNamespace() || names.every(mayReadEnvironment)) return;
  throw new LatchkeyError("missing_dependency", "Deno may not read where the home folder is", {
    hint: `Run deno with --allow-env=${names.join(",")}`,
  });
}
