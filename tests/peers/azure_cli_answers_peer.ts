// latchkey az beside the real Azure CLI: the same command lines, exit codes, and what is printed. A fake of Microsoft's servers
// tells Azure CLI its endpoints; its tokens are in its cache, as after a sign-in.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { type ConnectProxy, startConnectProxy } from "../fakes/connect_proxy.ts";
import { type FakeAzure, ME, startFakeAzure } from "../fakes/fake_azure.ts";
import { CONTOSO, useStage } from "../fixture.ts";
import { AZURE_CLI_PYTHON } from "./clients.ts";

const OBJECT = "22222222-2222-2222-2222-222222222222";
const AZURE_CLI_ID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46", LOGIN = "login.microsoftonline.com";
const PRODUCTION = { id: "44444444-4444-4444-8444-444444444444", name: "Production" };
const TEST = { id: "55555555-5555-4555-8555-555555555555", name: "Test" };
const OLD = { id: "66666666-6666-4666-8666-666666666666", name: "Old", state: "Disabled" };
/** Azure CLI takes seconds for its first command on a busy machine. */
const LIMIT_MS = 600_000;

const TYPES = ["arm", "ms-graph", "oss-rdbms", "aad-graph", "batch", "data-lake", "media", "MS-Graph"];

/** Returns command lines that begin alike, of which the rests stand between semicolons. */
function linesOf(command: string, rests: string): readonly string[] {
  return rests.split(";").map((rest) => `${command} ${rest.trim()}`);
}

/** Command lines, with the words separated by spaces; `_` stands for a space in a word. */
const LINES: readonly string[] = [
  ...linesOf(
    "account show",
    `; -o json; -ojson; -o=json; -o JSON; --output=json; --out tsv; -o tsv; -o table; -o yaml; -o yamlc; -o jsonc; -o none;
    --query id; --query id -o tsv; --query [id,name]; --query [id,_name] -otsv; --query [id,name] -o table;
    --query {x:id,y:name}; --query {y:name,x:id} -o tsv; --query {y:name,x:id} -o table; --query {y:name,x:id} -o yaml;
    --query user; --query user -o tsv; --query user -o table; --query user -o yaml;
    --query isDefault; --query isDefault -o tsv; --query isDefault -o table; --query isDefault -o yaml;
    --query nope; --query nope -o tsv; --query nope -o table; --query [nope] -o tsv; --query [nope,id] -o table;
    --query [[isDefault,nope,user,managedByTenants,id]] -o tsv; --query managedByTenants; --query {a:nope} -o table;
    --query managedByTenants -o tsv; --query managedByTenants -o table; --query keys(@)|sort(@) -o tsv;
    --query length(user); --query "name"; --query 'x' -o tsv; --query ${"`1`"}; --query join('-',[name,state]);
    --query [; --query a.; --query 'a; --query foo(@); --query abs('x'); --query @.user.name|@ -o tsv;
    -s Test --query id; -n test --query id; --name Test --query id; --subscription ${TEST.id} --query isDefault;
    --subs Test --query name; -s nosuch; -o xml; --foo; extra; --query; -s --query id; --o json; -x;
    --only-show-errors; --verbose --query id; --debug --query id; --only-show-errors=1; -h; --help`,
  ),
  ...linesOf(
    "account list",
    `; -o table; -o tsv; -o yaml; --all --query [].name; --all -o table; --query [?isDefault].id -o tsv;
    --query [].{n:name,i:id} -o table; --query [].{n:name,i:id} -o tsv; --query [0].name; --query length(@);
    --query [].isDefault -o tsv; --query [].isDefault -o table; --query sort_by(@,&name)[].name; -s Test;
    --query [?name=='Test']|[0].id -o tsv; --query [].[name,isDefault,user.name] -o tsv; --query [].user -o yaml`,
  ),
  ...linesOf(
    "account get-access-token",
    `; -o tsv; -o table; --query accessToken -o tsv; --query [tokenType,tenant,subscription]; -s Test; --name Test;
    -t ${CONTOSO}; --tenant ${CONTOSO} -o table; -s nosuch; --resource https://vault.azure.net -o yaml;
    --scope https://vault.azure.net/.default; --resource-type foo; --res x; -t ${CONTOSO} -s Test; -t`,
  ),
  ...TYPES.map((type) => `account get-access-token --resource-type ${type}`),
  ...linesOf("version", '; -o table; -o tsv; --query "azure-cli"; --subscription x'),
  ...linesOf(
    "cloud",
    "show --query name; show -n nope; list --query [].name -o tsv; list -o table; set; set -n AzureCloud",
  ),
  ...linesOf("config", "set a.b=c; set foo; get core.nope; set; unset a.b"),
  ...linesOf("extension", "list; list -o table"),
  ...linesOf("configure", "--list-defaults; -d group=g"),
  ...linesOf("ad signed-in-user show", "; --query id -o tsv"),
  ...["", "--version", "--help", "account", "account -h", "account nosuch", "nosuch", "login --foo"],
  // From here on they change what follows.
  ...linesOf("account", "set; set -s nosuch; set --subscription test; show --query name; list -o tsv"),
  ...linesOf("account", "get-access-token --query subscription; set -n Production"),
  ...linesOf("logout", "-u x; --foo; --username jane@contoso.com"),
  ...linesOf("account", "show; list; get-access-token; set -s Test"),
  ...["logout", "account clear", "ad signed-in-user show"],
];

/** Lines that are answered in another way, and why. */
const OWN_HELP = "latchkey has a help of its own", OWN_VERSION = "latchkey says who answers";
const DIFFERENCES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["", "--help", "account -h", "account show -h", "account show --help"].map((line) => [line, OWN_HELP]),
  ),
  "--version": OWN_VERSION,
  [`account get-access-token -t ${CONTOSO} -s Test`]: "libraries pass both, and mean the tenant",
  "account show --query {y:name,x:id} -o yaml": "a reader of YAML 1.1 takes y for yes, so it is quoted",
  "account show --query isDefault -o yaml": "the end of the document is not marked",
};

const stage = useStage({ broker: {} });
let azure: FakeAzure, proxy: ConnectProxy;
let microsoft: ReturnType<typeof Bun.serve>, azureCliEnv: Readonly<Record<string, string>>, ourEnv: typeof azureCliEnv;

beforeAll(async () => {
  azure = startFakeAzure(CONTOSO);
  azure.pages = [[PRODUCTION, TEST, OLD]];
  const authority = makeCertificateAuthority(), certificates = join(stage.folder, "authority.pem");
  writeFileSync(certificates, authority.cert);
  microsoft = startMicrosoft(authority.issue([LOGIN, "graph.microsoft.com"]));
  proxy = await startConnectProxy({ port: microsoft.port! });
  azureCliEnv = {
    AZURE_CONFIG_DIR: makeAzureCliFolder(),
    AZURE_CORE_COLLECT_TELEMETRY: "0",
    HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
    REQUESTS_CA_BUNDLE: certificates,
    PYTHONDONTWRITEBYTECODE: "1",
  };
  ourEnv = {
    DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    LATCHKEY_ENDPOINT_RESOURCE_MANAGER: azure.url,
    LATCHKEY_ENDPOINT_MICROSOFT_GRAPH: azure.url,
    XDG_STATE_HOME: join(stage.folder, "state"),
  };
});
afterAll(async () => {
  proxy.stop();
  await microsoft.stop(true);
  await azure[Symbol.asyncDispose]();
});

/** A fake of Microsoft's sign-in and of Graph, for Azure CLI. */
function startMicrosoft(tls: { readonly cert: string; readonly key: string }): ReturnType<typeof Bun.serve> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls,
    fetch(request) {
      const [, tenant, ...path] = new URL(request.url).pathname.split("/"), base = `https://${LOGIN}/${tenant}`;
      if (tenant === "v1.0" && path[0] === "me") return Response.json(ME);
      if (path.join("/") === "discovery/instance") {
        const metadata = [{ preferred_network: LOGIN, preferred_cache: LOGIN, aliases: [LOGIN] }];
        return Response.json({ tenant_discovery_endpoint: `${base}/v2.0/.well-known/openid-configuration`, metadata });
      }
      if (!path.join("/").endsWith(".well-known/openid-configuration")) return new Response("", { status: 404 });
      return Response.json({
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
      });
    },
  });
}

/** Makes what Azure CLI has after a sign-in: its profile, and tokens. */
function makeAzureCliFolder(): string {
  const path = join(stage.folder, "azure"), homeId = `${OBJECT}.${CONTOSO}`, now = Math.floor(Date.now() / 1000);
  const ofAccount = { home_account_id: homeId, environment: LOGIN, realm: CONTOSO };
  const part = (value: object) => btoa(JSON.stringify(value)).replaceAll("=", "");
  const resources = [
    "https://management.core.windows.net/",
    "https://graph.microsoft.com/",
    "https://graph.windows.net/",
  ]
    .concat([
      "https://ossrdbms-aad.database.windows.net",
      "https://batch.core.windows.net/",
      "https://datalake.azure.net/",
    ])
    .concat(["https://rest.media.azure.net", "https://vault.azure.net"]);
  const tokens = resources.map((resource) => {
    const target = `${resource}/.default`,
      key = [homeId, LOGIN, "accesstoken", AZURE_CLI_ID, CONTOSO, target].join("-");
    return [key, {
      ...{ ...ofAccount, credential_type: "AccessToken", client_id: AZURE_CLI_ID, token_type: "Bearer", target },
      secret: `${part({ alg: "none" })}.${part({ aud: resource })}.x`,
      ...{ cached_at: `${now}`, expires_on: `${now + 4000}`, extended_expires_on: `${now + 4000}` },
    }];
  });
  const names = { username: "jane@contoso.com", local_account_id: OBJECT };
  const account = { ...ofAccount, ...names, authority_type: "MSSTS", account_source: "broker" };
  const subscriptions = [PRODUCTION, TEST, OLD].map((each, at) => ({
    ...{ state: "Enabled", ...each, user: { name: "jane@contoso.com", type: "user" }, isDefault: at === 0 },
    ...{ tenantId: CONTOSO, homeTenantId: CONTOSO, environmentName: "AzureCloud", managedByTenants: [] },
  }));
  mkdirSync(path);
  const files = {
    "config": "[core]\nencrypt_token_cache = false\ncollect_telemetry = no\n[cloud]\nname = AzureCloud\n",
    "azureProfile.json": JSON.stringify({ installationId: "x", subscriptions }),
    "msal_token_cache.json": JSON.stringify({
      AccessToken: Object.fromEntries(tokens),
      Account: { [`${homeId}-${LOGIN}-${CONTOSO}`]: account },
      ...{ IdToken: {}, RefreshToken: {}, AppMetadata: {} },
    }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

const wordsOf = (line: string) => line.split(" ").filter(Boolean).map((word) => word.replaceAll("_", " "));
const ours = (line: string) =>
  runProgram([...LATCHKEY_ON_BUN, "az", "--client-id", "azure-cli", "--", ...wordsOf(line)], ourEnv);
/** Runs all lines by Azure CLI, which takes as long to load as ten lines do. */
async function allOfTheirs(): Promise<readonly Run[]> {
  const program = fileURLToPath(new URL("azure_cli_lines.py", import.meta.url));
  const input = LINES.map((line) => `${JSON.stringify(wordsOf(line))}\n`).join("");
  const { stdout, stderr } = await runProgram([AZURE_CLI_PYTHON, program], azureCliEnv, { input });
  const runs = stdout.split("\n").filter(Boolean).map((line): Run => JSON.parse(line));
  if (runs.length !== LINES.length) throw new Error(`Azure CLI ended after ${runs.length} lines: ${stderr}`);
  return runs;
}

async function allOfOurs(): Promise<readonly Run[]> {
  await ours("account list"); // both know the subscriptions
  const runs: Run[] = [];
  for (const line of LINES) runs.push(await ours(line));
  return runs;
}

/** Hides what no two tokens have in common: they, and their ends; and column widths, which depend on them. */
function shown({ code, stdout }: Run): { readonly code: number; readonly stdout: string } {
  const text = stdout.replaceAll(/eyJ[\w.-]+/g, "TOKEN").replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+/g, "TIME")
    .replaceAll(/\b1\d{9}\b/g, "SECONDS").replaceAll(/-{11,}/g, "-----").replaceAll(/ {3,}/g, "  ");
  return { code, stdout: text };
}

describe("latchkey az beside Azure CLI", () => {
  test(`answers ${LINES.length} command lines as it does, but for those with a reason`, async () => {
    const [mine, theirs] = await Promise.all([allOfOurs(), allOfTheirs()]);
    const unlike: object[] = [], alike: string[] = [], loud: object[] = [];
    for (const [at, line] of LINES.entries()) {
      const one = mine[at]!, other = theirs[at]!;
      const isSame = JSON.stringify(shown(one)) === JSON.stringify(shown(other));
      const isQuiet = one.code !== 0 || one.stderr === "" || one.stdout === "[]\n";
      if (!isQuiet) loud.push({ line, stderr: one.stderr });
      if (isSame && DIFFERENCES[line]) alike.push(line);
      if (!isSame && !DIFFERENCES[line]) {
        unlike.push({ at, line, ours: shown(one), theirs: shown(other), stderr: other.stderr.slice(0, 300) });
      }
    }
    expect({ unlike, alike, loud }).toEqual({ unlike: [], alike: [], loud: [] });
  }, LIMIT_MS);
});
