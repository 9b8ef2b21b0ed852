// The program that az-shim writes, called by hand and by Azure's own libraries, which run az.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { makeHostileFolder } from "../fakes/hostile_folder.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { findTool, MSAL_PYTHON } from "../tools/find_tool.js";

const AZURE_CLI_ID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const CONTOSO = "11111111-1111-1111-1111-111111111111", FABRIKAM = "33333333-3333-4333-8333-333333333333";
const RESOURCE = "https://management.azure.com", SCOPE = `${RESOURCE}/.default`;
const CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}';
const BUN = RUNTIME_PATHS.find(({ name }) => name === "Bun")!;

let bus: PrivateBus, broker: FakeBroker, folder: string, az: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "azure-cli-"));
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
  az = await install("bin");
});
beforeEach(async () => {
  await broker.behave({ replies: {} });
  await broker.forgetCalls();
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
  rmSync(folder, { recursive: true });
});

const run = (command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> =>
  runProgram(command, { DBUS_SESSION_BUS_ADDRESS: bus.address, PATH: process.env.PATH!, ...env });
const azShim = (words: readonly string[], program = BUN.program()) =>
  run([...program, "bin/latchkey.ts", "az-shim", ...words]);
const call = (line: string) => run([az, ...line.split(" ")]);
const asked = async () => (await broker.calls("acquireTokenSilently")).at(-1)!.request.authParameters;
const GET = `account get-access-token --output json --resource ${RESOURCE}`;

/** Installs it in a folder of that name, and gives its path. */
async function install(name: string, words: readonly string[] = ["--client-id", "azure-cli"]): Promise<string> {
  const { code, stderr } = await azShim(["--install", join(folder, name), ...words]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(join(folder, name, "az")) });
  return join(folder, name, "az");
}

describe("latchkey az-shim", () => {
  const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

  test.each(runtimes)(
    "on $name writes a program that runs the same latchkey, and prints the line for PATH",
    async ({ name, program }) => {
      const place = join(folder, `with 'spaces' ${name}`);
      const words = ["--install", `${place}/`, "--client-id", "azure-cli", "--account", "jane@contoso.com"];
      const { code, stdout } = await azShim(words, program());
      expect(code).toBe(0);
      const shell = `${stdout}cd /; command -v az; exec az ${GET}`;
      const { stdout: out, stderr } = await run(["sh", "-c", shell]);
      const [path, json] = out.split("\n");
      expect({ path, stderr }).toEqual({ path: join(place, "az"), stderr: "" });
      expect(JSON.parse(json!)).toMatchObject({ accessToken: expect.stringMatching(/^eyJ/), tokenType: "Bearer" });
      expect(readFileSync(path!, "utf8")).toContain(program()[0]!);
      expect(await asked()).toMatchObject({ clientId: AZURE_CLI_ID, username: "jane@contoso.com" });
    },
  );

  // A program runs az in a folder of its own choice: Bun ran what bunfig.toml preloads there, as git would in a clone.
  test.each(runtimes)(
    "on $name writes a program that runs nothing of the folder it is started in",
    async ({ name, program }) => {
      const place = join(folder, `hostile ${name}`);
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

  test("replaces an az that is there only when it is told to", async () => {
    const path = join(folder, "az"), words = ["--install", folder, "--client-id", "azure-cli"];
    writeFileSync(path, "theirs");
    const { code, stderr, stdout } = await azShim(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("--force");
    expect(readFileSync(path, "utf8")).toBe("theirs");
    expect((await azShim([...words, "--force"])).code).toBe(0);
    expect(readFileSync(path, "utf8")).toStartWith("#!/bin/sh\n");
    expect(statSync(path).mode & 0o777).toBe(0o755);
  });

  test("writes nothing that would not run", async () => {
    const place = join(folder, "nothing"), client = ["--client-id", "azure-cli"];
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
    expect(JSON.parse((await call("version -o=json")).stdout)).toMatchObject({ "azure-cli": "2.76.0", extensions: {} });
    expect((await call("--version")).stdout).toMatch(/^azure-cli 2\.76\.0 \(latchkey .*\)\n$/);
  });

  test("refuses what Azure CLI itself is needed for, by code 2 and without an answer", async () => {
    const { code, stdout, stderr } = await call("vm list");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain('for "az vm list" Azure CLI itself is needed');
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
    await broker.behave({ replies: { acquireTokenSilently: { kind: "text", text } } });
    const { code, stdout, stderr } = await call(`${GET} --tenant ${FABRIKAM}`);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain("AADSTS50076");
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
    const [, command = ""] = /Please run: az (login .*)\n/.exec(stderr) ?? [];
    expect(command).toBe(`login --scope ${SCOPE} --tenant ${FABRIKAM} --claims-challenge ${btoa(CLAIMS)}`);
    expect(await call(command)).toMatchObject({ code: 0, stdout: expect.stringContaining("jane@contoso.com") });
    const [{ request } = expect.unreachable()] = await broker.calls("acquireTokenInteractively");
    expect(request.authParameters).toMatchObject({
      requestedScopes: [SCOPE],
      authority: `https://login.microsoftonline.com/${FABRIKAM}`,
      decodedClaims: CLAIMS,
    });
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
      PATH: `${join(folder, "bin")}:${process.env.PATH}`,
      PYTHONPATH: MSAL_PYTHON,
      PYTHONDONTWRITEBYTECODE: "1",
    };
    return JSON.parse((await run([...command, SCOPE, JSON.stringify(options)], env)).stdout);
  };
  const refuse = (status: number, context: string) =>
    broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status, context } } });

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
    const { request } = (await broker.calls("acquireTokenInteractively")).at(-1)!;
    expect(request.authParameters).toMatchObject({ decodedClaims: CLAIMS, requestedScopes: [SCOPE] });
  });
});
