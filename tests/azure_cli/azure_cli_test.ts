// The program that az-shim writes, called by hand and by Azure's own libraries, which run az.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { type FakeAzure, ME, startFakeAzure } from "../fakes/fake_azure.ts";
import { makeHostileFolder } from "../fakes/hostile_folder.ts";
import { CONTOSO, useStage } from "../fixture.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { findTool, MSAL_PYTHON } from "../tools/find_tool.js";

const AZURE_CLI_ID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const FABRIKAM = "33333333-3333-4333-8333-333333333333";
const RESOURCE = "https://management.azure.com", SCOPE = `${RESOURCE}/.default`;
const CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}';
const BUN = RUNTIME_PATHS.find(({ name }) => name === "Bun")!;

const PRODUCTION = { id: "44444444-4444-4444-8444-444444444444", name: "Production" };
const TEST = { id: "55555555-5555-4555-8555-555555555555", name: "Test", tenantId: FABRIKAM };
const OLD = { id: "66666666-6666-4666-8666-666666666666", name: "Old", state: "Disabled" };

const stage = useStage({ broker: {} });
let azure: FakeAzure, az: string;

beforeAll(async () => {
  azure = startFakeAzure(CONTOSO);
  az = await install("bin");
});
beforeEach(() => {
  azure.pages = [];
  azure.failure = azure.elsewhere = undefined;
  azure.asked.length = 0;
});
afterAll(() => azure[Symbol.asyncDispose]());

const run = (command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> =>
  runProgram(command, {
    DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    PATH: process.env.PATH!,
    LATCHKEY_ENDPOINT_RESOURCE_MANAGER: azure.url,
    LATCHKEY_ENDPOINT_MICROSOFT_GRAPH: azure.url,
    ...env,
  });
const azShim = (words: readonly string[], program = BUN.program()) =>
  run([...program, "bin/latchkey.ts", "az-shim", ...words]);
const call = (line: string) => run([az, ...line.split(" ")]);
const asked = async () => (await stage.requestOf("acquireTokenSilently")).authParameters;
const GET = `account get-access-token --output json --resource ${RESOURCE}`;

/** Installs it in a folder of that name, and gives its path. */
async function install(name: string, words: readonly string[] = ["--client-id", "azure-cli"]): Promise<string> {
  const { code, stderr } = await azShim(["--install", join(stage.folder, name), ...words]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(join(stage.folder, name, "az")) });
  return join(stage.folder, name, "az");
}

describe("latchkey az-shim", () => {
  const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

  test.each(runtimes)(
    "on $name writes a program that runs the same latchkey, and prints the line for PATH",
    async ({ name, program }) => {
      const place = join(stage.folder, `with 'spaces' ${name}`);
      const words = ["--install", `${place}/`, "--client-id", "azure-cli", "--account", "jane@contoso.com"];
      const { code, stdout } = await azShim(words, program());
      expect(code).toBe(0);
      const shell = `${stdout}cd /; command -v az; exec az ${GET}`;
      const { stdout: out, stderr } = await run(["sh", "-c", shell]);
      const [path] = out.split("\n"), json = out.slice(path!.length);
      expect({ path, stderr }).toEqual({ path: join(place, "az"), stderr: "" });
      expect(JSON.parse(json)).toMatchObject({ accessToken: expect.stringMatching(/^eyJ/), tokenType: "Bearer" });
      expect(readFileSync(path!, "utf8")).toContain(program()[0]!);
      expect(await asked()).toMatchObject({ clientId: AZURE_CLI_ID, username: "jane@contoso.com" });
    },
  );

  // A program runs az in a folder of its own choice: Bun ran what bunfig.toml preloads there, as git would in a clone.
  test.each(runtimes)(
    "on $name writes a program that runs nothing of the folder it is started in",
    async ({ name, program }) => {
      const place = join(stage.folder, `hostile ${name}`);
      expect((await azShim(["--install", place, "--client-id", "azure-cli"], program())).code).toBe(0);
      using hostile = makeHostileFolder();
      const { code, stdout, stderr } = await run([
        "env",
        `--chdir=${hostile.path}`,
        join(place, "az"),
        ...GET.split(" "),
      ]);
      expect({ code, stderr, wasRun: hostile.wasRun() }).toEqual({ code: 0, stderr: "", wasRun: false });
      expect(JSON.parse(stdout)).toMatchObject({ accessToken: expect.stringMatching(/^eyJ/) });
    },
  );

  test("replaces another program's az only when it is told to, and its own at any time", async () => {
    const path = join(stage.folder, "az"), words = ["--install", stage.folder, "--client-id", "azure-cli"];
    writeFileSync(path, "theirs");
    const { code, stderr, stdout } = await azShim(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("--force");
    expect(readFileSync(path, "utf8")).toBe("theirs");
    expect((await azShim([...words, "--force"])).code).toBe(0);
    expect(readFileSync(path, "utf8")).toStartWith("#!/bin/sh\n");
    expect(statSync(path).mode & 0o777).toBe(0o755);
    const again = await azShim([...words, "--account", "jane@contoso.com"]);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining("export PATH=") });
    expect(readFileSync(path, "utf8")).toContain("--account=jane@contoso.com");
    rmSync(path);
    symlinkSync(join(stage.folder, "gone"), path);
    expect(await azShim(words)).toMatchObject({ code: 2, stderr: expect.stringContaining("another program's") });
  });

  test("writes nothing that would not run", async () => {
    const place = join(stage.folder, "nothing"), client = ["--client-id", "azure-cli"];
    for (const words of [client, ["--install", place], ["--install", place, "--client-id", "azure-cil"]]) {
      expect(await azShim(words)).toMatchObject({ code: 2, stdout: "" });
    }
    const deno = [...RUNTIME_PATHS[0]!.program(), "--deny-run"].filter((word) => word !== "--allow-all");
    const { code, stderr } = await azShim(["--install", place, ...client], [...deno, "--allow-read", "--allow-write"]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("--allow-all") });
    expect(existsSync(place)).toBe(false);
  });
});

describe("az", () => {
  test("gives a token as Azure CLI does, for a resource, a scope or neither, and one value of it", async () => {
    azure.failure = { status: 403, body: "" }; // then a subscription is taken as it is
    const { code, stdout, stderr } = await call(`${GET} --subscription s1`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      accessToken: expect.stringMatching(/^eyJ/),
      expiresOn: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000000$/),
      expires_on: expect.any(Number),
      subscription: "s1",
      tenant: CONTOSO,
      tokenType: "Bearer",
    });
    const { stdout: token } = await call(
      `account get-access-token --scope ${SCOPE} -t ${FABRIKAM} --query accessToken -o tsv`,
    );
    expect(token).toMatch(/^eyJ\S+\n$/);
    const { requestedScopes, authority } = await asked();
    expect([requestedScopes, authority]).toEqual([[SCOPE], `https://login.microsoftonline.com/${FABRIKAM}`]);
    expect((await call("account get-access-token -o none --only-show-errors")).stdout).toBe("");
    expect((await asked()).requestedScopes).toEqual(["https://management.core.windows.net//.default"]);
  });

  test("shows the account, and the version, that Terraform looks at", async () => {
    const { stdout } = await call("account show -o=json");
    expect(JSON.parse(stdout)).toEqual({
      ...{ environmentName: "AzureCloud", homeTenantId: CONTOSO, id: CONTOSO, isDefault: true, managedByTenants: [] },
      ...{ name: "N/A(tenant level account)", state: "Enabled", tenantId: CONTOSO },
      user: { name: "jane@contoso.com", type: "user" },
    });
    const named = await install("subscription", ["--client-id", "azure-cli", "--subscription", "s1"]);
    expect((await run([named, "account", "show", "--query", "id", "--output", "tsv"])).stdout).toBe("s1\n");
    expect(azure.asked).toHaveLength(1);
    expect(JSON.parse((await call("version -o=json")).stdout)).toMatchObject({ "azure-cli": "2.91.0", extensions: {} });
    expect((await call("--version")).stdout).toMatch(/^azure-cli 2\.91\.0 \(latchkey .*\)\n$/);
  });

  test("refuses what Azure CLI itself is needed for, by code 2 and without an answer", async () => {
    const { code, stdout, stderr } = await call("vm list");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain('"az vm list" needs Azure CLI itself; latchkey answers ');
  });

  test("never opens a window, but to log in, for the claims of a challenge where there are any", async () => {
    const challenged = {
      context: "AADSTS50076: MFA",
      status: 2,
      subStatus: 0,
      subError: "basic_action",
      claims: CLAIMS,
    };
    const text = JSON.stringify({ brokerTokenResponse: { error: challenged } });
    await stage.behave({ replies: { acquireTokenSilently: { kind: "text", text } } });
    const { code, stdout, stderr } = await call(`${GET} --tenant ${FABRIKAM}`);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("AADSTS50076");
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
    const [, command = ""] = /Please run: az (login .*)\n/.exec(stderr) ?? [];
    expect(command).toBe(`login --scope ${SCOPE} --tenant ${FABRIKAM} --claims-challenge ${btoa(CLAIMS)}`);
    expect(await call(command)).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@contoso.com") });
    const [{ request } = expect.unreachable()] = await stage.broker.calls("acquireTokenInteractively");
    expect(request.authParameters).toMatchObject({
      requestedScopes: [SCOPE],
      authority: `https://login.microsoftonline.com/${FABRIKAM}`,
      decodedClaims: CLAIMS,
    });
  });
});

describe("az, for an account with subscriptions,", () => {
  const home = () => ({ XDG_STATE_HOME: join(stage.folder, crypto.randomUUID()) });
  const callAt = (env: Readonly<Record<string, string>>, line: string) => run([az, ...line.split(" ")], env);
  const succeeds = async (env: Readonly<Record<string, string>>, line: string) => {
    const { code, stdout, stderr } = await callAt(env, line);
    expect({ line, code, stderr }).toEqual({ line, code: 0, stderr: "" });
    return stdout;
  };
  const listed = {
    ...{ homeTenantId: CONTOSO, managedByTenants: [], user: { name: "jane@contoso.com", type: "user" } },
  };

  test("lists them by one request, with all pages, and keeps them for itself", async () => {
    const env = home();
    azure.pages = [[PRODUCTION, OLD], [TEST]];
    const enabled = { ...listed, cloudName: "AzureCloud", state: "Enabled" };
    expect(JSON.parse(await succeeds(env, "account list -o=json"))).toEqual([
      { ...enabled, ...PRODUCTION, tenantId: CONTOSO, isDefault: true },
      { ...enabled, ...TEST, isDefault: false },
    ]);
    expect(azure.asked).toEqual(["/subscriptions", "/subscriptions"].map((path) => ({
      ...{ path, audience: "https://management.core.windows.net/" },
    })));
    const file = join(env.XDG_STATE_HOME, "latchkey/azure_subscriptions.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).not.toContain("eyJ");
    azure.failure = { status: 500, body: "" };
    expect(await succeeds(env, "account list --all --query [].name -o tsv")).toBe("Production\nOld\nTest\n");
    expect(await succeeds(env, "account show --name test --query id -o tsv")).toBe(`${TEST.id}\n`);
    expect(azure.asked).toHaveLength(2);
    azure.failure = undefined;
    azure.pages = [[TEST]];
    expect(await succeeds(env, "account list --refresh --query [].name -o tsv")).toBe("Test\n");
  });

  test("chooses one of them, by name or id, and gets tokens of its tenant", async () => {
    const env = home();
    azure.pages = [[PRODUCTION, TEST]];
    expect(await succeeds(env, "account set --subscription TEST")).toBe("");
    expect(JSON.parse(await succeeds(env, "account show"))).toEqual({
      ...{ ...listed, ...TEST, environmentName: "AzureCloud", state: "Enabled", isDefault: true },
    });
    expect(await succeeds(env, "account list --query [?isDefault].name -o tsv")).toBe("Test\n");
    expect(await succeeds(env, "account get-access-token --query [subscription,tokenType] -o tsv"))
      .toBe(`${TEST.id}\nBearer\n`);
    await succeeds(env, `account get-access-token --subscription ${TEST.id} -o none`);
    expect((await asked()).authority).toBe(`https://login.microsoftonline.com/${FABRIKAM}`);
    for (const line of ["account set -s nobody", "account show -s nobody", "account get-access-token -s nobody"]) {
      const { code, stdout, stderr } = await callAt(env, line);
      expect({ line, code, stdout, stderr }).toEqual({
        line,
        code: 1,
        stdout: "",
        stderr: expect.stringContaining("nobody"),
      });
    }
  });

  // Terraform's provider refuses an id that is not in the list.
  test("needs no network for one that is given", async () => {
    const env = { ...home(), ARM_SUBSCRIPTION_ID: TEST.id };
    expect(await succeeds(env, "account show --query id -o tsv")).toBe(`${TEST.id}\n`);
    expect(await succeeds(env, `account set -s ${TEST.id}`)).toBe("");
    expect(azure.asked).toEqual([]);
    azure.failure = { status: 503, body: "" };
    expect(await succeeds(env, "account list --query [].[id,isDefault] -o tsv")).toBe(`${TEST.id}\tTrue\n`);
    azure.failure = undefined;
    azure.pages = [[PRODUCTION]];
    expect(await succeeds(env, "account list --query [].id -o tsv")).toBe(`${PRODUCTION.id}\n${TEST.id}\n`);
  });

  // The tenant's id stood for a subscription without a word about it.
  test("warns that it shows the tenant, if the subscriptions cannot be listed", async () => {
    const env = home();
    expect(await succeeds(env, "account show --query id -o tsv")).toBe(`${CONTOSO}\n`); // there is none
    azure.failure = { status: 403, body: "" };
    const { code, stdout, stderr } = await callAt(home(), "account show --query id -o tsv");
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${CONTOSO}\n` });
    expect(stderr).toMatch(
      /^WARNING: The id is the tenant's, since the subscriptions cannot be listed: .*HTTP status 403\n$/,
    );
  });

  test("sends the token to no other server, and tells why there is no list", async () => {
    const env = home(), other = startFakeAzure(CONTOSO);
    azure.pages = [[PRODUCTION], [TEST]];
    azure.elsewhere = other.url;
    expect(await succeeds(env, "account list --query [].name -o tsv")).toBe("Production\n");
    expect(other.asked).toEqual([]);
    await other[Symbol.asyncDispose]();
    azure.failure = { status: 403, body: '{"error":{"code":"AuthorizationFailed","message":"No \\u001b[2Jright"}}' };
    const { code, stdout, stderr } = await callAt(home(), "account list");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("AuthorizationFailed: No ");
    expect(stderr).not.toContain("\x1b");
    for (const body of ["", "[]", "{", '{"value":1}', '{"value":[{"subscriptionId":"../x"},null,3]}']) {
      azure.failure = { status: 200, body };
      const { stdout, stderr } = await callAt(home(), "account list --query [].id -o tsv");
      expect([body, stderr.includes("answered: "), stdout]).toEqual(
        body.includes("value") ? [body, false, `${CONTOSO}\n`] : [body, true, ""],
      );
    }
    const plain = await callAt({ LATCHKEY_ENDPOINT_RESOURCE_MANAGER: "http://contoso.com" }, "account list");
    expect(plain).toMatchObject({ code: 2, stderr: expect.stringContaining("takes an address with https:") });
  });

  test("names the user, by Graph", async () => {
    expect(JSON.parse(await succeeds(home(), "ad signed-in-user show"))).toEqual(ME);
    expect(azure.asked).toEqual([{ path: "/v1.0/me", audience: "https://graph.microsoft.com/" }]);
  });

  test("accepts what scripts begin with, where it changes nothing", async () => {
    const env = home();
    for (
      const line of [
        ...["config set extension.use_dynamic_install=yes_without_prompt", "config set core.output=json core.x=1"],
        ...["config unset core.x", "configure --defaults group=g", "cloud set --name AzureCloud", "account clear"],
      ]
    ) {
      expect([line, await succeeds(env, line)]).toEqual([line, ""]);
    }
    expect(await succeeds(env, "extension list")).toBe("[]\n");
    expect(await succeeds(env, "cloud show --query name")).toBe('"AzureCloud"\n');
    for (
      const line of [
        "config set core.output=tsv",
        "cloud set -n AzureChinaCloud",
        "cloud show -n nope",
        "config get a.b",
      ]
    ) {
      expect(await callAt(env, line)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^error/) });
    }
  });

  test("signs in with the output of a list, and out", async () => {
    const env = home();
    azure.pages = [[PRODUCTION, OLD, TEST]];
    expect(await succeeds(env, "login --query [].[user.name,name] -o tsv"))
      .toBe("jane@contoso.com\tProduction\njane@contoso.com\tTest\n");
    expect(await succeeds(env, "login -o none --allow-no-subscriptions")).toBe("");
    const { XDG_STATE_HOME } = home();
    expect(await succeeds({ XDG_STATE_HOME }, "login --skip-sub --tenant contoso.com --query [].name -o tsv"))
      .toBe("N/A(tenant level account)\n");
    expect(await succeeds(env, "login -s Test --query [].id -o tsv")).toBe(`${TEST.id}\n`);
    expect(await succeeds(env, "account show --query name -o tsv")).toBe("Test\n");
    expect(await succeeds(env, "logout --username jane@contoso.com")).toBe("");
    expect(await callAt(env, "account show")).toMatchObject({ code: 1, stderr: expect.stringContaining("az login") });
    expect(await callAt(env, "account list")).toMatchObject({
      code: 0,
      stdout: "[]\n",
      stderr: expect.stringContaining("az login"),
    });
    expect(await callAt(env, "login --service-principal -u x -p y")).toMatchObject({ code: 1, stdout: "" });
  });

  test("marks the tokens of an agent's session, as latchkey token, serve and CONFIG.json do", async () => {
    const env = { ...home(), COPILOT_AGENT_SESSION_ID: "sess-456" },
      app = ["--client-id", "azure-cli", "--resource", RESOURCE];
    const get =
      `curl -s -H "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT?api-version=2019-08-01&resource=${RESOURCE}"`;
    const latchkey = [...BUN.program(), "bin/latchkey.ts"], config = join(stage.folder, "config.json");
    writeFileSync(
      config,
      JSON.stringify({
        client_id: AZURE_CLI_ID,
        authority: `https://login.microsoftonline.com/${CONTOSO}`,
        username: "jane@contoso.com",
        scope: [SCOPE],
      }),
    );
    for (
      const command of [
        [az, "account", "get-access-token"],
        [...latchkey, "token", ...app],
        [...latchkey, "serve", ...app, "--", "sh", "-c", get],
        [...latchkey, config],
      ]
    ) {
      await stage.broker.forgetCalls();
      expect(await run(command, env)).toMatchObject({ code: 0, stdout: expect.stringContaining("eyJ") });
      const marks = { access_token: { xms_cli_sid: { values: ["sess-456"] } } };
      expect(JSON.parse((await asked()).decodedClaims!)).toEqual(marks);
    }
  });
});

const PEERS: readonly (readonly [name: string, command: readonly string[], otherError: string])[] = [
  ["@azure/identity", [findTool("node"), here("peer.mjs")], "CredentialUnavailableError"],
  ["azure-identity for Python", ["python3", here("peer.py")], "ClientAuthenticationError"],
];

function here(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

describe.each(PEERS)("AzureCliCredential of %s", (_, command, otherError) => {
  const get = async (options: object = {}) => {
    const env = {
      PATH: `${join(stage.folder, "bin")}:${process.env.PATH}`,
      PYTHONPATH: MSAL_PYTHON,
      PYTHONDONTWRITEBYTECODE: "1",
    };
    return JSON.parse((await run([...command, SCOPE, JSON.stringify(options)], env)).stdout);
  };
  const refuse = (status: number, context: string) =>
    stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status, context } } });

  test("gets the broker's token, of the tenant that is asked for", async () => {
    const { token, expires } = await get({ tenantId: FABRIKAM, subscription: "my subscription" });
    expect(JSON.parse(atob(token.split(".")[1]))).toMatchObject({ aud: RESOURCE, exp: expires });
    const { clientId, authority, requestedScopes } = await asked();
    expect({ clientId, authority, requestedScopes }).toEqual({
      ...{ clientId: AZURE_CLI_ID, requestedScopes: [SCOPE] },
      authority: `https://login.microsoftonline.com/${FABRIKAM}`,
    });
  });

  test("is told that nobody is signed in, so that its chain goes on", async () => {
    await refuse(2, "nobody is signed in");
    expect(await get()).toEqual({
      name: "CredentialUnavailableError",
      message: expect.stringContaining("Please run 'az login'"),
    });
  });

  test("is told what to run where the server wants more", async () => {
    await refuse(2, "AADSTS50076: multi-factor authentication");
    const { name, message } = await get();
    expect(name).toBe(otherError);
    expect(message).toContain("AADSTS50076");
    expect(message).toContain(`az login --scope ${SCOPE}`);
  });

  test("passes on why else there is no token", async () => {
    await refuse(9, "AADSTS65001: nobody consented");
    const { name, message } = await get();
    expect(name).toBe(otherError);
    expect(message).toContain("AADSTS65001: nobody consented");
  });

  test("names a login that is understood, where it is asked for claims", async () => {
    const { name, message } = await get({ claims: CLAIMS });
    const [, line = ""] = /az (login --claims-challenge .*)$/.exec(message) ?? [];
    expect(name).toBe("CredentialUnavailableError");
    await refuse(2, "MFA");
    expect(await call(line)).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@contoso.com") });
    const { request } = (await stage.broker.calls("acquireTokenInteractively")).at(-1)!;
    expect(request.authParameters).toMatchObject({ decodedClaims: CLAIMS, requestedScopes: [SCOPE] });
  });
});
