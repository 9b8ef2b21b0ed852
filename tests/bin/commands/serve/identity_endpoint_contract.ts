// A managed-identity endpoint with more clients than it answers at once, on every runtime. Tokens are played.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  type IdentityEndpoint,
  type IdentityEndpointOptions,
  openIdentityEndpoint,
} from "../../../../bin/commands/serve/identity_endpoint.ts";
import { findTool } from "../../../tools/find_tool.js";
import { askEndpoint } from "../../ask_endpoint.ts";

const ARM = "https://management.azure.com";
const REQUEST = `GET /msi/token?resource=${ARM}&api-version=2019-08-01 HTTP/1.1\r\nHost: localhost\r\n\r\n`;

let folder: string, count = 0;
const opened: IdentityEndpoint[] = [], sockets: Socket[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "identity-"));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const endpoint of opened.splice(0)) await endpoint.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

const token: IdentityEndpointOptions["answer"] = () => Promise.resolve({ status: 200, body: '{"access_token":"x"}' });

/** Opens one on a socket, whose path it gives. */
async function onSocket(answer = token): Promise<string> {
  const path = join(folder, `socket-${++count}`);
  opened.push(await openIdentityEndpoint({ path }, { answer, isLogged: false }));
  return path;
}

/** Opens one on a port, which it gives. */
async function onPort(): Promise<string> {
  const endpoint = await openIdentityEndpoint({ port: 0, secret: "secret" }, { answer: token, isLogged: false });
  opened.push(endpoint);
  return `${endpoint.port}`;
}

async function outcomesOf(place: string, total: number, atOnce: number): Promise<Record<string, number>> {
  const script = fileURLToPath(new URL("../../../tools/many_clients.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(findTool("node"), [script, place, `${total}`, `${atOnce}`]);
  return JSON.parse(stdout);
}

/** A client that has sent something, and reads nothing. */
async function sent(path: string, text: string): Promise<Socket> {
  const socket = connect({ path });
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

describe("openIdentityEndpoint()", () => {
  // Connections counted until they were gone, and an answered one goes when its client gets round to it: on Bun 150 clients at
  // once were refused in part, and from 250 on they were cut off on Deno as well.
  test("answers ten thousand requests of 250 clients at once, on a socket", async () => {
    expect(await outcomesOf(await onSocket(), 10_000, 250)).toEqual({ 200: 10_000 });
  });

  // Those that were one too many were cut off beyond 32 of them, so that Azure's libraries saw a broken connection.
  test("answers 600 clients at once, or tells them that they are too many", async () => {
    const { 200: answered = 0, 503: refused = 0, ...others } = await outcomesOf(await onPort(), 2400, 600);
    expect({ sum: answered + refused, others }).toEqual({ sum: 2400, others: {} });
  });

  test("tells who is one too many when to come back", async () => {
    const path = await onSocket((_, signal) => {
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => reject(signal.reason));
      return promise;
    });
    for (let number = 1; number <= 1024; number++) await sent(path, REQUEST);
    const client = await sent(path, REQUEST);
    let received = "";
    client.on("data", (chunk) => received += chunk);
    await once(client, "close");
    expect(received).toMatch(/^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*Too many clients at once/);
  });

  // A client with half a request had its place for ten seconds, and 256 of them had all of them.
  test("answers while three hundred clients have sent half a request", async () => {
    const path = await onSocket();
    await Promise.all(Array.from({ length: 300 }, () => sent(path, "GET /msi/token HTTP/1.1\r\nHos")));
    expect((await askEndpoint({ socketPath: path }, ARM)).status).toBe(200);
  });
});
