// A real MCP server, of the SDK, with Streamable HTTP on loopback: sessions and resumable streams, and the protocol since 2026-07-28.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createMcpHandler, McpServer as ModernServer } from "@modelcontextprotocol/server";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";

/** An answer in place of the server's. */
export interface Denial {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A request as it came. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A server that runs. */
export interface McpTestServer extends AsyncDisposable {
  readonly origin: string;
  /** Its address for clients. */
  readonly url: string;
  readonly requests: ReceivedRequest[];
  /** Answers a request before the server does; a test may set it. A promise holds the request back. */
  deny: (request: ReceivedRequest, response: ServerResponse) => Denial | "handled" | undefined | Promise<undefined>;
  /** Documents by their paths, such as metadata. */
  readonly documents: Record<string, unknown>;
  /** Ends all connections, in the middle of what they are about. */
  cutConnections(): void;
  /** Forgets all sessions, as after a restart. */
  forgetSessions(): void;
  /** Sends a notification on the stream of each session. */
  notifyAll(): Promise<void>;
  /** Waits until the tool `wait` was canceled, since the last time. */
  canceled(): Promise<void>;
  /** Lets the tool `slow` answer. */
  release(): void;
  /** Waits until the server has answered, or begun to answer, all that it was sent. */
  settled(): Promise<void>;
  /** Number of sessions that have not ended. */
  readonly sessions: number;
}

/** Starts one. `modern`: of the protocol since 2026-07-28, which has no sessions. */
export async function startMcpServer({ modern = false, port = 0 } = {}): Promise<McpTestServer> {
  const sessions = new Map<string, { transport: StreamableHTTPServerTransport; server: McpServer }>();
  const events = eventStore(), tools: Tools = { canceled: Promise.withResolvers(), released: Promise.withResolvers() };
  let underWay = 0;
  const handler = createMcpHandler(() => {
    const server = new ModernServer({ name: "test", version: "1.0.0" });
    server.registerTool("echo", { inputSchema: z.object({ text: z.string() }) }, ({ text }) => answerOf(text));
    server.registerTool(
      "region",
      {
        inputSchema: z.object({
          region: z.string().meta({ "x-mcp-header": "Region" }),
          count: z.number().int().meta({ "x-mcp-header": "Count" }).optional(),
        }),
      },
      ({ region, count }) => answerOf(`${region} ${count}`),
    );
    server.registerTool("wait", { inputSchema: z.object({}) }, async (_args, context) => {
      await new Promise<void>((resolve) => context.mcpReq.signal.addEventListener("abort", () => resolve()));
      tools.canceled.resolve();
      return answerOf("canceled");
    });
    return server;
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url: path = "", headers } = request, body = await text(request);
    const received = { method, path, headers, body };
    if (!(path in result.documents)) result.requests.push(received);
    if (path in result.documents) {
      return void response.writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify(result.documents[path]));
    }
    const denial = await result.deny(received, response);
    if (denial === "handled") return;
    if (denial) return void response.writeHead(denial.status, denial.headers).end(denial.body ?? "");
    if (path !== "/mcp") return void response.writeHead(404).end();
    if (modern) return await handleModern(received, response);
    const message = body ? JSON.parse(body) : undefined, id = headers["mcp-session-id"];
    let session = typeof id === "string" ? sessions.get(id) : undefined;
    if (typeof id === "string" && !session) {
      const error = { code: -32001, message: "Session not found" };
      response.writeHead(404, { "content-type": "application/json" });
      return void response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    }
    if (!session) {
      const server = makeServer(tools);
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: events,
        retryInterval: 10,
        onsessioninitialized: (id) => void sessions.set(id, { transport, server }),
        onsessionclosed: (id) => void sessions.delete(id),
      });
      await server.connect(transport);
      session = { transport, server };
    }
    await session.transport.handleRequest(request, response, message);
  }

  async function handleModern({ method, headers, body }: ReceivedRequest, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const answer = await handler.fetch(
      new Request(result.url, {
        method,
        headers: headers as Record<string, string>,
        signal: gone.signal,
        ...(body && { body }),
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).flushHeaders();
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  }

  const server = createServer((request, response) => {
    underWay++;
    const begun = setInterval(() => {
      if (!response.headersSent && !response.destroyed) return;
      clearInterval(begun);
      underWay--;
    }, 1);
    void handle(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const result = {
    origin,
    url: `${origin}/mcp`,
    requests: [] as ReceivedRequest[],
    documents: {} as Record<string, unknown>,
    deny: (() => undefined) as McpTestServer["deny"],
    async canceled() {
      await tools.canceled.promise;
      tools.canceled = Promise.withResolvers();
    },
    release: () => tools.released.resolve(),
    async settled() {
      while (underWay > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    },
    cutConnections: () => server.closeAllConnections(),
    forgetSessions: () => sessions.clear(),
    notifyAll: async () => {
      for (const { server } of sessions.values()) await server.server.sendToolListChanged();
    },
    get sessions() {
      return sessions.size;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return result;
}

const answerOf = (text: string) => ({ content: [{ type: "text" as const, text }] });

/** What tools wait for, and what waits for them. */
interface Tools {
  canceled: PromiseWithResolvers<void>;
  readonly released: PromiseWithResolvers<void>;
}

function makeServer(tools: Tools): McpServer {
  const server = new McpServer({ name: "test", version: "1.0.0" }, { capabilities: { tools: { listChanged: true } } });
  server.registerTool("echo", { inputSchema: { text: z.string() } }, ({ text }) => answerOf(text));
  server.registerTool("structured", { inputSchema: {} }, () => ({
    ...answerOf("x"),
    _meta: { "contoso.com/a": [null, { b: "ü" }] },
    structuredContent: { value: 1 },
  }));
  server.registerTool("progress", { inputSchema: { steps: z.number() } }, async ({ steps }, extra) => {
    for (let progress = 1; progress <= steps; progress++) {
      const progressToken = extra._meta?.progressToken ?? "none";
      await extra.sendNotification({
        method: "notifications/progress",
        params: { progressToken, progress, total: steps },
      });
    }
    return answerOf("done");
  });
  server.registerTool("ask", { inputSchema: {} }, async () => {
    const answer = await server.server.elicitInput({
      message: "Which?",
      requestedSchema: { type: "object", properties: { which: { type: "string" } } },
    });
    return answerOf(JSON.stringify(answer));
  });
  server.registerTool("resume", { inputSchema: {} }, async (_args, extra) => {
    extra.closeSSEStream?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
    return answerOf("resumed");
  });
  server.registerTool("wait", { inputSchema: {} }, async (_args, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    tools.canceled.resolve();
    return answerOf("canceled");
  });
  server.registerTool("slow", { inputSchema: {} }, async (_args, extra) => {
    await extra.sendNotification({ method: "notifications/progress", params: { progressToken: "slow", progress: 1 } });
    await tools.released.promise;
    return answerOf("slow");
  });
  return server;
}

/** Keeps what was sent, so that streams can be resumed. */
function eventStore() {
  const events: { id: string; stream: string; message: JSONRPCMessage }[] = [];
  return {
    storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
      const id = `${events.length}`;
      events.push({ id, stream, message });
      return Promise.resolve(id);
    },
    async replayEventsAfter(
      last: string,
      { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> },
    ): Promise<string> {
      const stream = events[Number(last)]!.stream;
      for (const event of events.slice(Number(last) + 1)) {
        if (event.stream === stream && "jsonrpc" in event.message) await send(event.id, event.message);
      }
      return stream;
    },
    getStreamIdForEventId: (id: string) => Promise.resolve(events[Number(id)]?.stream),
  };
}
