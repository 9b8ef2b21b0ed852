/** A session bus of its own for a test: a real dbus-daemon that sees no service of the machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Message, sessionBus } from "dbus-next";

export interface PrivateBus {
  /** Bus address, for `DBUS_SESSION_BUS_ADDRESS`. */
  readonly address: string;
  /** Folder that is removed with the bus. */
  readonly directory: string;
  /** Kills the daemon and starts a new one at the same address. */
  restart(): Promise<void>;
  /** Stops the daemon from running, with all connections open. */
  pause(): void;
  resume(): void;
  /** Ends the daemon and removes its folder. */
  stop(): Promise<void>;
  /** Makes a name activatable: the bus starts the command when the name is called and nobody owns it. */
  addService(name: string, command: readonly string[]): Promise<void>;
}

/**
 * Runs the daemon until its standard input ends. That pipe ends with the test's process, however it ends, so that neither a
 * daemon nor its folder is left behind: an interrupt from the terminal is for the test.
 */
const UNTIL_INPUT_ENDS = 'trap "" INT TERM HUP; exec 3<&0; folder=$1; shift; "$@" </dev/null 3<&- & daemon=$!; ' +
  "(cat <&3; kill -KILL $daemon) >/dev/null 2>&1 & wait $daemon; " +
  '[ -e "$folder/kept" ] || rm -rf "$folder"';

/** Starts a private bus. */
export async function startPrivateBus(): Promise<PrivateBus> {
  const directory = await mkdtemp(join(tmpdir(), "private-bus-"));
  const address = `unix:path=${join(directory, "bus")}`;
  const services = servicesIn(directory);
  await mkdir(services);
  await writeFile(join(directory, "bus.conf"), configuration(address, services));
  let daemon = await startDaemon(directory, address);

  return {
    address,
    directory,
    async restart() {
      const kept = join(directory, "kept");
      await writeFile(kept, "");
      await endDaemon(daemon);
      await rm(kept);
      daemon = await startDaemon(directory, address);
    },
    pause: () => void process.kill(daemon.pid, "SIGSTOP"),
    resume: () => void process.kill(daemon.pid, "SIGCONT"),
    async stop() {
      await endDaemon(daemon);
      await rm(directory, { recursive: true, force: true });
    },
    addService: (name, command) => addBusService({ address, directory }, name, command),
  };
}

/** Makes a name activatable on a bus; see {@linkcode PrivateBus.addService}. */
export async function addBusService(
  { address, directory }: Pick<PrivateBus, "address" | "directory">,
  name: string,
  command: readonly string[],
): Promise<void> {
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const file = join(servicesIn(directory), `${name}.service`);
  await writeFile(file, `[D-BUS Service]\nName=${name}\nExec=${quoted}\n`);
  const client = sessionBus({ busAddress: address });
  const daemonObject = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };
  await client.call(new Message({ ...daemonObject, interface: "org.freedesktop.DBus", member: "ReloadConfig" }));
  client.disconnect();
}

function servicesIn(directory: string): string {
  return join(directory, "services");
}

interface Daemon {
  readonly pid: number;
  readonly keeper: ChildProcess;
}

async function startDaemon(directory: string, address: string): Promise<Daemon> {
  const logFile = join(directory, "bus.log"), log = openSync(logFile, "a");
  const command = ["dbus-daemon", `--config-file=${join(directory, "bus.conf")}`, "--nofork", "--nosyslog"];
  const keeper = spawn("/bin/sh", [
    "-c",
    UNTIL_INPUT_ENDS,
    "sh",
    directory,
    ...command,
    "--print-address=1",
    "--print-pid=1",
  ], {
    stdio: ["pipe", "pipe", log],
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: address },
  });
  closeSync(log);
  // The address is printed once the daemon listens, and the process id after it.
  const pid = await new Promise<number>((resolve, reject) => {
    let printed = "";
    keeper.stdout!.on("data", (chunk) => {
      const line = /^(\d+)\n/m.exec(printed += chunk);
      if (line) resolve(Number(line[1]));
    });
    keeper.once("exit", () => reject(new Error(`The bus did not start (${logFile})`)));
  });
  // A test that has failed and forgets its bus is not kept running by it.
  const handles: readonly unknown[] = [keeper, keeper.stdin, keeper.stdout];
  for (const handle of handles as readonly Partial<Socket>[]) handle.unref?.();
  return { pid, keeper };
}

async function endDaemon({ keeper }: Daemon): Promise<void> {
  keeper.ref();
  const ended = keeper.exitCode ?? keeper.signalCode ?? once(keeper, "exit");
  keeper.stdin!.end();
  await ended;
}

/** Policy and limits of the usual session bus. */
function configuration(address: string, services: string): string {
  return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>${address}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>${services}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="service_start_timeout">120000</limit>
  <limit name="auth_timeout">240000</limit>
  <limit name="max_completed_connections">100000</limit>
  <limit name="max_incomplete_connections">10000</limit>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_pending_service_starts">10000</limit>
  <limit name="max_names_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">50000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
`;
}
