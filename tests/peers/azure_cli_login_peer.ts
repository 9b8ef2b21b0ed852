// latchkey serve for the real Azure CLI, which signs in by it as a managed identity, against a small Azure Resource Manager of the
// test's own.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { azureScopes } from "../../bin/commands/serve/azure_resources.ts";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { useStage } from "../fixture.ts";
import { AZURE_CLI, AZURE_CLI_PYTHON } from "./clients.ts";

const SUBSCRIPTION = "22222222-2222-4222-8222-222222222222";
const CONTOSO = {
  id: `/subscriptions/${SUBSCRIPTION}`,
  subscriptionId: SUBSCRIPTION,
  displayName: "Contoso",
  state: "Enabled",
};
/** Azure CLI takes ten seconds for its first command. */
const LIMIT_MS = 120_000;

const stage = useStage({ broker: {} });
let arm: ResourceManager;
beforeAll(() => void (arm = startResourceManager()));
beforeEach(() => {
  arm.subscriptions = [CONTOSO];
  arm.audiences.length = 0;
});
afterAll(() => arm.stop());

interface ResourceManager {
  readonly url: string;
  /** The certificate of the authority that signed its own. */
  readonly authority: string;
  /** `aud` of the tokens that it got. */
  readonly audiences: string[];
  subscriptions: readonly unknown[];
  stop(): Promise<void>;
}

function startResourceManager(): ResourceManager {
  const authority = makeCertificateAuthority();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: authority.issue(["127.0.0.1"]),
    fetch(request) {
      const token = /^Bearer (\S+)$/.exec(request.headers.get("authorization") ?? "")?.[1];
      if (!token) return Response.json({ error: { code: "AuthenticationFailed" } }, { status: 401 });
      self.audiences.push(claimsOf(token).aud);
      const { pathname } = new URL(request.url);
      if (pathname === "/subscriptions") return Response.json({ value: self.subscriptions });
      if (pathname.endsWith("/resourcegroups")) return Response.json({ value: [{ name: "orders", location: "x" }] });
      return Response.json({ error: { code: "NotFound", message: pathname } }, { status: 404 });
    },
  });
  const self: ResourceManager = {
    url: `https://127.0.0.1:${server.port}`,
    authority: authority.cert,
    audiences: [],
    subscriptions: [],
    stop: () => server.stop(true),
  };
  return self;
}

// deno-lint-ignore no-explicit-any -- claims of a token
function claimsOf(token: string): any {
  return JSON.parse(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));
}

/** Runs lines for `bash` in `latchkey serve -- bash`, where `az` is the real one, in the cloud of the test's. */
async function inServedShell(script: string, served: readonly string[] = ["--resource", "azure"]): Promise<Run> {
  const folder = mkdtempSync(join(stage.folder, "azure-")), authority = join(folder, "authority.pem");
  writeFileSync(authority, arm.authority);
  writeFileSync(
    join(folder, "clouds.config"),
    `[fake]
endpoint_resource_manager = ${arm.url}
endpoint_management = https://management.core.windows.net/
endpoint_active_directory = https://login.microsoftonline.com
endpoint_active_directory_resource_id = https://management.core.windows.net/
endpoint_microsoft_graph_resource_id = https://graph.microsoft.com/
`,
  );
  writeFileSync(join(folder, "config"), "[cloud]\nname = fake\n");
  const az = `az() { ${AZURE_CLI.map((word) => `'${word}'`).join(" ")} "$@"; }\n`;
  const serve = ["serve", "--client-id", "azure-cli", ...served, "--", "bash", "-c", `${az}${script}`];
  return await runProgram([...LATCHKEY_ON_BUN, ...serve], {
    PATH: process.env.PATH!,
    DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    AZURE_CONFIG_DIR: folder,
    AZURE_CORE_COLLECT_TELEMETRY: "0",
    REQUESTS_CA_BUNDLE: authority,
  });
}

describe("the real Azure CLI under latchkey serve --resource azure", () => {
  test("logs in, and has tokens for Azure Resource Manager, Graph, Key Vault and Storage", async () => {
    const resources = ["https://management.azure.com", "https://graph.microsoft.com", "https://vault.azure.net"];
    const tokens = resources.map((resource) => `az account get-access-token --resource ${resource} -o json`);
    const script = [
      "set -e",
      "az login --identity --query '[].{id:id,user:user.name}' -o json",
      "echo ---",
      ...[
        "az account get-access-token -o json",
        ...tokens,
        "az account get-access-token --resource-type ms-graph -o json",
        "az account get-access-token --scope https://storage.azure.com/.default -o json",
        `az rest --url ${arm.url}/subscriptions/${SUBSCRIPTION}/resourcegroups?api-version=2021-04-01 -o json`,
        "az group list --query '[].name' -o json",
      ].flatMap((line) => [line, "echo ---"]),
    ].join("\n");
    const { code, stdout, stderr } = await inServedShell(script);
    expect({ code, stderr: stderr.replace(/^.*(WARNING|warning).*$/gm, "").trim() }).toEqual({ code: 0, stderr: "" });
    const [accounts, ...answers] = stdout.split("---\n").filter(Boolean).map((text) => JSON.parse(text));
    expect(accounts).toEqual([{ id: SUBSCRIPTION, user: "systemAssignedIdentity" }]);
    expect(answers.splice(0, 6).map(({ accessToken }) => claimsOf(accessToken).aud)).toEqual([
      "https://management.core.windows.net/",
      "https://management.azure.com",
      "https://graph.microsoft.com",
      "https://vault.azure.net",
      "https://graph.microsoft.com/",
      "https://storage.azure.com",
    ]);
    expect(answers).toEqual([{ value: [expect.objectContaining({ name: "orders" })] }, ["orders"]]);
    expect(new Set(arm.audiences)).toEqual(new Set(["https://management.core.windows.net/"]));
  }, LIMIT_MS);

  test("logs in without a subscription", async () => {
    arm.subscriptions = [];
    const { code, stdout } = await inServedShell(
      "az login --identity --allow-no-subscriptions -o none && az account show --query tenantId -o tsv",
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^[\da-f-]{36}\n$/) });
  }, LIMIT_MS);

  test("says what a person has to do, and which resource is not served", async () => {
    const other = await inServedShell("az login --identity", ["--resource", "https://vault.azure.net"]);
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("--resource https://management.core.windows.net/");
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const signedOut = await inServedShell("az login --identity");
    expect(signedOut.code).toBe(1);
    expect(signedOut.stderr).toContain("interaction_required");
  }, LIMIT_MS);
});

// A resource that is new in Azure CLI is seen here.
test("azureScopes() has every resource that Azure CLI knows, in each of its clouds", () => {
  const script = `import json
from azure.cli.core.cloud import HARD_CODED_CLOUD_LIST
def rows(cloud):
    all = vars(cloud.endpoints)
    return [v for k, v in all.items() if v and (k.endswith("resource_id") or k in ("_resource_manager", "_management"))]
print(json.dumps([[c.endpoints.active_directory, rows(c)] for c in HARD_CODED_CLOUD_LIST]))`;
  const { stdout } = Bun.spawnSync([AZURE_CLI_PYTHON, "-c", script], { stderr: "inherit" });
  const clouds: [string, string[]][] = JSON.parse(stdout.toString());
  expect(clouds.length).toBeGreaterThan(3);
  for (const [authority, resources] of clouds) {
    // Not a resource that tokens are for: telemetry of the portal.
    const asked = resources.filter((resource) => !resource.includes("/v2/track"));
    expect(asked.length).toBeGreaterThan(5);
    const scopes = azureScopes(`${authority}/organizations`);
    expect({ authority, missing: asked.filter((resource) => !scopes.includes(`${resource}/.default`)) })
      .toEqual({ authority, missing: [] });
  }
});
