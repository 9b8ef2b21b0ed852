/**
 * Finds the broker of this machine: tries those of its platform, the preferred one first.
 *
 * @module
 */
import type { Authority } from "../authority.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { anyOf, type Remedy } from "../remedies.ts";
import { operatingSystem, processor, readEnvironment } from "../runtime/host.ts";
import { isWsl } from "../runtime/machine.ts";
import { type Broker, type BrokerFinding, type BrokerFlags, type BrokerKind, isAnyWanted } from "./broker.ts";
import type { JsonBrokerOptions } from "./client.ts";
import type { BrokerChannel, BrokerChannelOptions } from "./raw_channel.ts";

export interface BrokerSearch {
  /** @default this program's */
  readonly platform?: BrokerPlatform | undefined;
  /** Starts a broker. @default loads its code and starts it */
  readonly start?: typeof startBroker | undefined;
  /** True to go on without the broker of Windows or macOS if the package for it is not installed. @default false */
  readonly isOptional?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws {LatchkeyError} `missing_dependency`, `configuration` if a broker is wanted but cannot be reached. */
export async function findBroker(
  flags: BrokerFlags,
  options: JsonBrokerOptions,
  search: BrokerSearch = {},
): Promise<BrokerFinding> {
  const { platform = ownPlatform(flags), start = startBroker, isOptional = false, signal } = search;
  const { authority } = options;
  const plan = planBrokers({ ...platform, flags, authority });
  if ("off" in plan) return { state: "off", reason: plan.off, enabledBy: plan.enabledBy };
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
  return noneStarted(failures, { ...platform, isOptional: isOptional && platform.system !== "linux" });
}

export function isBrokerEnabled(flags: BrokerFlags, authority: Authority): boolean {
  return "kinds" in planBrokers({ ...ownPlatform(flags), flags, authority });
}

function ownPlatform(flags: BrokerFlags): BrokerPlatform {
  const platform = { system: operatingSystem(), arch: processor() };
  // Without any flag nothing is read.
  if (!isAnyWanted(flags)) return { ...platform, isWsl: undefined };
  return { ...platform, isWsl: isWsl(), chosen: readEnvironment("LATCHKEY_BROKER_KIND") };
}

async function startBroker(kind: BrokerKind, options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  if (kind === "linux") return await (await import("./linux.ts")).startLinuxBroker(options, signal);
  if (kind === "wsl") return await (await import("./wsl.ts")).startWslBroker(options, signal);
  return await (await import("./msalruntime.ts")).startMsalRuntimeBroker(options, signal);
}

/**
 * Opens a channel to the broker on the session bus for another program, such as a browser, that wants the broker's own
 * replies. A program that wants a token uses {@linkcode PublicClientApplication} instead.
 *
 * @param options The app and its time limits.
 * @returns The channel. It opens the bus on first use, and does not need the broker yet.
 * @throws {LatchkeyError} `broker_unavailable` if the system is not Linux.
 * @throws {TypeError} if the client id is missing.
 *
 * @example List the accounts as the broker does
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
    throw new LatchkeyError("broker_unavailable", `No session bus has a broker on ${system || "this platform"}`, {
      remedy: "Acquire tokens instead of a channel",
    });
  }
  return (await import("./raw_channel.ts")).brokerChannel(options);
}

/** After such an error the next broker is tried. */
function isMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError &&
    ["broker_unavailable", "missing_dependency", "configuration"].includes(error.code);
}

/** Reports first what an installation or a permission can fix. */
function noneStarted(
  failures: readonly LatchkeyError[],
  { system, isWsl, isOptional }: BrokerPlatform & { readonly isOptional: boolean },
): BrokerFinding {
  const fixable = failures.find((error) =>
    error.code !== "broker_unavailable" && !(isOptional && error.remedy?.kind === "install")
  );
  if (fixable && failures.length === 1) throw fixable;
  const sorted = fixable ? [fixable, ...failures.filter((failure) => failure !== fixable)] : failures;
  const reason = sorted.map(({ message }) => message).join("; ");
  const inWsl: readonly Remedy[] = system === "linux" && isWsl === undefined
    ? [{ kind: "run_deno_with", flags: WSL_FLAG, when: "In WSL" }]
    : [];
  const remedy = anyOf([...sorted.flatMap(({ remedy }) => remedy ?? []), ...inWsl]);
  if (fixable) throw new LatchkeyError(fixable.code, reason, { cause: fixable.cause, remedy });
  return {
    state: "unavailable",
    reason,
    remedy,
    isInstalled: failures.some(({ remedy }) => remedy?.kind === "repair_broker"),
  };
}

export interface BrokerPlatform {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words. */
  readonly arch: string;
  /** True on WSL; `undefined` if Deno may not find out. */
  readonly isWsl: boolean | undefined;
  /** The only broker to try, by `LATCHKEY_BROKER_KIND`. @default those of the platform */
  readonly chosen?: string | undefined;
}

export interface BrokerFacts extends BrokerPlatform {
  readonly flags: BrokerFlags;
  readonly authority: Pick<Authority, "kind" | "url">;
}

/** The brokers to try, at least one, the preferred one first; or why there is none to try. */
export type BrokerPlan =
  | { readonly kinds: readonly BrokerKind[] }
  | { readonly off: string; readonly enabledBy?: readonly (keyof BrokerFlags)[] };

const WSL_FLAG = "--allow-sys=osRelease";

/** @throws {LatchkeyError} `configuration` if the platform does not have the chosen one. */
export function planBrokers(facts: BrokerFacts): BrokerPlan {
  const { authority, system, chosen } = facts;
  if (authority.kind !== "entra") return { off: `brokers do not serve the authority ${authority.url}` };
  const plan = planPlatform(facts);
  if (chosen === undefined || "off" in plan) return plan;
  // On Linux Microsoft's library can be chosen, to compare it with latchkey.
  const known: readonly BrokerKind[] = system === "linux" ? [...plan.kinds, "msalruntime"] : plan.kinds;
  const kinds = known.filter((kind) => kind === chosen);
  if (kinds.length > 0) return { kinds };
  throw new LatchkeyError("configuration", "LATCHKEY_BROKER_KIND names no broker of this platform", {
    remedy: `Unset it, or set it to ${known.join(" or ")}`,
  });
}

function planPlatform({ flags, system, arch, isWsl }: BrokerFacts): BrokerPlan {
  switch (system) {
    case "win32":
      return flags.enableBrokerOnWindows ? { kinds: ["msalruntime"] } : notEnabled("Windows", "enableBrokerOnWindows");
    case "darwin":
      if (!flags.enableBrokerOnMac) return notEnabled("macOS", "enableBrokerOnMac");
      return arch === "aarch64" ? { kinds: ["msalruntime"] } : { off: "on macOS the broker needs Apple silicon" };
    case "linux":
      return isWsl ? planWsl(flags) : planLinux(flags, isWsl);
    default:
      return { off: `latchkey knows no broker for ${system ? `the platform ${system}` : "this platform"}` };
  }
}

function planWsl({ enableBrokerOnLinux, enableBrokerOnWsl }: BrokerFlags): BrokerPlan {
  // Windows' broker has the account that the user signed in to the machine with; a broker inside WSL is rare.
  if (enableBrokerOnLinux) return { kinds: ["wsl", "linux"] };
  return enableBrokerOnWsl ? { kinds: ["wsl"] } : notEnabled("WSL", "enableBrokerOnWsl", "enableBrokerOnLinux");
}

/** @param isWsl `undefined` if Deno may not find out. */
function planLinux({ enableBrokerOnLinux, enableBrokerOnWsl }: BrokerFlags, isWsl: false | undefined): BrokerPlan {
  if (enableBrokerOnLinux) return { kinds: ["linux"] };
  if (enableBrokerOnWsl && isWsl === undefined) {
    return { off: `the broker is enabled only on WSL, which Deno detects only with ${WSL_FLAG}` };
  }
  return notEnabled("Linux", "enableBrokerOnLinux");
}

function notEnabled(where: string, ...flags: readonly (keyof BrokerFlags)[]): BrokerPlan {
  return { off: `the broker is not enabled on ${where} (${flags.join(" or ")})`, enabledBy: flags };
}
