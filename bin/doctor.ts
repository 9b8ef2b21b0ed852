/**
 * `latchkey doctor`.
 *
 * @module
 */
import { type CacheStore, LatchkeyError, memoryStore } from "../mod.ts";
import { DEFAULT_AUTHORITY } from "../lib/authority.ts";
import { operatingSystem } from "../lib/platform/host.ts";
import { openSessionBus } from "../lib/platform/open_session_bus.ts";
import { write } from "../lib/platform/program.ts";
import type { SessionBus } from "../lib/platform/session_bus.ts";
import { isWsl } from "../lib/platform/wsl.ts";
import { clientIdOf, makeApplication } from "./app_options.ts";
import { accounts, broker, BROKER_LIMITS, redirectUri, silentToken } from "./check_broker.ts";
import { clock } from "./check_clock.ts";
import { display } from "./check_display.ts";
import { keyring } from "./check_keyring.ts";
import { platform, runtime } from "./check_machine.ts";
import { msalRuntime } from "./check_msalruntime.ts";
import { network } from "./check_network.ts";
import { profile } from "./check_profile.ts";
import { dbusClient, sessionBus } from "./check_session_bus.ts";
import { tokenCache } from "./check_token_cache.ts";
import { wsl } from "./check_wsl.ts";
import type { CommandLine } from "./command_line.ts";
import { type Check, examine } from "./doctor_check.ts";
import { isWell, reportJson, reportText } from "./doctor_report.ts";
import { defaultScopesOf } from "./default_scopes.ts";
import { scopesOf } from "./token.ts";
import { openTokenStore, tokenPlace } from "./token_store.ts";
import { whyNoBroker, withoutBroker } from "./without_broker.ts";

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
export async function examineMachine(line: CommandLine, signal: AbortSignal | undefined): Promise<number> {
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
