// The command line on a real bus, with Deno's least permissions.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Behaviour } from "../fakes/behaviour.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { LEAST_PERMISSIONS, LIBDBUS } from "../tools/deno_command.ts";
import { runDeno, runLatchkey, type RunOptions } from "./run_latchkey.ts";
import { testOfLibdbus, testOfSources } from "./tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const CONTOSO = "11111111-1111-1111-1111-111111111111";
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
const NORMAL: Behaviour = {
  sender: "microsoft-2.5.2",
  accounts: [{ username: "jane@contoso.com", name: "Jane Doe" }],
  replies: {},
  tokenLifetimeSeconds: 4000,
};

let bus: PrivateBus;
let broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});
beforeEach(async () => {
  await broker.behave(NORMAL);
  await broker.forgetCalls();
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

const latchkey = (line: string, options: RunOptions = {}) =>
  runLatchkey(line.split(" ").filter(Boolean), {
    ...options,
    env: { DBUS_SESSION_BUS_ADDRESS: bus.address, ...options.env },
  });
const withEnvironment = (
  ...names: string[]
) => [LEAST_PERMISSIONS[0]!, `--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,${names}`];
const TOKEN = `token --client-id ${CLIENT_ID} --scope User.Read`;

describe("latchkey token", () => {
  test("prints the token alone", async () => {
    const { code, stdout, stderr } = await latchkey(TOKEN);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(JWT);
    expect(JSON.parse(atob(stdout.split(".")[1]!))).toMatchObject({ scp: "User.Read", upn: "jane@contoso.com" });
  });

  test("--format json has what design and MSAL call it", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --format json`);
    const answer = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(Object.keys(answer)).toEqual([
      ...["access_token", "token_type", "expires_in", "expires_on", "scope", "id_token", "id_token_claims"],
      ...["account", "token_source", "correlation_id"],
    ]);
    expect(answer).toMatchObject({
      token_type: "Bearer",
      scope: "User.Read",
      id_token_claims: { preferred_username: "jane@contoso.com" },
      account: { username: "jane@contoso.com", environment: "login.microsoftonline.com", realm: CONTOSO },
      token_source: "broker",
    });
    expect(Object.keys(answer.account)).toEqual([
      "home_account_id",
      "local_account_id",
      "username",
      "environment",
      "realm",
    ]);
    expect(answer.expires_on - Date.now() / 1000 - answer.expires_in).toBeLessThan(60);
  });

  test("--format header, env and az print for curl, shells and Azure CLI's friends", async () => {
    expect((await latchkey(`${TOKEN} --format header`)).stdout).toMatch(/^Authorization: Bearer [\w.-]+\n$/);
    expect((await latchkey(`${TOKEN} --format env`)).stdout).toMatch(
      /^ACCESS_TOKEN=[\w.-]+\nTOKEN_TYPE=Bearer\nEXPIRES_ON=\d{10}\n$/,
    );
    const az = JSON.parse(
      (await latchkey(`${TOKEN} --format az`, {
        env: { TZ: "Asia/Kolkata" },
        permissions: LEAST_PERMISSIONS, // a process has one time zone
      })).stdout,
    );
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

  test("--resource asks for the default scope, and keeps a slash", async () => {
    await latchkey("token --client-id azure-cli --resource https://management.core.windows.net/");
    const { authParameters } = (await broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters).toMatchObject({
      clientId: "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
      requestedScopes: ["https://management.core.windows.net//.default"],
    });
  });

  test("--resource may have the /.default that it stands for", async () => {
    await latchkey("token --client-id azure-cli --resource https://vault.azure.net/.Default/");
    const { authParameters } = (await broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters.requestedScopes).toEqual(["https://vault.azure.net/.default"]);
  });

  test("passes --scope, --tenant, --account and --claims on", async () => {
    const claims = '{"access_token":{"nbf":{"essential":true}}}';
    await runLatchkey(
      [
        ..."token --scope a --scope".split(" "),
        "b c",
        "--client-id",
        CLIENT_ID,
        "--tenant",
        "fabrikam.com",
        "--account",
        "JANE@contoso.com",
        "--claims",
        claims,
      ],
      { env: { DBUS_SESSION_BUS_ADDRESS: bus.address } },
    );
    const { authParameters } = (await broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters).toMatchObject({
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
    const refusal = { kind: "broker_error", after: 1 } as const;
    for (const [status, code] of [[3, "no_network"], [2, "interaction_required"], [6, "refused"]] as const) {
      await broker.behave({ replies: { acquireTokenSilently: { ...refusal, status, context: "no\u001b[31m" } } });
      await broker.forgetCalls();
      const run = await latchkey(`${TOKEN} --min-ttl 86400 --interactive never`);
      expect({ code: run.code, isToken: JWT.test(run.stdout) }).toEqual({ code: 0, isToken: true });
      const [first, second] = run.stderr.split("\n"), [, renewal] = await broker.calls("acquireTokenSilently");
      expect(first).toBe(
        `latchkey: the token could not be renewed: ${code}: The broker refused: no [31m ` +
          `(correlation id ${renewal!.correlationId})`,
      );
      expect(second).toMatch(/^latchkey: the token expires in \d+ s, sooner than --min-ttl asks for$/);
    }
  });

  test("takes options from the environment, and the command line before them", async () => {
    const env = {
      LATCHKEY_CLIENT_ID: CLIENT_ID,
      LATCHKEY_SCOPE: "a b",
      LATCHKEY_FORMAT: "header",
      LATCHKEY_FORCE_REFRESH: "no",
    };
    const permissions = withEnvironment(...Object.keys(env));
    expect((await latchkey("token", { env, permissions })).stdout).toStartWith("Authorization: Bearer ");
    expect((await latchkey("token --format token --scope c", { env, permissions })).stdout).toMatch(JWT);
    expect((await broker.calls("acquireTokenSilently")).map(({ request }) => request.authParameters.requestedScopes))
      .toEqual([["a", "b"], ["c"]]);
    const wrong = await latchkey("token", { env: { ...env, LATCHKEY_FORMAT: "xml" }, permissions });
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("LATCHKEY_FORMAT takes token, json") });
    for (const [name, value] of [["LATCHKEY_TIMEOUT", "soon"], ["LATCHKEY_FORCE_REFRESH", "perhaps"]] as const) {
      const { code, stderr } = await latchkey("token", {
        env: { ...env, [name]: value },
        permissions: withEnvironment(...Object.keys(env), name),
      });
      expect({ code, names: stderr.includes(`${name} takes`) }).toEqual({ code: 2, names: true });
    }
  });

  test("leaves to other commands what they alone know in the environment", async () => {
    const permissions = withEnvironment("LATCHKEY_CLIENT_ID", "LATCHKEY_FORMAT");
    const run = (line: string, format: string) =>
      latchkey(line, { env: { LATCHKEY_CLIENT_ID: CLIENT_ID, LATCHKEY_FORMAT: format }, permissions });
    expect(await run("accounts", "az")).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@") });
    expect(await run("token --scope a", "text")).toMatchObject({ code: 0, stdout: expect.stringMatching(JWT) });
    expect(await run("accounts --format az", "json")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--format takes text, json"),
    });
  });

  test("takes no --url from the environment: a cookie's is not that of a signed request", async () => {
    const env = { LATCHKEY_URL: "https://api.contoso.com/" }, permissions = withEnvironment("LATCHKEY_URL");
    expect(await latchkey(`sign --client-id ${CLIENT_ID}`, { env, permissions })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--url is missing"),
    });
    expect((await latchkey(`cookie --client-id ${CLIENT_ID}`, { env, permissions })).code).toBe(0);
    const [call] = await broker.calls("acquirePrtSsoCookie");
    expect(call!.request.ssoUrl).toBe("https://login.microsoftonline.com/");
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
    await broker.behave({
      replies: {
        acquireTokenSilently: { kind: "broker_error", status: 2, subStatus: 5, tag: 7, errorCode: -3, context },
      },
    });
    const plain = await latchkey(TOKEN);
    expect({ code: plain.code, stdout: plain.stdout }).toEqual({ code: 3, stdout: "" });
    expect(plain.stderr).toContain(
      "error: interaction_required\nerror_description: AADSTS65001: consent is missing.  ]0;title\n",
    );
    expect(plain.stderr).toContain("https://login.microsoftonline.com/error?code=65001");
    expect(plain.stderr).toMatch(/correlation_id: [0-9a-f-]{36}\ntime: \d{4}-/);
    expect(plain.stderr).not.toMatch(/[^\n\x20-\x7e]/);
    const json = await latchkey(`${TOKEN} --format json`);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({
      error: "interaction_required",
      error_codes: [65001],
      correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      broker: { status: 2, sub_status: 5, tag: 7, error_code: -3 },
    });
  });

  test("says where to consent, whatever the command and the tenant", async () => {
    const missing = { kind: "broker_error", status: 2, context: "AADSTS65001: consent" } as const;
    await broker.behave({ replies: { acquireTokenSilently: missing, acquireTokenInteractively: missing } });
    const hint = (tenant: string) =>
      `consent: https://login.microsoftonline.com/${tenant}/oauth2/v2.0/authorize?client_id=${CLIENT_ID}`;
    for (const line of [TOKEN, `${TOKEN} --interactive always`, `login --client-id ${CLIENT_ID}`]) {
      expect((await latchkey(line)).stderr).toContain(hint("common"));
      const json = await latchkey(`${line} --tenant fabrikam.com --format json`);
      expect(json.code).toBe(3);
      expect(JSON.parse(json.stdout)).toMatchObject({
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
      await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status } } });
      expect((await latchkey(TOKEN)).code).toBe(exit);
    },
  );

  test("--timeout ends it", async () => {
    await broker.behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const { code, stdout } = await latchkey(`${TOKEN} --timeout 0.2 --format json`);
    expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "timed_out" });
  });

  test("--timeout ends what comes before it, too", async () => {
    await broker.behave({ noPing: true });
    expect((await latchkey(`${TOKEN} --timeout 0.2`)).code).toBe(4);
    await broker.behave({ noPing: false, replies: { getAccounts: { kind: "hang" } } });
    expect((await latchkey(`accounts --client-id ${CLIENT_ID} --timeout 0.2`)).code).toBe(4);
  });

  test("exits with 3 when there is no broker, and nobody may be asked; with 5 when it is required; says why", async () => {
    const nobody = { env: { DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus.directory}/nobody` } };
    for (const options of ["", "--interactive never"]) {
      const { code, stderr } = await latchkey(`${TOKEN} ${options}`, nobody);
      expect(code).toBe(3);
      expect(stderr).toContain("error: interaction_required\n");
      expect(stderr).toMatch(
        /^hint: Sign in: `latchkey login --client-id \S+ --scope \S+`.*There was no broker to ask: Cannot start the broker: /m,
      );
      // In a container or over SSH a bus' address is no way on.
      expect(stderr).toContain("latchkey serve --forward SOCKET -- COMMAND here");
    }
    const { code, stderr } = await latchkey(`${TOKEN} --broker require`, nobody);
    expect(code).toBe(5);
    expect(stderr).toContain("error: broker_unavailable\nerror_description: Cannot start the broker: ");
    expect(await latchkey(`${TOKEN} --broker never`)).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^hint: Sign in: latchkey login --client-id \S+ --broker never --scope \S+$/m),
    });
    expect(await broker.calls()).toEqual([]);
  });

  testOfSources("names what Deno has to permit, and never asks", async () => {
    const without = (permissions: string[]) => latchkey(TOKEN, { permissions });
    expect(await without([LEAST_PERMISSIONS[1]!])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`--allow-ffi=${LIBDBUS}`),
    });
    expect(await without([LEAST_PERMISSIONS[0]!])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR"),
    });
  });
});

describe("latchkey accounts", () => {
  test("lists them, a line each", async () => {
    await broker.behave({
      accounts: [{ username: "jane@contoso.com", name: "Jane\t\u001b[31mDoe\n\u202e" }, {
        username: "joe@contoso.com",
      }],
    });
    const { stdout } = await latchkey(`accounts --client-id ${CLIENT_ID}`);
    const [jane, joe, end] = stdout.split("\n");
    expect(jane).toMatch(
      new RegExp(`^jane@contoso\\.com\t[0-9a-f-]{36}\\.${CONTOSO}\tJane\ufffd\ufffd\\[31mDoe\ufffd\ufffd\t${CONTOSO}$`),
    );
    expect([joe!.split("\t")[0], end]).toEqual(["joe@contoso.com", ""]);
    expect((await latchkey(`accounts --client-id ${CLIENT_ID} --account JOE@contoso.com`)).stdout).toBe(`${joe}\n`);
  });

  test("--format json has every field, and nothing that a terminal would obey", async () => {
    await broker.behave({ accounts: [{ username: "jane@contoso.com", name: "Jane \u202e\u009b" }] });
    const { stdout } = await latchkey(`accounts --client-id ${CLIENT_ID} --format json`);
    expect(stdout).toContain('"Jane \\u202e\\u009b"');
    const [jane] = JSON.parse(stdout);
    expect(Object.keys(jane)).toEqual([
      "home_account_id",
      "local_account_id",
      "username",
      "name",
      "environment",
      "realm",
      "source",
    ]);
    expect(jane).toMatchObject({
      username: "jane@contoso.com",
      name: "Jane \u202e\u009b",
      realm: CONTOSO,
      source: "broker",
    });
  });

  test("says why there are none without a broker, and exits with 5 when it is required", async () => {
    const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus.directory}/nobody` };
    // Neither a broker nor a token cache can be asked: an empty list would be a lie.
    const neither = await latchkey(`accounts --client-id ${CLIENT_ID} --store memory --format json`, { env });
    expect(neither).toMatchObject({
      code: 5,
      stdout: expect.stringContaining('{"error":"broker_unavailable"'),
      stderr: expect.stringMatching(
        /There is no account: nothing is stored for this app, and no broker could be asked: Cannot start the broker: /,
      ),
    });
    const required = await latchkey(`accounts --client-id ${CLIENT_ID} --broker require`, { env });
    expect(required).toMatchObject({ code: 5, stdout: "" });
  });

  test("says when there are none", async () => {
    await broker.behave({ accounts: [] });
    expect(await latchkey(`accounts --client-id ${CLIENT_ID}`)).toEqual({
      code: 3,
      stdout: "",
      stderr: `latchkey: there is no account. Sign in: latchkey login --client-id ${CLIENT_ID}\n`,
    });
    expect(await latchkey(`accounts --client-id ${CLIENT_ID} --format json`)).toMatchObject({
      code: 3,
      stdout: "[]\n",
    });
    const off = await latchkey(`accounts --client-id ${CLIENT_ID} --broker never --store memory --format json`);
    expect(off).toMatchObject({ code: 3, stdout: expect.stringContaining('{"error":"account_not_found"') });
  });
});

describe("latchkey CONFIG.json", () => {
  async function withConfig(config: unknown, options = "") {
    const path = `${bus.directory}/parameters.json`;
    writeFileSync(path, typeof config === "string" ? config : JSON.stringify(config));
    return await latchkey(`${path} ${options}`, { permissions: [...LEAST_PERMISSIONS, `--allow-read=${path}`] });
  }

  test("runs the documented pattern", async () => {
    const config = {
      client_id: CLIENT_ID,
      authority: "https://login.microsoftonline.com/common",
      scope: ["User.Read"],
    };
    expect((await withConfig({ ...config, username: "jane@contoso.com" })).stdout).toMatch(JWT);
    expect((await withConfig(config)).stdout).toMatch(JWT);
    expect(JSON.parse((await withConfig({ ...config, scope: "User.Read Mail.Read" }, "--format json")).stdout).scope)
      .toBe("User.Read Mail.Read");
  });

  test("prints error, description, correlation id and the consent URL", async () => {
    await broker.behave({
      replies: { acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS65001: consent" } },
    });
    const { code, stdout, stderr } = await withConfig({ client_id: CLIENT_ID, scope: ["User.Read"] });
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toMatch(/^error: .*\nerror_description: .*\n/m);
    expect(stderr).toMatch(/^correlation_id: [0-9a-f-]{36}$/m);
    expect(stderr).toContain(`https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=${CLIENT_ID}`);
  });

  test.each([["{}"], ["nonsense"], ['{"client_id":"x"}'], ['{"client_id":"x","scope":[1]}'], ["null"], [
    '{"client_id":"x","scope":["a"],"username":1}',
  ]])(
    "refuses %s as wrong usage",
    async (config) => {
      const { code, stderr } = await withConfig(config);
      expect({ code, names: stderr.includes("parameters.json") }).toEqual({ code: 2, names: true });
    },
  );

  testOfSources("names the permission to read it, and does not ask for it", async () => {
    const { code, stderr } = await latchkey("parameters.json", { permissions: LEAST_PERMISSIONS });
    expect({ code, names: stderr.includes("Run deno with --allow-read=parameters.json") }).toEqual({
      code: 1,
      names: true,
    });
  });

  test("refuses a file that is not there as wrong usage", async () => {
    const run = await latchkey("nobody.json", { permissions: [...LEAST_PERMISSIONS, "--allow-read=nobody.json"] });
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('"nobody.json": there is no such file') });
  });
});

describe("latchkey", () => {
  test("--help and --version need no permission", async () => {
    const overview = await latchkey("--help", { permissions: [] });
    expect(overview).toMatchObject({ code: 0, stderr: "" });
    for (const command of ["token", "accounts", "CONFIG.json"]) expect(overview.stdout).toContain(`  ${command} `);
    for (const command of ["token", "accounts"]) {
      const help = await latchkey(`${command} --help`, { permissions: [] });
      expect(help).toMatchObject({ code: 0, stderr: "" });
      expect(help.stdout).toContain(`\n  latchkey ${command} `);
      expect((await latchkey(`help ${command}`, { permissions: [] })).stdout).toBe(help.stdout);
    }
    const { version } = await Bun.file(new URL("../../deno.json", import.meta.url)).json();
    expect(await latchkey("--version", { permissions: [] })).toEqual({
      code: 0,
      stdout: `latchkey ${version}\n`,
      stderr: "",
    });
  });

  testOfSources("--version --format json tells what runs it, and that it is not built", async () => {
    const { code, stdout, stderr } = await latchkey("--version --format json", { permissions: [] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      runtime: { name: "Deno", version: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
      build: { kind: "source", target: null, commit: null },
      parser: "stand-in for @std/cli",
    });
  });

  test.each([
    ["--version extra", '"extra" is not an option of --version'],
    ["--version --format xml", "--format takes text, json"],
    ["--version --formt json", "did you mean --format?"],
    ["", "A command is missing"],
    ["tokn", "did you mean token?"],
    ["acounts", "did you mean accounts?"],
    ["xx", 'There is no command "xx"\n'], // every letter of az would be wrong
    ["za", "did you mean az?"],
    ["ap", "did you mean app?"],
    ["--client-id x token", "before a command"],
    ["token --scop a", "did you mean --scope?"],
    ["token --client_id a", "did you mean --client-id?"],
    ["token --no-verbose", "There is no option"],
    ["token --client-id", "--client-id needs a value"],
    ["token --client-id= --scope a", "--client-id needs a value"],
    ["token --client-id azure-cli --resource=", "--resource needs a value"],
    ["token --scope a", "--client-id is missing"],
    ["token --client-id azure-cl --scope a", "did you mean azure-cli?"],
    ["token --client-id azure-cli", "--scope or --resource is missing"],
    ["token --client-id azure-cli --scope a --resource b", "not both"],
    ["token --client-id azure-cli --scope a extra", '"extra" is not an option of token'],
    ["token --client-id azure-cli --scope a --broker maybe", "--broker takes auto, require, never"],
    ["token --client-id azure-cli --scope a --format xml", "--format takes"],
    ["token --client-id azure-cli --scope a --timeout soon", "--timeout takes a number of seconds"],
    ["token --client-id azure-cli --scope a --min-ttl -5", "There is no option -5"],
    ["token --client-id azure-cli --scope a --claims x", "claims must be a JSON object"],
    ["token --client-id azure-cli --scope ä", "is not a scope"],
    ["token --client-id azure-cli --scope a --authority common", "it is not a URL"],
    ["token --client-id azure-cli --scope a --__proto__ x", "There is no option"],
    ["token --client-id azure-cli --scope a --tenant ../x", "neither an id nor a domain"],
    ["token --client-id azure-cli --scope a,b", "separated by spaces"],
    ["token --client-id azure-cli --resource graph.microsoft.com", "--resource takes a URL"],
    [`token --client-id azure-cli --resource ${"0".repeat(36)}/.defaults`, "--resource takes a URL"],
    ["token --client-id azure-cli --scope a --timeout 0", "--timeout takes a number of seconds"],
    ["token --client-id azure-cli --scope openid", "scopes must name more than openid"],
    ["token --client-id azure-cli --scope a --tenant b --authority login.microsoftonline.us", "it is not a URL"],
    ["token -x", "There is no option -x"],
    ["token --client-id azure-cli --scope a --interactive always --port 0", "--port takes a port, 1 to 65535"],
    ["login --client-id azure-cli --port 65536", "--port takes a port, 1 to 65535"],
    ["login --client-id azure-cli --device-code --broker require", "No broker has device codes"],
    ["login --client-id azure-cli --device-code --prompt login", "has no --prompt"],
    ["login --client-id azure-cli --device-code --port 8400", "has no --port"],
    ["login --client-id azure-cli --device-code --no-browser", "has no --no-browser"],
    ["token --client-id azure-cly --scope a", "did you mean azure-cli?"],
    [
      "token --client-id azure-cly --scope a --authority https://login.microsoftonline.com/contoso.com",
      "mean azure-cli?",
    ],
    ["token --client-id x --scope a --authority https://contoso.ciamlogin.com", "--client-id takes a GUID"],
    ["token --client-id x --scope a --authority https://contoso.b2clogin.com/contoso.com/b2c_1_in", "takes a GUID"],
    ["--verison", "did you mean --version?"],
    ["-V", "did you mean --version?"],
    ["version", "did you mean --version?"],
    ["signin", "did you mean login?"],
    ["sign-in", "did you mean login?"],
    ["signout", "did you mean logout?"],
    ["account", "did you mean accounts?"],
    ["list", "did you mean accounts?"],
    ["profiles", "the profiles are in /"],
    ["get_token", "did you mean token?"],
    ["--profiles", "the profiles are in /"],
    ["get-token", "did you mean token?"],
    ["-W", "There is no option -W before a command\n"],
    ["token --client-id azure-cli --resource htps://graph.microsoft.com", "did you mean https://graph.microsoft.com?"],
    ["token --client-id azure-cli --resource graph.microsoft.com", "did you mean https://graph.microsoft.com?"],
    ["token --client-id azure-cli --scope htps://graph.microsoft.com/.default", "did you mean https://graph.microsoft"],
    [
      "login --profile work",
      "--client-id is missing, and the profile work has none. To store one in it: latchkey login",
    ],
    [
      "token --client-id azure-cli --resource https://graph.microsoft.com/User.Read",
      "write --scope https://graph.microsoft.com/User.Read\n",
    ],
    ["token --client-id azure-cli --resource api://a/user_impersonation", "write --scope api://a/user_impersonation\n"],
    [
      "token --client-id azure-cli --scope https://graph.microsoft.com",
      "write --resource https://graph.microsoft.com, or",
    ],
    [
      "token --client-id azure-cli --scope https://graph.microsoft.com/",
      "or --scope https://graph.microsoft.com//.default\n",
    ],
    ["token --client-id azure-cli --scope User.Read;Mail.Read", "separated by spaces"],
    ["token --scope User.Read", "latchkey login --profile default --client-id azure-cli\n"],
    ["az --client-id azure-cli -- acount show", "(did you mean az account show?)"],
  ])("%p is wrong usage", async (line, says) => {
    const { code, stdout, stderr } = await latchkey(line);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/\nSee latchkey (\w+ )?--help\n$/);
    expect(await broker.calls()).toEqual([]);
  });

  testOfSources("names the flag that lets Deno read the client id", async () => {
    const { stderr } = await latchkey("token --scope a", { permissions: LEAST_PERMISSIONS });
    expect(stderr).toContain(
      "(or set LATCHKEY_CLIENT_ID, which needs Deno's --allow-env=LATCHKEY_CLIENT_ID, or --profile)",
    );
  });
});

describe("LATCHKEY_LIBDBUS", () => {
  const permitted = (
    path: string,
    ...more: string[]
  ) => [`--allow-ffi=${path}`, "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,LATCHKEY_LIBDBUS", ...more];
  const run = (path: string, ...more: string[]) =>
    latchkey(TOKEN, {
      env: { LATCHKEY_LIBDBUS: path },
      permissions: permitted(path, "--allow-read", "--allow-sys=uid", ...more),
    });

  test("is taken where only its owner and root can write", async () => {
    mkdirSync(`${bus.directory}/mine`, { mode: 0o700 });
    copyFileSync(LIBDBUS, `${bus.directory}/mine/libdbus-1.so.3`);
    chmodSync(`${bus.directory}/mine/libdbus-1.so.3`, 0o644);
    expect(await run(`${bus.directory}/mine/libdbus-1.so.3`)).toMatchObject({ code: 0, stderr: "" });
  });

  testOfLibdbus("is refused where others can write, is relative, or is not there", async () => {
    mkdirSync(`${bus.directory}/open`);
    chmodSync(`${bus.directory}/open`, 0o777);
    copyFileSync(LIBDBUS, `${bus.directory}/open/libdbus-1.so.3`);
    expect(await run(`${bus.directory}/open/libdbus-1.so.3`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`others can change ${bus.directory}/open`),
    });
    symlinkSync(`${bus.directory}/open/link`, `${bus.directory}/mine-to-open`);
    symlinkSync(LIBDBUS, `${bus.directory}/open/link`);
    expect(await run(`${bus.directory}/mine-to-open`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`others can change ${bus.directory}/open`),
    });
    expect(await run("libdbus-1.so.3")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not an absolute path"),
    });
    expect(await run(`${bus.directory}/nobody.so`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is not a file"),
    });
  });

  testOfSources("names the permissions that checking it needs", async () => {
    const { code, stderr } = await latchkey(TOKEN, {
      env: { LATCHKEY_LIBDBUS: LIBDBUS },
      permissions: permitted(LIBDBUS),
    });
    expect({ code, names: stderr.includes(`--allow-ffi=${LIBDBUS} --allow-read --allow-sys=uid`) }).toEqual({
      code: 1,
      names: true,
    });
  });
});

describe("A program that uses the library", () => {
  const program = (body: string) =>
    `data:application/typescript,${
      encodeURIComponent(`import { PublicClientApplication } from "${new URL("../../mod.ts", import.meta.url)}";
const app = new PublicClientApplication({ clientId: "${CLIENT_ID}", enableBrokerOnLinux: true });
${body}`)
    }`;
  const run = (body: string) =>
    runDeno([...LEAST_PERMISSIONS, program(body)], { DBUS_SESSION_BUS_ADDRESS: bus.address });

  testOfSources("ends by itself when it is done, without close()", async () => {
    expect(await run('await app.getAccounts(); console.log("done");')).toEqual({
      code: 0,
      stdout: "done\n",
      stderr: "",
    });
  });

  testOfSources("shows no token when it prints a result", async () => {
    const body = `const result = await app.acquireToken({ scopes: ["a"], interactive: "never" });
console.log(result, [result].length, String(result.accessToken.length > 99));`;
    const { stdout } = await run(body);
    expect(stdout).toContain('accessToken: "[concealed]"');
    expect(stdout).toContain('username: "jane@contoso.com"');
    expect(stdout).toMatch(/ 1 true\n$/);
    expect(stdout).not.toContain("eyJ");
  });

  testOfSources("does not read process for a silent token", async () => {
    const body = `Object.defineProperty(globalThis, "process", { get() { throw new Error("process was read"); } });
console.log((await app.acquireToken({ scopes: ["a"], interactive: "never" })).source);`;
    expect(await run(body)).toEqual({ code: 0, stdout: "broker\n", stderr: "" });
  });
});
