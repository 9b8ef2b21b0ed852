/**
 * Which broker this machine has: those of its platform are tried, the best first.
 *
 * @module
 */
import type { Authority } from "../authority.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { operatingSystem, processor, readEnvironment } from "../runtime/host.ts";
import { isWsl } from "../runtime/program.ts";
import type { Broker, BrokerFinding, BrokerKind } from "./broker.ts";
import type { JsonBrokerOptions } from "./client.ts";
import type { BrokerChannel, BrokerChannelOptions } from "./raw_channel.ts";

/** How a broker is looked for. */
export interface BrokerSearch {
  /** What the program runs on. @default as it is found */
  readonly platform?: BrokerPlatform | undefined;
  /** Starts a broker, or throws why it cannot. @default by the code of each, which is loaded when it is tried */
  readonly start?: typeof startBroker | undefined;
  /** Gives the search up, with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds and starts the broker of this machine. With the flag of this platform off, nothing is probed.
 *
 * @param flags Where the app wants a broker.
 * @param options What the broker is asked with.
 * @param search How it is looked for.
 * @returns The broker, or why there is none.
 * @throws {LatchkeyError} `missing_dependency`, `configuration`: a broker is wanted, and there is no way to ask for it.
 */
export async function findBroker(
  flags: BrokerFlags,
  options: JsonBrokerOptions,
  search: BrokerSearch = {},
): Promise<BrokerFinding> {
  const { platform = ownPlatform(flags), start = startBroker, signal } = search, { authority } = options;
  const plan = planBrokers({ ...platform, flags, authority });
  if ("off" in plan) return { state: "off", reason: plan.off };
  const failures: LatchkeyError[] = [];
  for (const kind of plan.kinds) {
    try {
      const broker = await start(kind, options, signal);
      return { state: "active", broker, reason: failures.map(({ message }) => message).join("; ") || undefined };
    } catch (error) {
      if (signal?.aborted || !isMissing(error)) throw error;
      failures.push(error);
    }
  }
  return without(failures, platform);
}

/** Whether the app wants a broker on this platform, and for an authority that a broker serves. */
export function isBrokerEnabled(flags: BrokerFlags, authority: Authority): boolean {
  return "kinds" in planBrokers({ ...ownPlatform(flags), flags, authority });
}

function ownPlatform(flags: BrokerFlags): BrokerPlatform {
  const platform = { system: operatingSystem(), arch: processor() };
  // Who wants no broker has nothing read for one.
  if (!isAnyWanted(flags)) return { ...platform, isWsl: undefined };
  return { ...platform, isWsl: isWsl(), chosen: readEnvironment("LATCHKEY_BROKER_KIND") };
}

async function startBroker(kind: BrokerKind, options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  switch (kind) {
    case "linux":
      return await (await import("./linux.ts")).startLinuxBroker(options, signal);
    case "wsl":
      return await (await import("./wsl.ts")).startWslBroker(options, signal);
    case "msalruntime":
      return await (await import("./msalruntime.ts")).startMsalRuntimeBroker(options, signal);
  }
}

/**
 * Opens a channel to the broker on the session bus for another program, such as a browser, that wants its replies as it gives
 * them. Programs that want a token use {@linkcode PublicClientApplication} instead.
 *
 * @param options Which app asks.
 * @returns The channel. The bus is opened when it is first used, and the broker need not be there yet.
 * @throws {LatchkeyError} `broker_unavailable` on other systems than Linux.
 * @throws {TypeError} when the client id is missing.
 *
 * @example The accounts as the broker lists them
 * ```ts
 * import { openBrokerChannel } from "@latchkey/latchkey";
 *
 * using channel = await openBrokerChannel({ clientId: "11111111-2222-4333-8444-555555555555" });
 * console.log(await channel.ask({ method: "getAccounts" }));
 * ```
 */
export async function openBrokerChannel(options: BrokerChannelOptions): Promise<BrokerChannel> {
  const { clientId } = options ?? {};
  if (typeof clientId !== "string" || !clientId.trim()) {
    throw new ArgumentError("Cannot open a channel to the broker: clientId is missing");
  }
  const system = operatingSystem();
  if (system !== "linux") {
    throw new LatchkeyError(
      "broker_unavailable",
      `There is no broker on a session bus on ${system || "this platform"}`,
      {
        hint: "Ask for tokens instead: latchkey token, or PublicClientApplication",
      },
    );
  }
  return (await import("./raw_channel.ts")).brokerChannel(options);
}

/** Whether an error says that there is no such broker, or no way to it, so that the next one is tried. */
function isMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError &&
    ["broker_unavailable", "missing_dependency", "configuration"].includes(error.code);
}

/** What can be mended by installing or permitting something is told before what cannot. */
function without(failures: readonly LatchkeyError[], { system, isWsl }: BrokerPlatform): BrokerFinding {
  const mendable = failures.find(({ code }) => code !== "broker_unavailable");
  if (mendable && failures.length === 1) throw mendable;
  const told = mendable ? [mendable, ...failures.filter((failure) => failure !== mendable)] : failures;
  const reason = told.map(({ message }) => message).join("; ");
  const inWsl = system === "linux" && isWsl === undefined ? [`in WSL, run deno with ${WSL_FLAG}`] : [];
  const hint = [...told.flatMap(({ hint }) => hint ?? []), ...inWsl].join("; or: ") || undefined;
  if (mendable) throw new LatchkeyError(mendable.code, reason, { cause: mendable.cause, hint });
  return { state: "unavailable", reason, hint };
}

/** On which platforms an app wants the broker. All are off unless they are set. */
export interface BrokerFlags {
  /** Windows. A call that was given up keeps Node from ending by itself until the broker answers. @default false */
  readonly enableBrokerOnWindows?: boolean;
  /** Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnWsl?: boolean;
  /** macOS. While the broker's window is open JavaScript stands still: neither a signal nor a time limit is heeded. @default false */
  readonly enableBrokerOnMac?: boolean;
  /** Linux, and Windows Subsystem for Linux. @default false */
  readonly enableBrokerOnLinux?: boolean;
}

/** What a program runs on, as far as brokers differ by it. */
export interface BrokerPlatform {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words. */
  readonly arch: string;
  /** Whether it is Linux on Windows; `undefined` where that cannot be seen. */
  readonly isWsl: boolean | undefined;
  /** The one broker to try, as `LATCHKEY_BROKER_KIND` has it. @default those of the platform */
  readonly chosen?: string | undefined;
}

/** What decides over the brokers. */
export interface BrokerFacts extends BrokerPlatform {
  /** Where the app wants a broker. */
  readonly flags: BrokerFlags;
  /** Who issues its tokens. */
  readonly authority: Pick<Authority, "kind" | "url">;
}

/** The brokers to try, at least one, the best first; or why there is none to try. */
export type BrokerPlan = { readonly kinds: readonly BrokerKind[] } | { readonly off: string };

/** What Deno needs to see that it runs on WSL. */
const WSL_FLAG = "--allow-sys=osRelease";

/**
 * Which brokers are tried.
 *
 * @param facts What decides.
 * @throws {LatchkeyError} `configuration` when the one that was chosen is none of this platform's.
 */
export function planBrokers(facts: BrokerFacts): BrokerPlan {
  const { authority, system, chosen } = facts;
  if (authority.kind !== "entra") return { off: `brokers do not serve the authority ${authority.url}` };
  const plan = planPlatform(facts);
  if (chosen === undefined || "off" in plan) return plan;
  // On Linux that is how Microsoft's library is held to what latchkey does.
  const known: readonly BrokerKind[] = system === "linux" ? [...plan.kinds, "msalruntime"] : plan.kinds;
  const kinds = known.filter((kind) => kind === chosen);
  if (kinds.length > 0) return { kinds };
  throw new LatchkeyError("configuration", `LATCHKEY_BROKER_KIND names no broker of this platform`, {
    hint: `Unset it, or set it to ${known.join(" or ")}`,
  });
}

/** Whether a broker is wanted on any platform. */
export function isAnyWanted(flags: BrokerFlags): boolean {
  const { enableBrokerOnWindows, enableBrokerOnWsl, enableBrokerOnMac, enableBrokerOnLinux } = flags;
  return [enableBrokerOnWindows, enableBrokerOnWsl, enableBrokerOnMac, enableBrokerOnLinux].some(Boolean);
}

function planPlatform({ flags, system, arch, isWsl }: BrokerFacts): BrokerPlan {
  switch (system) {
    case "win32":
      return flags.enableBrokerOnWindows ? { kinds: ["msalruntime"] } : notEnabled("Windows", "enableBrokerOnWindows");
    case "darwin":
      if (!flags.enableBrokerOnMac) return notEnabled("macOS", "enableBrokerOnMac");
      return arch === "aarch64" ? { kinds: ["msalruntime"] } : { off: "on macOS the broker takes Apple silicon" };
    case "linux":
      if (isWsl) return planWsl(flags);
      if (flags.enableBrokerOnLinux) return { kinds: ["linux"] };
      if (flags.enableBrokerOnWsl && isWsl === undefined) {
        return { off: `whether this is WSL, where the broker is enabled, Deno tells with ${WSL_FLAG} alone` };
      }
      return notEnabled("Linux", "enableBrokerOnLinux");
    default:
      return { off: `latchkey knows no broker for the platform ${system || "it runs on"}` };
  }
}

/** Windows' broker has the account that the person signed in to the machine with; one inside the distribution is rare. */
function planWsl({ enableBrokerOnWsl, enableBrokerOnLinux }: BrokerFlags): BrokerPlan {
  if (enableBrokerOnLinux) return { kinds: ["wsl", "linux"] };
  return enableBrokerOnWsl ? { kinds: ["wsl"] } : notEnabled("WSL", "enableBrokerOnWsl or enableBrokerOnLinux");
}

function notEnabled(where: string, flags: string): BrokerPlan {
  return { off: `the broker is not enabled on ${where} (${flags})` };
}
