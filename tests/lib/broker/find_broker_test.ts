// What is read of the machine to find its broker. Deno is played, to see it.
import { expect, test } from "bun:test";
import type { Authority } from "../../../lib/authority.ts";
import { type BrokerFlags, NotInstalledError } from "../../../lib/broker/broker.ts";
import type { JsonBrokerOptions } from "../../../lib/broker/client.ts";
import { findBroker, isBrokerEnabled } from "../../../lib/broker/detect.ts";

import { LatchkeyError } from "../../../lib/errors.ts";

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

// The command line ended in missing_dependency on every Windows without MSALRuntime, although nobody had asked for it.
test("findBroker() goes on without an optional broker whose package is missing, and says so", async () => {
  const missing = new NotInstalledError("missing_dependency", "It is not installed", { hint: "Install it" });
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
    hint: "Install it",
    isInstalled: false,
  });
  await expect(find(false, "win32")).rejects.toBe(missing);
  await expect(find(true, "linux")).rejects.toBe(missing);
  await expect(find(true, "win32", untrusted)).rejects.toBe(untrusted);
});
