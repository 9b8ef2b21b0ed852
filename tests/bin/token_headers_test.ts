// latchkey token --format headers as an agent runs it for an MCP server, and --format claims.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type Resource, startResource } from "../fakes/resource.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { type Run, runProgram } from "./run_latchkey.ts";
import { startLatchkey } from "./running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "./tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", SCOPE = "api://contoso/tools";
const TENANT = "33333333-2222-4333-8444-555555555555", AUTHORITY = "https://login.microsoftonline.com";
const HEADERS = /^\{"Authorization":"Bearer [\w-]+\.[\w-]+\.[\w-]+"\}\n$/;

let bus: PrivateBus, broker: FakeBroker, server: Resource;
beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
  server = await startResource();
});
beforeEach(async () => {
  await broker.behave({ replies: {} });
  await broker.forgetCalls();
  server.requests.length = 0;
  server.answer = ({ path }) =>
    path === "/metadata" ? { body: document() } : {
      status: 401,
      headers: { "www-authenticate": `Bearer resource_metadata="${server.origin}/metadata"` },
    };
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await broker.stop();
  await bus.stop();
});

let document = (): unknown => ({
  ...{ resource: `${server.origin}/mcp`, authorization_servers: [`${AUTHORITY}/${TENANT}/v2.0`] },
  scopes_supported: [SCOPE],
});
const environment = () => ({
  DBUS_SESSION_BUS_ADDRESS: bus.address,
  CLAUDE_CODE_MCP_SERVER_URL: `${server.origin}/mcp`,
});
const headers = (words: readonly string[] = [], command: readonly string[] = LATCHKEY_ON_BUN): Promise<Run> =>
  runProgram([...command, "token", "--client-id", CLIENT_ID, "--format", "headers", ...words], environment());
const asked = async () => (await broker.calls("acquireTokenSilently")).at(-1)?.request.authParameters;

describe.each(TESTED_PATHS)("latchkey token --format headers on $name", ({ program }) => {
  test("has a token for the scope and the tenant that the server names", async () => {
    const { code, stdout, stderr } = await headers([], latchkeyBy(program()));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(HEADERS);
    expect(await asked()).toMatchObject({ requestedScopes: [SCOPE], authority: `${AUTHORITY}/${TENANT}` });
    expect(server.requests.map(({ headers }) => headers.authorization)).not.toContainEqual(expect.anything());
  });
});

describe("latchkey token --format headers", () => {
  test("asks the server for nothing if the scope or resource is given", async () => {
    for (const words of [["--scope", "User.Read"], ["--resource", "api://contoso"]]) {
      expect((await headers(words)).stdout).toMatch(HEADERS);
    }
    expect(server.requests).toEqual([]);
    expect(await asked()).toMatchObject({ requestedScopes: ["api://contoso/.default"] });
  });

  test("has no token for a server whose metadata is another one's", async () => {
    const own = document;
    try {
      document = () => ({ resource: "https://graph.microsoft.com/", scopes_supported: [SCOPE] });
      expect(await headers()).toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining("untrusted_authority"),
      });
      expect(await asked()).toBeUndefined();
    } finally {
      document = own;
    }
  });

  test("sends nothing to the server without an app; other formats need a scope", async () => {
    const run = (...words: string[]) => runProgram([...LATCHKEY_ON_BUN, "token", ...words], environment());
    expect(await run("--format", "headers")).toMatchObject({ code: 2, stderr: expect.stringContaining("--client-id") });
    expect(await run("--client-id", CLIENT_ID)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--scope or"),
    });
    expect(server.requests).toEqual([]);
  });

  test("opens no window at a terminal, unless it is told to", async () => {
    await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const words = ["token", "--client-id", CLIENT_ID, "--format", "headers", "--scope", "User.Read"];
    const start = (...more: string[]) =>
      startLatchkey([...LATCHKEY_ON_BUN, ...words, ...more], { terminal: true, env: environment() }).ended();
    expect((await start()).code).toBe(3);
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
    expect((await start("--interactive", "always")).code).toBe(0);
    expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });
});

test("latchkey token --format claims prints what is in the token, and says that it is not verified", async () => {
  const words = ["token", "--client-id", CLIENT_ID, "--scope", "User.Read"];
  const token = (...more: string[]) => runProgram([...LATCHKEY_ON_BUN, ...words, ...more], environment());
  const { code, stdout, stderr } = await token("--format", "claims");
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("decoded and not verified") });
  expect(JSON.parse(stdout)).toMatchObject({ exp: expect.any(Number) });
  expect(stdout).not.toContain("eyJ");
});
