/**
 * Check of the clock: a token that is not valid yet, or any more, is one of a clock that is wrong.
 *
 * @module
 */
import { denoNamespace } from "../lib/platform/host.ts";
import { readMachine } from "../lib/platform/machine.ts";
import { type Check, failed, notChecked, ok } from "./doctor_check.ts";

/** What Microsoft Entra ID and its resources let pass. */
const TOLERANCE_S = 300;

/** The clock, beside that of the server from which tokens come. Nobody else is asked. */
export const clock: Check = {
  id: "clock",
  limitMs: 3_000,
  async run({ authorityOrigin }, { signal }) {
    const { host } = new URL(authorityOrigin), deno = denoNamespace();
    if (deno && deno.permissions.querySync({ name: "net", host }).state !== "granted") {
      return notChecked(`Deno may not connect to ${host}`, `Run deno with --allow-net=${host}`);
    }
    const begin = Date.now(), date = await serverTime(authorityOrigin, signal);
    if (date === undefined) return notChecked(`${host} did not say what time it is; is there a network?`);
    const offset = Math.round(((begin + Date.now()) / 2 - date) / 1000);
    const detail = offset === 0
      ? `as that of ${host}`
      : `${Math.abs(offset)} s ${offset > 0 ? "ahead of" : "behind"} ${host}`;
    if (Math.abs(offset) <= TOLERANCE_S) return ok(detail);
    const { isWsl } = await readMachine();
    return failed(detail, isWsl ? "sudo hwclock -s" : "sudo timedatectl set-ntp true");
  },
};

/** In milliseconds since 1970; `undefined` when the server cannot be asked, as from a machine without a network. */
async function serverTime(origin: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const response = await fetch(origin, { method: "HEAD", redirect: "manual", signal });
    await response.body?.cancel();
    return Date.parse(response.headers.get("date") ?? "") || undefined;
  } catch {
    return undefined;
  }
}
