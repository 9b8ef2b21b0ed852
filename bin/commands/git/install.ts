/**
 * `latchkey git --install` and `--uninstall`: the lines of git's own configuration that make git run latchkey.
 *
 * @module
 */
import { delayWithJitter } from "../../../lib/async.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { operatingSystem, quoteCommand, readEnvironment, shellWord } from "../../../lib/runtime/host.ts";
import { type CommandResult, runCommand, StartError } from "../../../lib/runtime/process.ts";
import { PROGRAM } from "../../cli/stored_command.ts";
import { print, say } from "../../cli/output.ts";
import { escapeForTerminal } from "../../../lib/control_characters.ts";

/** A server, or a part of one, that git asks latchkey for. */
interface GitPlace {
  /** As in git's `credential.<url>`. */
  readonly url: string;
  /** As a person gives it to `--host`. */
  readonly host: string;
}

/**
 * Makes git run a command for some places, and only that: helpers that git would ask before it are reset for these places, since
 * they would answer instead, or store the token. Prints what was written.
 *
 * @throws {LatchkeyError} `missing_dependency` if git cannot be run; `configuration` if it cannot change its configuration.
 */
export async function installHelper(
  places: readonly GitPlace[],
  command: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  requireConfiguration();
  const { helper, program } = helpersOf(command);
  const inherited = await inheritedHelpers(program, signal);
  for (const { url, host } of places) {
    const key = `credential.${url}.helper`;
    const before = await valuesOf(key, signal);
    const others = withoutOwn(before, program);
    const wanted = [...others, "", helper];
    const isDone = JSON.stringify(before) === JSON.stringify(wanted);
    if (!isDone) {
      await remove(key, before, others);
      await changeGit(["--add", key, ""]);
      await changeGit(["--add", key, helper]);
    }
    for (const value of ["", helper]) print(`${key}=${value}\n`);
    const where = await whereIs(key, signal);
    const undo = quoteCommand(["latchkey", "git", "--uninstall", "--host", host]);
    say(`${where} ${isDone ? "already has" : "now has"} these lines: git asks latchkey for ${url}. To undo: ${undo}`);
    const storing = await laterHelpers(key, helper, signal);
    const reset = [...new Set([...inherited, ...others])].filter((value) => value && !storing.includes(value));
    if (!isDone && reset.length > 0) {
      say(`for ${url} git no longer asks ${reset.join(", ")}: an empty helper resets those before it`);
    }
    if (storing.length > 0) {
      say(
        `later in its configuration git has ${storing.join(", ")}: git gives the token to that helper, too, to store`,
      );
    }
  }
}

/**
 * Removes what {@linkcode installHelper} wrote, and lines of this kind that somebody typed, for some places or for all. Prints what
 * was removed. Other helpers stay.
 *
 * @throws {LatchkeyError} as {@linkcode installHelper} does.
 */
export async function uninstallHelper(
  places: readonly GitPlace[] | undefined,
  command: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  requireConfiguration();
  const { program } = helpersOf(command);
  const keys = places?.map(({ url }) => `credential.${url}.helper`) ?? await helperKeys(signal);
  let removed = 0;
  for (const key of keys) {
    const before = await valuesOf(key, signal);
    const others = withoutOwn(before, program);
    if (before.length === others.length) continue;
    const where = await whereIs(key, signal);
    const gone = before.filter((value) => isOwn(value, program));
    await remove(key, before, others);
    removed += gone.length;
    for (const value of gone) print(`${key}=${value}\n`);
    say(`${where} no longer has these lines of ${key}`);
  }
  if (removed === 0) say("git's configuration has no line that runs latchkey: nothing to remove");
}

/** Returns the helper to write, and its beginning, which all helpers of this latchkey have, whatever their options. */
function helpersOf(command: readonly string[]): { readonly helper: string; readonly program: string } {
  const system = operatingSystem();
  const program = command.slice(0, command.indexOf("git") + 1);
  return { helper: helperOf(command, system), program: helperOf(program, system) };
}

/** Returns the value of a `credential.helper` that runs a command: git gives it to sh, on Windows to its own. */
export function helperOf(command: readonly string[], system: string): string {
  return `!${command.map((word) => shellWord(system === "win32" ? withSlashes(word) : word)).join(" ")}`;
}

/** Windows takes both slashes in a path. In sh a backslash would have to be escaped, which nobody reads. */
function withSlashes(word: string): string {
  return /^(--[\w-]+=)?([A-Za-z]:\\|\\\\)/.test(word) ? word.replaceAll("\\", "/") : word;
}

/** The program and its command, in a helper as people type it; not a path or a variable before another program named git. */
const RUNS_LATCHKEY = new RegExp(String.raw`(^!|\s)([^\s=;&|]*[\\/'"])?${PROGRAM}['"]?\s+git(\s|$)`, "i");

/** Returns true for a helper that runs latchkey, as this program writes it and as people type it. */
function isOwn(value: string, program: string): boolean {
  return value.startsWith("!") && RUNS_LATCHKEY.test(value) || value === program || value.startsWith(`${program} `);
}

/** Returns the values without those that run latchkey, and without the empty one that was written before each of them. */
export function withoutOwn(values: readonly string[], program: string): readonly string[] {
  const own = (at: number) => at < values.length && isOwn(values[at]!, program);
  return values.filter((value, at) => !own(at) && !(value === "" && own(at + 1)));
}

/** Removes values of a key until only the others are left. Git knows lines by their values only. */
async function remove(key: string, before: readonly string[], others: readonly string[]): Promise<void> {
  const gone = [...new Set(before.filter((value) => !others.includes(value)))];
  const isMixed = others.includes("") &&
    before.filter((each) => each === "").length > others.filter((each) => !each).length;
  if (!isMixed) {
    for (const value of gone) await changeGit(["--unset-all", key, `^${escapePattern(value)}$`]);
    return;
  }
  // An empty helper of the person's own stays: git could not tell it from ours.
  await changeGit(["--unset-all", key]);
  for (const value of others) await changeGit(["--add", key, value]);
}

/** Escapes a text for git's patterns, which are extended regular expressions (POSIX). */
function escapePattern(text: string): string {
  return text.replaceAll(/[\\.[*^$()+?{|]/g, "\\$&");
}

/** Returns the helpers that git asks for every server, beside latchkey. */
async function inheritedHelpers(program: string, signal: AbortSignal | undefined): Promise<readonly string[]> {
  const all = split(await git(["--get-all", "credential.helper"], signal, []));
  return all.slice(all.lastIndexOf("") + 1).filter((value) => !isOwn(value, program));
}

/** Returns the helpers for every server that come after a key's line with latchkey, which its empty helper does not reset. */
async function laterHelpers(key: string, helper: string, signal: AbortSignal | undefined): Promise<readonly string[]> {
  const lines = split(await git(["--get-regexp", "^credential\\.(.*\\.)?helper$"], signal, []));
  const entries = lines.map((line) => line.split(/\n(.*)/s) as [key: string, value?: string]);
  const own = entries.findLastIndex(([name, value]) => name === key && value === helper);
  return entries.slice(own + 1).flatMap(([name, value]) => name === "credential.helper" && value ? [value] : []);
}

/** Git replaces the file that it writes to, and so as root a device by a file. */
function requireConfiguration(): void {
  const path = readEnvironment("GIT_CONFIG_GLOBAL");
  if (path === undefined || !/^(\/dev\/|nul$)/i.test(path)) return;
  throw new LatchkeyError("configuration", `git has no configuration to write to: GIT_CONFIG_GLOBAL is ${path}`, {
    remedy: "Unset GIT_CONFIG_GLOBAL, or set it to a file",
  });
}

async function helperKeys(signal: AbortSignal | undefined): Promise<readonly string[]> {
  const found = split(await git(["--name-only", "--get-regexp", "^credential\\.(.*\\.)?helper$"], signal));
  return [...new Set(found)];
}

async function valuesOf(key: string, signal: AbortSignal | undefined): Promise<readonly string[]> {
  return split(await git(["--get-all", key], signal));
}

/** Returns the path of the file that has a key. */
async function whereIs(key: string, signal: AbortSignal | undefined): Promise<string> {
  const [origin = ""] = split(await git(["--show-origin", "--get-all", key], signal));
  return escapeForTerminal(origin.replace(/^file:/, "")) || "git's configuration";
}

/** Splits git's answer, whose exit code 1 says that there is nothing. */
function split({ code, stdout }: CommandResult): readonly string[] {
  return code === 1 ? [] : stdout.split("\0").slice(0, -1);
}

/**
 * Changes git's configuration. Several calls make one change: after the first, a helper of the person's can be missing, or an empty
 * one resets all others. So no signal ends them in between, and another program's lock is waited for.
 */
async function changeGit(args: readonly string[]): Promise<void> {
  for (let left = LOCK_TRIES;; left--) {
    const result = await git(args, undefined, undefined, [CANNOT_LOCK]);
    if (result.code === 0 || result.code === NOTHING_TO_UNSET) return;
    if (left === 0) throw gitFailure(result);
    await delayWithJitter(LOCK_DELAY_MS, undefined);
  }
}

async function git(
  args: readonly string[],
  signal: AbortSignal | undefined,
  scope: readonly string[] = ["--global"],
  expected: readonly number[] = [],
): Promise<CommandResult> {
  let result: CommandResult;
  try {
    result = await runCommand(["git", "config", ...scope, "-z", ...args], { signal, timeoutMs: GIT_LIMIT_MS });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    throw new LatchkeyError("missing_dependency", error.message, { remedy: "Install git, or put it into PATH" });
  }
  if (result.code > 1 && ![NOTHING_TO_UNSET, ...expected].includes(result.code)) throw gitFailure(result);
  return result;
}

/** Limit of one change, in milliseconds: git reads and writes a small file. */
const GIT_LIMIT_MS = 10_000;
/** Exit code of `--unset-all` for a value that is not there: another process has removed it. */
const NOTHING_TO_UNSET = 5;
/** Exit code if the file cannot be locked: another git has just locked it, or its folder is read-only. */
const CANNOT_LOCK = 255;
/** Tries, and milliseconds between them: git holds a lock for as long as it writes a small file. */
const LOCK_TRIES = 20;
const LOCK_DELAY_MS = 100;

function gitFailure({ code, stderr }: CommandResult): LatchkeyError {
  const why = stderr.trim().split("\n").at(-1) || `exit code ${code}`;
  return new LatchkeyError("configuration", `git cannot change its configuration: ${why}`, {
    remedy: "Look at the file that git config --global --edit opens",
  });
}
