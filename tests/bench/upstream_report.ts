// What `latchkey serve --upstream` costs: requests beside the package http-proxy on Node, and long bodies over TLS.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { findTool } from "../tools/find_tool.js";
import { markdownTable, median, range } from "./report.ts";

const HTTP_PROXY = "http-proxy@1.18.1";
const CONNECTIONS = [1, 32, 128], REQUESTS = 3000, ROUNDS = 3;
const TRANSFER_BYTES = 1024 ** 3, FIRST_BYTES = 1024 ** 2;
/** The kernel counts the time of a process in hundredths of a second. */
const TICK_MS = 10;
const PROGRAMS = "tests/bench/upstream_programs.mjs", PROXY = "tests/bench/upstream_proxy.ts";

type Environment = Readonly<Record<string, string | undefined>>;

interface Server {
  readonly name: string;
  readonly port: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** The proxy on each runtime. */
const OURS: readonly (readonly [name: string, command: readonly string[]])[] = [
  ["Node", [findTool("node"), "--conditions=latchkey-source"]],
  ["Bun", [findTool("bun"), "--conditions", "latchkey-source"]],
  ["Deno", [
    findTool("deno"),
    "run",
    "--allow-all",
    "--no-config",
    "--node-modules-dir=manual",
    "--conditions=latchkey-source",
  ]],
];

/** Measures the proxy on all runtimes. Needs Linux. */
export async function upstreamReport(env: Environment): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "bench-upstream-")), servers: Server[] = [];
  const start = async (...of: Parameters<typeof startServer>) => {
    const server = await startServer(...of);
    servers.push(server);
    return server;
  };
  try {
    const service = await start("service", [findTool("node"), PROGRAMS, "service"], env);
    const host = `127.0.0.1:${service.port}`;
    const installed = install(folder, env);
    const proxies = installed === undefined ? [] : [
      await start("http-proxy, Node", [findTool("node"), PROGRAMS, "http-proxy", installed, `http://${host}`], env),
    ];
    for (const [name, command] of OURS) proxies.push(await start(name, [...command, PROXY, `http://${host}`], env));
    const table = requestTable(proxies, host, env);
    const note = installed === undefined ? `${HTTP_PROXY}: left out, npm could not install it\n` : "";
    return `${table}${note}\n${await transferTable(folder, env)}`;
  } finally {
    for (const server of servers) await server.stop();
    rmSync(folder, { recursive: true });
  }
}

async function startServer(name: string, command: readonly string[], env: Environment): Promise<Server> {
  const child = Bun.spawn([...command], { env, stdio: ["ignore", "pipe", "ignore"] });
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    const stop = async () => {
      child.kill("SIGKILL");
      await child.exited;
    };
    return { name, port: piece.trim(), pid: child.pid, stop };
  }
  throw new Error(`${name} does not start: ${command.join(" ")}`);
}

/** Installs http-proxy, and returns the path of its module; `undefined` if npm cannot. */
function install(folder: string, env: Environment): string | undefined {
  const words = ["install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", HTTP_PROXY];
  const { exitCode } = Bun.spawnSync(["npm", ...words], { env, stdio: ["ignore", "ignore", "ignore"] });
  return exitCode === 0 ? join(folder, "node_modules/http-proxy/index.js") : undefined;
}

function run(words: readonly string[], env: Environment): number {
  const { stdout, stderr, exitCode } = Bun.spawnSync([findTool("node"), PROGRAMS, ...words], { env });
  if (exitCode !== 0) throw new Error(`${PROGRAMS} failed: ${stderr}`);
  return Number(stdout);
}

/** Returns the processor time of a process in ms. */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

interface Cost {
  readonly rate: number;
  readonly cpuUs: number;
}

/** Proxies take turns, so that whatever else the machine does meets all of them. The first round is for the compilers. */
function requestTable(proxies: readonly Server[], host: string, env: Environment): string {
  const rows = CONNECTIONS.flatMap((connections) => {
    const costs = proxies.map((): Cost[] => []);
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [index, { port, pid }] of proxies.entries()) {
        const before = processorMs(pid);
        const tookMs = run(["requests", port, host, `${connections}`, `${REQUESTS}`], env);
        const cpuUs = (processorMs(pid) - before) * 1000 / REQUESTS;
        if (round > 0) costs[index]!.push({ rate: REQUESTS * 1000 / tookMs, cpuUs });
      }
    }
    const ratesOf = (index: number) => costs[index]!.map(({ rate }) => rate);
    const cpuOf = (index: number) => median(costs[index]!.map(({ cpuUs }) => cpuUs));
    return proxies.map(({ name }, index) => [
      `${connections}`,
      name,
      median(ratesOf(index)).toFixed(0),
      range(ratesOf(index)),
      (median(ratesOf(index)) / median(ratesOf(0))).toFixed(2),
      cpuOf(index).toFixed(0),
      (cpuOf(0) / cpuOf(index)).toFixed(2),
    ]);
  });
  const first = proxies[0]!.name;
  const head = ["connections", "serve --upstream", "requests/s", "min–max", `× ${first}`, "CPU µs each", "× per CPU"];
  return markdownTable(head, rows);
}

/** Bodies over TLS, one way each. */
async function transferTable(folder: string, env: Environment): Promise<string> {
  const authority = makeCertificateAuthority(), { cert, key } = authority.issue(["127.0.0.1"]);
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const trusting = { ...env, NODE_EXTRA_CA_CERTS: file("authority.pem", authority.cert) };
  const words = ["service", file("cert.pem", cert), file("key.pem", key)];
  const service = await startServer("service", [findTool("node"), PROGRAMS, ...words], env);
  const host = `127.0.0.1:${service.port}`, rows: string[][] = [];
  try {
    for (const [name, command] of OURS) {
      for (const method of ["GET", "PUT"]) {
        const proxy = await startServer(name, [...command, PROXY, `https://${host}`], trusting);
        try {
          run(["transfer", proxy.port, host, method, `${FIRST_BYTES}`], env);
          const before = peakMiB(proxy.pid);
          const tookMs = run(["transfer", proxy.port, host, method, `${TRANSFER_BYTES}`], env);
          const peaks = [before, peakMiB(proxy.pid)].map((peak) => peak.toFixed(0));
          rows.push([name, method, (tookMs / 1000).toFixed(1), ...peaks]);
        } finally {
          await proxy.stop();
        }
      }
    }
  } finally {
    await service.stop();
  }
  return markdownTable(["1 GiB over TLS", "method", "seconds", "peak MiB before", "peak MiB"], rows);
}

/** Returns the most memory that a process had. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}
