/**
 * The person's browser: how to open it, and whether it can reach our loopback.
 *
 * On Deno this needs `--allow-sys=osRelease`, `--allow-read=/.dockerenv,/run/.containerenv` and `--allow-env`. What Deno
 * does not permit counts as missing.
 *
 * @module
 */
import { denoNamespace, isPermitted, mayReadEnvironment, readEnvironment } from "./host.ts";
import { startDetached, type StartOptions } from "./process.ts";
import { readMachine } from "./machine.ts";
import { isThere } from "./path.ts";

/** Facts of the session that the program runs in. */
export interface SessionFacts {
  /** Operating system, in Node's words. */
  readonly system: string;
  readonly isWsl: boolean;
  readonly isContainer: boolean;
  /** Reads an environment variable; `undefined` if it is not set or empty. */
  readonly variable: (name: string) => string | undefined;
}

/** Reads the facts of this session. */
export async function readSessionFacts(): Promise<SessionFacts> {
  const { system, isWsl = false } = await readMachine();
  const variable = readEnvironment;
  const isMarked = (path: string) => isPermitted({ name: "read", path }) && isThere(path, { ifUnknown: false });
  const isContainer = CONTAINER_FILES.some(isMarked) ||
    CONTAINER_VARIABLES.some((name) => variable(name) !== undefined);
  return { system, isWsl, isContainer, variable };
}

/** Docker's and Podman's marks. */
const CONTAINER_FILES = ["/.dockerenv", "/run/.containerenv"];
/** Set by Podman and systemd-nspawn, by dev containers (two), by GitHub, and by Kubernetes. */
const CONTAINER_VARIABLES = ["container", "REMOTE_CONTAINERS", "DEVCONTAINER", "CODESPACES", "KUBERNETES_SERVICE_HOST"];

/** Returns true if the person's browser is probably on another machine, which cannot reach our loopback. */
export function isRemoteSession({ isContainer, variable }: SessionFacts): boolean {
  return isContainer || isSsh(variable);
}

function isSsh(variable: SessionFacts["variable"]): boolean {
  return ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].some((name) => variable(name) !== undefined);
}

interface BrowserCommand extends StartOptions {
  readonly command: readonly string[];
}

interface BrowserOptions {
  /** @default the facts of this session */
  readonly session?: SessionFacts | undefined;
  /** Starts a program, and returns true if that worked. @default `startDetached` */
  readonly start?: ((command: readonly string[], options?: StartOptions) => Promise<boolean>) | undefined;
  /** Ends the call with the signal's reason before the next program. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens an `http:` or `https:` address in a browser. Returns true if one was opened, as far as one can tell. Print the address in
 * any case. Another address is a `TypeError`.
 */
export async function openBrowser(url: string | URL, options: BrowserOptions = {}): Promise<boolean> {
  const address = checkAddress(url);
  const { session = await readSessionFacts(), start = startDetached, signal } = options;
  for (const { command, ...how } of browserCommands(address, session)) {
    signal?.throwIfAborted();
    if (isPermitted({ name: "run", command: command[0]! }) && await start(command, how)) return true;
  }
  return false;
}

/**
 * Returns the commands that may open the address here, in the order in which they are tried: none without a display, since a
 * text browser would take over the terminal.
 */
export function browserCommands(url: URL, { system, variable, isWsl }: SessionFacts): readonly BrowserCommand[] {
  const address = url.href;
  const chosen = chosenBrowsers(variable("BROWSER") ?? "", system)
    .map((words) => ({ command: withAddress(words, address) }));
  if (system === "linux") {
    return [
      ...chosen,
      ...(isWsl && !isSsh(variable) ? windowsFromLinux(address) : []),
      ...(hasDisplay(variable) ? [{ command: ["xdg-open", address] }] : []),
    ];
  }
  if (isSsh(variable)) return chosen;
  if (system === "darwin") return [...chosen, { command: ["/usr/bin/open", address] }];
  if (system !== "win32") return [...chosen, { command: ["xdg-open", address] }];
  // By its whole path: Windows looks into the current folder first.
  const rundll32 = `${variable("SystemRoot") ?? "C:\\Windows"}\\System32\\rundll32.exe`;
  return [...chosen, { command: [rundll32, HANDLER, address] }];
}

const HANDLER = "url.dll,FileProtocolHandler";

/** `explorer.exe` comes last: an address with a query makes it open a folder instead (microsoft/WSL issue 3832). */
function windowsFromLinux(address: string): readonly BrowserCommand[] {
  const quoted = `'${address.replaceAll("'", "%27")}'`;
  return [
    { command: ["wslview", address] },
    { command: ["rundll32.exe", HANDLER, address] },
    { command: ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", `Start-Process ${quoted}`] },
    // Windows' folders may be kept out of PATH.
    { command: ["/mnt/c/Windows/System32/rundll32.exe", HANDLER, address] },
    { command: ["explorer.exe", address], ignoreCode: true },
  ];
}

/** Over SSH a person sees a display only if it is forwarded: then it has a host before the colon. */
function hasDisplay(variable: SessionFacts["variable"]): boolean {
  const display = variable("DISPLAY");
  if (isSsh(variable)) return display !== undefined && /^[^:/]+:/.test(display) && !display.startsWith("unix:");
  return display !== undefined || variable("WAYLAND_DISPLAY") !== undefined;
}

/**
 * Parses `$BROWSER`: commands with a colon between them, their words maybe quoted. A program by a relative path is left out:
 * whoever filled the current folder would choose it.
 */
function chosenBrowsers(value: string, system: string): readonly (readonly string[])[] {
  const isWindows = system === "win32";
  const commands = isWindows ? [value] : value.split(":");
  const isSafe = isWindows ? /^([A-Za-z]:[\\/]|\\\\|[^\\/:]+$)/ : /^(\/|[^/]+$)/;
  return commands.map(wordsOf).filter(([program = ""]) => isSafe.test(program));
}

function wordsOf(command: string): readonly string[] {
  return [...command.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)]
    .map(([word]) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

/** Replaces each `%s` by the address, or else appends it. */
function withAddress(words: readonly string[], address: string): readonly string[] {
  if (!words.some((word) => word.includes("%s"))) return [...words, address];
  return words.map((word) => word.replaceAll("%s", () => address));
}

/** Parses an address: then it begins with its scheme, so that no program takes it for an option, and has no space or quote. */
function checkAddress(url: string | URL): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address?.protocol !== "http:" && address?.protocol !== "https:") {
    throw new TypeError("Cannot open a browser: the address does not begin with http:// or https://");
  }
  return address;
}

/** Returns the flags that Deno lacks to open an address; none if they are not the reason why no browser was opened. */
export async function missingBrowserFlags(url: string): Promise<readonly string[]> {
  if (!denoNamespace()) return [];
  const session = await readSessionFacts();
  const isLinux = session.system === "linux";
  const names = ["BROWSER", ...(isLinux ? ["DISPLAY", "WAYLAND_DISPLAY"] : [])]
    .filter((name) => !mayReadEnvironment(name));
  const known = browserCommands(new URL(url), session).map(({ command }) => command[0]!);
  // Without the variables of the display, browserCommands() leaves xdg-open out.
  const programs = [...new Set([...known, ...(isLinux && names.length > 0 ? ["xdg-open"] : [])])]
    .filter((command) => !isPermitted({ name: "run", command }));
  return [
    ...(names.length > 0 ? [`--allow-env=${names.join(",")}`] : []),
    ...(programs.length > 0 ? [`--allow-run=${programs.join(",")}`] : []),
  ];
}
