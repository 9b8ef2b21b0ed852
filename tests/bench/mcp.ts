// The time that latchkey mcp adds to a call, and its memory over many messages: bun tests/bench/mcp.ts [CALLS [MESSAGES [RUNTIME]]]
import { readFileSync } from "node:fs";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { openHome } from "../fixture.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { startMcpServer } from "../tools/start_mcp_server.ts";

const [calls = 500, messages = 100_000] = process.argv.slice(2, 4).map(Number), only = process.argv[4] ?? "";
const print = (row: readonly string[]) => process.stdout.write(`| ${row.join(" | ")} |\n`);
const CLIENT_ID = "11111111-2222-4333-8444-555555555555", MIB = 1024 * 1024;
await using server = await startMcpServer();
using home = openHome();

const newClient = () => new Client({ name: "bench", version: "1.0.0" });
const call = (client: Client) => client.callTool({ name: "echo", arguments: { text: "x" } });

async function medianMs(client: Client): Promise<number> {
  const times: number[] = [];
  for (let each = 0; each < calls; each++) {
    const begin = performance.now();
    await call(client);
    times.push(performance.now() - begin);
  }
  return times.sort((one, other) => one - other)[times.length >> 1]!;
}

/** Resident memory of a process, in MiB. */
function memoryOf(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024 / MIB;
}

const direct = newClient();
await direct.connect(new StreamableHTTPClientTransport(new URL(server.url)));
print(["runtime", "added ms", "MiB at 0", ...[1, 2, 3, 4].map((part) => `${messages / 4 * part}`)]);
for (const { name, program } of RUNTIME_PATHS.filter(({ name }) => name.includes(only))) {
  const [command = "", ...args] = program();
  const transport = new StdioClientTransport({
    command,
    args: [...args, "bin/latchkey.ts", "mcp", server.url, "--client-id", CLIENT_ID, "--broker", "never"],
    env: { ...home.env, PATH: process.env.PATH! },
  });
  const client = newClient();
  await client.connect(transport);
  await medianMs(client);
  // In turns, since other work on this machine slows both.
  const rounds: number[] = [];
  for (let round = 0; round < 5; round++) rounds.push(-await medianMs(direct) + await medianMs(client));
  const added = rounds.sort((one, other) => one - other)[2]!, pid = transport.pid!, memory: number[] = [memoryOf(pid)];
  for (let sent = 0, step = messages / 4; sent < messages; sent += step) {
    // A call is two messages. Twenty at a time, as agents do.
    for (let each = 0; each < step; each += 40) await Promise.all(Array.from({ length: 20 }, () => call(client)));
    memory.push(memoryOf(pid));
  }
  await client.close();
  print([name, added.toFixed(2), ...memory.map((size) => size.toFixed(0))]);
}
await direct.close();
process.exit(0);
