/**
 * Check of the keyring, in which Microsoft's broker keeps its keys.
 *
 * @module
 */
import { LatchkeyError, type PublicClientApplication } from "../mod.ts";
import { readSecretService, type SecretService } from "../lib/platform/secret_service.ts";
import { NO_BROKER_WANTED } from "./check_broker.ts";
import { type Check, failed, type Finding, ok } from "./doctor_check.ts";

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
    const finding = judge(await readSecretService(await bus(), { signal }));
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

function judge({ state, provider, hasKdePortal }: SecretService): Finding {
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
