/**
 * Microsoft's library MSALRuntime, through the addon of the npm package `@azure/msal-node-runtime`: found, loaded, started.
 *
 * `LATCHKEY_MSALRUNTIME` names the package's folder or the addon; without it the package is looked for as
 * {@linkcode packageFolders} says.
 *
 * Facts: 0.20.7, run on Linux x64 under Deno 2.9, Bun 1.4 and Node 24.
 *
 * @module
 */
import { denoLooks, type PlaceLooks, placeOpenToOthers } from "../dbus/libdbus.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode, type Logger, type LogLevel } from "../errors.ts";
import {
  currentRuntime,
  denoNamespace,
  isPermitted,
  operatingSystem,
  processor,
  quoteCommand,
  readEnvironment,
} from "../runtime/host.ts";
import { packageFolders } from "../runtime/installation.ts";
import { isThere, readTextFile } from "../runtime/program.ts";

/** Environment variable that names the package's folder, or the addon. */
const PLACE = "LATCHKEY_MSALRUNTIME";
const OS_RELEASE = "/etc/os-release";

/** What latchkey uses of the addon. Each call gives its result to the callback, once, on this thread. */
export interface MsalRuntime {
  /** Why there is no broker. */
  readonly StartupError?: NativeError;
  /** Makes the parameters of a request for a token. */
  readonly AuthParameters: new () => NativeParameters;
  /** The accounts of the broker, those that the library knows itself included. */
  DiscoverAccountsAsync(clientId: string, correlationId: string, done: Done<NativeAccounts>): NativeCall;
  /** An account that the library knows itself, by its object id. */
  ReadAccountByIdAsync(id: string, correlationId: string, done: Done<NativeReadAccount>): NativeCall;
  /** A token for the account of the device. */
  SignInSilentlyAsync(parameters: NativeParameters, correlationId: string, done: Done<NativeToken>): NativeCall;
  /** A token for an account. */
  AcquireTokenSilentlyAsync(
    parameters: NativeParameters,
    correlationId: string,
    account: NativeAccount,
    done: Done<NativeToken>,
  ): NativeCall;
  /** A token by a window. */
  SignInInteractivelyAsync(
    window: Uint8Array,
    parameters: NativeParameters,
    correlationId: string,
    hint: string,
    done: Done<NativeToken>,
  ): NativeCall;
  /** A token by a window, for an account. */
  AcquireTokenInteractivelyAsync(
    window: Uint8Array,
    parameters: NativeParameters,
    correlationId: string,
    account: NativeAccount,
    done: Done<NativeToken>,
  ): NativeCall;
  /** Ends silent use of an account. */
  SignOutSilentlyAsync(
    clientId: string,
    correlationId: string,
    account: NativeAccount,
    done: Done<NativeResult>,
  ): NativeCall;
  /** Takes the library's log lines, until the process ends: it keeps the event loop busy for as long. */
  RegisterLogger(
    log: (message: string, level: number, hasPersonalData: boolean) => void,
    withPersonalData: boolean,
  ): void;
}

type Done<T> = (result: T) => void;

/** A call under way. */
export interface NativeCall {
  /** On Linux it waits for the broker's answer, with the whole program. */
  CancelAsyncOperation(): void;
}

/** What a call ended with. */
export interface NativeResult {
  /** Throws a {@linkcode NativeError} when the call failed; nothing else of the result may be read then. */
  CheckError(): void;
}

/** Thrown as a plain object. */
interface NativeError {
  readonly errorStatus: number;
  readonly errorCode: number;
  readonly errorTag: number;
  readonly errorContext: string;
}

/** Accounts. */
export interface NativeAccounts extends NativeResult {
  readonly accounts: readonly NativeAccount[];
}

/** An account, when there is one. */
export interface NativeReadAccount extends NativeResult {
  readonly account?: NativeAccount | null;
}

/** A token. */
export interface NativeToken extends NativeResult {
  readonly accessToken?: string;
  readonly rawIdToken?: string;
  /** `pop`, a space and the token, for one that is bound to a request. */
  readonly authorizationHeader?: string;
  readonly grantedScopes?: string;
  /** In seconds since 1970. */
  readonly expiresOn: number;
  readonly isPopAuthorization: boolean;
  readonly account?: NativeAccount | null;
}

/** An account, which the library takes back as the object that it made, and no other. */
export interface NativeAccount {
  readonly homeAccountId?: string;
  readonly localAccountId?: string;
  readonly environment?: string;
  readonly realm?: string;
  readonly username?: string;
  readonly displayName?: string;
  readonly clientInfo?: string;
}

/** Parameters of a request for a token. The setters take anything: what is wrong shows in the result. */
export interface NativeParameters {
  CreateAuthParameters(clientId: string, authority: string): void;
  SetRedirectUri(uri: string): void;
  SetRequestedScopes(scopes: string): void;
  SetDecodedClaims(claims: string): void;
  SetAccessTokenToRenew(token: string): void;
  SetPopParams(method: string, host: string, path: string, nonce: string): void;
  SetAdditionalParameter(name: string, value: string): void;
}

/** The library, and where it is. */
interface OpenMsalRuntime {
  /** It has found a broker. */
  readonly library: MsalRuntime;
  /** Path of the addon. */
  readonly path: string;
}

/** By path. It looks for a broker once, when it is loaded, and never again in this process. */
const loaded = new Map<string, MsalRuntime>();

/**
 * Finds and loads the library, which looks for the broker.
 *
 * @throws {LatchkeyError} `missing_dependency` when it is not there, cannot be loaded, others can change it, or Deno does not
 * permit it; `configuration` when `LATCHKEY_MSALRUNTIME` cannot be meant or trusted; `broker_unavailable` when it finds no broker, or is not made
 * for this machine.
 */
export async function openMsalRuntime(): Promise<OpenMsalRuntime> {
  const { library, path } = openFirst(await candidates());
  if (library.StartupError) throw startupFailure(library.StartupError);
  return { library, path };
}

/**
 * The version of the package that an addon is in.
 *
 * @returns `undefined` where it is not known, or Deno may not read it.
 */
export async function versionOfMsalRuntime(path: string): Promise<string | undefined> {
  const folder = packageOfAddon(path), file = `${folder}/package.json`;
  if (folder === undefined || !isPermitted({ name: "read", path: file })) return undefined;
  try {
    const { name, version } = JSON.parse(await readTextFile(file));
    return name === PACKAGE && typeof version === "string" ? escapeControlCharacters(version) : undefined;
  } catch {
    return undefined; // it is there to be shown, and the addon alone may have been copied
  }
}

/** Where the addon can be. */
async function candidates(): Promise<readonly string[]> {
  const system = operatingSystem(),
    below = addonBelowPackage({
      system,
      arch: processor(),
      osRelease: system === "linux" ? await osRelease() : undefined,
    });
  const separator = system === "win32" ? "\\" : "/", place = readEnvironment(PLACE);
  if (place === undefined) return packageFolders(PACKAGE).map((folder) => `${folder}${separator}${below}`);
  if (!(system === "win32" ? /^([A-Za-z]:[\\/]|\\\\)/ : /^\//).test(place)) {
    throw new LatchkeyError("configuration", `Cannot use ${PLACE}: it is not an absolute path`, {
      hint: `Set it to the absolute path of the folder of ${PACKAGE}, or of its addon (.node)`,
    });
  }
  return [place.endsWith(".node") ? place : `${place.replace(/[\\/]+$/, "")}${separator}${below}`];
}

async function osRelease(): Promise<string | undefined> {
  if (!isPermitted({ name: "read", path: OS_RELEASE })) return undefined;
  try {
    return await readTextFile(OS_RELEASE);
  } catch {
    return undefined; // not every distribution has it
  }
}

function openFirst(paths: readonly string[]): OpenMsalRuntime {
  const system = operatingSystem(), install = howToInstall(currentRuntime().name), failures: LatchkeyError[] = [];
  for (const path of paths) {
    const known = loaded.get(path);
    if (known) return { library: known, path };
    const isThere = isAddonThere(path);
    if (isThere === false) continue;
    if (!mayOpenAddon(path)) {
      if (isThere) throw notPermitted(path);
      continue;
    }
    try {
      const trust = addonTrust(path);
      if (trust.kind === "trusted") {
        const library = openAddon(path) as MsalRuntime;
        loaded.set(path, library);
        return { library, path };
      }
      if (trust.kind === "exposed") failures.push(exposedFailure(trust.place));
      else if (isThere) failures.push(notPermitted(path));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // Where nobody may look, that is how an addon is missing.
      if (isThere || !message.startsWith(`${path}: cannot open shared object file`)) {
        failures.push(addonFailure(message, { path, system, install }));
      }
    }
  }
  throw failures[0] ?? notFound(paths, install);
}

function notFound(paths: readonly string[], install: string): LatchkeyError {
  const unseen = denoNamespace() ? paths.find((path) => isAddonThere(path) === undefined) : undefined;
  if (unseen !== undefined) return notPermitted(unseen);
  const place = readEnvironment(PLACE);
  if (place !== undefined) {
    return new LatchkeyError("missing_dependency", `Cannot use ${PLACE}: there is no ${paths[0]}`, {
      hint: `Set it to the folder of ${PACKAGE}, 0.20.6 or later, or to its addon (.node)`,
    });
  }
  return new LatchkeyError("missing_dependency", `The package ${PACKAGE} is not installed`, {
    hint: `Install it: ${install}; or set ${PLACE} to its folder`,
  });
}

/** The addon is not run: native code may do all that this person may. */
function exposedFailure(place: string): LatchkeyError {
  const isNamed = readEnvironment(PLACE) !== undefined, what = isNamed ? `use ${PLACE}` : "load MSALRuntime";
  return new LatchkeyError(
    isNamed ? "configuration" : "missing_dependency",
    `Cannot ${what}: others can change ${escapeControlCharacters(place)}`,
    {
      hint: `Put ${PACKAGE} where only root and you can write, or, if that is yours, run ${
        quoteCommand(["chmod", "go-w", place])
      }`,
    },
  );
}

function notPermitted(path: string): LatchkeyError {
  const folder = packageOfAddon(path) ?? path;
  return new LatchkeyError("missing_dependency", `Deno may not open ${PACKAGE}`, {
    hint: `Install it: ${howToInstall("Deno")}; and run deno with ${
      quoteCommand([`--allow-ffi=${path}`, `--allow-read=${folder}`])
    }`,
  });
}

function startupFailure({ errorContext }: NativeError): LatchkeyError {
  return new LatchkeyError("broker_unavailable", `Cannot start the broker: ${escapeControlCharacters(errorContext)}`, {
    hint: HINTS[operatingSystem()],
  });
}

const HINTS: Readonly<Record<string, string>> = {
  win32: "See that the Windows account manager works: Windows 10 or later, Server 2019 or later; dsregcmd /status",
  darwin: "Install Company Portal, and enrol the device: Microsoft's SSO extension comes with it",
  linux: "Install microsoft-identity-broker and enrol the device (Intune); then start this program anew",
};

/** The package, which the app's own author installs. */
export const PACKAGE = "@azure/msal-node-runtime";
/** The addon's file. */
const FILE = "msal-node-runtime.node";

/** Folders of the package, by the operating system in Node's words. */
const SYSTEMS: Readonly<Record<string, string>> = { win32: "windows", darwin: "macos", linux: "linux" };
/** Folders of the package, by the processor in the kernel's words. */
const PROCESSORS: Readonly<Record<string, string>> = { x86_64: "x64", aarch64: "arm64", ia32: "x86" };
/** What Microsoft builds it for. */
const BUILT: ReadonlySet<string> = new Set([
  ...["windows x64", "windows arm64", "windows x86"],
  ...["macos x64", "macos arm64"],
  "linux x64",
]);

const DEBIAN = "apt install libwebkit2gtk-4.1-0 libgtk-3-0 libsoup-3.0-0 libsecret-1-0";

/** What decides over the addon. */
interface AddonMachine {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words. */
  readonly arch: string;
  /** On Linux, what the distribution says it is (freedesktop's os-release); as Ubuntu where it is not known. */
  readonly osRelease?: string | undefined;
}

/**
 * Path of the addon below the package's folder.
 *
 * @throws {LatchkeyError} `broker_unavailable` when there is none for this machine.
 */
export function addonBelowPackage(machine: AddonMachine): string {
  const { system, arch, osRelease = "" } = machine;
  const folder = SYSTEMS[system] ?? system, processor = PROCESSORS[arch] ?? arch;
  if (!BUILT.has(`${folder} ${processor}`)) {
    throw new LatchkeyError("broker_unavailable", `Microsoft has no MSALRuntime for ${system} on ${arch}`, {
      hint: "It is there for Windows, for macOS, and for Linux on x86_64 with glibc",
    });
  }
  const distribution = system === "linux" ? [linuxBuild(osRelease)] : [];
  return ["dist", folder, ...distribution, processor, FILE].join(system === "win32" ? "\\" : "/");
}

/** As the package itself chooses. */
function linuxBuild(osRelease: string): string {
  if (!/^ID(?:_LIKE)?=.*\brhel\b/m.test(osRelease)) return "ubuntu";
  const [, major = 0] = /^VERSION_ID="?(\d+)/m.exec(osRelease) ?? [];
  return Number(major) >= 10 ? "rhel10" : "rhel8_9";
}

/**
 * The package's folder of an addon that is in one, by its path alone.
 *
 * @returns `undefined` for an addon that is elsewhere.
 */
export function packageOfAddon(path: string): string | undefined {
  return /^(.+)[\\/]dist[\\/](?:[^\\/]+[\\/]){2,3}[^\\/]+$/.exec(path)?.[1];
}

/** How to install the package with the runtime's own tool. */
export function howToInstall(runtime: "Deno" | "Bun" | "Node"): string {
  switch (runtime) {
    case "Deno":
      return `deno add npm:${PACKAGE}, with "nodeModulesDir": "auto" in deno.json`;
    case "Bun":
      return `bun add ${PACKAGE}`;
    case "Node":
      return `npm install ${PACKAGE}`;
  }
}

/**
 * The error of an addon that cannot be loaded.
 *
 * @param message What the system's linker said.
 * @param context Where that was.
 */
export function addonFailure(
  message: string,
  { path, system, install }: { readonly path: string; readonly system: string; readonly install: string },
): LatchkeyError {
  const [said = ""] = message.split("\n"); // Deno has the path in a second line
  const failure = (code: LatchkeyErrorCode, why: string, hint: string) =>
    new LatchkeyError(code, `Cannot load MSALRuntime: ${escapeControlCharacters(why)}`, { hint });
  const [, library] = /^(lib[^/: ]+): cannot open shared object file/.exec(said) ?? [];
  if (library) {
    const rhel = "RHEL 8, 9: dnf install webkit2gtk3; RHEL 10: dnf install webkitgtk6.0";
    return failure("missing_dependency", `${library} is missing`, `Install what it needs: ${DEBIAN} (${rhel})`);
  }
  if (/^Error (loading shared library|relocating)/.test(said)) {
    return failure("broker_unavailable", "it takes glibc, and this system has musl", "Use a system with glibc");
  }
  if (system === "linux" && /version `GLIBC/.test(said)) {
    return failure("broker_unavailable", `it takes a newer system (${said})`, "Update the system");
  }
  return failure("missing_dependency", `${path} cannot be opened: ${said}`, `Install the package anew: ${install}`);
}

/** Environment variable that has the library's log lines passed on. */
const WANTED = "LATCHKEY_MSALRUNTIME_LOG";
/** What passes the lines on, for the application that wants them now. */
const listeners = new Set<Logger>();
let isRegistered = false;

/** Passes the library's log lines on, where that is wanted, until what is returned is disposed of. */
export function passLogOn(library: MsalRuntime, log: Logger): Disposable {
  if (readEnvironment(WANTED) === undefined) return { [Symbol.dispose]: () => {} };
  const own = heedlessly(log); // two applications can have the same one
  if (!isRegistered) {
    try {
      library.RegisterLogger((message, level) => {
        for (const listener of listeners) listener(levelOf(level), `MSALRuntime: ${escapeControlCharacters(message)}`);
      }, false); // without personal data
      isRegistered = true;
    } catch { // what it throws is of no class
      own("warn", "MSALRuntime does not give its log lines");
    }
  }
  listeners.add(own);
  return { [Symbol.dispose]: () => void listeners.delete(own) };
}

/**
 * A logger whose failures are passed over: for callbacks of the library, and for timers, where nobody could catch them and
 * they would end the program.
 */
export function heedlessly(log: Logger): Logger {
  return (level, message) => {
    try {
      log(level, message);
    } catch {
      // there is no other place to tell of a broken logger
    }
  };
}

/** The library's levels: 1 trace, 2 debug, 3 info, 4 warning, 5 error, 6 fatal. Its "info" is what others have for debugging. */
export function levelOf(level: number): LogLevel {
  return level >= 5 ? "error" : level === 4 ? "warn" : "debug";
}

/** Whether there is an addon; `undefined` where Deno does not let anybody look. */
function isAddonThere(path: string): boolean | undefined {
  return isPermitted({ name: "read", path }) ? isThere(path) : undefined;
}

/** Whether Deno lets an addon be opened. To open one that it does not permit would make it ask the person. */
function mayOpenAddon(path: string): boolean {
  return isPermitted({ name: "ffi", path });
}

/** Whether an addon may be run, as far as it matters who can change it. */
type AddonTrust =
  /** Only root and we can change it; on Windows, which has no modes, nobody looks. */
  | { readonly kind: "trusted" }
  /** Somebody else can change what is at this place, on the way to the file. */
  | { readonly kind: "exposed"; readonly place: string }
  /** Deno does not let anybody look, and permits more addons than this one. */
  | { readonly kind: "unknown" };

/**
 * Looks at whose the addon and every folder on the way to it are, over all links: native code may do all that we may.
 *
 * If Deno may not look, an `--allow-ffi=PATH` that names this addon counts as the person's own word for it.
 *
 * @param path Absolute path of the file.
 * @throws {Error} the file system's own, if a link leads nowhere.
 */
function addonTrust(path: string): AddonTrust {
  if (operatingSystem() === "win32") return { kind: "trusted" };
  const deno = denoNamespace();
  if (deno && !(isPermitted({ name: "read" }) && isPermitted({ name: "sys", kind: "uid" }))) {
    return { kind: isPermitted({ name: "ffi" }) ? "unknown" : "trusted" };
  }
  const place = placeOpenToOthers(path, deno ? denoLooks(deno) : nodeLooks());
  return place === undefined ? { kind: "trusted" } : { kind: "exposed", place };
}

function nodeLooks(): PlaceLooks {
  const { getBuiltinModule, getuid } = globalThis.process, { lstatSync, readlinkSync } = getBuiltinModule("node:fs");
  return {
    ownUser: getuid!(),
    look(path) {
      const facts = lstatSync(path), { mode, uid } = facts;
      return { mode, uid, kind: facts.isSymbolicLink() ? "link" : facts.isDirectory() ? "folder" : "other" };
    },
    readLink: (path) => readlinkSync(path),
  };
}

/**
 * Opens an addon. `require` would do the same, and need the permission to read what stands around the file.
 *
 * @param path Absolute path of the file.
 * @returns What it exports.
 * @throws {Error} when it cannot be loaded, in the words of the system.
 */
function openAddon(path: string): unknown {
  const made = { exports: {} as unknown };
  globalThis.process.dlopen(made, path);
  return made.exports;
}
