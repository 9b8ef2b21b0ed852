/**
 * Checks of the broker, and of what an app gets from it.
 *
 * @module
 */
import { LatchkeyError, type LatchkeyErrorCode, redirectUris, type SignInWay } from "../mod.ts";
import { DEFAULT_AUTHORITY } from "../lib/authority.ts";
import { operatingSystem, quoteCommand } from "../lib/platform/host.ts";
import { readMachine } from "../lib/platform/machine.ts";
import { isWsl } from "../lib/platform/wsl.ts";
import { WSL_HINTS } from "../lib/platform/wsl_program.ts";
import { withConsentUrl } from "./consent.ts";
import { type Check, failed, type Finding, LOOK_CLOSER, notChecked, ok, type Patient } from "./doctor_check.ts";

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
    if (error instanceof LatchkeyError) return error.hint;
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
    return failed(`for ${what}: ${code}: ${errorDescription || message}${id}`, hint ?? fix);
  }
}
