/**
 * Check of the device's registration, as Microsoft's `dsreg` reports it.
 *
 * @module
 */
import { LatchkeyError } from "../../../lib/errors.ts";
import { isPermitted } from "../../../lib/runtime/host.ts";
import { type CommandResult, runCommand, StartError } from "../../../lib/runtime/process.ts";
import { isThere } from "../../../lib/runtime/path.ts";
import { type Check, failed, type Finding, notChecked, ok, tolerated } from "./check.ts";

/** The program of microsoft-identity-broker 2.5 and later. */
const DSREG = "/usr/bin/dsreg";
const LIMIT_MS = 8_000;
/** A PRT lasts for two weeks and is renewed every few hours. */
const SOON_MS = 2 * 24 * 3_600_000;

const SERVICE = "See systemctl status microsoft-identity-device-broker, and start it: " +
  "sudo systemctl start microsoft-identity-device-broker";
const REGISTER = "Register the device: sign in to the Intune app (intune-portal)";
const RENEW = "Sign in to the Intune app (intune-portal), and check the clock and the network";

/** Checks that the device is registered, and that its primary refresh token (PRT) is valid. */
export function deviceRegistration(program: string = DSREG): Check {
  return {
    id: "device",
    limitMs: LIMIT_MS + 1_000,
    isForBroker: true,
    after: ["silent_token"],
    async run(_, { signal, stateOf }) {
      if (!isThere(program)) return notChecked(`there is no ${program}; microsoft-identity-broker has it from 2.5 on`);
      if (!isPermitted({ name: "run", command: program })) {
        return notChecked(`Deno may not run ${program}`, `Run deno with --allow-run=${program}`);
      }
      const finding = await examineDevice(program, signal);
      const isHarmless = finding.state === "failed" && stateOf("silent_token") === "ok";
      return isHarmless ? tolerated(finding, "silent_token succeeded without it") : finding;
    },
  };
}

async function examineDevice(program: string, signal: AbortSignal): Promise<Finding> {
  try {
    const environment = { NO_COLOR: "1", TERM: "dumb" };
    return judgeDevice(await runCommand([program, "--status"], { environment, timeoutMs: LIMIT_MS, signal }));
  } catch (error) {
    if (error instanceof StartError) return notChecked(error.message);
    if (error instanceof LatchkeyError && error.code === "timed_out") return failed(error.message, SERVICE);
    throw error;
  }
}

/** Findings by dsreg's exit code; those that are missing are of its other options. */
const EXIT_CODES: Readonly<Record<number, (text: string) => Finding>> = {
  1: () => notChecked("this dsreg does not know --status", "Update microsoft-identity-broker"),
  2: (text) => failed(`dsreg cannot reach the device's broker${text}`, SERVICE),
  3: (text) => failed(`dsreg's query failed${text}`, SERVICE),
  4: (text) => notChecked(`dsreg lacks permission${text}`, "Run it as root: sudo dsreg --status"),
};

/** Judges the output of `dsreg --status`. It succeeds without a registration, too. */
export function judgeDevice({ code, stdout, stderr }: CommandResult, now: number = Date.now()): Finding {
  if (code !== 0) {
    const [line = ""] = stderr.trim().split("\n", 1);
    const finding = EXIT_CODES[code]?.(line && `: ${line.slice(0, 200)}`);
    return finding ?? notChecked(`dsreg --status ended with the exit code ${code}`);
  }
  const fields = fieldsIn(stdout);
  const status = fields.get("device registration status") ?? "";
  if (/^not\b/i.test(status)) return failed("the device is not registered", REGISTER);
  if (!/^registered$/i.test(status)) return notChecked("dsreg --status does not say whether the device is registered");
  const tenant = fields.get("tenant name") ?? fields.get("tenant id");
  const id = fields.get("device id");
  const device = `registered${tenant ? ` in ${tenant}` : ""}${id ? ` as ${id}` : ""}`;
  const present = fields.get("prt present") ?? "";
  const expiry = fields.get("prt expires on") ?? fields.get("prt expiration time");
  if (/^no$/i.test(present)) return failed(`${device}, but without a primary refresh token (PRT)`, RENEW);
  if (!/^yes$/i.test(present)) return ok(`${device}; dsreg does not say whether there is a primary refresh token`);
  const end = endOf(expiry);
  if (end === undefined) return ok(`${device}, with a primary refresh token (PRT)`);
  const until = new Date(end).toISOString();
  if (end <= now) return failed(`${device}, but its primary refresh token (PRT) ended ${until}`, RENEW);
  return ok(`${device}, with a primary refresh token (PRT) until ${until}`, end - now < SOON_MS ? RENEW : undefined);
}

/** Reads lines such as `PRT Present : YES`. A terminal's colours are removed; of equal names the first counts. */
function fieldsIn(output: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  // deno-lint-ignore no-control-regex -- the colours of a terminal
  for (const line of output.replaceAll(/\x1b\[[\d;]*m/g, "").split(/\r?\n/, 500)) {
    const [, name, value] = /^\s*([\w() ]{1,60}?)\s*:\s*(\S.{0,200})/.exec(line) ?? [];
    const key = name?.toLowerCase();
    if (key && !fields.has(key)) fields.set(key, value!.trimEnd());
  }
  return fields;
}

/** Reads a time such as `2025-12-25 08:30:15 UTC`. */
function endOf(text: string | undefined): number | undefined {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)? ?(?:UTC|Z)$/.exec(text ?? "") ?? [];
  const end = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(end) ? undefined : end;
}
