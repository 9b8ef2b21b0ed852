/**
 * What the doctor says, for people and for programs.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, redirectUris } from "../../lib/authority.ts";
import type { SessionBus } from "../../lib/dbus/bus.ts";
import { openSessionBus } from "../../lib/dbus/open.ts";
import { operatingSystem } from "../../lib/runtime/host.ts";
import { isWsl, write } from "../../lib/runtime/program.ts";
import { PublicClientApplication } from "../../lib/application.ts";
import { type CacheStore, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { clientIdOf, defaultScopesOf, makeApplication } from "../cli/application.ts";
import type { Command, CommandLine } from "../cli/command_line.ts";
import {
  ACCOUNT,
  APP,
  REDIRECT_PATH,
  SCOPES_OR_DEFAULT,
  TENANT,
  TEXT_FORMAT,
  TIMEOUT,
  VERBOSE,
} from "../cli/options.ts";
import { escapeForTerminal, jsonForTerminal } from "../cli/output.ts";
import { openTokenStore, tokenPlace } from "../cli/token_cache.ts";
import { scopesOf } from "../token.ts";
import { accounts, broker, BROKER_LIMITS, msalRuntime, redirectUri, silentToken, wsl } from "./broker.ts";
import { type Check, type CheckResult, examine, type Finding, notChecked, ok } from "./check.ts";
import { clock, network, platform, profile, runtime } from "./machine.ts";
import { dbusClient, display, keyring, sessionBus } from "./session.ts";
import { tokenCache } from "./token_cache.ts";

/** The command. */
export const command: Command = {
  name: "doctor",
  summary: "Diagnose why this machine cannot get a token, and how to fix it",
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
    { ...TIMEOUT, default: "30", summary: "Report what is known after this time" },
    VERBOSE,
  ],
  examples: [
    ["latchkey doctor", "only the machine"],
    ["latchkey doctor --client-id azure-cli", "accounts and a silent token as well; the token is not shown"],
    [
      "latchkey doctor --format json | jq '.checks[] | select(.ok | not)'",
      "for a script: exit code 1 if a check fails",
    ],
  ],
  run: examineMachine,
};

/** Marks that say it without colour, too. */
const MARKS: Readonly<Record<Finding["state"], string>> = { ok: "ok", failed: "FAIL", blocked: "--", unknown: "--" };

/** Whether nothing was found that is wrong. What need not be looked at is not. */
export function isWell(results: readonly CheckResult[]): boolean {
  return results.every(isFine);
}

function isFine({ state }: Finding): boolean {
  return state === "ok" || state === "unknown";
}

/** The report as `--format json` prints it. */
export function reportJson(results: readonly CheckResult[]): string {
  const checks = results.map((result) => ({
    ...{ id: result.id, ok: isFine(result), detail: result.detail, fix: result.fix },
  }));
  return `${jsonForTerminal({ ok: isWell(results), checks })}\n`;
}

/** The report as people read it: a line a check, then what to do, what several checks advise being said once. */
export function reportText(results: readonly CheckResult[]): string {
  const width = Math.max(...results.map(({ id }) => id.length));
  const lines = results.map(({ id, state, detail }) => `${MARKS[state].padEnd(4)}  ${id.padEnd(width)}  ${detail}`);
  return [
    ...lines,
    ...advice("To mend it:", results.filter(({ state }) => state === "failed")),
    ...advice("Beside that:", results.filter(isFine)),
  ].map((line) => `${escapeForTerminal(line)}\n`).join("");
}

function advice(title: string, results: readonly CheckResult[]): readonly string[] {
  const byFix = Map.groupBy(results.filter(({ fix }) => fix), ({ fix }) => fix);
  const lines = [...byFix].map(([fix, of]) => `  ${of.map(({ id }) => id).join(", ")}: ${fix}`);
  return lines.length > 0 ? ["", title, ...lines] : [];
}

const OF_BROKERS: readonly Check[] = [broker, dbusClient, sessionBus, wsl, msalRuntime, display, keyring];

/** Why no broker is to be looked for; `undefined` where one is. */
async function whyNoBroker(line: CommandLine): Promise<string | undefined> {
  const broker = line.text("broker");
  if (broker !== "auto") return broker === "never" ? "no broker is asked for" : undefined;
  const [own, usual] = await Promise.all([line.text("authority"), undefined].map(reasonWithout));
  return own === usual ? undefined : own;
}

/** An app that wants no broker probes nothing, and says the same of every authority that brokers serve. */
async function reasonWithout(authority: string | undefined): Promise<string> {
  const app = new PublicClientApplication({ clientId: "latchkey", ...(authority !== undefined && { authority }) });
  return (await app.brokerStatus()).reason ?? "";
}

/**
 * The checks that are left.
 *
 * @param checks All checks.
 * @param why Why no broker is to be looked for.
 */
function withoutBroker(checks: readonly Check[], why: string): readonly Check[] {
  return checks.map((check): Check => {
    if (OF_BROKERS.includes(check)) return { id: check.id, limitMs: check.limitMs, run: () => notChecked(why) };
    if (check === redirectUri) {
      const run: Check["run"] = ({ clientId = "<client id>", ...options }) => {
        const uri = redirectUris(clientId, options).find(({ ways }) => ways.includes("browser"))!.uri;
        return ok(`the app registration ${clientId} has to have ${uri}`);
      };
      return { ...check, run };
    }
    const { needs = [], after = [] } = check;
    return needs.some((id) => [broker, sessionBus].some((other) => other.id === id))
      ? { ...check, needs: [], after: [...after, ...needs] }
      : check;
  });
}

/** In the order of the report, which is that of what needs what. */
const EVERYWHERE: readonly Check[] = [
  ...[platform, runtime, profile, clock, broker, msalRuntime, redirectUri, accounts, silentToken, network, tokenCache],
];
const ON_LINUX: readonly Check[] = [
  ...[platform, runtime, profile, clock, dbusClient, sessionBus],
  ...[broker, redirectUri, accounts, silentToken, network, tokenCache, display, keyring],
];
/** The session bus is the second way there, and the broker's check says what became of it. */
const ON_WSL: readonly Check[] = [
  ...[platform, runtime, profile, clock, broker, wsl, redirectUri, accounts, silentToken, network, tokenCache],
];

/** An app that asks nothing of its own, where none is named. */
const NAMELESS = "00000000-0000-0000-0000-000000000000";

/**
 * Looks for what stands between this machine and a token, and prints it.
 *
 * @returns The exit code: 1 when something is wrong.
 */
async function examineMachine(line: CommandLine, signal: AbortSignal | undefined): Promise<number> {
  const clientId = line.text("client-id") === undefined ? undefined : clientIdOf(line);
  const cache = openStore(line) ?? memoryStore();
  const why = await whyNoBroker(line), requireBroker = why === undefined;
  const app = await makeApplication(line, {
    ...{ clientId: clientId ?? NAMELESS, requireBroker, timeLimits: BROKER_LIMITS, cache },
  });
  const checks = checksOf(operatingSystem());
  let bus: Promise<SessionBus> | undefined;
  const results = await examine(why === undefined ? checks : withoutBroker(checks, why), {
    app,
    clientId,
    username: line.text("account"),
    scopes: scopesOf(line, defaultScopesOf(line)),
    authority: line.text("authority") ?? DEFAULT_AUTHORITY,
    redirectPath: line.text("redirect-path"),
    tenantId: line.text("tenant"),
    profile: { name: line.profile, problem: line.profileProblem },
    tokenPlace: () => tokenPlace(line),
    cache,
    bus: () => bus ??= openSessionBus(),
  }, signal);
  app.close();
  bus?.then((bus) => bus.close(), () => {});
  write("stdout", line.text("format") === "json" ? reportJson(results) : reportText(results));
  return isWell(results) ? 0 : 1;
}

function checksOf(system: string): readonly Check[] {
  if (system !== "linux") return EVERYWHERE;
  return isWsl() ? ON_WSL : ON_LINUX;
}

/** Where tokens are kept; nothing where that cannot be, which is the business of a check. */
function openStore(line: CommandLine): CacheStore | undefined {
  try {
    return openTokenStore(line, () => {}, { mayPrompt: false, needsCache: true });
  } catch (error) {
    if (error instanceof LatchkeyError) return undefined;
    throw error;
  }
}
