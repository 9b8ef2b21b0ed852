/**
 * Check of the clock: a token that is not valid yet, or any more, is one of a clock that is wrong.
 *
 * @module
 */
import { makeFetch } from "../lib/platform/http_client.ts";
import { readMachine } from "../lib/platform/machine.ts";
import { notPermitted } from "./check_network.ts";
import { type Check, failed, notChecked, ok } from "./doctor_check.ts";

/** What Microsoft Entra ID and its resources let pass. */
const TOLERANCE_S = 300;

/** The clock, beside that of the server from which tokens come. Nobody else is asked. */
export const clock: Check = {
  id: "clock",
  limitMs: 3_000,
  async run({ authority }, { signal }) {
    const notAllowed = notPermitted(authority);
    if (notAllowed) return notAllowed;
    const { host, origin } = new URL(authority), begin = Date.now(), date = await serverTime(origin, signal);
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
    const response = await makeFetch()(origin, { method: "HEAD", signal });
    await response.body?.cancel();
    return Date.parse(response.headers.get("date") ?? "") || undefined;
  } catch {
    return undefined;
  }
}
