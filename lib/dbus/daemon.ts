/**
 * The environment of services that the session bus starts. A broker without a display exits at once.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace } from "../runtime/host.ts";
import { readTextFile } from "../runtime/path.ts";
import { BUS_DAEMON, type CallLimits, type DBusValue, type SessionBus, undefinedIfNoOwner } from "./bus.ts";

export interface ActivationEnvironment {
  /**
   * `systemd`: the user's manager, which starts the services. `daemon`: the bus daemon at its own start; later changes
   * (`UpdateActivationEnvironment`) cannot be read.
   */
  readonly source: "systemd" | "daemon";
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

/** Deno requires all permissions to read `/proc`, and prompts for a missing one. */
const ALL_PERMISSIONS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;

/**
 * Reads the environment of services that the bus starts.
 *
 * @throws {LatchkeyError} `missing_dependency` if Deno may not read it; `unexpected` if it cannot be read; `timed_out`.
 * @throws {DBusError} if the bus does not report its daemon's pid.
 */
export async function readActivationEnvironment(bus: SessionBus, limits?: CallLimits): Promise<ActivationEnvironment> {
  const managerReply = await undefinedIfNoOwner(bus.call(SYSTEMD, limits));
  if (managerReply) return { source: "systemd", variables: toMap(textsIn(managerReply)) };
  const body = [BUS_DAEMON.destination];
  const member = "GetConnectionUnixProcessID";
  const [pid] = await bus.call({ ...BUS_DAEMON, member, signature: "s", body }, limits);
  return { source: "daemon", variables: toMap((await readProcess(Number(pid), "environ")).split("\0")) };
}

async function readProcess(pid: number, file: "comm" | "environ"): Promise<string> {
  const deno = denoNamespace();
  if (deno && !ALL_PERMISSIONS.every((name) => deno.permissions.querySync({ name }).state === "granted")) {
    throw new LatchkeyError("missing_dependency", "Deno may not read the environment of the bus daemon", {
      remedy: { kind: "run_deno_with", flags: "--allow-all" },
    });
  }
  try {
    // A pid from outside this container is another process in here.
    if (file === "environ" && !(await readProcess(pid, "comm")).startsWith("dbus-")) {
      throw new Error("the process is not a bus daemon");
    }
    return await readTextFile(`/proc/${pid}/${file}`);
  } catch (cause) {
    if (cause instanceof LatchkeyError) throw cause;
    throw new LatchkeyError("unexpected", "Cannot read the environment of the bus daemon", { cause });
  }
}

function textsIn([variant]: readonly DBusValue[]): readonly string[] {
  const value = typeof variant === "object" && "value" in variant ? variant.value : undefined;
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function toMap(entries: readonly string[]): ReadonlyMap<string, string> {
  return new Map(entries.map((entry) => {
    const [name = "", ...value] = entry.split("=");
    return [name, value.join("=")];
  }));
}
