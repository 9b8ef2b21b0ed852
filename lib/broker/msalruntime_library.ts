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
import { LatchkeyError } from "../errors.ts";
import { printable } from "../json_values.ts";
import { denoNamespace, operatingSystem, processor, quoteCommand, readEnvironment } from "../platform/host.ts";
import { packageFolders } from "../platform/installed_package.ts";
import { addonTrust, isAddonThere, mayOpenAddon, openAddon } from "../platform/native_addon.ts";
import { isPermitted } from "../platform/permission.ts";
import { readTextFile } from "../platform/program.ts";
import { currentRuntime } from "../platform/runtime.ts";
import { addonBelowPackage, addonFailure, howToInstall, PACKAGE, packageOfAddon } from "./msalruntime_place.ts";

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
export interface NativeError {
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
export interface OpenMsalRuntime {
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
    return name === PACKAGE && typeof version === "string" ? printable(version) : undefined;
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
    `Cannot ${what}: others can change ${printable(place)}`,
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
  return new LatchkeyError("broker_unavailable", `Cannot start the broker: ${printable(errorContext)}`, {
    hint: HINTS[operatingSystem()],
  });
}

const HINTS: Readonly<Record<string, string>> = {
  win32: "See that the Windows account manager works: Windows 10 or later, Server 2019 or later; dsregcmd /status",
  darwin: "Install Company Portal, and enrol the device: Microsoft's SSO extension comes with it",
  linux: "Install microsoft-identity-broker and enrol the device (Intune); then start this program anew",
};
