/**
 * Which brokers are tried on a platform, and in which order. Pure.
 *
 * @module
 */
import type { Authority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import type { BrokerKind } from "./broker.ts";

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
export const WSL_FLAG = "--allow-sys=osRelease";

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
