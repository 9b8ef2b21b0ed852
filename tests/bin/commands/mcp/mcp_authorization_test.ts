// Tokens of latchkey mcp: from a real OpenID provider, and from the fake broker, for servers that say what they need.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJwt } from "../../../../lib/encoding.ts";
import { claimsChallenge, type Resource, startResource } from "../../../fakes/resource.ts";
import {
  type Denial,
  type McpTestServer,
  type ReceivedRequest,
  startMcpServer,
} from "../../../tools/start_mcp_server.ts";
import { CLIENT_ID, type Home, openHome, useStage } from "../../../fixture.ts";
import { type ProviderStage, startProviderStage } from "../../provider_stage.ts";
import { connectClient, type McpLines, type McpOptions, startMcp } from "./mcp_stage.ts";

const METADATA = "/.well-known/oauth-protected-resource/mcp";
const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "tests", version: "1.0.0" } },
};

let server: McpTestServer;
const started: McpLines[] = [];
beforeAll(async () => {
  server = await startMcpServer();
});
beforeEach(() => {
  server.requests.length = 0;
  for (const path of Object.keys(server.documents)) delete server.documents[path];
});
afterEach(async () => {
  for (const each of started.splice(0)) await each[Symbol.asyncDispose]();
});
afterAll(() => server[Symbol.asyncDispose]());

const challenge = (status: number, parameters = ""): Denial => ({
  status,
  headers: {
    "www-authenticate": `Bearer ${
      [`resource_metadata="${server.origin}${METADATA}"`, parameters].filter(Boolean).join(", ")
    }`,
  },
});
const tokenOf = ({ headers }: ReceivedRequest) => headers.authorization?.replace("Bearer ", "");
const tokens = () => [...new Set(server.requests.map(tokenOf))];

function start(options: McpOptions): McpLines {
  const mcp = startMcp(server.url, options);
  started.push(mcp);
  return mcp;
}

describe("latchkey mcp with an OpenID provider", () => {
  let provider: ProviderStage;
  beforeAll(async () => {
    provider = await startProviderStage();
  });
  afterAll(() => provider[Symbol.asyncDispose]());
  beforeEach(() => {
    server.documents[METADATA] = {
      resource: server.url,
      authorization_servers: [provider.url],
      scopes_supported: ["openid", "api.read"],
    };
    // As RFC 6750 and RFC 9068 have it, but for the signature.
    server.deny = (request) => {
      const token = tokenOf(request);
      if (token === undefined) return challenge(401);
      const { iss, aud, exp, scope } = readJwt(token) ?? {};
      if (iss !== provider.url || aud !== server.url || Number(exp) * 1000 < Date.now()) {
        return challenge(401, 'error="invalid_token"');
      }
      const needed = request.body.includes('"ask"') ? ["api.read", "api.write"] : ["api.read"];
      if (needed.every((each) => String(scope).split(" ").includes(each))) return undefined;
      return challenge(403, `error="insufficient_scope", scope="${needed.join(" ")}"`);
    };
  });

  const words = (interactive: string) => [
    ...["--client-id", provider.clientId, "--authority", provider.url, "--store", "plaintext"],
    ...["--interactive", interactive],
  ];
  /** A home whose user has agreed to the scopes. */
  function makeAgreedHome(): Home {
    const home = openHome(), names = { server: server.url, resource: server.url, authority: provider.url };
    const agreed = { ...names, client_id: provider.clientId, scopes: ["api.read", "api.write"] };
    mkdirSync(home.state, { recursive: true, mode: 0o700 });
    const json = JSON.stringify({ servers: [agreed] });
    writeFileSync(join(home.state, "agreed_scopes.json"), json, { mode: 0o600 });
    return home;
  }
  const browserOf = (home: { readonly env: Readonly<Record<string, string>> }) => ({
    ...home.env,
    BROWSER: provider.playedBrowser().BROWSER,
  });

  test("signs in for exactly the server, steps up when it is asked to, and needs nobody the next time", async () => {
    using home = makeAgreedHome();
    {
      await using mcp = await connectClient(server.url, { words: words("always"), env: browserOf(home) });
      expect(await mcp.call("echo", { text: "x" })).toBe("x");
      expect(await mcp.call("ask")).toContain("accept");
      expect(mcp.said()).toContain("asks for a token with more scopes");
      const [none, first, second, ...more] = tokens();
      expect([none, more]).toEqual([undefined, []]);
      expect(readJwt(first!)).toMatchObject({ aud: server.url, scope: "api.read" });
      expect(readJwt(second!)).toMatchObject({ aud: server.url, scope: "api.read api.write" });
    }
    server.requests.length = 0;
    await using again = await connectClient(server.url, { words: words("never"), env: home.env });
    expect(await again.call("echo", { text: "y" })).toBe("y");
    expect(tokens().length).toBe(2);
    expect(again.said()).toBe("");
  });

  test("tells the client how to sign in if nobody may be asked, and prints only messages", async () => {
    using home = makeAgreedHome();
    const mcp = start({ words: words("never"), env: home.env });
    mcp.send(INITIALIZE);
    const { error } = await mcp.message() as { error: { message: string } };
    expect(error.message).toMatch(/^No user is signed in.*latchkey login /);
    expect(error.message).toContain(provider.clientId);
    expect(error.message).toContain(`--for ${server.url}`);
    mcp.end();
    expect((await mcp.ended()).rest).toEqual([]);
  });

  // A server got any scopes that it named, by a sign-in that did not show them.
  test("requests no scope that the server names before the user has agreed to it", async () => {
    server.documents[METADATA] = { resource: server.url, scopes_supported: ["admin", "repo:write"] };
    using home = openHome();
    const mcp = start({ words: words("always"), env: browserOf(home) });
    mcp.send(INITIALIZE);
    const { error } = await mcp.message() as { error: { message: string } };
    expect(error.message).toContain("scopes that you have not agreed to: admin repo:write");
    expect(error.message).toMatch(/Only if you trust .*sign in at a terminal: latchkey login .*--for /);
    expect(tokens()).toEqual([undefined]);
  });

  test("refuses a server that takes tokens of another issuer, and one whose tokens are for another", async () => {
    const mcp = start({ words: words("never") });
    server.documents[METADATA] = { resource: server.url, authorization_servers: ["https://id.contoso.com"] };
    mcp.send(INITIALIZE);
    expect(await mcp.message()).toMatchObject({ error: { message: expect.stringContaining("takes no tokens of") } });
    server.documents[METADATA] = { resource: "https://api.contoso.com", authorization_servers: [provider.url] };
    mcp.send({ ...INITIALIZE, id: 2 });
    expect(await mcp.message()).toMatchObject({ error: { message: expect.stringContaining("for another resource") } });
    expect(tokens()).toEqual([undefined]);
  });
});

describe("latchkey mcp with a broker", () => {
  const stage = useStage({ broker: {} }), { behave } = stage;
  let thief: Resource;
  beforeAll(async () => {
    thief = await startResource();
  });
  beforeEach(() => {
    server.documents[METADATA] = {
      resource: server.url,
      authorization_servers: ["https://login.microsoftonline.com/common/v2.0"],
      scopes_supported: ["api://contoso/tools"],
    };
    server.deny = (request) => tokenOf(request) === undefined ? challenge(401) : undefined;
    thief.requests.length = 0;
  });
  afterAll(() => thief[Symbol.asyncDispose]());

  const options = (...more: readonly string[]): McpOptions => ({
    words: ["--client-id", CLIENT_ID, "--broker", "require", ...more],
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
  });
  const requests = async () =>
    (await stage.broker.calls("acquireTokenSilently")).map(({ request }) =>
      (request as { authParameters: { requestedScopes: string[]; decodedClaims?: string } }).authParameters
    );

  test("gets the token for what the server needs, without a window and without a resource parameter", async () => {
    await using mcp = await connectClient(server.url, options());
    expect(await mcp.call("echo", { text: "x" })).toBe("x");
    const sent = await requests();
    expect(sent.map(({ requestedScopes }) => requestedScopes)).toEqual([["api://contoso/tools"]]);
    expect(JSON.stringify(sent)).not.toContain(server.url);
    expect(tokens().length).toBe(2);
    expect(mcp.said()).toBe("");
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
  });

  // latchkey mcp, which agents start, was forgotten when tokens of agents' sessions were marked.
  test("marks the token of an agent's session", async () => {
    const given = options(), env = { ...given.env, COPILOT_AGENT_SESSION_ID: "s-1" };
    await using _mcp = await connectClient(server.url, { ...given, env });
    const [sent] = await requests();
    expect(JSON.parse(sent!.decodedClaims!)).toEqual({ access_token: { xms_cli_sid: { values: ["s-1"] } } });
  });

  test("sends the first request with a token if the scope is named", async () => {
    await using _mcp = await connectClient(server.url, options("--resource", "api://contoso"));
    expect((await requests())[0]!.requestedScopes).toEqual(["api://contoso/.default"]);
    expect(tokens()).not.toContain(undefined);
  });

  test("answers claims challenges and refused tokens by a new one each, and says so", async () => {
    await using mcp = await connectClient(server.url, options());
    const claims = { access_token: { acrs: { essential: true, value: "c1" } } };
    let answers = 0;
    server.deny = ({ body }) => {
      if (!body.includes('"echo"')) return undefined;
      if (++answers === 1) return { status: 401, headers: { "www-authenticate": claimsChallenge(claims) } };
      return answers === 2 ? challenge(401, 'error="invalid_token"') : undefined;
    };
    expect(await mcp.call("echo", { text: "x" })).toBe("x");
    expect(answers).toBe(3);
    expect(mcp.said()).toMatch(/other claims[^]*accepts the token no longer/);
    const asked = await requests();
    expect(asked.map(({ decodedClaims }) => decodedClaims).filter(Boolean).map((text) => JSON.parse(text!)))
      .toContainEqual(
        expect.objectContaining({ access_token: expect.objectContaining({ acrs: { essential: true, value: "c1" } }) }),
      );
  });

  test("gives a server that refuses every token only a few", async () => {
    const mcp = start(options());
    server.deny = () => challenge(401, 'error="invalid_token"');
    for (let id = 1; id <= 10; id++) {
      mcp.send({ jsonrpc: "2.0", id, method: "ping" });
      expect(await mcp.message()).toMatchObject({ id, error: { message: expect.stringContaining("answered 401") } });
    }
    expect((await requests()).length).toBeLessThan(8);
    expect(server.requests.length).toBeLessThan(20);
  });

  test.each([301, 302, 303, 307, 308])("sends nothing to where a server redirects with %d", async (status) => {
    const mcp = start(options());
    server.deny = (request) =>
      tokenOf(request) === undefined ? challenge(401) : { status, headers: { location: `${thief.origin}/mcp` } };
    mcp.send(INITIALIZE);
    const { error } = await mcp.message() as { error: { message: string } };
    expect(error.message).toContain("not followed");
    expect(thief.requests).toEqual([]);
  });

  test("follows a redirect within the server", async () => {
    server.deny = (request) => {
      if (request.path === "/old") return { status: 307, headers: { location: "/mcp" } };
      return tokenOf(request) === undefined ? challenge(401) : undefined;
    };
    server.documents[METADATA] = { resource: `${server.origin}/old`, scopes_supported: ["api://contoso/tools"] };
    await using mcp = await connectClient(`${server.origin}/old`, options());
    expect(await mcp.call("echo", { text: "x" })).toBe("x");
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(new Set(["/old", "/mcp"]));
  });

  test("gives no server a token for Microsoft Graph", async () => {
    const mcp = start(options());
    server.deny = () => challenge(401, 'scope="https://graph.microsoft.com/.default"');
    mcp.send(INITIALIZE);
    const { error } = await mcp.message() as { error: { message: string } };
    expect(error.message).toContain("asks for a token for another service: https://graph.microsoft.com/.default");
    expect(error.message).toContain("name the scope: --scope");
    expect(await requests()).toEqual([]);
  });

  test("opens no window for a stream that is opened again, which no message waits for", async () => {
    const mcp = start(options("--interactive", "always"));
    mcp.send(INITIALIZE);
    await mcp.message();
    await behave({
      replies: {
        acquireTokenSilently: { kind: "broker_error", status: 2 },
        acquireTokenInteractively: { kind: "broker_error", status: 7 },
      },
    });
    server.deny = ({ method }) => method === "GET" ? challenge(401, 'error="invalid_token"') : undefined;
    mcp.send({ jsonrpc: "2.0", method: "notifications/initialized" });
    while ((await stage.broker.calls("acquireTokenSilently")).length < 2) await Bun.sleep(10);
    mcp.end();
    await mcp.ended();
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
  });

  // A step-up took the place of the scope that the person had named, to rule out the organisation's other apps.
  test("gives a server that asks for more no token for another app if the scope is named", async () => {
    server.deny = (request) =>
      tokenOf(request) === undefined
        ? challenge(401)
        : challenge(403, 'error="insufficient_scope", scope="api://payroll/read"');
    const named = start(options("--scope", "api://contoso/.default"));
    named.send(INITIALIZE);
    const { error } = await named.message() as { error: { message: string } };
    expect(error.message).toContain("asks for a token for another service: api://payroll/read");
    expect((await requests()).map(({ requestedScopes }) => requestedScopes)).toEqual([["api://contoso/.default"]]);

    await stage.broker.forgetCalls();
    server.deny = () => challenge(403, 'error="insufficient_scope", scope="api://contoso/write"');
    const own = start(options("--scope", "api://contoso/.default"));
    own.send(INITIALIZE);
    await own.message();
    expect((await requests()).map(({ requestedScopes }) => requestedScopes)).toContainEqual(["api://contoso/write"]);
  });

  test("opens the broker's window if it may, and one that the person closes ends only the request", async () => {
    await behave({
      replies: {
        acquireTokenSilently: { kind: "broker_error", status: 2 },
        acquireTokenInteractively: { kind: "broker_error", status: 7 },
      },
    });
    const mcp = start(options("--interactive", "always"));
    mcp.send(INITIALIZE);
    expect(await mcp.message()).toMatchObject({ id: 1, error: { code: -32000 } });
    expect((await stage.broker.calls("acquireTokenInteractively")).length).toBe(1);
    await behave({ replies: {} });
    mcp.send({ ...INITIALIZE, id: 2 });
    expect(await mcp.message()).toMatchObject({ id: 2, result: {} });
  });
});
