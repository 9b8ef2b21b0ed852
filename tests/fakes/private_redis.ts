/** A Redis server of its own for a test: a real redis-server at a socket in a folder, which keeps nothing. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

export interface PrivateRedis extends AsyncDisposable {
  /** Path of its socket. */
  readonly socket: string;
  /** Its port at 127.0.0.1, when it was started with one. */
  readonly port: number | undefined;
  /** The port at which other servers of a cluster reach it, likewise. */
  readonly clusterPort: number | undefined;
  /** Stops the server from running, with all connections open. */
  pause(): void;
  resume(): void;
  /** Ends the server as a crash does. */
  kill(): Promise<void>;
  /** Starts it again, after it was killed, at the same socket. */
  start(): Promise<void>;
}

/**
 * Runs the server until its standard input ends. That pipe ends with the test's process, however it ends, so that neither a
 * server nor its folder is left behind: an interrupt from the terminal is for the test.
 */
const UNTIL_INPUT_ENDS = 'trap "" INT TERM HUP; exec 3<&0; folder=$1; shift; "$@" </dev/null 3<&- & server=$!; ' +
  'echo "pid $server"; (cat <&3; kill -KILL $server) >/dev/null 2>&1 & wait $server; ' +
  '[ -e "$folder/kept" ] || rm -rf "$folder"';

/**
 * Starts a server.
 *
 * @param settings More of them, such as `--requirepass`.
 * @param options `onPort`: at a port as well, with a second one for other servers of a cluster.
 */
export async function startPrivateRedis(
  settings: readonly string[] = [],
  { onPort = false }: { readonly onPort?: boolean } = {},
): Promise<PrivateRedis> {
  const folder = await mkdtemp(join(tmpdir(), "private-redis-")), socket = join(folder, "redis");
  let ports: readonly number[] = onPort ? await freePorts() : [];
  const commandAt = ([port = 0, clusterPort]: readonly number[]) => [
    ...["redis-server", "--unixsocket", socket, "--dir", folder, "--save", "", "--port", String(port)],
    ...(clusterPort
      ? ["--bind", "127.0.0.1", "--cluster-port", String(clusterPort), "--cluster-announce-ip", "127.0.0.1"]
      : []),
    ...settings,
  ];
  const start = async (): Promise<Server> => {
    for (;; ports = await freePorts()) {
      const server = await startServer(folder, commandAt(ports));
      if (server) return server;
    }
  };
  let server = await start();
  return {
    socket,
    port: ports[0],
    clusterPort: ports[1],
    pause: () => void process.kill(server.pid, "SIGSTOP"),
    resume: () => void process.kill(server.pid, "SIGCONT"),
    async kill() {
      await writeFile(join(folder, "kept"), "");
      process.kill(server.pid, "SIGKILL");
      await ended(server);
    },
    async start() {
      server = await start();
      await rm(join(folder, "kept"));
    },
    async [Symbol.asyncDispose]() {
      server.keeper.stdin!.end();
      await ended(server);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Server {
  readonly pid: number;
  readonly keeper: ChildProcess;
}

/** @returns nothing when another program has taken one of the ports */
async function startServer(folder: string, command: readonly string[]): Promise<Server | undefined> {
  await mkdir(folder, { recursive: true });
  const keeper = spawn("/bin/sh", ["-c", UNTIL_INPUT_ENDS, "sh", folder, ...command], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const pid = await new Promise<number | undefined>((resolve, reject) => {
    let log = "";
    keeper.stdout!.on("data", (chunk) => {
      log += chunk;
      const line = /^pid (\d+)$/m.exec(log);
      if (line && /ready to accept connections/i.test(log)) resolve(Number(line[1]));
    });
    keeper.once("close", () => {
      if (/ TCP listening socket .* Address already in use/.test(log)) resolve(undefined);
      else reject(new Error(`The server did not start:\n${log}`));
    });
  });
  // A test that has failed and forgets its server is not kept running by it.
  const handles: readonly unknown[] = [keeper, keeper.stdin, keeper.stdout];
  for (const handle of handles as readonly Partial<Socket>[]) handle.unref?.();
  return pid === undefined ? undefined : { pid, keeper };
}

function isRunning({ keeper }: Server): boolean {
  return keeper.exitCode === null && keeper.signalCode === null;
}

async function ended(server: Server): Promise<void> {
  server.keeper.ref();
  if (isRunning(server)) await once(server.keeper, "exit");
}

/** Two ports that nothing listens at. */
async function freePorts(): Promise<number[]> {
  const servers = [createServer(), createServer()], ports: number[] = [];
  for (const server of servers) {
    await once(server.listen(0, "127.0.0.1"), "listening");
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) await once(server.close(), "close");
  return ports;
}
