/**
 * Checks of the machine and of what runs the program.
 *
 * @module
 */
import { quoteCommand } from "../lib/platform/host.ts";
import { readMachine } from "../lib/platform/machine.ts";
import { currentRuntime, isAtLeast } from "../lib/platform/runtime.ts";
import { type Check, failed, ok } from "./doctor_check.ts";

/** Operating system, distribution and processor: what a bug report begins with. */
export const platform: Check = {
  id: "platform",
  limitMs: 2_000,
  async run() {
    const { system, arch, release, distribution, isWsl, missingFlags } = await readMachine();
    const facts = [`${system} ${arch}`, distribution, release, isWsl && "WSL"].filter(Boolean).join(", ");
    if (missingFlags.length === 0) return ok(facts);
    return ok(`${facts}; not checked: what Deno may not look at`, `Run deno with ${quoteCommand(missingFlags)}`);
  },
};

/** The runtime. */
export const runtime: Check = {
  id: "runtime",
  limitMs: 2_000,
  run() {
    const { name, version, oldest } = currentRuntime();
    return isAtLeast(version, oldest)
      ? ok(`${name} ${version}`)
      : failed(`${name} ${version} is too old`, `Update ${name} to ${oldest} or later`);
  },
};
