// latchkey token with a fake broker, and its formats by themselves.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readJwt } from "../../../lib/encoding.ts";
import { type Resource, startResource } from "../../fakes/resource.ts";
import { CLIENT_ID, CONTOSO, useStage } from "../../fixture.ts";
import { denoRun, LEAST_PERMISSIONS, LIBDBUS } from "../../tools/deno_command.ts";
import { latchkeyOf, runLatchkey, runProgram } from "../run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
const TOKEN = `token --client-id ${CLIENT_ID} --scope User.Read`;
const stage = useStage({ broker: {} }), { behave } = stage;

const latchkey = latchkeyOf(stage);
/** Returns what the broker was asked for last. */
const asked = async () => (await stage.broker.calls("acquireTokenSilently")).at(-1)?.request.authParameters;

describe("latchkey token", () => {
  test("prints the token alone", async () => {
    const { code, stdout, stderr } = await latchkey(TOKEN);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(JWT);
    expect(JSON.parse(atob(stdout.split(".")[1]!))).toMatchObject({ scp: "User.Read", upn: "jane@contoso.com" });
  });

  test("--format json has MSAL's names", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --format json`);
    const result = JSON.parse(stdout);
    expect({ code, keys: Object.keys(result).join(" "), account: Object.keys(result.account).join(" ") }).toEqual({
      code: 0,
      keys: "access_token token_type expires_in expires_on scope id_token id_token_claims account token_source " +
        "correlation_id",
      account: "home_account_id local_account_id username environment realm",
    });
    expect(result).toMatchObject({
      token_type: "Bearer",
      scope: "User.Read",
      id_token_claims: { preferred_username: "jane@contoso.com" },
      account: { username: "jane@contoso.com", environment: "login.microsoftonline.com", realm: CONTOSO },
      token_source: "broker",
    });
    expect(result.expires_on - Date.now() / 1000 - result.expires_in).toBeLessThan(60);
  });

  test("--format az prints the time of the machine's time zone, as Azure CLI does", async () => {
    // A process has one time zone.
    const options = { env: { TZ: "Asia/Kolkata" }, permissions: LEAST_PERMISSIONS };
    const az = JSON.parse((await latchkey(`${TOKEN} --format az`, options)).stdout);
    expect(az).toEqual({
      accessToken: expect.any(String),
      expiresOn: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000000$/),
      expires_on: expect.any(Number),
      subscription: CONTOSO,
      tenant: CONTOSO,
      tokenType: "Bearer",
    });
    expect(Date.parse(`${az.expiresOn.replace(" ", "T").slice(0, 19)}+05:30`) / 1000).toBe(az.expires_on);
  });

  test("--format claims prints what is in the token, and says that it is not verified", async () => {
    const { code, stdout, stderr } = await latchkey(`${TOKEN} --format claims`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("decoded and not verified") });
    expect(JSON.parse(stdout)).toMatchObject({ exp: expect.any(Number) });
    expect(stdout).not.toContain("eyJ");
  });

  test.each([
    ["https://management.core.windows.net/", "https://management.core.windows.net//.default"],
    ["https://vault.azure.net/.Default/", "https://vault.azure.net/.default"],
  ])("--resource %s asks for the scope %s", async (resource, scope) => {
    await latchkey(`token --client-id azure-cli --resource ${resource}`);
    expect(await asked()).toMatchObject({ clientId: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", requestedScopes: [scope] });
  });

  test("passes --scope, --tenant, --account and --claims on", async () => {
    const claims = '{"access_token":{"nbf":{"essential":true}}}';
    const line = `token --client-id ${CLIENT_ID} --scope a --tenant fabrikam.com --account JANE@contoso.com`;
    await latchkey(line, { more: ["--scope", "b c", "--claims", claims] });
    expect(await asked()).toMatchObject({
      requestedScopes: ["a", "b", "c"],
      authority: "https://login.microsoftonline.com/fabrikam.com",
      username: "jane@contoso.com",
      decodedClaims: claims,
    });
  });

  test("--force-refresh and --min-ttl renew what the broker has", async () => {
    const { stdout: first } = await latchkey(TOKEN);
    expect((await latchkey(TOKEN)).stdout).toBe(first);
    const { stdout: second } = await latchkey(`${TOKEN} --force-refresh`);
    expect(second).toMatch(JWT);
    expect(second).not.toBe(first);
    expect((await latchkey(`${TOKEN} --min-ttl 60`)).stdout).toBe(second);
    const { code, stdout: third, stderr } = await latchkey(`${TOKEN} --min-ttl 86400`);
    expect(third).not.toBe(second);
    expect({ code, warns: stderr.includes("sooner than --min-ttl") }).toEqual({ code: 0, warns: true });
  });

  test("--min-ttl throws no good token away when it cannot be renewed", async () => {
    for (const [status, code] of [[3, "no_network"], [2, "interaction_required"], [6, "refused"]] as const) {
      const refusal = { kind: "broker_error", after: 1, status, context: "no\u001b[31m" } as const;
      await behave({ replies: { acquireTokenSilently: refusal } });
      await stage.broker.forgetCalls();
      const run = await latchkey(`${TOKEN} --min-ttl 86400 --interactive never`);
      expect({ code: run.code, isToken: JWT.test(run.stdout) }).toEqual({ code: 0, isToken: true });
      const [, renewal] = await stage.broker.calls("acquireTokenSilently");
      expect(run.stderr.split("\n")).toEqual([
        `latchkey: the token could not be renewed: ${code}: The broker refused: no [31m ` +
        `(correlation id ${renewal!.correlationId})`,
        expect.stringMatching(/^latchkey: the token expires in \d+ s, sooner than --min-ttl asks for$/),
        "",
      ]);
    }
  });

  test("takes options from the environment, and the command line before them", async () => {
    const env = {
      LATCHKEY_CLIENT_ID: CLIENT_ID,
      LATCHKEY_SCOPE: "a b",
      LATCHKEY_FORMAT: "header",
      LATCHKEY_FORCE_REFRESH: "no",
    };
    const permissions = [LEAST_PERMISSIONS[0]!, `${LEAST_PERMISSIONS[1]},${Object.keys(env)}`];
    expect((await latchkey("token", { env, permissions })).stdout).toMatch(/^Authorization: Bearer [\w.-]+\n$/);
    expect((await asked())!.requestedScopes).toEqual(["a", "b"]);
    expect((await latchkey("token --format token --scope c", { env })).stdout).toMatch(JWT);
    expect((await asked())!.requestedScopes).toEqual(["c"]);
    for (
      const [name, value, says] of [
        ["LATCHKEY_FORMAT", "xml", "LATCHKEY_FORMAT takes token, json"],
        ["LATCHKEY_TIMEOUT", "soon", "LATCHKEY_TIMEOUT takes"],
        ["LATCHKEY_FORCE_REFRESH", "perhaps", "LATCHKEY_FORCE_REFRESH takes"],
      ] as const
    ) {
      const run = await latchkey("token", { env: { ...env, [name]: value } });
      expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining(says) });
    }
  });

  test("leaves to other commands what they alone know in the environment", async () => {
    const run = (line: string, format: string) =>
      latchkey(line, { env: { LATCHKEY_CLIENT_ID: CLIENT_ID, LATCHKEY_FORMAT: format } });
    expect(await run("accounts", "az")).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@") });
    expect(await run("token --scope a", "text")).toMatchObject({ code: 0, stdout: expect.stringMatching(JWT) });
    const says = expect.stringContaining("--format takes text, json");
    expect(await run("accounts --format az", "json")).toMatchObject({ code: 2, stderr: says });
  });

  test("-v tells on stderr what is done, and no secret", async () => {
    const { stdout, stderr } = await latchkey(`${TOKEN} -vv`);
    expect(stderr).toContain("info The broker (linux) is active");
    expect(stderr).not.toContain(stdout.trim());
    for (const part of stdout.trim().split(".").slice(1)) expect(stderr).not.toContain(part);
  });
});

describe("latchkey token that fails", () => {
  test("says so on stderr, in JSON on stdout, and by its exit code", async () => {
    const context = "AADSTS65001: consent is missing. \u001b]0;title\u0007\u202e";
    const refusal = { kind: "broker_error", status: 2, subStatus: 5, tag: 7, errorCode: -3, context } as const;
    await behave({ replies: { acquireTokenSilently: refusal } });
    const plain = await latchkey(TOKEN);
    expect({ code: plain.code, stdout: plain.stdout }).toEqual({ code: 3, stdout: "" });
    expect(plain.stderr).toContain(
      "error: interaction_required\nerror_description: AADSTS65001: consent is missing.  ]0;title\n",
    );
    expect(plain.stderr).toContain("https://login.microsoftonline.com/error?code=65001");
    expect(plain.stderr).toMatch(/correlation_id: [0-9a-f-]{36}\ntime: \d{4}-/);
    expect(plain.stderr).not.toMatch(/[^\n\x20-\x7e]/);
    const json = await latchkey(`${TOKEN} --format json`);
    expect({ code: json.code, ...JSON.parse(json.stdout) }).toMatchObject({
      code: 3,
      error: "interaction_required",
      error_codes: [65001],
      correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      broker: { status: 2, sub_status: 5, tag: 7, error_code: -3 },
    });
  });

  test("says where to consent, whatever the command and the tenant", async () => {
    const missing = { kind: "broker_error", status: 2, context: "AADSTS65001: consent" } as const;
    await behave({ replies: { acquireTokenSilently: missing, acquireTokenInteractively: missing } });
    const hint = (tenant: string) =>
      `consent: https://login.microsoftonline.com/${tenant}/oauth2/v2.0/authorize?client_id=${CLIENT_ID}`;
    for (const line of [TOKEN, `${TOKEN} --interactive always`, `login --client-id ${CLIENT_ID}`]) {
      expect((await latchkey(line)).stderr).toContain(hint("common"));
      const json = await latchkey(`${line} --tenant fabrikam.com --format json`);
      expect({ code: json.code, ...JSON.parse(json.stdout) }).toMatchObject({
        code: 3,
        error_codes: [65001],
        hint: expect.stringContaining(hint("fabrikam.com")),
        broker: { status: 2 },
        correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      });
    }
  });

  test.each([[3, 5], [4, 5], [6, 1], [7, 4], [9, 1], [11, 1], [13, 3], [19, 3], [99, 1]])(
    "status %d on the wire exits with %d",
    async (status, exit) => {
      await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status } } });
      expect((await latchkey(TOKEN)).code).toBe(exit);
    },
  );

  test("--timeout ends it, and what comes before it", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const { code, stdout } = await latchkey(`${TOKEN} --timeout 0.2 --format json`);
    expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "timed_out" });
    await behave({ noPing: true });
    expect((await latchkey(`${TOKEN} --timeout 0.2`)).code).toBe(4);
    await behave({ replies: { getAccounts: { kind: "hang" } } });
    expect((await latchkey(`accounts --client-id ${CLIENT_ID} --timeout 0.2`)).code).toBe(4);
  });

  test("exits with 3 when there is no broker, and nobody may be asked; with 5 when it is required; says why", async () => {
    const nobody = { env: { DBUS_SESSION_BUS_ADDRESS: `unix:path=${stage.bus.directory}/nobody` } };
    for (const options of ["", " --interactive never"]) {
      const { code, stderr } = await latchkey(`${TOKEN}${options}`, nobody);
      expect(code).toBe(3);
      expect(stderr).toContain("error: interaction_required\n");
      expect(stderr).toMatch(
        /^hint: Sign in: `latchkey login --client-id \S+ --scope \S+`.*There was no broker to ask: Cannot start the broker: /m,
      );
      // In a container or over SSH a bus' address is no way on.
      expect(stderr).toContain("see latchkey serve --help");
    }
    const { code, stderr } = await latchkey(`${TOKEN} --broker require`, nobody);
    expect(code).toBe(5);
    expect(stderr).toContain("error: broker_unavailable\nerror_description: Cannot start the broker: ");
    expect(await latchkey(`${TOKEN} --broker never`)).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^hint: Sign in: latchkey login --client-id \S+ --broker never --scope \S+$/m),
    });
    expect(await stage.broker.calls()).toEqual([]);
  });

  testOfSources("names what Deno has to permit, and never asks", async () => {
    for (
      const [permission, missing] of [
        [LEAST_PERMISSIONS[1]!, `--allow-ffi=${LIBDBUS}`],
        [LEAST_PERMISSIONS[0]!, "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR"],
      ] as const
    ) {
      const run = await latchkey(TOKEN, { permissions: [permission] });
      expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining(missing) });
    }
  });
});

describe("latchkey token where a user is needed", () => {
  const MFA = { kind: "broker_error", status: 2, context: "AADSTS50076: MFA" } as const;
  const TERMINALS = { terminals: ["stdin", "stderr"] } as const;
  const windows = async () => (await stage.broker.calls("acquireTokenInteractively")).length;

  test("--interactive auto asks nobody where there is no terminal", async () => {
    await behave({ replies: { acquireTokenSilently: MFA } });
    expect([(await latchkey(TOKEN)).code, await windows()]).toEqual([3, 0]);
  });

  test("--interactive auto opens the window at a terminal, though standard output is a pipe", async () => {
    await behave({ replies: { acquireTokenSilently: MFA } });
    const command = [...latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]), ...TOKEN.split(" ")];
    const file = join(stage.folder, "token"), quoted = command.map((word) => `'${word}'`).join(" ");
    const atTerminal = ["script", "-qec", `${quoted} > '${file}'`, "/dev/null"];
    const env = { PATH: process.env.PATH!, DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
    expect((await runProgram(atTerminal, env)).code).toBe(0);
    expect(readFileSync(file, "utf8")).toMatch(JWT);
    expect(await windows()).toBe(1);
  });

  testOfSources("--min-ttl asks the user for a token that lasts, where it may, and once", async () => {
    await behave({ replies: { acquireTokenSilently: { ...MFA, after: 1 } } });
    const { stderr } = await latchkey(`${TOKEN} --min-ttl 86400`, TERMINALS);
    expect(stderr).toMatch(/sign in at the window[^]*sooner than --min-ttl/);
    expect(await windows()).toBe(1);
    await behave({ replies: { acquireTokenSilently: MFA } });
    await stage.broker.forgetCalls();
    expect(await latchkey(`${TOKEN} --min-ttl 86400 --interactive always`)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("could not be renewed: interaction_required: "),
    });
    expect(await windows()).toBe(1);
  });

  test("--interactive always asks for no silent token", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --interactive always --account jane@contoso.com`);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(JWT) });
    expect(await asked()).toBeUndefined();
    const { authParameters } = await stage.requestOf("acquireTokenInteractively");
    expect(authParameters).toMatchObject({ username: "jane@contoso.com" });
  });

  // Since 2.5 the broker's message has no AADSTS number, but the server's error between quotation marks.
  test.each([
    [{ status: 2, subError: "token_expired" }, 3, "Sign in again: latchkey login"],
    [{ status: 0, error: "invalid_grant" }, 3, "Sign in: latchkey login"],
    [{ status: 2, subError: "device_authentication_failed" }, 3, "Register the device again"],
    [{ status: 2, error: "invalid_client" }, 1, "Check --client-id"],
    [{ status: 2, error: "temporarily_unavailable" }, 5, "Try again in a minute"],
  ])("exits by the server's error in the message: %j", async (refusal, exit, hint) => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", ...refusal } } });
    const { code, stdout } = await latchkey(`${TOKEN} --interactive never --format json`);
    const { error, subError } = { error: "invalid_grant", subError: undefined, ...refusal };
    const { suberror, ...rest } = JSON.parse(stdout);
    expect({ code, suberror }).toEqual({ code: exit, suberror: subError });
    expect(rest).toMatchObject({ error, hint: expect.stringContaining(hint) });
  });

  test("names the redirect URI that is missing, and the command for it", async () => {
    const refusal = { kind: "broker_error", status: 6, context: "(pii)", tag: 557973642 } as const;
    await behave({ replies: { acquireTokenSilently: { ...refusal, errorCode: -895352823 } } });
    const { code, stderr } = await latchkey(TOKEN);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error_description: The broker refused: status 6, tag 557973642, code 0xcaa20009$/m);
    const uri = "https://login.microsoftonline.com/common/oauth2/nativeclient";
    expect(stderr).toContain(`hint: Add the redirect URI ${uri} to the app registration ${CLIENT_ID} (`);
    expect(stderr).toMatch(/^hint: .*; see latchkey app$/m);
  });
});

describe("latchkey token --pop", () => {
  const GET = ["--pop", "GET https://api.contoso.com/"];

  test("binds the token to a request", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --format header`, {
      more: ["--pop", "POST https://api.contoso.com/orders"],
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^Authorization: pop [\w.-]+\n$/) });
    const bound = { httpMethod: "POST", uriHost: "api.contoso.com", uriPath: "/orders" };
    expect((await asked())!.popParams).toMatchObject(bound);
    for (const pop of ["POST", "https://api.contoso.com", "GET ftp://a", "a b c"]) {
      expect((await latchkey(TOKEN, { more: ["--pop", pop] })).code).toBe(2);
    }
  });

  test("signs --nonce with the request, and with nothing else", async () => {
    const { stdout } = await latchkey(TOKEN, { more: [...GET, "--nonce", "n-1"] });
    expect(readJwt(stdout.trim())).toMatchObject({ m: "GET", p: "/", nonce: "n-1" });
    const says = expect.stringContaining("--nonce goes with --pop");
    expect(await latchkey(`${TOKEN} --nonce n-1`)).toMatchObject({ code: 2, stderr: says });
  });

  test("says which broker cannot, and that none can", async () => {
    await behave({ sender: "himmelblau-2.0" });
    expect(await latchkey(TOKEN, { more: GET })).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("hint: This broker cannot bind tokens"),
    });
    expect(await latchkey(`${TOKEN} --broker never`, { more: GET })).toEqual({
      code: 5,
      stdout: "",
      stderr: expect.stringMatching(
        /Only a broker binds tokens to requests[^]*hint: Ask without --pop.*\. There was no broker to ask: \S/,
      ),
    });
    const env = { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" };
    for (const interactive of ["never", "always"]) {
      expect(await latchkey(`${TOKEN} --interactive ${interactive}`, { env, more: GET })).toEqual({
        code: 5,
        stdout: "",
        stderr: expect.stringMatching(/There was no broker to ask: .*bus/),
      });
    }
  });
});

// As an agent runs it for an MCP server.
describe("latchkey token --format headers", () => {
  const SCOPE = "api://contoso/tools", TENANT = "33333333-2222-4333-8444-555555555555";
  const AUTHORITY = "https://login.microsoftonline.com";
  const HEADERS = /^\{"Authorization":"Bearer [\w-]+\.[\w-]+\.[\w-]+"\}\n$/;
  let server: Resource, metadata: unknown;
  beforeAll(async () => {
    server = await startResource(({ path }) => {
      if (path === "/metadata") return { body: metadata };
      const challenge = `Bearer resource_metadata="${server.origin}/metadata"`;
      return { status: 401, headers: { "www-authenticate": challenge } };
    });
  });
  beforeEach(() => {
    server.requests.length = 0;
    metadata = {
      resource: `${server.origin}/mcp`,
      authorization_servers: [`${AUTHORITY}/${TENANT}/v2.0`],
      scopes_supported: [SCOPE],
    };
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const environment = () => ({
    DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    CLAUDE_CODE_MCP_SERVER_URL: `${server.origin}/mcp`,
  });
  const words = ["token", "--client-id", CLIENT_ID, "--format", "headers"];
  const headers = (...more: readonly string[]) => runLatchkey([...words, ...more], { env: environment() });

  test.each(TESTED_PATHS)("has a token for the scope and the tenant that the server names on $name", async (path) => {
    const { code, stdout, stderr } = await runProgram([...latchkeyBy(path.program()), ...words], environment());
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(HEADERS);
    expect(await asked()).toMatchObject({ requestedScopes: [SCOPE], authority: `${AUTHORITY}/${TENANT}` });
    expect(server.requests.map(({ headers }) => headers.authorization)).not.toContainEqual(expect.anything());
  });

  test("asks the server for nothing if the scope or resource is given", async () => {
    for (const more of [["--scope", "User.Read"], ["--resource", "api://contoso"]]) {
      expect((await headers(...more)).stdout).toMatch(HEADERS);
    }
    expect(server.requests).toEqual([]);
    expect(await asked()).toMatchObject({ requestedScopes: ["api://contoso/.default"] });
  });

  test("sends nothing to the server without an app; other formats need a scope", async () => {
    const run = (...more: string[]) => runLatchkey(["token", ...more], { env: environment() });
    expect(await run("--format", "headers")).toMatchObject({ code: 2, stderr: expect.stringContaining("--client-id") });
    expect(await run("--client-id", CLIENT_ID)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--scope or"),
    });
    expect(server.requests).toEqual([]);
  });

  testOfSources("opens no window at a terminal, unless it is told to", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const terminals = ["stdin", "stdout", "stderr"] as const, more = ["--scope", "User.Read"];
    expect((await runLatchkey([...words, ...more], { env: environment(), terminals })).code).toBe(3);
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
    expect((await headers(...more, "--interactive", "always")).code).toBe(0);
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("has no token for a server whose metadata is another one's", async () => {
    metadata = { resource: "https://graph.microsoft.com/", scopes_supported: [SCOPE] };
    const says = expect.stringContaining("untrusted_authority");
    expect(await headers()).toMatchObject({ code: 1, stdout: "", stderr: says });
    expect(await asked()).toBeUndefined();
  });
});
