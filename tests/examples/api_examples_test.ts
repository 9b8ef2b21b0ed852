// The examples that call an API, on each runtime: with the broker, and an API that the test plays.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CLIENT_ID, type Home, openHome, useStage } from "../fixture.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { type ConnectProxy, startConnectProxy } from "../fakes/connect_proxy.ts";
import { claimsChallenge, refusesFirstToken, type Resource, startResource } from "../fakes/resource.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";

const CHALLENGE = { access_token: { nbf: { essential: true, value: "1700000000" } } };
const VAULT = "contoso.vault.azure.net";

const stage = useStage({ broker: {} });
let api: Resource;
beforeAll(async () => {
  api = await startResource();
});
afterEach(() => {
  api.requests.length = 0;
  api.answer = () => ({});
});
afterAll(() => api[Symbol.asyncDispose]());

const needPerson = () =>
  stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2, context: "MFA" } } });

const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

describe.each(runtimes)("mcp_server.ts on $name", ({ program }) => {
  let client: Client;

  beforeAll(async () => {
    const [command = "", ...args] = [
      ...program(),
      "examples/mcp_server.ts",
      CLIENT_ID,
      api.origin,
      "api://contoso/read",
    ];
    client = new Client({ name: "tests", version: "1.0.0" });
    await client.connect(
      new StdioClientTransport({
        ...{ command, args, cwd: fileURLToPath(new URL("../../", import.meta.url)) },
        env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
      }),
    );
  });
  afterAll(() => client.close());

  const whoAmI = () => client.callTool({ name: "who_am_i" }) as Promise<{ content: unknown[]; isError: boolean }>;

  test("has a tool that asks the API with the person's token, and answers its challenge", async () => {
    expect((await client.listTools()).tools).toMatchObject([{ name: "who_am_i" }]);
    api.answer = refusesFirstToken(CHALLENGE, { displayName: "Jane Doe" });
    expect(await whoAmI()).toMatchObject({
      content: [{ type: "text", text: JSON.stringify({ displayName: "Jane Doe" }) }],
      isError: false,
    });
    expect(api.requests.map(({ path }) => path)).toEqual(["/v1.0/me", "/v1.0/me"]);
    const [{ request } = expect.unreachable()] = (await stage.broker.calls("acquireTokenSilently")).slice(-1);
    expect(request.authParameters.requestedScopes).toEqual(["api://contoso/read"]);
  });

  test("tells the model that the person has to sign in, and opens no window", async () => {
    api.answer = () => ({ status: 401, headers: { "www-authenticate": claimsChallenge(CHALLENGE) } });
    await needPerson();
    const { isError, content } = await whoAmI();
    expect([isError, JSON.stringify(content)]).toEqual([true, expect.stringContaining("sign in first")]);
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
  });
});

describe.each(runtimes)("cli.ts on $name", ({ program }) => {
  let home: Home;
  beforeAll(() => void (home = openHome()));
  afterAll(() => home[Symbol.dispose]());

  const cli = (command: string) =>
    runProgram([...program(), "examples/cli.ts", command], {
      ...home.env,
      DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
      ...{ CLIENT_ID, API: api.origin, SCOPE: "api://orders/.default" },
    });

  test("calls the API, tells scripts when a person is needed, and signs in and out", async () => {
    api.answer = () => ({ body: ["order 1"] });
    expect(await cli("orders")).toEqual({ code: 0, stdout: '["order 1"]\n', stderr: "" });
    expect(api.requests[0]!.headers.authorization).toMatch(/^Bearer eyJ/);
    expect(await cli("logout")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await cli("orders")).toEqual({ code: 3, stdout: "", stderr: "Sign in first: cli.ts login\n" });
    expect(await cli("login")).toEqual({ code: 0, stdout: "jane@contoso.com is signed in\n", stderr: "" });
    expect((await cli("orders")).code).toBe(0);
  });
});

describe("azure_sdk.ts", () => {
  let folder: string, certificate: string, vault: Server, proxy: ConnectProxy, authorizations: (string | undefined)[];

  beforeAll(async () => {
    const authority = makeCertificateAuthority(), { cert, key } = authority.issue([VAULT]);
    folder = mkdtempSync(join(tmpdir(), "azure-sdk-"));
    certificate = join(folder, "authority.pem");
    writeFileSync(certificate, authority.cert);
    vault = createServer({ cert, key }, ({ headers: { authorization }, url }, response) => {
      authorizations.push(authorization);
      if (authorization) return void response.end(JSON.stringify({ value: "s3cret", id: `https://${VAULT}${url}/1` }));
      const challenge = `Bearer authorization="https://login.microsoftonline.com/contoso.com", ` +
        `resource="https://vault.azure.net"`;
      response.writeHead(401, { "www-authenticate": challenge }).end("{}");
    });
    await new Promise<void>((resolve) => vault.listen(0, "127.0.0.1", resolve));
    proxy = await startConnectProxy({ port: (vault.address() as AddressInfo).port });
  });
  afterAll(() => {
    proxy.stop();
    vault.close();
    rmSync(folder, { recursive: true });
  });

  test.each(runtimes)("on $name prints a secret that the vault gives the person", async ({ program }) => {
    authorizations = [];
    const run = await runProgram([...program(), "examples/azure_sdk.ts", CLIENT_ID, `https://${VAULT}`, "password"], {
      DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
      ...{ NODE_EXTRA_CA_CERTS: certificate, DENO_CERT: certificate },
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
    });
    expect(run).toEqual({ code: 0, stdout: "s3cret\n", stderr: "" });
    expect(authorizations).toEqual([undefined, expect.stringMatching(/^Bearer eyJ/)]);
  });
});
