/**
 * `latchkey doctor`: runs the checks and prints a report.
 *
 * @module
 */
import { DEFAULT_AUTHORITY } from "../../../lib/authority.ts";
import { redirectUris } from "../../../lib/redirect_uris.ts";
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { operatingSystem } from "../../../lib/runtime/host.ts";
import { isWsl } from "../../../lib/runtime/machine.ts";
import { write } from "../../../lib/runtime/terminal.ts";
import { PublicClientApplication } from "../../../lib/application.ts";
import { type CacheStore, memoryStore } from "../../../lib/cache/store.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { clientIdOf, makeApplication } from "../../cli/application.ts";
import type { Command, CommandLine } from "../../cli/command_line.ts";
import { commandWords, loginCommand } from "../../cli/failures.ts";
import { TEXT_FORMAT } from "../../cli/formats.ts";
import { ACCOUNT, APP, REDIRECT_PATH, SCOPES_OR_DEFAULT, TENANT, TIMEOUT, VERBOSE } from "../../cli/options.ts";
import { escapeForTerminal, jsonForTerminal } from "../../../lib/control_characters.ts";
import { openTokenStore, tokenPlace } from "../../cli/token_cache.ts";
import { defaultScopesOf, scopesNamed, scopesOf } from "../../cli/scopes.ts";
import {
  accounts,
  broker,
  BROKER_LIMITS,
  dbusClient,
  display,
  keyring,
  msalRuntime,
  redirectUri,
  sessionBus,
  silentToken,
  wsl,
} from "./broker.ts";
import { deviceRegistration } from "./device.ts";
import { type Check, type CheckResult, type Finding, NO_CLIENT_ID, notChecked, ok, runChecks } from "./check.ts";
import { clock, network, platform, profile, runtime } from "./machine.ts";
import { tokenCache } from "./token_cache.ts";

export const command: Command = {
  name: "doctor",
  summary: "Find out why this machine cannot get a token, and how to fix it",
  usage: "doctor [--client-id ID] [options]",
  operands: 0,
  reportsProfile: true,
  options: [
    ...APP,
    REDIRECT_PATH,
    TENANT,
    ...SCOPES_OR_DEFAULT,
    ACCOUNT,
    TEXT_FORMAT,
    { ...TIMEOUT, default: "30", summary: "Stop after SECONDS and report what was found" },
    VERBOSE,
  ],
  examples: [
    ["latchkey doctor", "Check only the machine"],
    ["latchkey doctor --client-id azure-cli", "Also check the accounts and a silent token, which is not shown"],
    [
      "latchkey doctor --format json | jq '.checks[] | select(.ok | not)'",
      "Print the failed checks, for a script; exit code 1 if there are any",
      "(latchkey doctor --format json | ConvertFrom-Json).checks | Where-Object { -not $_.ok }",
    ],
  ],
  run: examineMachine,
};

/** Marks that are distinct without colour. */
const MARKS: Readonly<Record<Finding["state"], string>> = { ok: "ok", failed: "FAIL", blocked: "--", unknown: "--" };

export function isWell(results: readonly CheckResult[]): boolean {
  return results.every(isFine);
}

function isFine({ state }: Pick<Finding, "state">): boolean {
  return state === "ok" || state === "unknown";
}

export function reportJson(results: readonly CheckResult[]): string {
  const checks = results.map(({ id, state, detail, fix }) => ({ id, ok: isFine({ state }), detail, fix }));
  return `${jsonForTerminal({ ok: isWell(results), checks })}\n`;
}

/** Returns the report for people: one line a check, then the advice, each piece once. */
export function reportText(results: readonly CheckResult[]): string {
  const width = Math.max(...results.map(({ id }) => id.length));
  return [
    ...results.map(({ id, state, detail }) => `${MARKS[state].padEnd(4)}  ${id.padEnd(width)}  ${detail}`),
    ...advice("To fix:", results.filter(({ state }) => state === "failed")),
    ...advice("Optional:", results.filter(isFine)),
  ].map((line) => `${escapeForTerminal(line)}\n`).join("");
}

function advice(title: string, results: readonly CheckResult[]): readonly string[] {
  const byFix = Map.groupBy(results.filter(({ fix }) => fix), ({ fix }) => fix);
  const lines = [...byFix].map(([fix, of]) => `  ${of.map(({ id }) => id).join(", ")}: ${fix}`);
  return lines.length > 0 ? ["", title, ...lines] : [];
}

/** Returns the reason why no broker is wanted; `undefined` if one is. */
async function whyNoBroker(line: CommandLine): Promise<string | undefined> {
  const broker = line.text("broker");
  if (broker !== "auto") return broker === "never" ? "no broker is asked for" : undefined;
  // Without a broker the reason is the same for all authorities that brokers serve.
  const reasonAt = async (authority: string) =>
    (await new PublicClientApplication({ clientId: NO_CLIENT_ID, authority }).brokerStatus()).reason ?? undefined;
  const own = await reasonAt(line.text("authority") ?? DEFAULT_AUTHORITY);
  return own === await reasonAt(DEFAULT_AUTHORITY) ? undefined : own;
}

/** Returns the check as it is if no broker is wanted, for this reason. */
function withoutBroker(check: Check, reason: string): Check {
  const { needs = [], after = [] } = check;
  if (check.isForBroker) return { id: check.id, limitMs: check.limitMs, run: () => notChecked(reason) };
  if (check !== redirectUri) return { ...check, needs: [], after: [...after, ...needs] };
  return {
    ...check,
    run({ clientId = "<client id>", ...options }) {
      const uri = redirectUris(clientId, options).find(({ ways }) => ways.includes("browser"))!.uri;
      return ok(`the app registration ${clientId} has to have ${uri}`);
    },
  };
}

/** The checks in the order of the report: each stands after those that it needs. */
function checksOf(system: string): readonly Check[] {
  const first = [platform, runtime, profile, clock];
  const last = [redirectUri, accounts, silentToken, network, tokenCache];
  if (system !== "linux") return [...first, broker, msalRuntime, ...last];
  // On WSL the session bus is only the second way to a broker, which the broker's check covers.
  if (isWsl()) return [...first, broker, wsl, ...last];
  return [...first, dbusClient, sessionBus, broker, ...last, display, keyring, deviceRegistration()];
}

/** Checks why this machine cannot get a token, prints a report, and returns the exit code: 1 if a check failed. */
async function examineMachine(line: CommandLine, signal: AbortSignal | undefined): Promise<number> {
  const clientId = line.text("client-id") === undefined ? undefined : clientIdOf(line);
  const cache = openStore(line) ?? memoryStore();
  const reason = await whyNoBroker(line);
  const requireBroker = reason === undefined;
  const options = { clientId: clientId ?? NO_CLIENT_ID, requireBroker, timeLimits: BROKER_LIMITS, cache };
  const app = await makeApplication(line, options);
  const all = checksOf(operatingSystem());
  const checks = requireBroker ? all : all.map((check) => withoutBroker(check, reason));
  let bus: Promise<SessionBus> | undefined;
  const results = await runChecks(checks, {
    app,
    clientId,
    username: line.text("account"),
    scopes: scopesOf(line, defaultScopesOf(line)),
    authority: line.text("authority") ?? DEFAULT_AUTHORITY,
    redirectPath: line.text("redirect-path"),
    tenantId: line.text("tenant"),
    profile: { name: line.profile, problem: line.profileProblem },
    signIn: loginCommand(line, scopesNamed(line)),
    words: (claims) => commandWords(line, claims),
    tokenPlace: () => tokenPlace(line),
    cache,
    bus: () => {
      bus ??= openSessionBus();
      return bus;
    },
  }, signal);
  // The report waits for neither: a renewal may be in flight, and the bus may never answer.
  void app.close();
  void bus?.then((bus) => bus.close(), () => {});
  write("stdout", line.text("format") === "json" ? reportJson(results) : reportText(results));
  return isWell(results) ? 0 : 1;
}

/** Returns `undefined` if there can be no store as requested; the token_cache check reports it. */
function openStore(line: CommandLine): CacheStore | undefined {
  try {
    return openTokenStore(line, () => {}, { mayPrompt: false, needsCache: true });
  } catch (error) {
    if (error instanceof LatchkeyError) return undefined;
    throw error;
  }
}
