/**
 * The environment that services get which the session bus starts. A broker that gets no display dies at once.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace } from "../runtime/host.ts";
import { readTextFile } from "../runtime/program.ts";
import { BUS_DAEMON, type CallLimits, type DBusValue, type SessionBus, undefinedIfNoOwner } from "./bus.ts";

/** An environment, and where it was read. */
export interface ActivationEnvironment {
  /**
   * `systemd`: the user's manager, which starts the services. `daemon`: the bus' own daemon, as it was started; what it was
   * told later (`UpdateActivationEnvironment`) cannot be asked for.
   */
  readonly source: "systemd" | "daemon";
  /** The variables. */
  readonly variables: ReadonlyMap<string, string>;
}

const SYSTEMD = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.DBus.Properties",
  member: "Get",
  signature: "ss",
  body: ["org.freedesktop.systemd1.Manager", "Environment"],
  autoStart: false,
} as const;

/** Reading `/proc` takes all of Deno's permissions, and asks for them at a terminal when one is missing. */
const ALL_PERMISSIONS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;

/**
 * Reads the environment of services that the bus starts.
 *
 * @param bus The session bus.
 * @param limits How long a call may take, and what ends it.
 * @returns The environment.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to read it; `unexpected` when it cannot be read;
 * `timed_out`.
 * @throws {DBusError} when the bus does not tell who its daemon is.
 */
export async function readActivationEnvironment(
  bus: SessionBus,
  limits: CallLimits = {},
): Promise<ActivationEnvironment> {
  const ofManager = await undefinedIfNoOwner(bus.call(SYSTEMD, limits));
  if (ofManager) return { source: "systemd", variables: toMap(textsIn(ofManager)) };
  const [pid] = await bus.call({
    ...BUS_DAEMON,
    member: "GetConnectionUnixProcessID",
    signature: "s",
    body: [BUS_DAEMON.destination],
  }, limits);
  return { source: "daemon", variables: toMap((await readProcess(Number(pid), "environ")).split("\0")) };
}

async function readProcess(pid: number, file: "comm" | "environ"): Promise<string> {
  const deno = denoNamespace();
  if (deno && !ALL_PERMISSIONS.every((name) => deno.permissions.querySync({ name }).state === "granted")) {
    throw new LatchkeyError("missing_dependency", "Deno may not read the environment of the bus' daemon", {
      hint: "Run deno with --allow-all",
    });
  }
  try {
    // A bus from outside this container names a process that is another one in here.
    if (file === "environ" && !(await readProcess(pid, "comm")).startsWith("dbus-")) throw new Error("it is another's");
    return await readTextFile(`/proc/${pid}/${file}`);
  } catch (cause) {
    if (cause instanceof LatchkeyError) throw cause;
    throw new LatchkeyError("unexpected", "The environment of the bus' daemon cannot be read", { cause });
  }
}

function textsIn([variant]: readonly DBusValue[]): readonly string[] {
  const value = typeof variant === "object" && "value" in variant ? variant.value : undefined;
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function toMap(entries: readonly string[]): ReadonlyMap<string, string> {
  return new Map(entries.map((entry) => {
    const end = entry.indexOf("=");
    return end < 0 ? [entry, ""] : [entry.slice(0, end), entry.slice(end + 1)];
  }));
}
