/**
 * Checks of the broker: the broker itself, its answers for the app, and its requirements on each platform. On Linux that is the
 * session: D-Bus client, session bus, display and keyring.
 *
 * @module
 */
import { redirectUris, type SignInWay } from "../../../lib/redirect_uris.ts";
import { BUS_DAEMON, DBusError } from "../../../lib/dbus/bus.ts";
import { type ActivationEnvironment, readActivationEnvironment } from "../../../lib/dbus/daemon.ts";
import { findLibdbus } from "../../../lib/dbus/libdbus.ts";
import { readSecretService, type SecretService } from "../../../lib/keyring/secret_service.ts";
import { findWslProxy, interopEnvironment, WSL_HINTS, wslVersion } from "../../../lib/broker/wsl.ts";
import {
  denoNamespace,
  isAtLeast,
  isPermitted,
  mayReadEnvironment,
  operatingSystem,
  quoteCommand,
  readEnvironment,
} from "../../../lib/runtime/host.ts";
import { packageFolders } from "../../../lib/runtime/installation.ts";
import { isWsl, readMachine } from "../../../lib/runtime/machine.ts";
import { isThere, readTextFile } from "../../../lib/runtime/path.ts";
import { nameOf } from "../../../lib/account.ts";
import type { PublicClientApplication } from "../../../lib/application.ts";
import { descriptionOf, isInteractionRequired, LatchkeyError } from "../../../lib/errors.ts";
import { advice, followedBy, hintOf, type Remedy, systemWord } from "../../../lib/remedies.ts";
import { wellKnownName } from "../../cli/application.ts";
import { withConsentUrl } from "../../cli/failures.ts";
import { blockedBy, type Check, failed, type Finding, notChecked, ok, RUN_VERBOSE, tolerated } from "./check.ts";

/** Time limits of the app in milliseconds. They are shorter than usual because a person waits for the report. */
export const BROKER_LIMITS = { pingMs: 3_000, startMs: 15_000, accountsMs: 5_000, silentMs: 15_000 };

const NO_CLIENT_ID: Finding = notChecked("no --client-id was given", "Give --client-id, such as --client-id azure-cli");

export const broker: Check = {
  id: "broker",
  limitMs: 25_000,
  isForBroker: true,
  needs: ["session_bus"],
  async run({ app }, { signal }) {
    const { state, kind, version, reason } = await app.brokerStatus({ version: true, signal });
    if (state === "active") return ok(`${kind} broker, version ${version ?? "unknown"}`);
    if (state === "off") return notChecked(reason ?? "it is off");
    // The status has no hint, but a call that needs the broker fails with one.
    const remedy = await app.getAccounts({ signal }).then(() => undefined, (error) => error?.remedy);
    return failed(reason ?? "it cannot be reached", remedy ?? brokerFix(operatingSystem(), isWsl()));
  },
};

/** Returns the advice for a broker that does not answer, for an unknown reason. */
export function brokerFix(system: string, isWsl: boolean | undefined): string {
  return isWsl ? WSL_HINTS.restart : systemWord("restartBroker", system);
}

/** Names the redirect URI for this platform. Only Microsoft Entra ID knows whether the app registration has it. */
export const redirectUri: Check = {
  id: "redirect_uri",
  limitMs: 2_000,
  async run({ clientId = "<client id>" }) {
    const { system, isWsl } = await readMachine();
    const uris = redirectUris(clientId);
    const uriFor = (way: SignInWay) => uris.find(({ ways }) => ways.includes(way))!.uri;
    const way = signInWay(system, isWsl);
    const name = wellKnownName(clientId);
    if (name !== undefined) {
      return ok(`${name} is one of Microsoft's own apps: only Microsoft can change its redirect URIs`);
    }
    const uri = uriFor(way) + (way === "linux" && isWsl === undefined ? ` (in WSL ${uriFor("wsl")})` : "");
    return ok(
      `the app registration ${clientId} has to have ${uri}, and ${uriFor("browser")} for sign-ins without a broker ` +
        "(latchkey app explains how to add them)",
    );
  },
};

/** Returns the way that this platform's broker signs people in; on WSL that is the broker of Windows. */
function signInWay(system: string, isWsl: boolean | undefined): SignInWay {
  if (system === "win32" || isWsl) return "windows";
  return system === "darwin" ? "macos" : "linux";
}

/** Lists the accounts that the broker has for the app, or those in the cache if no broker is wanted. */
export const accounts: Check = {
  id: "accounts",
  limitMs: 12_000,
  needs: ["broker"],
  async run(context, { signal, stateOf }) {
    const { app, clientId, username } = context;
    if (clientId === undefined) return NO_CLIENT_ID;
    const found = await app.getAccounts({ username, signal });
    const who = username === undefined ? "" : ` ${username}`;
    if (found.length > 0) return ok(found.map(nameOf).join(", "));
    const fix = `Sign in: ${context.signIn}`;
    return stateOf("broker") === "unknown"
      ? failed(`the token cache has no account${who} for this app`, fix)
      : failed(`the broker has no account${who}`, `${fix}, or ${systemWord("accounts")}`);
  },
};

/** Gets a token as programs do. The token is not printed. */
export const silentToken: Check = {
  id: "silent_token",
  limitMs: 25_000,
  needs: ["broker"],
  async run(context, { signal }) {
    const { app, clientId, scopes, username, tenantId } = context;
    const what = scopes.join(" ");
    if (clientId === undefined) return NO_CLIENT_ID;
    try {
      const request = { scopes, username, tenantId, interactive: "never", signal } as const;
      const { account, expiresOn } = await app.acquireToken(request);
      return ok(`for ${what} as ${nameOf(account)}, valid until ${expiresOn.toISOString()}`);
    } catch (cause) {
      const error = await withConsentUrl(cause, app, { scopes, tenantId });
      if (!(error instanceof LatchkeyError)) throw error;
      const { correlationId, claims } = error;
      const remedy = error.remedy && hintOf(error.remedy, context.words(claims));
      const id = correlationId === undefined ? "" : ` (correlation id ${correlationId})`;
      const fix = isInteractionRequired(error) ? `Sign in: ${context.signIn}` : RUN_VERBOSE;
      return failed(`for ${what}: ${error.code}: ${descriptionOf(error)}${id}`, remedy ?? fix);
    }
  },
};

const PACKAGE = "@azure/msal-node-runtime";
/** Environment variable with the path of the package, or of the library's file in it. */
const PACKAGE_VARIABLE = "LATCHKEY_MSALRUNTIME";
const REINSTALL = `Fix broker first; if that does not help, reinstall the package: npm install --force ${PACKAGE}`;

/** Finds MSALRuntime. The fix for a library that does not start is in the broker's check. */
export const msalRuntime: Check = {
  id: "msalruntime",
  limitMs: 12_000,
  isForBroker: true,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const runs = stateOf("broker") === "ok";
    const { folder, version, isUnreadable } = await findPackage();
    if (!runs && isUnreadable) {
      const fix = `Run deno with ${quoteCommand([`--allow-read=${folder}`, "--allow-ffi"])}`;
      return notChecked(`Deno may not read the folder of ${PACKAGE}`, fix);
    }
    if (!runs && !folder) {
      return failed(`the package ${PACKAGE} is not installed`, `Install it beside the program: npm install ${PACKAGE}`);
    }
    const status = await app.brokerStatus({ version: true, signal });
    const location = folder === undefined || isUnreadable ? "in an unknown folder" : `in ${folder}`;
    const what = `${PACKAGE} ${version ?? status.version ?? "of an unknown version"}, ${location}`;
    if (runs) return ok(`${what}, starts`);
    return failed(`${what}, does not start: ${status.reason ?? "the reason is unknown"}`, REINSTALL);
  },
};

interface PackageLocation {
  /** The path in the environment variable, or the package's folder; the first candidate if none may be read. */
  readonly folder?: string | undefined;
  readonly version?: string | undefined;
  readonly isUnreadable?: boolean;
}

async function findPackage(): Promise<PackageLocation> {
  const isReadable = (path: string) => isPermitted({ name: "read", path });
  const named = readEnvironment(PACKAGE_VARIABLE);
  const folders = named === undefined ? packageFolders(PACKAGE) : [named];
  const folder = folders.find((path) => isReadable(path) && isThere(path));
  if (folder !== undefined) return { folder, version: await packageVersion(folder) };
  const unreadable = folders.find((path) => !isReadable(path));
  return unreadable === undefined ? {} : { folder: unreadable, isUnreadable: true };
}

/** Returns `undefined` if the environment variable names the library's file instead of the package. */
async function packageVersion(folder: string): Promise<string | undefined> {
  try {
    const { name, version } = JSON.parse(await readTextFile(`${folder}/package.json`));
    return name === PACKAGE && typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

/** First version in which Windows' broker can show its window. */
const FIRST_WITH_WINDOW = "2.4.13";
/** Linux runs Windows programs by this handler, under either name (microsoft/WSL issue 13449). */
const INTEROP = ["WSLInterop", "WSLInterop-late"].map((name) => `/proc/sys/fs/binfmt_misc/${name}`);

export const wsl: Check = {
  id: "wsl",
  limitMs: 12_000,
  isForBroker: true,
  after: ["broker"],
  async run({ app }, { signal, stateOf }) {
    const runs = stateOf("broker") === "ok";
    const finding = await checkWsl(signal, { isBrokerRunning: runs });
    if (finding.state !== "failed" || !runs) return finding;
    return tolerated(finding, `the ${(await app.brokerStatus({ signal })).kind} broker is used instead`);
  },
};

/** Result of the earlier check of the broker. */
interface BrokerState {
  readonly isBrokerRunning: boolean;
}

async function checkWsl(signal: AbortSignal, { isBrokerRunning }: BrokerState): Promise<Finding> {
  let proxy;
  let version;
  try {
    proxy = await findWslProxy(signal);
    version = await wslVersion(signal);
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    if (error.code === "missing_dependency") return notChecked(error.message, error.remedy);
    return failed(error.message, error.remedy ?? WSL_HINTS.restart);
  }
  const facts = [`WSL ${version ?? "of an unknown version"}`, proxy, await interopFact()].filter(Boolean).join(", ");
  const isMissing = (path: string) => isPermitted({ name: "read", path }) && !isThere(path);
  if (isMissing(proxy)) return failed(`${facts}: there is no such program`, WSL_HINTS.drive);
  // The handlers are only a clue: some versions name them differently.
  if (!isBrokerRunning && INTEROP.every(isMissing)) {
    return failed(`${facts}: interop seems to be off`, WSL_HINTS.interop);
  }
  const isOld = version === undefined || !isAtLeast(version, FIRST_WITH_WINDOW);
  return ok(facts, isOld ? `${WSL_HINTS.update}, if no sign-in window appears` : undefined);
}

async function interopFact(): Promise<string | undefined> {
  const { WSL_INTEROP: found } = await interopEnvironment();
  if (found !== undefined) return `WSL_INTEROP does not name an open socket, ${found} is used instead`;
  const isUnset = mayReadEnvironment("WSL_INTEROP") && readEnvironment("WSL_INTEROP") === undefined;
  return isUnset ? "WSL_INTEROP is not set" : undefined;
}

/** Time limit in milliseconds for a call that the bus daemon answers itself. */
const ANSWER_MS = 2_500;

export const dbusClient: Check = {
  id: "dbus_client",
  limitMs: 2_000,
  isForBroker: true,
  async run({ bus }) {
    try {
      const { client } = await bus();
      return client === "libdbus" ? ok(`libdbus, ${await libdbusPath()}`) : ok(client, await libdbusAdvice());
    } catch (error) {
      if (error instanceof DBusError) return blockedBy(sessionBus.id);
      throw error;
    }
  },
};

/** On Deno libdbus starts in half the time of dbus-next. */
async function libdbusAdvice(): Promise<Remedy | undefined> {
  try {
    if (denoNamespace()) await libdbusPath();
  } catch (error) {
    if (error instanceof LatchkeyError) return error.remedy && { ...error.remedy, when: "For a faster start" };
  }
  return undefined;
}

async function libdbusPath(): Promise<string> {
  const deno = denoNamespace()!;
  return await findLibdbus(deno, (path) => {
    deno.dlopen(path, {}).close();
    return path;
  });
}

export const sessionBus: Check = {
  id: "session_bus",
  limitMs: 3_000,
  isForBroker: true,
  async run({ bus }, { signal }) {
    const begin = performance.now();
    try {
      await (await bus()).call({ ...BUS_DAEMON, member: "GetId" }, { timeoutMs: ANSWER_MS, signal });
    } catch (error) {
      const code = error instanceof LatchkeyError ? error.code : undefined;
      if (code === "missing_dependency") return blockedBy(dbusClient.id);
      if (code === "timed_out") return failed((error as Error).message, "Log out and in again: the bus hangs");
      if (!(error instanceof DBusError)) throw error;
      return failed(
        error.message || error.errorName,
        "Name the bus of this session: export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u)/bus; " +
          "if it has none: dbus-run-session -- COMMAND. A container or an SSH session has no broker: get tokens from the device " +
          "that has one (see latchkey serve --help), or pass --broker never",
      );
    }
    const address = readEnvironment("DBUS_SESSION_BUS_ADDRESS") ??
      `unix:path=${readEnvironment("XDG_RUNTIME_DIR")}/bus`;
    return ok(`${address} answered in ${Math.ceil(performance.now() - begin)} ms`);
  },
};

const DISPLAYS = ["WAYLAND_DISPLAY", "DISPLAY"];
const PASS_DISPLAY = "dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY";

/** Microsoft's broker crashes on start without a display. */
export const display: Check = {
  id: "display",
  limitMs: 3_000,
  isForBroker: true,
  needs: ["session_bus"],
  after: ["broker"],
  async run({ bus }, { signal, stateOf }) {
    try {
      const environment = await readActivationEnvironment(await bus(), { signal });
      const finding = judgeDisplay(environment, { isBrokerRunning: stateOf("broker") === "ok" });
      return isThere(NVIDIA, { ifUnknown: false }) ? withWindowFix(finding, environment) : finding;
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !["missing_dependency", "unexpected"].includes(error.code)) throw error;
      return notChecked(error.message, error.remedy);
    }
  },
};

/** NVIDIA's driver has it while it is loaded. */
const NVIDIA = "/proc/driver/nvidia/version";
/** WebKitGTK, which shows the window, does not draw on Wayland with NVIDIA's driver. */
const WINDOW_VARIABLES = { GDK_BACKEND: "x11", WEBKIT_DISABLE_DMABUF_RENDERER: "1" };

/** Adds the fix for Microsoft's broker on Wayland with NVIDIA, unless the environment has it. */
export function withWindowFix(finding: Finding, { variables }: ActivationEnvironment): Finding {
  const isWayland = Boolean(variables.get("WAYLAND_DISPLAY"));
  const missing = Object.entries(WINDOW_VARIABLES).filter(([name, value]) => variables.get(name) !== value);
  if (!isWayland || missing.length === 0) return finding;
  const settings = missing.map(([name, value]) => `${name}=${value}`).join(" ");
  const fix = advice(
    "If the sign-in window stays empty or vanishes (Wayland with NVIDIA's driver): " +
      `systemctl --user edit microsoft-identity-broker, add [Service] and Environment=${settings}, then ` +
      "systemctl --user restart microsoft-identity-broker",
  );
  return { ...finding, fix: followedBy(finding.fix, fix) };
}

function judgeDisplay(
  { source, variables }: ActivationEnvironment,
  { isBrokerRunning }: BrokerState,
): Finding {
  const where = source === "systemd" ? "systemd's user manager" : "the bus daemon";
  const given = DISPLAYS.filter((name) => variables.get(name));
  const own = DISPLAYS.filter(readEnvironment);
  if (given.length > 0) {
    const detail = `${where} has ${given.map((name) => `${name}=${variables.get(name)}`).join(", ")}`;
    const others = own.filter((name) => readEnvironment(name) !== variables.get(name));
    if (others.length === 0) return ok(detail);
    const ours = others.map((name) => `${name}=${readEnvironment(name)}`).join(", ");
    return ok(
      `${detail}; this program has ${ours}`,
      `If the sign-in window appears elsewhere, or not at all: ${PASS_DISPLAY}`,
    );
  }
  const detail = `${where} has neither ${DISPLAYS.join(" nor ")}` +
    (source === "daemon" ? ", unless one was set later, which this check cannot see" : "");
  const finding = failed(
    isBrokerRunning ? detail : `${detail}: Microsoft's broker crashes without a display`,
    own.length > 0 ? PASS_DISPLAY : `From a terminal of the desktop: ${PASS_DISPLAY}`,
  );
  return isBrokerRunning
    ? tolerated(finding, "the broker runs, but Microsoft's will crash on its next start")
    : finding;
}

const LOG_IN = "log out and in again with your password (not by autologin or fingerprint)";
const INSTALL = "Install gnome-keyring: sudo apt install gnome-keyring (Debian, Ubuntu), " +
  "sudo dnf install gnome-keyring (Fedora, RHEL)";
const PORTAL_SETTING = "put org.freedesktop.impl.portal.Secret=gnome-keyring under [preferred] in " +
  "~/.config/xdg-desktop-portal/kde-portals.conf";

export const keyring: Check = {
  id: "keyring",
  limitMs: 5_000,
  isForBroker: true,
  needs: ["session_bus"],
  after: ["broker", "silent_token"],
  async run({ bus, app }, { signal, stateOf }) {
    const finding = judgeKeyring(await readSecretService(await bus(), { signal }));
    if (finding.state !== "failed") return finding;
    if (stateOf("silent_token") === "ok") return tolerated(finding, "silent_token succeeded without it");
    const needsKeyring = stateOf("broker") !== "ok" || await isMicrosofts(app, signal);
    return needsKeyring ? finding : tolerated(finding, "himmelblau does not need it");
  },
};

/** Returns true if the broker may be Microsoft's, which signs requests. himmelblau does not; the version does not tell them apart. */
async function isMicrosofts(app: PublicClientApplication, signal: AbortSignal): Promise<boolean> {
  try {
    return await app.isPopSupported({ signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof LatchkeyError) return true; // possibly
    throw error;
  }
}

function judgeKeyring({ state, provider, hasKdePortal }: SecretService): Finding {
  const who = provider ?? "the program behind org.freedesktop.secrets";
  if (state === "missing") return failed("nothing serves org.freedesktop.secrets", `${INSTALL}, then ${LOG_IN}`);
  // Microsoft's broker 3 uses the Secret portal, and fails with 4kv4v if KDE's wallet serves it.
  if (provider === "kwallet") {
    return failed(
      "KDE's wallet serves org.freedesktop.secrets: Microsoft's broker needs gnome-keyring",
      `${INSTALL}, turn off "Use KWallet for the Secret Service interface" (System Settings, KDE Wallet), ` +
        `${PORTAL_SETTING}, then ${LOG_IN}`,
    );
  }
  if (state === "no_default") {
    const fix = `Create a keyring in seahorse (Passwords and Keys) and set it as default, or ${LOG_IN}`;
    return failed(`${who} has no default keyring`, fix);
  }
  if (state === "locked") {
    return failed(`${who} is locked`, `Unlock the login keyring in seahorse (Passwords and Keys), or ${LOG_IN}`);
  }
  return ok(
    `${who}, unlocked`,
    hasKdePortal ? `If a sign-in fails with 4kv4v: ${PORTAL_SETTING}, then ${LOG_IN}` : undefined,
  );
}
