/**
 * Microsoft's library MSALRuntime: finds and loads the addon of the npm package `@azure/msal-node-runtime`.
 *
 * `LATCHKEY_MSALRUNTIME` names the package's folder or the addon; without it the package is searched for in
 * {@linkcode packageFolders}.
 *
 * Checked with 0.20.7 on Linux x64 under Deno 2.9, Bun 1.4 and Node 24.
 *
 * @module
 */
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError, type LatchkeyErrorCode, type Logger, type LogLevel } from "../errors.ts";
import { advice, type Remedy, systemWord } from "../remedies.ts";
import { placeOpenToOthers } from "../files/permissions.ts";
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
import { readOsRelease } from "../runtime/machine.ts";
import { isAbsolutePath, isThere, readTextFile } from "../runtime/path.ts";

/** The package, which the app's author installs. */
export const PACKAGE = "@azure/msal-node-runtime";
const VARIABLE = "LATCHKEY_MSALRUNTIME";

/** The part of the addon that latchkey uses. Each call gives its result to the callback, once, on this thread. */
export interface MsalRuntime {
  /** The reason why there is no broker. */
  readonly StartupError?: NativeError;
  readonly AuthParameters: new () => NativeParameters;
  /** Lists the accounts of the broker and those in the library's cache. */
  DiscoverAccountsAsync(clientId: string, correlationId: string, done: Done<NativeAccounts>): NativeCall;
  /** Finds an account in the library's cache by its object id. */
  ReadAccountByIdAsync(id: string, correlationId: string, done: Done<NativeReadAccount>): NativeCall;
  /** Acquires a token for the account of the device. */
  SignInSilentlyAsync(parameters: NativeParameters, correlationId: string, done: Done<NativeToken>): NativeCall;
  AcquireTokenSilentlyAsync(
    parameters: NativeParameters,
    correlationId: string,
    account: NativeAccount,
    done: Done<NativeToken>,
  ): NativeCall;
  SignInInteractivelyAsync(
    window: Uint8Array,
    parameters: NativeParameters,
    correlationId: string,
    hint: string,
    done: Done<NativeToken>,
  ): NativeCall;
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
  /** Registers a logger until the process ends. It keeps the event loop alive. */
  RegisterLogger(log: (message: string, level: number, isPersonal: boolean) => void, withPersonalData: boolean): void;
}

type Done<T> = (result: T) => void;

export interface NativeCall {
  /** On Linux it blocks the program until the broker answers. */
  CancelAsyncOperation(): void;
}

export interface NativeResult {
  /** Throws a {@linkcode NativeError} if the call failed. Nothing else of the result may be read then. */
  CheckError(): void;
}

/** Thrown as a plain object. */
interface NativeError {
  readonly errorStatus: number;
  readonly errorCode: number;
  readonly errorTag: number;
  readonly errorContext: string;
}

export type NativeAccounts = NativeResult & { readonly accounts: readonly NativeAccount[] };
export type NativeReadAccount = NativeResult & { readonly account?: NativeAccount | null };

export interface NativeToken extends NativeResult {
  readonly accessToken?: string;
  readonly rawIdToken?: string;
  /** `pop`, a space and the token, if the token is bound to a request. */
  readonly authorizationHeader?: string;
  readonly grantedScopes?: string;
  /** In seconds since 1970. */
  readonly expiresOn: number;
  readonly isPopAuthorization: boolean;
  readonly account?: NativeAccount | null;
}

/** An account. The library takes back only the object that it made. */
export interface NativeAccount {
  readonly homeAccountId?: string;
  readonly localAccountId?: string;
  readonly environment?: string;
  readonly realm?: string;
  readonly username?: string;
  readonly displayName?: string;
  readonly clientInfo?: string;
}

/** Parameters of a request for a token. The setters take anything; an error shows in the result. */
export interface NativeParameters {
  CreateAuthParameters(clientId: string, authority: string): void;
  SetRedirectUri(uri: string): void;
  SetRequestedScopes(scopes: string): void;
  SetDecodedClaims(claims: string): void;
  SetAccessTokenToRenew(token: string): void;
  SetPopParams(method: string, host: string, path: string, nonce: string): void;
  SetAdditionalParameter(name: string, value: string): void;
}

interface OpenMsalRuntime {
  readonly library: MsalRuntime;
  /** Path of the addon. */
  readonly path: string;
}

/** By path. The library looks for a broker only once in a process, when it is loaded. */
const loaded = new Map<string, MsalRuntime>();

/**
 * Finds and loads the library, which looks for the broker.
 *
 * @throws {LatchkeyError} `missing_dependency` if it is not installed, cannot be loaded, others can change it, or Deno does not
 * permit it.
 * @throws {LatchkeyError} `configuration` if `LATCHKEY_MSALRUNTIME` is invalid, or others can change what it names.
 * @throws {LatchkeyError} `broker_unavailable` if it finds no broker, or does not support this machine.
 */
export async function openMsalRuntime(): Promise<OpenMsalRuntime> {
  const opened = await openFirst(await candidates());
  const { StartupError: error } = opened.library;
  if (!error) return opened;
  const reason = escapeControlCharacters(error.errorContext);
  throw new LatchkeyError("broker_unavailable", `Cannot start the broker: ${reason}`, {
    remedy: START_REMEDIES[operatingSystem()],
  });
}

/** Returns the version of an addon's package; `undefined` if it is unknown, or Deno may not read it. */
export async function versionOfMsalRuntime(path: string): Promise<string | undefined> {
  const folder = packageOfAddon(path);
  const file = `${folder}/package.json`;
  if (folder === undefined || !isPermitted({ name: "read", path: file })) return undefined;
  try {
    const { name, version } = JSON.parse(await readTextFile(file));
    return name === PACKAGE && typeof version === "string" ? escapeControlCharacters(version) : undefined;
  } catch {
    return undefined; // only for display, and the addon may have been copied without its package
  }
}

async function candidates(): Promise<readonly string[]> {
  const system = operatingSystem();
  const below = addonBelowPackage({ system, arch: processor(), osRelease: await readOsRelease() });
  const separator = system === "win32" ? "\\" : "/";
  const place = readEnvironment(VARIABLE);
  if (place === undefined) return packageFolders(PACKAGE).map((folder) => `${folder}${separator}${below}`);
  if (!isAbsolutePath(place)) {
    throw new LatchkeyError("configuration", `Cannot use ${VARIABLE}: it is not an absolute path`, {
      remedy: `Set it to the absolute path of the folder of ${PACKAGE}, or of its addon (.node)`,
    });
  }
  return [place.endsWith(".node") ? place : `${place.replace(/[\\/]+$/, "")}${separator}${below}`];
}

async function openFirst(paths: readonly string[]): Promise<OpenMsalRuntime> {
  const system = operatingSystem();
  const install = howToInstall(currentRuntime().name);
  const failures: LatchkeyError[] = [];
  for (const path of paths) {
    const known = loaded.get(path);
    if (known) return { library: known, path };
    const isThere = isAddonThere(path);
    if (isThere === false) continue;
    if (!isPermitted({ name: "ffi", path })) { // Deno would prompt
      if (isThere) throw notPermitted(path);
      continue;
    }
    try {
      return { library: await openTrusted(path), path };
    } catch (error) {
      // If Deno may not look, the error tells whether the addon is there.
      if (isThere || !isMissingAddon(path, error)) failures.push(openFailure(error, { path, system, install }));
    }
  }
  throw failures[0] ?? notFound(paths, install);
}

async function openTrusted(path: string): Promise<MsalRuntime> {
  await requireTrusted(path);
  const library = loaded.get(path) ?? openAddon(path) as MsalRuntime; // another call may have been faster
  loaded.set(path, library);
  return library;
}

function isMissingAddon(path: string, error: unknown): boolean {
  return error instanceof LatchkeyError || messageOf(error).startsWith(`${path}: cannot open shared object file`);
}

function openFailure(error: unknown, facts: Parameters<typeof addonFailure>[1]): LatchkeyError {
  return error instanceof LatchkeyError ? error : addonFailure(messageOf(error), facts);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function notFound(paths: readonly string[], install: string): LatchkeyError {
  const unreadable = paths.find((path) => isAddonThere(path) === undefined);
  if (unreadable !== undefined) return notPermitted(unreadable);
  const installation: Remedy = { kind: "install", package: PACKAGE, command: install };
  const place = `the folder of ${PACKAGE}, 0.20.6 or later, or to its addon (.node)`;
  if (readEnvironment(VARIABLE) === undefined) {
    return new LatchkeyError("missing_dependency", `The package ${PACKAGE} is not installed`, {
      remedy: { ...installation, or: advice(`Set ${VARIABLE} to ${place}`) },
    });
  }
  return new LatchkeyError("missing_dependency", `Cannot use ${VARIABLE}: there is no ${paths[0]}`, {
    remedy: { ...installation, then: advice(`Unset ${VARIABLE}, or set it to ${place}`) },
  });
}

function notPermitted(path: string): LatchkeyError {
  const flags = quoteCommand([`--allow-ffi=${path}`, `--allow-read=${packageOfAddon(path) ?? path}`]);
  return new LatchkeyError("missing_dependency", `Deno may not open ${PACKAGE}`, {
    remedy: {
      kind: "run_deno_with",
      flags,
      then: { kind: "install", package: PACKAGE, command: howToInstall("Deno"), when: "If it is not installed" },
    },
  });
}

/** Remedies for a library that finds no broker. Only Windows always has one: elsewhere it may not be installed. */
const START_REMEDIES: Readonly<Record<string, Remedy>> = {
  win32: {
    kind: "repair_broker",
    text: "Check the Windows account manager with dsregcmd /status: Windows 10 or Server 2019 or later have it",
  },
  darwin: advice(systemWord("installBroker", "darwin")),
  linux: advice("Install microsoft-identity-broker and enroll the device (Intune); then restart this program"),
};

/** Folders of the package, by operating system and processor. Microsoft supports no other machines. */
const FOLDERS: Readonly<Record<string, readonly [system: string, processor: string]>> = {
  "win32 x86_64": ["windows", "x64"],
  "win32 aarch64": ["windows", "arm64"],
  "win32 ia32": ["windows", "x86"],
  "darwin x86_64": ["macos", "x64"],
  "darwin aarch64": ["macos", "arm64"],
  "linux x86_64": ["linux", "x64"],
};

const DEBIAN = "apt install libwebkit2gtk-4.1-0 libgtk-3-0 libsoup-3.0-0 libsecret-1-0";

interface AddonMachine {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words. */
  readonly arch: string;
  /** On Linux, the distribution's os-release file. @default Ubuntu's */
  readonly osRelease?: string | undefined;
}

/** @throws {LatchkeyError} `broker_unavailable` if Microsoft does not support the machine. */
export function addonBelowPackage({ system, arch, osRelease = "" }: AddonMachine): string {
  const [folder, processor] = FOLDERS[`${system} ${arch}`] ?? [];
  if (folder === undefined || processor === undefined) {
    throw new LatchkeyError("broker_unavailable", `Microsoft has no MSALRuntime for ${system} on ${arch}`, {
      remedy: "Use Windows, macOS, or Linux on x86_64 with glibc",
    });
  }
  const distribution = system === "linux" ? [linuxBuild(osRelease)] : [];
  return ["dist", folder, ...distribution, processor, "msal-node-runtime.node"].join(system === "win32" ? "\\" : "/");
}

/** Chooses as the package itself does. */
function linuxBuild(osRelease: string): string {
  if (!/^ID(?:_LIKE)?=.*\brhel\b/m.test(osRelease)) return "ubuntu";
  const [, major = 0] = /^VERSION_ID="?(\d+)/m.exec(osRelease) ?? [];
  return Number(major) >= 10 ? "rhel10" : "rhel8_9";
}

/** Returns the package's folder of an addon's path; `undefined` for a path that is not in a package. */
export function packageOfAddon(path: string): string | undefined {
  return /^(.+)[\\/]dist[\\/](?:[^\\/]+[\\/]){2,3}[^\\/]+$/.exec(path)?.[1];
}

export function howToInstall(runtime: "Deno" | "Bun" | "Node"): string {
  if (runtime === "Deno") return `deno add npm:${PACKAGE}, with "nodeModulesDir": "auto" in deno.json`;
  return runtime === "Bun" ? `bun add ${PACKAGE}` : `npm install ${PACKAGE}`;
}

/** Returns the error of an addon that cannot be loaded. The message is that of the system's linker. */
export function addonFailure(
  message: string,
  { path, system, install }: { readonly path: string; readonly system: string; readonly install: string },
): LatchkeyError {
  const [said = ""] = message.split("\n"); // Deno adds the path in a second line
  const failure = (code: LatchkeyErrorCode, why: string, remedy: string) =>
    new LatchkeyError(code, `Cannot load MSALRuntime: ${escapeControlCharacters(why)}`, { remedy });
  const [, library] = /^(lib[^/: ]+): cannot open shared object file/.exec(said) ?? [];
  if (library) {
    const rhel = "RHEL 8, 9: dnf install webkit2gtk3; RHEL 10: dnf install webkitgtk6.0";
    return failure("missing_dependency", `${library} is missing`, `Install its dependencies: ${DEBIAN} (${rhel})`);
  }
  if (/^Error (loading shared library|relocating)/.test(said)) {
    return failure("broker_unavailable", "it needs glibc, and this system has musl", "Use a system with glibc");
  }
  if (system === "linux" && /version `GLIBC/.test(said)) {
    return failure("broker_unavailable", `it needs a newer system (${said})`, "Update the system");
  }
  return failure("missing_dependency", `${path} cannot be opened: ${said}`, `Install the package again: ${install}`);
}

const LOG_VARIABLE = "LATCHKEY_MSALRUNTIME_LOG";
const listeners = new Set<Logger>();
let isRegistered = false;

/** Passes the library's log lines to a logger, if the user wants them, until the returned object is disposed of. */
export function passLogOn(library: MsalRuntime, log: Logger): Disposable {
  if (readEnvironment(LOG_VARIABLE) === undefined) return { [Symbol.dispose]: () => {} };
  const own = bestEffortLogger(log); // a new one: two applications can have the same logger
  if (!isRegistered) {
    try {
      const hasPersonalData = false;
      library.RegisterLogger((message, level) => {
        for (const listener of listeners) listener(levelOf(level), `MSALRuntime: ${escapeControlCharacters(message)}`);
      }, hasPersonalData);
      isRegistered = true;
    } catch {
      own("warn", "Cannot register a logger with MSALRuntime");
    }
  }
  listeners.add(own);
  return { [Symbol.dispose]: () => void listeners.delete(own) };
}

/** Returns a logger that never throws, for callbacks and timers: an error there would end the program. */
export function bestEffortLogger(log: Logger): Logger {
  return (level, message) => {
    try {
      log(level, message);
    } catch {
      // there is no other place to report a broken logger
    }
  };
}

/** Translates a level: 1 trace, 2 debug, 3 info, 4 warning, 5 error, 6 fatal. The library's "info" is for debugging. */
export function levelOf(level: number): LogLevel {
  if (level >= 5) return "error";
  return level === 4 ? "warn" : "debug";
}

/** Returns `undefined` if Deno may not look. */
function isAddonThere(path: string): boolean | undefined {
  return isPermitted({ name: "read", path }) ? isThere(path) : undefined;
}

/**
 * Checks that only root and we can change the addon and the folders and links on its path: native code may do all that we may.
 * Windows, which has no modes, is not checked.
 */
async function requireTrusted(path: string): Promise<void> {
  if (operatingSystem() === "win32") return;
  if (denoNamespace() && !(isPermitted({ name: "read" }) && isPermitted({ name: "sys", kind: "uid" }))) {
    // An --allow-ffi=PATH that names this addon means that the user trusts it. One for all addons does not.
    if (isPermitted({ name: "ffi" })) throw notPermitted(path);
    return;
  }
  const place = await placeOpenToOthers(path);
  if (place === undefined) return;
  const isNamed = readEnvironment(VARIABLE) !== undefined;
  const code = isNamed ? "configuration" : "missing_dependency";
  const task = isNamed ? `use ${VARIABLE}` : "load MSALRuntime";
  const fix = place.command === undefined ? "" : `, or run ${place.command}`;
  throw new LatchkeyError(code, `Cannot ${task}: others can change ${escapeControlCharacters(place.path)}`, {
    remedy: `Put ${PACKAGE} where only root and you can write${fix}`,
  });
}

/** Loads an addon. `require` would also need the permission to read the files around it. */
function openAddon(path: string): unknown {
  const made = { exports: {} as unknown };
  globalThis.process.dlopen(made, path);
  return made.exports;
}
