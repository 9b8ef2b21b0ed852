/**
 * Checks of the broker, and of what an app gets from it.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, redirectUris, type SignInWay } from "../../lib/authority.ts";
import { findWslProxy, interopEnvironment, WSL_HINTS, wslVersion } from "../../lib/broker/wsl.ts";
import { isAtLeast, isPermitted, operatingSystem, quoteCommand, readEnvironment } from "../../lib/runtime/host.ts";
import { packageFolders } from "../../lib/runtime/installation.ts";
import { isThere, isWsl, readMachine, readTextFile } from "../../lib/runtime/program.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../../lib/errors.ts";
import { commandLineHint, withConsentUrl } from "../cli/failures.ts";
import { type Check, failed, type Finding, LOOK_CLOSER, notChecked, ok, type Patient } from "./check.ts";

/** Milliseconds that the app waits for its broker: less than a program would, since a person waits for the report. */
export const BROKER_LIMITS = { pingMs: 3_000, startMs: 15_000, accountsMs: 5_000, silentMs: 15_000 };

/** Finding of what only a broker needs, where none is wanted. */
export const NO_BROKER_WANTED: Finding = notChecked("no broker is asked for");

const SIGN_IN_HELPS: readonly LatchkeyErrorCode[] = ["interaction_required", "account_unusable", "account_not_found"];
const NO_CLIENT_ID: Finding = notChecked("no --client-id was given", "Give --client-id, such as --client-id azure-cli");

/** The broker: started when it does not run. */
export const broker: Check = {
  id: "broker",
  limitMs: 25_000,
  needs: ["session_bus"],
  async run({ app }, { signal }) {
    const { state, kind, version, reason } = await app.brokerStatus({ signal });
    if (state === "active") return ok(`${kind} broker, version ${version ?? "unknown"}`);
    if (state === "off") return notChecked(reason ?? "it is off");
    const hint = await hintOf(app.getAccounts({ signal }));
    return failed(reason ?? "it cannot be reached", hint ?? howToMend(operatingSystem(), isWsl()));
  },
};

/** What to do about a broker of which no more is known than that it does not answer. Pure. */
export function howToMend(system: string, isWsl: boolean | undefined): string {
  if (system === "win32") {
    return "See that the Windows account manager works (dsregcmd /status), then sign out of Windows and in";
  }
  if (system === "darwin") return "See in Company Portal that the device is enrolled, then restart this Mac";
  return isWsl ? WSL_HINTS.restart : "systemctl --user restart microsoft-identity-broker";
}

/** The status has no hint, but the error has with which a call is refused that needs the broker. */
async function hintOf(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
  } catch (error) {
    if (error instanceof LatchkeyError) return commandLineHint(error.hint);
  }
  return undefined;
}

/** The redirect URI that the app needs on this platform. Only Microsoft Entra ID knows whether it has it. */
export const redirectUri: Check = {
  id: "redirect_uri",
  limitMs: 2_000,
  async run({ clientId = "<client id>" }) {
    const { system, isWsl } = await readMachine(), uris = redirectUris(clientId);
    const uriFor = (way: SignInWay) => uris.find(({ ways }) => ways.includes(way))!.uri;
    const uri = system === "win32" || isWsl
      ? uriFor("windows")
      : system === "darwin"
      ? uriFor("macos")
      : uriFor("linux") + (isWsl === undefined ? ` (in WSL ${uriFor("wsl")})` : "");
    return ok(
      `the app registration ${clientId} has to have ${uri}, and ${uriFor("browser")} where there is no broker ` +
        "(latchkey app tells how to add them)",
    );
  },
};

/** Accounts that the broker has for the app; where none is to serve, those that are kept. */
export const accounts: Check = {
  id: "accounts",
  limitMs: 12_000,
  needs: ["broker"],
  async run(patient, { signal, stateOf }) {
    const { app, clientId, username } = patient;
    if (clientId === undefined) return NO_CLIENT_ID;
    const found = await app.getAccounts({ username, signal }), who = username === undefined ? "" : ` ${username}`;
    if (found.length > 0) return ok(found.map((account) => account.username || account.homeAccountId).join(", "));
    if (stateOf("broker") === "unknown") return failed(`no account${who} is kept for this app`, signInTo(patient));
    return failed(
      `the broker has no account${who}`,
      `${signInTo(patient)}, or in the Intune app; a locked keyring hides accounts, too`,
    );
  },
};

/** A token as programs get it. It is not shown. */
export const silentToken: Check = {
  id: "silent_token",
  limitMs: 25_000,
  needs: ["broker"],
  async run(patient, { signal }) {
    return patient.clientId === undefined ? NO_CLIENT_ID : await askForToken(patient, signal);
  },
};

function signInTo({ clientId = "ID", authority, tenantId }: Patient): string {
  const command = quoteCommand([
    ...["latchkey", "login", ["--client-id", clientId]],
    ...(authority && authority !== DEFAULT_AUTHORITY ? [["--authority", authority]] : []),
    ...(tenantId === undefined ? [] : [["--tenant", tenantId]]),
  ]);
  return `Sign in: ${command}`;
}

async function askForToken(patient: Patient, signal: AbortSignal): Promise<Finding> {
  const { app, scopes, username, tenantId } = patient;
  const what = scopes.join(" ");
  try {
    const { account, expiresOn } = await app.acquireToken({ scopes, username, tenantId, interactive: "never", signal });
    return ok(`for ${what} as ${account.username || account.homeAccountId}, good until ${expiresOn.toISOString()}`);
  } catch (cause) {
    const error = await withConsentUrl(cause, app, { scopes, tenantId });
    if (!(error instanceof LatchkeyError)) throw error;
    const { code, errorDescription, message, correlationId, hint } = error;
    const id = correlationId === undefined ? "" : ` (correlation id ${correlationId})`;
    const fix = SIGN_IN_HELPS.includes(code) ? signInTo(patient) : LOOK_CLOSER;
    return failed(`for ${what}: ${code}: ${errorDescription || message}${id}`, commandLineHint(hint) ?? fix);
  }
}

const PACKAGE = "@azure/msal-node-runtime";
/** Environment variable with the path of the package, or of the library's file in it. */
const PLACE = "LATCHKEY_MSALRUNTIME";
const INSTALL = `Install it beside the program: npm install ${PACKAGE}`;
const DOES_NOT_START = "Do what broker says above; if that does not help, install the package anew";

/** Where the library is, its version, and whether it starts: the broker's check has what to do when it does not. */
export const msalRuntime: Check = {
  id: "msalruntime",
  limitMs: 12_000,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    const place = await findPackage();
    if (broker !== "ok" && place.isUnseen) {
      const fix = `Run deno with ${quoteCommand([`--allow-read=${place.folder}`, "--allow-ffi"])}`;
      return notChecked(`Deno may not read where ${PACKAGE} can be`, fix);
    }
    if (broker !== "ok" && !place.folder) return failed(`the package ${PACKAGE} is not installed`, INSTALL);
    const status = await app.brokerStatus({ signal });
    const what = `${PACKAGE} ${place.version ?? status.version ?? "of an unknown version"}, ${whereOf(place)}`;
    if (broker === "ok") return ok(`${what}, starts`);
    return failed(`${what}, does not start: ${status.reason ?? "it is not told why"}`, DOES_NOT_START);
  },
};

/** Where the package is. */
interface Place {
  /** Its folder, or what the environment names; the first that could be it where none may be looked at. */
  readonly folder?: string | undefined;
  readonly version?: string | undefined;
  /** Whether Deno may not look there. */
  readonly isUnseen?: boolean;
}

async function findPackage(): Promise<Place> {
  const named = isPermitted({ name: "env", variable: PLACE }) ? readEnvironment(PLACE) : undefined;
  const folders = named === undefined ? packageFolders(PACKAGE) : [named];
  for (const folder of folders) {
    if (isPermitted({ name: "read", path: folder }) && isThere(folder)) {
      return { folder, version: await versionIn(folder) };
    }
  }
  const folder = folders.find((path) => !isPermitted({ name: "read", path }));
  return folder === undefined ? {} : { folder, isUnseen: true };
}

/** What the package says of itself. It is there to be shown: the library's file alone can have been named. */
async function versionIn(folder: string): Promise<string | undefined> {
  try {
    const { name, version } = JSON.parse(await readTextFile(`${folder}/package.json`));
    return name === PACKAGE && typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

function whereOf({ folder, isUnseen }: Place): string {
  return folder === undefined || isUnseen ? "in a place that cannot be told" : `in ${folder}`;
}

/** The first in which Windows' broker can show its window. */
const FIRST_WITH_WINDOW = "2.4.13";
/** What Linux runs programs of Windows' by, under either name (microsoft/WSL issue 13449). */
const INTEROP = ["WSLInterop", "WSLInterop-late"].map((name) => `/proc/sys/fs/binfmt_misc/${name}`);

/** WSL's own part in reaching Windows' broker, and what is wrong with it. */
export const wsl: Check = {
  id: "wsl",
  limitMs: 12_000,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    const finding = await examine(broker === "ok", signal);
    if (finding.state !== "failed" || broker !== "ok") return finding;
    const { kind } = await app.brokerStatus({ signal });
    return { ...finding, state: "unknown", detail: `${finding.detail}; the ${kind} broker is used nevertheless` };
  },
};

async function examine(brokerRuns: boolean, signal: AbortSignal): Promise<Finding> {
  let proxy, version;
  try {
    proxy = await findWslProxy(signal);
    version = await wslVersion(signal);
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    if (error.code === "missing_dependency") return notChecked(error.message, error.hint);
    return failed(error.message, error.hint ?? WSL_HINTS.restart);
  }
  const facts = [`WSL ${version ?? "of an unknown version"}`, proxy, await interopFact()].filter(Boolean).join(", ");
  if (isPermitted({ name: "read", path: proxy }) && !isThere(proxy)) {
    return failed(`${facts}: there is no such program`, WSL_HINTS.drive);
  }
  // The files only hint at it: they are named otherwise now and then.
  if (!brokerRuns && isInteropOff()) return failed(`${facts}: interop seems to be off`, WSL_HINTS.interop);
  const isOld = version === undefined || !isAtLeast(version, FIRST_WITH_WINDOW);
  return isOld ? ok(facts, `${WSL_HINTS.update}, when a sign-in window does not show`) : ok(facts);
}

/** What there is to say of the session's way to Windows. */
async function interopFact(): Promise<string | undefined> {
  const { WSL_INTEROP: found } = await interopEnvironment();
  if (found !== undefined) return `WSL_INTEROP is not set to a socket in use, ${found} is taken`;
  if (!isPermitted({ name: "env", variable: "WSL_INTEROP" })) return undefined;
  return readEnvironment("WSL_INTEROP") === undefined ? "WSL_INTEROP is not set" : undefined;
}

function isInteropOff(): boolean {
  return INTEROP.every((path) => isPermitted({ name: "read", path }) && !isThere(path));
}
