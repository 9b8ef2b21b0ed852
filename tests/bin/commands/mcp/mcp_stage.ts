/** latchkey mcp as a client starts it, and the client: the SDK's own, or lines as they are. */
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { CLIENT_ID, openHome } from "../../../fixture.ts";
import { LATCHKEY_ON_BUN } from "../../tested_latchkey.ts";

/** How it is started. */
export interface McpOptions {
  /** Options of the command line. */
  readonly words?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What starts the command line. @default Bun */
  readonly program?: readonly string[];
  /** True for the protocol since 2026-07-28. */
  readonly modern?: boolean;
}

const DEFAULT_WORDS = ["--client-id", CLIENT_ID, "--broker", "never"];

/** A client that is connected. */
export interface McpClient extends AsyncDisposable {
  readonly client: Client;
  /** What was said on standard error so far. */
  said(): string;
  /** Calls a tool, and gives the text of its answer. */
  call(name: string, args?: Record<string, unknown>): Promise<string>;
}

/** Connects the SDK's client to a server, through latchkey. It answers `accept` to what it is asked. */
export async function connectClient(
  url: string,
  { words = DEFAULT_WORDS, env = {}, program = LATCHKEY_ON_BUN, modern = false }: McpOptions = {},
): Promise<McpClient> {
  const [command = "", ...args] = program, home = openHome(), decoder = new TextDecoder();
  const transport = new StdioClientTransport({
    command,
    args: [...args, "mcp", url, ...words],
    env: { NO_COLOR: "1", PATH: process.env.PATH!, ...home.env, ...env },
    stderr: "pipe",
  });
  let said = "";
  transport.stderr!.on("data", (bytes: Uint8Array) => said += decoder.decode(bytes, { stream: true }));
  const client = new Client(
    { name: "tests", version: "1.0.0" },
    { capabilities: { elicitation: {} }, versionNegotiation: { mode: modern ? { pin: "2026-07-28" } : "legacy" } },
  );
  client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: { which: "this" } }));
  await client.connect(transport);
  return {
    client,
    said: () => said,
    async call(name, args = {}) {
      const { content } = await client.callTool({ name, arguments: args });
      return (content as { text: string }[])[0]!.text;
    },
    async [Symbol.asyncDispose]() {
      await client.close();
      home[Symbol.dispose]();
    },
  };
}

/** The command while it runs, with lines in and out. */
export interface McpLines extends AsyncDisposable {
  readonly pid: number;
  send(...lines: readonly (string | object)[]): void;
  /** The next line. */
  next(): Promise<string>;
  /** The next line as a message. */
  message(): Promise<Record<string, unknown>>;
  /** Waits until standard error has it. */
  said(pattern: RegExp): Promise<void>;
  /** Its resident memory, in KiB. */
  memory(): Promise<number>;
  /** Ends standard input. */
  end(): void;
  signal(name: NodeJS.Signals): void;
  /** No longer reads standard output. */
  stopReading(): Promise<void>;
  /** Waits for the end. */
  ended(): Promise<{ readonly code: number; readonly stderr: string; readonly rest: readonly string[] }>;
}

/** Starts the command. */
export function startMcp(
  url: string,
  { words = DEFAULT_WORDS, env = {}, program = LATCHKEY_ON_BUN }: McpOptions = {},
): McpLines {
  const home = openHome();
  const child = Bun.spawn([...program, "mcp", url, ...words], {
    env: { NO_COLOR: "1", PATH: process.env.PATH, ...home.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stderr = "", changed = Promise.withResolvers<void>();
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) {
      stderr += decoder.decode(chunk, { stream: true });
      changed.resolve();
      changed = Promise.withResolvers();
    }
  })();
  const output = child.stdout.getReader(), decoder = new TextDecoder();
  let rest = "";
  async function next(): Promise<string> {
    while (!rest.includes("\n")) {
      const { value, done } = await output.read();
      if (done) throw new Error(`It ended: ${rest}${stderr}`);
      rest += decoder.decode(value, { stream: true });
    }
    const line = rest.slice(0, rest.indexOf("\n"));
    rest = rest.slice(line.length + 1);
    return line;
  }
  return {
    pid: child.pid,
    send(...lines) {
      for (const line of lines) child.stdin.write(`${typeof line === "string" ? line : JSON.stringify(line)}\n`);
      void child.stdin.flush();
    },
    next,
    message: async () => JSON.parse(await next()),
    async said(pattern) {
      while (!pattern.test(stderr)) await changed.promise;
    },
    async memory() {
      const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(await Bun.file(`/proc/${child.pid}/status`).text())!;
      return Number(kilobytes);
    },
    end: () => void child.stdin.end(),
    signal: (name) => child.kill(name),
    stopReading: () => output.cancel(),
    async ended() {
      const code = await child.exited, lines: string[] = [];
      await reading;
      for (;;) {
        try {
          lines.push(await next());
        } catch {
          return { code, stderr, rest: lines };
        }
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      home[Symbol.dispose]();
    },
  };
}
