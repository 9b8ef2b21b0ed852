// latchkey mcp between the SDK's client and the SDK's server, and between lines and servers that are broken or hostile.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type McpTestServer, startMcpServer } from "../../../tools/start_mcp_server.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "../../tested_latchkey.ts";
import { runProgram } from "../../run_latchkey.ts";
import { CLIENT_ID } from "../../../fixture.ts";
import { connectClient, type McpLines, startMcp } from "./mcp_stage.ts";

let server: McpTestServer, modern: McpTestServer;
beforeAll(async () => {
  server = await startMcpServer();
  modern = await startMcpServer({ modern: true });
});
beforeEach(() => {
  for (const each of [server, modern]) {
    each.requests.length = 0;
    each.deny = () => undefined;
    each.forgetSessions();
  }
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await modern[Symbol.asyncDispose]();
});

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "tests", version: "1.0.0" } },
};
const INITIALIZED = { jsonrpc: "2.0", method: "notifications/initialized" };
const PING = { jsonrpc: "2.0", id: 2, method: "ping" };
const callOf = (name: string, args: object = {}, id: unknown = 2) => ({
  ...{ jsonrpc: "2.0", id, method: "tools/call" },
  params: { name, arguments: args },
});
const started: McpLines[] = [];
afterEach(async () => {
  for (const each of started.splice(0)) await each[Symbol.asyncDispose]();
});

function start(url = server.url): McpLines {
  const mcp = startMcp(url);
  started.push(mcp);
  return mcp;
}

/** The command, once its client has a session. */
async function initialized(url?: string): Promise<McpLines> {
  const mcp = start(url);
  mcp.send(INITIALIZE);
  expect(await mcp.message()).toMatchObject({ id: 1, result: { protocolVersion: "2025-11-25" } });
  mcp.send(INITIALIZED);
  return mcp;
}

/** Answers posts as a test says, and the rest as a server without streams of its own. */
function answerPosts(answer: (body: string, index: number) => { type?: string; status?: number; body: string }): void {
  let index = 0;
  server.deny = ({ method, body }) => {
    if (method !== "POST") return { status: 405 };
    const { type = "application/json", ...rest } = answer(body, index++);
    return { status: 200, headers: { "content-type": type }, ...rest };
  };
}

describe.each(TESTED_PATHS)("latchkey mcp on $name", ({ program }) => {
  const options = { program: latchkeyBy(program()) };

  test("relays sessions: calls, requests of the server, resumed streams, cancellation, notifications", async () => {
    await using mcp = await connectClient(server.url, options);
    expect(mcp.client.getServerVersion()).toEqual({ name: "test", version: "1.0.0" });
    expect(await mcp.call("echo", { text: "Grüße 🙂" })).toBe("Grüße 🙂");
    expect(JSON.parse(await mcp.call("ask"))).toEqual({ action: "accept", content: { which: "this" } });
    expect(await mcp.call("resume")).toBe("resumed");
    expect(await mcp.client.callTool({ name: "structured", arguments: {} })).toMatchObject({
      _meta: { "contoso.com/a": [null, { b: "ü" }] },
      structuredContent: { value: 1 },
    });

    const changed = Promise.withResolvers<void>();
    mcp.client.setNotificationHandler("notifications/tools/list_changed", () => changed.resolve());
    while (!server.requests.some(({ method }) => method === "GET")) await Bun.sleep(2);
    await server.notifyAll();
    await changed.promise;

    const abort = new AbortController();
    const waiting = mcp.client.callTool({ name: "wait", arguments: {} }, { signal: abort.signal });
    while (!server.requests.some(({ body }) => body.includes('"wait"'))) await Bun.sleep(2);
    abort.abort();
    await expect(waiting).rejects.toThrow();
    await server.canceled();
    expect(server.requests.at(-1)!.headers["mcp-protocol-version"]).toBe("2025-11-25");

    expect(server.sessions).toBe(1);
    await mcp.client.close();
    expect(server.sessions).toBe(0); // by DELETE
    expect(mcp.said()).toBe("");
  });

  test("relays the protocol since 2026-07-28: its header fields, and cancellation by the end of a stream", async () => {
    await using mcp = await connectClient(modern.url, { ...options, modern: true });
    expect(mcp.client.getNegotiatedProtocolVersion()).toBe("2026-07-28");
    expect((await mcp.client.listTools()).tools.map(({ name }) => name)).toContain("region");
    expect(await mcp.call("region", { region: "Zürich", count: 7 })).toBe("Zürich 7");
    const { headers } = modern.requests.at(-1)!;
    expect(headers).toMatchObject({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "region",
      "mcp-param-region": "=?base64?WsO8cmljaA==?=",
      "mcp-param-count": "7",
    });
    expect(Object.keys(headers)).not.toContain("latchkey-message");

    const abort = new AbortController();
    const waiting = mcp.client.callTool({ name: "wait", arguments: {} }, { signal: abort.signal });
    while (!modern.requests.some(({ body }) => body.includes('"wait"'))) await Bun.sleep(2);
    abort.abort();
    await expect(waiting).rejects.toThrow();
    await modern.canceled();
    expect(modern.requests.filter(({ body }) => body.includes("cancelled"))).toEqual([]);
  });
});

describe("latchkey mcp", () => {
  test("leaves texts as they are, whatever is in them", async () => {
    const request =
      '{"jsonrpc":"2.0","id":"é","x":1.0, "method":"contoso/x","params":[12345678901234567890,1e3,"\\u00e9"]}';
    const answer = '{ "jsonrpc":"2.0","id":"\\u00e9","result":{"n":12345678901234567890,"f":1.0},"contoso":[true] }';
    answerPosts(() => ({ body: answer }));
    const mcp = start();
    mcp.send(request);
    expect(await mcp.next()).toBe(answer);
    expect(server.requests[0]!.body).toBe(request);

    answerPosts(() => ({
      type: "text/event-stream; charset=utf-8",
      body: `data: ${answer.replace(",", ",\r\ndata:  ")}\r\n\r\n`,
    }));
    mcp.send(request);
    expect(await mcp.next()).toBe(answer.replace(",", ",  "));
  });

  test("relays batches of protocols that have them", async () => {
    const batch = [{ jsonrpc: "2.0", id: 1, method: "a" }, { jsonrpc: "2.0", id: 2, method: "b" }];
    const answers = [{ jsonrpc: "2.0", id: 2, result: {} }, { jsonrpc: "2.0", id: 1, result: {} }];
    answerPosts(() => ({ body: JSON.stringify(answers) }));
    const mcp = start();
    mcp.send(JSON.stringify(batch));
    expect(JSON.parse(await mcp.next())).toEqual(answers);
    expect(JSON.parse(server.requests[0]!.body)).toEqual(batch);
  });

  test("sends what follows a notification after the server accepted it", async () => {
    const held = Promise.withResolvers<undefined>();
    const mcp = await initialized();
    await server.settled();
    server.deny = ({ body }) => body.includes("contoso/note") ? held.promise : undefined;
    mcp.send({ jsonrpc: "2.0", method: "notifications/contoso/note" }, PING);
    while (!server.requests.some(({ body }) => body.includes("contoso/note"))) await Bun.sleep(2);
    expect(server.requests.some(({ body }) => body.includes("ping"))).toBe(false);
    held.resolve(undefined);
    expect(await mcp.message()).toEqual({ jsonrpc: "2.0", id: 2, result: {} });
  });

  test("answers lines that are no messages, and goes on", async () => {
    const mcp = start();
    mcp.send("hello", "", "[]");
    expect(await mcp.message()).toMatchObject({ id: null, error: { code: -32700 } });
    expect(await mcp.message()).toMatchObject({ id: null, error: { code: -32700 } });
    mcp.send(INITIALIZE);
    expect(await mcp.message()).toMatchObject({ id: 1, result: {} });
  });

  test("tells the client that its session is over, which can begin another one", async () => {
    const mcp = await initialized();
    server.forgetSessions();
    mcp.send(PING);
    expect(await mcp.message()).toEqual({
      jsonrpc: "2.0",
      id: 2,
      error: { code: -32001, message: "Session not found" },
    });
    await mcp.said(/has ended the session/);
    mcp.send({ ...INITIALIZE, id: 3 });
    expect(await mcp.message()).toMatchObject({ id: 3, result: {} });
    mcp.send(INITIALIZED, { ...PING, id: 4 });
    expect(await mcp.message()).toMatchObject({ id: 4, result: {} });
  });

  test("resumes the streams of a server that was gone, without losing what it sent", async () => {
    const mcp = await initialized();
    while (!server.requests.some(({ method }) => method === "GET")) await Bun.sleep(2);
    server.requests.length = 0;
    mcp.send(callOf("slow"));
    expect(await mcp.message()).toMatchObject({ method: "notifications/progress" });
    server.cutConnections();
    server.release();
    expect(await mcp.message()).toMatchObject({ id: 2, result: { content: [{ text: "slow" }] } });
    const resumed = server.requests.filter(({ method, headers }) => method === "GET" && headers["last-event-id"]);
    expect(resumed.length).toBeGreaterThan(0);
  });

  test("resumes after the last event that came whole, however often the stream breaks", async () => {
    const lastIds: unknown[] = [];
    server.deny = ({ method, headers }, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (method === "POST") {
        const cut = 'retry: 10\nid: 1\ndata:\n\nid: 2\ndata: {"jsonrpc":';
        response.write(cut, () => setTimeout(() => response.destroy(), 20));
      } else if (lastIds.push(headers["last-event-id"]) < 3) response.end();
      else response.end(`id: 2\ndata: ${JSON.stringify({ jsonrpc: "2.0", id: 2, result: {} })}\n\n`);
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    expect(await mcp.message()).toEqual({ jsonrpc: "2.0", id: 2, result: {} });
    expect(lastIds).toEqual(["1", "1", "1"]);
  });

  test.each([400, 404, 410])("answers a request whose stream the server cannot resume (%d)", async (status) => {
    server.deny = ({ method }, response) => {
      if (method === "GET") return { status };
      response.writeHead(200, { "content-type": "text/event-stream" }).end("retry: 10\nid: 1\ndata:\n\n");
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    expect(await mcp.message()).toMatchObject({ id: 2, error: { code: -32000 } });
    expect(server.requests.filter(({ method }) => method === "GET").length).toBe(1);
  });

  test("opens the stream of a request no more that was canceled", async () => {
    const opened: unknown[] = [];
    let isCanceled = false;
    server.deny = ({ method, headers, body }, response) => {
      if (body.includes("cancelled")) return isCanceled = true, { status: 202 };
      response.writeHead(200, { "content-type": "text/event-stream" });
      const id = method === "POST" ? JSON.parse(body).id : headers["last-event-id"];
      if (isCanceled) opened.push(id);
      const isLast = opened.filter((each) => String(each) === "3").length > 10;
      response.end(
        isLast
          ? `data: ${JSON.stringify({ jsonrpc: "2.0", id: 3, result: {} })}\n\n`
          : `retry: 10\nid: ${id}\ndata:\n\n`,
      );
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    while (!server.requests.some(({ method }) => method === "GET")) await Bun.sleep(2);
    mcp.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 2 } }, { ...PING, id: 3 });
    expect(await mcp.message()).toMatchObject({ id: 3, result: {} });
    expect(opened.filter((each) => String(each) === "2").length).toBeLessThan(2);
  });

  test("opens streams that end at once slowly in the end, whatever time the server names", async () => {
    const times: number[] = [];
    let retry = "0";
    server.deny = ({ method }, response) => {
      if (method !== "GET") return undefined;
      times.push(performance.now());
      response.writeHead(200, { "content-type": "text/event-stream" }).end(`retry: ${retry}\ndata:\n\n`);
      return "handled";
    };
    const mcp = await initialized();
    while (times.length < 12) await Bun.sleep(2);
    expect(times[11]! - times[10]!).toBeGreaterThan(900);

    // Timers take at most 24 days, and one that is longer fires at once.
    [retry, times.length] = ["99999999999", 0];
    const other = await initialized();
    while (times.length < 1) await Bun.sleep(2);
    for (let id = 10; id < 20; id++) {
      other.send({ ...PING, id });
      await other.message();
    }
    other.end();
    expect(await other.ended()).toMatchObject({ code: 0, stderr: "" });
    expect(times.length).toBeLessThan(4);
    mcp.end();
    await mcp.ended();
  });

  test("has the session as soon as the server names it, though the stream of the answer stays open", async () => {
    server.deny = ({ method, body }, response) => {
      if (method === "POST" && body.includes('"initialize"')) {
        const result = { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "x", version: "1" } };
        response.writeHead(200, { "content-type": "text/event-stream", "mcp-session-id": "s1" });
        response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", id: 1, result })}\n\n`);
        return "handled";
      }
      return method === "POST" ? { status: 202 } : { status: 405 };
    };
    await initialized();
    while (!server.requests.some(({ body }) => body.includes("initialized"))) await Bun.sleep(2);
    expect(server.requests.find(({ body }) => body.includes("initialized"))!.headers["mcp-session-id"]).toBe("s1");
  });

  test("answers a request whose connection broke, if nothing can be resumed", async () => {
    server.deny = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: {", () => response.destroy());
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    expect(await mcp.message()).toMatchObject({
      id: 2,
      error: { code: -32000, message: expect.stringContaining("without an answer") },
    });
  });

  test.each([
    ["a status", { status: 500, body: "<h1>\u001b[31mbroken</h1>" }, /answered 500/],
    ["JSON that is no message", { body: "{x" }, /without an answer/],
    ["an answer to another request", { body: '{"jsonrpc":"2.0","id":77,"result":{}}' }, /without an answer/],
    ["another type", { type: "text/html", body: "<html>" }, /./],
    ["nothing", { status: 202, body: "" }, /without an answer/],
    [
      "garbage in events",
      { type: "text/event-stream", body: "\u0000:::\n\ndata: x\n\nid\n\nevent: y\ndata: {}\n\n" },
      /without/,
    ],
  ])("answers a request that a server answers by %s", async (_what, answer, message) => {
    answerPosts(() => answer);
    const mcp = start();
    mcp.send({ ...PING, id: "a" });
    let answered = await mcp.message();
    if (answered.id === 77) answered = await mcp.message();
    expect(answered).toMatchObject({ id: "a", error: { code: -32000, message: expect.stringMatching(message) } });
    expect(JSON.stringify(answered)).not.toContain("\\u001b");
  });

  test("passes on an error that a server has in an answer with a status", async () => {
    answerPosts(() => ({
      status: 400,
      body: '{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no","data":[1]}}',
    }));
    const mcp = start();
    mcp.send(PING);
    expect(await mcp.message()).toEqual({ jsonrpc: "2.0", id: 2, error: { code: -32602, message: "no", data: [1] } });
  });

  test("answers a request to a server that is not there", async () => {
    const gone = await startMcpServer();
    await gone[Symbol.asyncDispose]();
    const mcp = start(gone.url);
    mcp.send(PING);
    expect(await mcp.message()).toMatchObject({
      id: 2,
      error: { message: expect.stringContaining("Cannot reach 127.0.0.1") },
    });
  });

  test("gives up a message of the server that is too long, which may have no end", async () => {
    server.deny = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = "x".repeat(1024 * 1024), more = () => void response.write(chunk, (error) => error || more());
      response.write("id: 1\ndata: ", more);
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    expect(await mcp.message()).toMatchObject({ id: 2, error: { code: -32600 } });
    await mcp.said(/a message of more than/);
    // Nothing of it is kept.
    expect((await mcp.memory()) / 1024).toBeLessThan(700);
  });

  test("ends with its client, and tells the server", async () => {
    const mcp = await initialized();
    mcp.end();
    expect(await mcp.ended()).toEqual({ code: 0, stderr: "", rest: [] });
    expect(server.requests.at(-1)!.method).toBe("DELETE");
    expect(server.sessions).toBe(0);
  });

  test("gives the last answers to a client that has ended its messages", async () => {
    const { code, stdout } = await runProgram(
      [...LATCHKEY_ON_BUN, "mcp", server.url, "--client-id", CLIENT_ID, "--broker", "never"],
      {},
      { input: [INITIALIZE, INITIALIZED, PING].map((each) => `${JSON.stringify(each)}\n`).join("") },
    );
    expect(code).toBe(0);
    expect(stdout.trim().split("\n").map((line) => JSON.parse(line).id)).toEqual([1, 2]);
    // What follows the first request without waiting for its answer belongs to the session, too.
    const posts = server.requests.filter(({ method }) => method === "POST");
    expect(posts.map(({ headers }) => typeof headers["mcp-session-id"])).toEqual(["undefined", "string", "string"]);
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("ends at %s in the middle of a call", async (name) => {
    const mcp = await initialized();
    mcp.send(callOf("wait"));
    while (!server.requests.some(({ body }) => body.includes('"wait"'))) await Bun.sleep(2);
    mcp.signal(name);
    expect((await mcp.ended()).code).toBe(0);
    expect(server.sessions).toBe(0);
  });

  test.each([true, false])("ends at SIGTERM while a notification gets no answer (input ended: %p)", async (isEnded) => {
    const mcp = await initialized();
    await server.settled();
    server.deny = ({ body }) => body.includes("contoso/note") ? "handled" : undefined;
    mcp.send({ jsonrpc: "2.0", method: "notifications/contoso/note" }, PING);
    while (!server.requests.some(({ body }) => body.includes("contoso/note"))) await Bun.sleep(2);
    if (isEnded) mcp.end();
    const begin = performance.now();
    mcp.signal("SIGTERM");
    expect((await mcp.ended()).code).toBe(0);
    expect(performance.now() - begin).toBeLessThan(5_000);
  });

  test("ends if nobody reads its answers any more", async () => {
    const mcp = await initialized();
    await mcp.stopReading();
    mcp.send(PING, { ...PING, id: 3 });
    expect((await mcp.ended()).code).toBe(0);
  });

  test("slows the server down if the client does not read", async () => {
    let written = 0;
    const chunk = `data: ${
      JSON.stringify({ jsonrpc: "2.0", method: "x", params: { text: "x".repeat(64 * 1024) } })
    }\n\n`;
    const stopped = Promise.withResolvers<void>();
    server.deny = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const more = () => {
        while (written < 2_000 && response.write(chunk)) written++;
        if (written >= 2_000) return;
        // What is not drained within this time waits for the reader.
        const timer = setTimeout(stopped.resolve, 1_000);
        response.once("drain", () => (clearTimeout(timer), more()));
      };
      more();
      return "handled";
    };
    const mcp = start();
    mcp.send(PING);
    await stopped.promise;
    expect(written).toBeLessThan(1_000);
  });

  test.each([
    [[], 2, "The address of the server is missing"],
    [["http://mcp.contoso.com"], 2, "has to begin with https://"],
    [["https://mcp.contoso.com", "--client-id", ""], 2, "--client-id"],
  ])("refuses the words %p", async (words, code, text) => {
    const run = await runProgram([...LATCHKEY_ON_BUN, "mcp", ...words], {});
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code, stdout: "" });
    expect(run.stderr).toContain(text);
  });
});
