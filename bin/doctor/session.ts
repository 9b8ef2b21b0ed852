/**
 * Checks of the way to the broker: the D-Bus client, and the session bus.
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
import { NO_BROKER_WANTED } from "./broker.ts";
import { blockedBy, type Check, failed, type Finding, notChecked, ok } from "./check.ts";

/** What a daemon may take that answers by itself, in milliseconds. */
const ANSWER_MS = 2_500;

/** What speaks D-Bus. */
export const dbusClient: Check = {
  id: "dbus_client",
  limitMs: 2_000,
  async run({ bus }) {
    try {
      const { client } = await bus();
      return client === "libdbus" ? ok(`libdbus, ${libdbusPath()}`) : ok(client, adviceForLibdbus());
    } catch (error) {
      if (error instanceof DBusError) return blockedBy(sessionBus.id);
      throw error;
    }
  },
};

/** The session bus, by a question that its daemon answers itself. */
export const sessionBus: Check = {
  id: "session_bus",
  limitMs: 3_000,
  async run({ bus }, { signal }) {
    const begin = performance.now();
    try {
      await (await bus()).call({ ...BUS_DAEMON, member: "GetId" }, { timeoutMs: ANSWER_MS, signal });
    } catch (error) {
      if (error instanceof LatchkeyError && error.code === "timed_out") {
        return failed(error.message, "Log out and in again: the bus hangs");
      }
      if (error instanceof LatchkeyError && error.code === "missing_dependency") return blockedBy(dbusClient.id);
      if (!(error instanceof DBusError)) throw error;
      return failed(
        error.message || error.errorName,
        "Run it in a session that has a bus, and see that DBUS_SESSION_BUS_ADDRESS names it (unix:path=/run/user/UID/bus); " +
          "where there is none at all: dbus-run-session -- COMMAND",
      );
    }
    return ok(`${address()} answered in ${Math.ceil(performance.now() - begin)} ms`);
  },
};

/** The address as the environment has it. */
function address(): string {
  return readEnvironment("DBUS_SESSION_BUS_ADDRESS") ?? `unix:path=${readEnvironment("XDG_RUNTIME_DIR")}/bus`;
}

/** Deno takes dbus-next where it has to, though libdbus starts in half the time. */
function adviceForLibdbus(): string | undefined {
  try {
    if (denoNamespace()) libdbusPath();
  } catch (error) {
    if (error instanceof LatchkeyError) return `For a quicker start: ${error.hint}`;
  }
  return undefined;
}

function libdbusPath(): string {
  const deno = denoNamespace()!;
  return findLibdbus(deno, (path) => {
    deno.dlopen(path, {}).close();
    return path;
  });
}

const DISPLAYS = ["WAYLAND_DISPLAY", "DISPLAY"];
const GIVE_IT = "dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY";

/** Microsoft's broker dies at its start when it has no display. */
export const display: Check = {
  id: "display",
  limitMs: 3_000,
  needs: ["session_bus"],
  after: ["broker"],
  async run({ bus }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    try {
      return judgeDisplay(await readActivationEnvironment(await bus(), { signal }), broker === "ok");
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !["missing_dependency", "unexpected"].includes(error.code)) throw error;
      return notChecked(error.message, error.hint);
    }
  },
};

function judgeDisplay({ source, variables }: ActivationEnvironment, brokerRuns: boolean): Finding {
  const where = source === "systemd" ? "systemd's user manager" : "the bus' daemon";
  const given = DISPLAYS.filter((name) => variables.get(name));
  const own = DISPLAYS.filter((name) => readEnvironment(name));
  if (given.length > 0) {
    const other = own.filter((name) => readEnvironment(name) !== variables.get(name));
    const detail = `${where} has ${given.map((name) => `${name}=${variables.get(name)}`).join(", ")}`;
    if (other.length === 0) return ok(detail);
    const ours = other.map((name) => `${name}=${readEnvironment(name)}`).join(", ");
    return ok(
      `${detail}; this program has ${ours}`,
      `When the sign-in window shows elsewhere, or not at all: ${GIVE_IT}`,
    );
  }
  const detail = `${where} has neither ${DISPLAYS.join(" nor ")}` +
    (source === "daemon" ? ", unless it was told later, which cannot be seen" : "");
  const fix = own.length > 0 ? GIVE_IT : `From a terminal of the desktop: ${GIVE_IT}`;
  return brokerRuns
    ? {
      state: "unknown",
      detail: `${detail}; the broker runs nevertheless, but Microsoft's dies at its next start`,
      fix,
    }
    : failed(`${detail}: Microsoft's broker dies without a display`, fix);
}

const LOG_IN = "log out and in again with your password (not by autologin or fingerprint)";
const INSTALL =
  "install gnome-keyring (Debian, Ubuntu: sudo apt install gnome-keyring; Fedora, RHEL: sudo dnf install gnome-keyring)";
const ROUTE =
  "put org.freedesktop.impl.portal.Secret=gnome-keyring under [preferred] in ~/.config/xdg-desktop-portal/kde-portals.conf";

/** Whether there is a keyring, and it is open. */
export const keyring: Check = {
  id: "keyring",
  limitMs: 5_000,
  needs: ["session_bus"],
  after: ["broker", "silent_token"],
  async run({ bus, app }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    const finding = judgeKeyring(await readSecretService(await bus(), { signal }));
    if (finding.state !== "failed") return finding;
    const nevertheless = (why: string): Finding => ({
      ...finding,
      state: "unknown",
      detail: `${finding.detail}; ${why}`,
    });
    if (stateOf("silent_token") === "ok") return nevertheless("there was a silent token nevertheless");
    if (broker === "ok" && !await isMicrosofts(app, signal)) return nevertheless("himmelblau needs none");
    return finding;
  },
};

/** Microsoft's brokers sign requests, and himmelblau does not: their versions do not tell them apart. */
async function isMicrosofts(app: PublicClientApplication, signal: AbortSignal): Promise<boolean> {
  try {
    return await app.isPopSupported({ signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof LatchkeyError) return true; // it may be
    throw error;
  }
}

function judgeKeyring({ state, provider, hasKdePortal }: SecretService): Finding {
  const who = provider ?? "the program behind org.freedesktop.secrets";
  if (state === "missing") {
    return failed("nothing serves org.freedesktop.secrets", `${capitalized(INSTALL)}, then ${LOG_IN}`);
  }
  // Microsoft's broker 3 goes through the Secret portal, and fails with 4kv4v where KDE's wallet stands behind it.
  if (provider === "kwallet") {
    return failed(
      "KDE's wallet serves org.freedesktop.secrets: Microsoft's broker needs gnome-keyring",
      `${
        capitalized(INSTALL)
      }, turn off "Use KWallet for the Secret Service interface" (System Settings, KDE Wallet), ` +
        `${ROUTE}, then ${LOG_IN}`,
    );
  }
  if (state === "no_default") {
    return failed(
      `${who} has no default keyring`,
      `${capitalized(LOG_IN)}, or make one in seahorse and set it as default`,
    );
  }
  if (state === "locked") {
    return failed(`${who} is locked`, `Unlock the login keyring in seahorse (Passwords and Keys), or ${LOG_IN}`);
  }
  return hasKdePortal
    ? ok(`${who}, unlocked`, `When a sign-in ends with 4kv4v: ${ROUTE}, then log in again`)
    : ok(`${who}, unlocked`);
}

function capitalized(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
