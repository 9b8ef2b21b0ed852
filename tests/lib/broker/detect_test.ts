// Which brokers are tried: every combination of platform, flags, authority and choice, against the table of the design.
import { describe, expect, test } from "bun:test";
import type { Authority, AuthorityKind } from "../../../lib/authority.ts";
import type { BrokerFlags } from "../../../lib/broker/broker.ts";
import type { JsonBrokerOptions } from "../../../lib/broker/client.ts";
import {
  type BrokerFacts,
  type BrokerPlan,
  findBroker,
  isBrokerEnabled,
  planBrokers,
} from "../../../lib/broker/detect.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import type { Remedy } from "../../../lib/remedies.ts";

/** Platforms as they show, by the name that the table has for them. */
const PLATFORMS: Readonly<Record<string, Pick<BrokerFacts, "system" | "arch" | "isWsl">>> = {
  "Windows x64": { system: "win32", arch: "x86_64", isWsl: false },
  "Windows arm64": { system: "win32", arch: "aarch64", isWsl: false },
  "macOS arm64": { system: "darwin", arch: "aarch64", isWsl: false },
  "macOS Intel": { system: "darwin", arch: "x86_64", isWsl: false },
  "Linux x64": { system: "linux", arch: "x86_64", isWsl: false },
  "Linux arm64": { system: "linux", arch: "aarch64", isWsl: false },
  "Linux, perhaps WSL": { system: "linux", arch: "x86_64", isWsl: undefined },
  "WSL x64": { system: "linux", arch: "x86_64", isWsl: true },
  "WSL arm64": { system: "linux", arch: "aarch64", isWsl: true },
  "FreeBSD": { system: "freebsd", arch: "x86_64", isWsl: false },
  "an edge runtime": { system: "", arch: "", isWsl: false },
};
const FLAGS = ["enableBrokerOnWindows", "enableBrokerOnWsl", "enableBrokerOnMac", "enableBrokerOnLinux"] as const;
const KINDS: readonly AuthorityKind[] = ["entra", "adfs", "b2c", "ciam", "oidc"];
const CHOICES = [undefined, "linux", "wsl", "msalruntime", "none"];

/** What is tried by platform, and with which of the flags, any of which is enough. */
const TABLE: Readonly<Record<string, readonly (readonly [flag: keyof BrokerFlags, kinds: string])[]>> = {
  "Windows x64": [["enableBrokerOnWindows", "msalruntime"]],
  "Windows arm64": [["enableBrokerOnWindows", "msalruntime"]],
  "macOS arm64": [["enableBrokerOnMac", "msalruntime"]],
  "Linux x64": [["enableBrokerOnLinux", "linux"]],
  "Linux arm64": [["enableBrokerOnLinux", "linux"]],
  "Linux, perhaps WSL": [["enableBrokerOnLinux", "linux"]],
  "WSL x64": [["enableBrokerOnLinux", "wsl linux"], ["enableBrokerOnWsl", "wsl"]],
  "WSL arm64": [["enableBrokerOnLinux", "wsl linux"], ["enableBrokerOnWsl", "wsl"]],
};

/** All that a set of flags can be: each on, off, or not said. */
function allFlags(): readonly BrokerFlags[] {
  return FLAGS.reduce<readonly BrokerFlags[]>(
    (sets, flag) => sets.flatMap((set) => [set, { ...set, [flag]: false }, { ...set, [flag]: true }]),
    [{}],
  );
}

/** What the table says: kinds in order, or `off`, or `configuration` for a choice that cannot be. */
function expected(platform: string, flags: BrokerFlags, kind: AuthorityKind, choice: string | undefined): string {
  const row = kind === "entra" ? TABLE[platform]?.find(([flag]) => flags[flag]) : undefined;
  if (!row) return "off";
  const possible = row[1].split(" ");
  if (choice === undefined) return row[1];
  const isLinux = platform.startsWith("Linux") || platform.startsWith("WSL");
  return possible.includes(choice) || (isLinux && choice === "msalruntime") ? choice : "configuration";
}

function outcome(facts: BrokerFacts): string {
  let plan: BrokerPlan;
  try {
    plan = planBrokers(facts);
  } catch (error) {
    return (error as LatchkeyError).code;
  }
  return "off" in plan ? "off" : plan.kinds.join(" ");
}

describe("planBrokers()", () => {
  test.each(Object.entries(PLATFORMS))("on %s is as the table has it, whatever else", (name, platform) => {
    const wrong = allFlags().flatMap((flags) =>
      KINDS.flatMap((kind) =>
        CHOICES.flatMap((chosen) => {
          const authority = { kind, url: "https://id.contoso.com" };
          const is = outcome({ ...platform, flags, authority, chosen }), should = expected(name, flags, kind, chosen);
          return is === should ? [] : [{ flags, kind, chosen, is, should }];
        })
      )
    );
    expect(wrong).toEqual([]);
  });

  const reasonOf = (platform: string, flags: BrokerFlags, kind: AuthorityKind = "entra") => {
    const plan = planBrokers({ ...PLATFORMS[platform]!, flags, authority: { kind, url: "https://id.contoso.com" } });
    return "off" in plan ? plan.off : plan;
  };

  test.each<[platform: string, flags: BrokerFlags, reason: RegExp]>([
    ["Windows x64", {}, /not enabled on Windows \(enableBrokerOnWindows\)$/],
    ["macOS arm64", { enableBrokerOnLinux: true }, /not enabled on macOS \(enableBrokerOnMac\)$/],
    ["macOS Intel", { enableBrokerOnMac: true }, /Apple silicon/],
    ["Linux x64", { enableBrokerOnWsl: true }, /not enabled on Linux \(enableBrokerOnLinux\)$/],
    ["Linux, perhaps WSL", { enableBrokerOnWsl: true }, /Deno detects only with --allow-sys=osRelease$/],
    ["WSL x64", { enableBrokerOnWindows: true }, /not enabled on WSL \(enableBrokerOnWsl or enableBrokerOnLinux\)$/],
    ["FreeBSD", { enableBrokerOnLinux: true }, /knows no broker for the platform freebsd$/],
    ["an edge runtime", { enableBrokerOnLinux: true }, /knows no broker for this platform$/],
  ])("says why there is none on %s with %j", (platform, flags, reason) => {
    expect(reasonOf(platform, flags)).toMatch(reason);
  });

  test("says which authority no broker serves", () => {
    expect(reasonOf("Linux x64", { enableBrokerOnLinux: true }, "oidc")).toContain("https://id.contoso.com");
  });

  test("says what LATCHKEY_BROKER_KIND can be", () => {
    const facts = { ...PLATFORMS["WSL x64"]!, authority: { kind: "entra", url: "" } as const, chosen: "wam" };
    let error: unknown;
    try {
      planBrokers({ ...facts, flags: { enableBrokerOnLinux: true } });
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "configuration", hint: "Unset it, or set it to wsl or linux or msalruntime" });
  });
});

// What is read of the machine to find its broker. Deno is played, to see it.

const ENTRA = { kind: "entra", url: "https://login.microsoftonline.com/common" } as Authority;

/** What was asked for, or read, on a Deno that permits all. */
function lookWith(flags: BrokerFlags): { readonly isEnabled: boolean; readonly reads: readonly string[] } {
  const reads: string[] = [];
  const deno = {
    build: { os: "linux", arch: "x86_64" },
    env: { get: (name: string) => void reads.push(name) },
    permissions: { querySync: () => ({ state: "granted" }) },
    osRelease() {
      reads.push("release");
      return "6.8.0-45-generic";
    },
  };
  Object.assign(globalThis, { Deno: deno });
  try {
    return { isEnabled: isBrokerEnabled(flags, ENTRA), reads };
  } finally {
    Reflect.deleteProperty(globalThis, "Deno");
  }
}

test("isBrokerEnabled() reads nothing where no broker is wanted", () => {
  expect(lookWith({})).toEqual({ isEnabled: false, reads: [] });
  expect(lookWith({ enableBrokerOnLinux: false, enableBrokerOnWsl: false })).toEqual({ isEnabled: false, reads: [] });
});

test("isBrokerEnabled() looks at the system where one is", () => {
  expect(lookWith({ enableBrokerOnLinux: true })).toEqual({
    isEnabled: true,
    reads: ["release", "LATCHKEY_BROKER_KIND"],
  });
});

const INSTALL: Remedy = { kind: "install", package: "msal", command: "npm install msal" };

// The command line ended in missing_dependency on every Windows without MSALRuntime, although nobody had asked for it.
test("findBroker() goes on without an optional broker whose package is missing, and says so", async () => {
  const missing = new LatchkeyError("missing_dependency", "It is not installed", { remedy: INSTALL });
  const untrusted = new LatchkeyError("missing_dependency", "Others can change it");
  const find = (isOptional: boolean, system: string, error: LatchkeyError = missing) =>
    findBroker({ enableBrokerOnWindows: true, enableBrokerOnLinux: true }, {
      authority: ENTRA,
    } as JsonBrokerOptions, {
      platform: { system, arch: "x64", isWsl: false },
      isOptional,
      start: () => Promise.reject(error),
    });
  expect(await find(true, "win32")).toEqual({
    state: "unavailable",
    reason: "It is not installed",
    remedy: INSTALL,
    isInstalled: false,
  });
  await expect(find(false, "win32")).rejects.toBe(missing);
  await expect(find(true, "linux")).rejects.toBe(missing);
  await expect(find(true, "win32", untrusted)).rejects.toBe(untrusted);
});
