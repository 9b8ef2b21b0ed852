// What is read of the machine to find its broker. Deno is played, to see it.
import { expect, test } from "bun:test";
import type { Authority } from "../../../lib/authority.ts";
import type { BrokerFlags } from "../../../lib/broker/broker.ts";
import { isBrokerEnabled } from "../../../lib/broker/detect.ts";

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
