/**
 * Check of the display that a broker has when the session bus starts it.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { type ActivationEnvironment, readActivationEnvironment } from "../lib/platform/activation_environment.ts";
import { readEnvironment } from "../lib/platform/host.ts";
import { NO_BROKER_WANTED } from "./check_broker.ts";
import { type Check, failed, type Finding, notChecked, ok } from "./doctor_check.ts";

const DISPLAYS = ["WAYLAND_DISPLAY", "DISPLAY"];
const GIVE_IT = "dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY";

/** Microsoft's broker dies at its start when it has no display. */
export const display: Check = {
  id: "display",
  limitMs: 3_000,
  needs: ["session_bus"],
  after: ["broker"],
  async run({ bus }, { signal, stateOf }) {
    const broker = stateOf("broker");
    if (broker === "unknown") return NO_BROKER_WANTED;
    try {
      return judge(await readActivationEnvironment(await bus(), { signal }), broker === "ok");
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !["missing_dependency", "unexpected"].includes(error.code)) throw error;
      return notChecked(error.message, error.hint);
    }
  },
};

function judge({ source, variables }: ActivationEnvironment, brokerRuns: boolean): Finding {
  const where = source === "systemd" ? "systemd's user manager" : "the bus' daemon";
  const given = DISPLAYS.filter((name) => variables.get(name));
  const own = DISPLAYS.filter((name) => readEnvironment(name));
  if (given.length > 0) {
    const other = own.filter((name) => readEnvironment(name) !== variables.get(name));
    const detail = `${where} has ${given.map((name) => `${name}=${variables.get(name)}`).join(", ")}`;
    if (other.length === 0) return ok(detail);
    const ours = other.map((name) => `${name}=${readEnvironment(name)}`).join(", ");
    return ok(
      `${detail}; this program has ${ours}`,
      `When the sign-in window shows elsewhere, or not at all: ${GIVE_IT}`,
    );
  }
  const detail = `${where} has neither ${DISPLAYS.join(" nor ")}` +
    (source === "daemon" ? ", unless it was told later, which cannot be seen" : "");
  const fix = own.length > 0 ? GIVE_IT : `From a terminal of the desktop: ${GIVE_IT}`;
  return brokerRuns
    ? {
      state: "unknown",
      detail: `${detail}; the broker runs nevertheless, but Microsoft's dies at its next start`,
      fix,
    }
    : failed(`${detail}: Microsoft's broker dies without a display`, fix);
}
