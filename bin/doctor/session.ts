/**
 * Checks of the Linux session that the broker runs in: D-Bus client, session bus, display and keyring.
 *
 * @module
 */
import { BUS_DAEMON, DBusError } from "../../lib/dbus/bus.ts";
import { type ActivationEnvironment, readActivationEnvironment } from "../../lib/dbus/daemon.ts";
import { findLibdbus } from "../../lib/dbus/libdbus.ts";
import { readSecretService, type SecretService } from "../../lib/keyring/secret_service.ts";
import { denoNamespace, readEnvironment } from "../../lib/runtime/host.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { blockedBy, type Check, failed, type Finding, notChecked, ok, tolerated } from "./check.ts";

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
async function libdbusAdvice(): Promise<string | undefined> {
  try {
    if (denoNamespace()) await libdbusPath();
  } catch (error) {
    if (error instanceof LatchkeyError) return `For a faster start: ${error.hint}`;
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
          "if it has none: dbus-run-session -- COMMAND",
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
      return judgeDisplay(await readActivationEnvironment(await bus(), { signal }), stateOf("broker") === "ok");
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !["missing_dependency", "unexpected"].includes(error.code)) throw error;
      return notChecked(error.message, error.hint);
    }
  },
};

function judgeDisplay({ source, variables }: ActivationEnvironment, brokerRuns: boolean): Finding {
  const where = source === "systemd" ? "systemd's user manager" : "the bus daemon";
  const given = DISPLAYS.filter((name) => variables.get(name)), own = DISPLAYS.filter(readEnvironment);
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
    (source === "daemon" ? ", unless it was set later, which cannot be read" : "");
  const finding = failed(
    brokerRuns ? detail : `${detail}: Microsoft's broker crashes without a display`,
    own.length > 0 ? PASS_DISPLAY : `From a terminal of the desktop: ${PASS_DISPLAY}`,
  );
  return brokerRuns ? tolerated(finding, "the broker runs, but Microsoft's will crash on its next start") : finding;
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

/** Microsoft's brokers sign requests and himmelblau does not. Their versions do not distinguish them. */
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
