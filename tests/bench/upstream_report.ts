// What a long body over TLS takes of `latchkey serve --upstream`.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { findTool } from "../tools/find_tool.js";
import { markdownTable } from "./report.ts";

const TRANSFER_BYTES = 1024 ** 3, FIRST_BYTES = 1024 ** 2;
const PROGRAMS = "tests/bench/upstream_programs.mjs", PROXY = "tests/bench/upstream_proxy.ts";

type Environment = Readonly<Record<string, string | undefined>>;

interface Server {
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

/** Measures bodies over TLS, one way each, through the proxy on all runtimes. Needs Linux. */
export async function upstreamReport(env: Environment): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "bench-upstream-")), rows: string[][] = [];
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const authority = makeCertificateAuthority(), { cert, key } = authority.issue(["127.0.0.1"]);
  const trusting = { ...env, NODE_EXTRA_CA_CERTS: file("authority.pem", authority.cert) };
  const words = ["service", file("cert.pem", cert), file("key.pem", key)];
  const service = await startServer([findTool("node"), PROGRAMS, ...words], env);
  const host = `127.0.0.1:${service.port}`;
  try {
    for (const [name, command] of OURS) {
      for (const method of ["GET", "PUT"]) {
        const proxy = await startServer([...command, PROXY, `https://${host}`], trusting);
        try {
          transfer(proxy, host, method, FIRST_BYTES, env);
          const before = peakMiB(proxy.pid);
          const tookMs = transfer(proxy, host, method, TRANSFER_BYTES, env);
          const peaks = [before, peakMiB(proxy.pid)].map((peak) => peak.toFixed(0));
          rows.push([name, method, (tookMs / 1000).toFixed(1), ...peaks]);
        } finally {
          await proxy.stop();
        }
      }
    }
  } finally {
    await service.stop();
    rmSync(folder, { recursive: true });
  }
  return markdownTable(["1 GiB over TLS", "method", "seconds", "peak MiB before", "peak MiB"], rows);
}

async function startServer(command: readonly string[], env: Environment): Promise<Server> {
  const child = Bun.spawn([...command], { env, stdio: ["ignore", "pipe", "ignore"] });
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    const stop = async () => {
      child.kill("SIGKILL");
      await child.exited;
    };
    return { port: piece.trim(), pid: child.pid, stop };
  }
  throw new Error(`It does not start: ${command.join(" ")}`);
}

/** Returns how long it took, in ms. */
function transfer({ port }: Server, host: string, method: string, bytes: number, env: Environment): number {
  const words = ["transfer", port, host, method, `${bytes}`];
  const { stdout, stderr, exitCode } = Bun.spawnSync([findTool("node"), PROGRAMS, ...words], { env });
  if (exitCode !== 0) throw new Error(`${PROGRAMS} failed: ${stderr}`);
  return Number(stdout);
}

/** Returns the most memory that a process had. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}
