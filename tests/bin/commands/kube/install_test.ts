// latchkey kube --install and --uninstall, in files as kubectl, people and other tools write them. kubectl itself, and Kubernetes'
// client, use what was written among the peers.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { parse } from "yaml";
import { isOwn, kubelogin } from "../../../../bin/commands/kube/exec_section.ts";
import { kubeconfigPaths } from "../../../../bin/commands/kube/kubeconfig.ts";
import { quoteCommand } from "../../../../lib/runtime/host.ts";
import { type Run, runProgram } from "../../run_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "../../tested_latchkey.ts";

const AKS = "6dae42f8-4368-4678-94ff-3960e28e3630";
const TENANT = "99999999-8888-4777-8666-555555555555";
const AKS_SERVER = "https://contoso-1a2b3c4d.hcp.westeurope.azmk8s.io:443";
const CONFIG = `# work clusters
apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://127.0.0.1:1   # on this machine
  name: c1
- cluster:
    certificate-authority-data: QUFB
    server: ${AKS_SERVER}
  name: c2
contexts:
- {name: shared, context: {cluster: c1, user: jane}}
- context:
    cluster: c1
    user: jane
  name: contoso
- context:
    cluster: c2
    user: aks
  name: aks
- context:
    cluster: c1
    user: joe
  name: joe
current-context: contoso
preferences: {}
users:
- name: aks
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - get-token
      - --server-id
      - ${AKS}
      - --tenant-id=${TENANT}
      command: kubelogin
      env: null
# Jane's own
- name: jane
  user:
    client-certificate-data: QUFB
    client-key-data: c2VjcmV0
    as: boss
# the end
`;

let folder: string, path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-kube-"));
  path = join(folder, "config");
  writeFileSync(path, CONFIG, { mode: 0o640 });
});
afterEach(() => rmSync(folder, { recursive: true }));

const run = (words: readonly string[], KUBECONFIG = path): Promise<Run> =>
  // The command that is written is the program's own.
  runProgram([...LATCHKEY_ON_BUN, "kube", ...words], { KUBECONFIG });
const install = (context: string, ...words: string[]): Promise<Run> =>
  run(["--install", "--context", context, "--client-id", "azure-cli", ...words]);
const content = () => readFileSync(path, "utf8");
// deno-lint-ignore no-explicit-any
const userOf = (name: string, text = content()): any => parse(text).users.find((each: any) => each.name === name)?.user;
/** Lines that one text has and the other does not. */
const lost = (one: string, other: string) => one.split("\n").filter((line) => !other.split("\n").includes(line));
const kept = () => `${path}.before-latchkey`;

/** A kubeconfig with one user, as another person could have sent it. */
function foreignConfig(exec: object, server = "https://evil.example", more: object = {}): string {
  const cluster = { name: "c", cluster: { server, ...more } };
  const context = { name: "contoso", context: { cluster: "c", user: "jane" } };
  return JSON.stringify({ clusters: [cluster], contexts: [context], users: [{ name: "jane", user: { exec } }] });
}

describe("latchkey kube --install", () => {
  test("changes a context's user and no other byte, tells what was there, and does that once", async () => {
    const first = await install("contoso", "--server-id", AKS, "--account", "jane@contoso.com");
    expect(first.code).toBe(0);
    const { exec, ...others } = userOf("jane");
    expect(others).toEqual({ as: "boss" });
    expect(exec).toEqual({
      apiVersion: "client.authentication.k8s.io/v1beta1",
      command: expect.stringMatching(/^(\/|[A-Z]:\\)/),
      args: expect.arrayContaining([
        "kube",
        `--server-id=${AKS}`,
        "--account=jane@contoso.com",
        "--client-id=azure-cli",
      ]),
      interactiveMode: "IfAvailable",
      provideClusterInfo: false,
    });
    expect(parse(first.stdout)).toEqual({ users: [{ name: "jane", user: { exec } }] });
    expect(lost(CONFIG, content())).toEqual(["    client-certificate-data: QUFB", "    client-key-data: c2VjcmV0"]);
    expect(content()).toStartWith(CONFIG.slice(0, CONFIG.indexOf("    client-certificate-data")));
    expect(content()).toEndWith("\n# the end\n");

    expect(first.stderr).toContain(`wrote the user "jane" in ${path}`);
    expect(first.stderr).toContain("To undo: latchkey kube --uninstall --context contoso\n");
    expect(first.stderr).toContain(
      `what it had before (client-certificate-data, client-key-data) is in ${kept()}; --uninstall brings it back`,
    );
    expect(first.stderr).toContain(
      "the entry still has as: with your token, kubectl acts as the user that this names\n",
    );
    expect(first.stderr).toContain("other contexts have the same user, and now run latchkey, too: shared");
    expect(first.stdout + first.stderr).not.toContain("c2VjcmV0");
    // Windows has no modes.
    const modes = process.platform === "win32" ? [0o666, 0o666] : [0o640, 0o600];
    expect([statSync(path).mode & 0o777, statSync(kept()).mode & 0o777]).toEqual(modes);

    const before = content();
    const second = await install("contoso", "--server-id", AKS, "--account", "jane@contoso.com");
    expect(second).toMatchObject({ code: 0, stdout: first.stdout });
    expect(second.stderr).toContain("had already written");
    expect(content()).toBe(before);
    expect(readdirSync(folder).sort()).toEqual(["config", "config.before-latchkey"]);
  });

  test("takes kubelogin's ids, unless others are given; with other options it replaces its own", async () => {
    const { code, stderr } = await install("aks");
    expect(code).toBe(0);
    expect(stderr).toContain("what it had before (exec of kubelogin) is in");
    expect(stderr).toContain(
      `taken from the entry before it: --server-id=${AKS} (Azure Kubernetes Service), --tenant=${TENANT}. ` +
        `The tokens go to ${AKS_SERVER}\n`,
    );
    expect(userOf("aks").exec.args).toEqual(expect.arrayContaining([`--server-id=${AKS}`, `--tenant=${TENANT}`]));
    expect(await install("aks", "--server-id", "api://x", "--interactive", "never")).toMatchObject({ code: 0 });
    expect(userOf("aks").exec).toMatchObject({ interactiveMode: "Never" });
    expect(userOf("aks").exec.args.slice(-3)).toEqual([
      "--server-id=api://x",
      "--client-id=azure-cli",
      "--interactive=never",
    ]);
    expect(userOf("aks", readFileSync(kept(), "utf8")).exec.command).toBe("kubelogin");
  });

  test("is undone by --uninstall, for one context or all", async () => {
    await install("contoso", "--server-id", AKS);
    await install("aks");
    await install("joe", "--server-id", AKS); // whose user had no entry
    expect(lost(CONFIG, content())).not.toContain("# Jane's own");
    const one = await run(["--uninstall", "--context", "contoso"]);
    expect(one).toMatchObject({ code: 0, stdout: "jane\n" });
    expect(one.stderr).toContain(
      "no longer runs latchkey; it has this again: client-certificate-data, client-key-data\n",
    );
    expect(userOf("jane")).toEqual(userOf("jane", CONFIG));
    expect(userOf("aks").exec.args).toContain("kube");
    expect(existsSync(kept())).toBe(true);
    expect(await run(["--uninstall"])).toMatchObject({ code: 0, stdout: "aks\njoe\n" });
    expect(userOf("aks")).toEqual(userOf("aks", CONFIG));
    expect(lost(CONFIG, content())).toEqual([]);
    expect(readdirSync(folder)).toEqual(["config"]);
    expect(await run(["--uninstall"])).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("nothing to remove"),
    });
  });

  // The second installation kept the token in place of the certificate, whose key was gone.
  test("keeps what there was before it, and what has been added since", async () => {
    await install("contoso", "--server-id", AKS);
    writeFileSync(path, content().replace("    as: boss\n", "    as: boss\n    token: added\n"));
    expect(userOf("jane").token).toBe("added");
    expect((await install("contoso", "--server-id", AKS)).stderr).toContain("what it had before (token) is in");
    expect(await run(["--uninstall"])).toMatchObject({ code: 0, stdout: "jane\n" });
    expect(userOf("jane")).toEqual({ ...userOf("jane", CONFIG), token: "added" });
  });

  // "latchkey" anywhere in a command was enough: --uninstall removed it, and nothing was kept.
  test("leaves another program's exec alone, in a folder named latchkey", async () => {
    const exec = { command: "/home/latchkey/bin/plugin", args: ["--profile", "latchkey-x", "get", "kube"] };
    writeFileSync(path, JSON.stringify({ users: [{ name: "jane", user: { exec } }] }));
    const before = content();
    expect(await run(["--uninstall"])).toMatchObject({ code: 0, stdout: "" });
    expect(content()).toBe(before);
  });

  // Whatever stood in "env" stayed if the command looked like latchkey: code of a stranger's ran in it at the next kubectl.
  test("keeps no environment of a section that it did not write, and says so", async () => {
    const env = [
      { name: "NODE_OPTIONS", value: "--require /tmp/evil" },
      { name: "LATCHKEY_AUTHORITY", value: "https://evil.example" },
      { name: "LATCHKEY_ACCOUNT", value: "joe@contoso.com" },
    ];
    const exec = { command: "/nowhere/latchkey", args: ["kube"], env };
    const text = foreignConfig(exec);
    writeFileSync(path, text);
    const { code, stderr } = await install("contoso", "--server-id", AKS);
    expect(code).toBe(0);
    expect(userOf("jane").exec.env).toBeUndefined();
    expect(stderr).toContain(
      "not taken from the entry before it: env NODE_OPTIONS, LATCHKEY_AUTHORITY, LATCHKEY_ACCOUNT\n",
    );
    expect(stderr).toContain(
      `what it had before (exec of /nowhere/latchkey) is in ${kept()}; --uninstall brings it back`,
    );
    expect(await run(["--uninstall"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("it has this again: exec of /nowhere/latchkey\n"),
    });
    expect(parse(content())).toEqual(JSON.parse(text));
    expect(existsSync(kept())).toBe(false);
  });

  test("keeps of its own section's environment only what chooses among what is the user's", async () => {
    await install("aks");
    const { exec } = userOf("aks");
    const kept = [
      { name: "LATCHKEY_ACCOUNT", value: "jane@contoso.com" },
      { name: "LATCHKEY_INTERACTIVE", value: "never" },
    ];
    const dropped = [
      "LATCHKEY_LIBDBUS",
      "LATCHKEY_MSALRUNTIME",
      "LATCHKEY_CACHE_FILE",
      "LATCHKEY_TENANT",
      "LD_PRELOAD",
    ];
    const env = [...kept, ...dropped.map((name) => ({ name, value: "/tmp/evil" }))];
    const config = parse(content());
    config.users.find(({ name }: { name: string }) => name === "aks").user = { exec: { ...exec, env } };
    writeFileSync(path, JSON.stringify(config));
    const { code, stderr } = await install("aks", "--server-id", AKS);
    expect(code).toBe(0);
    expect(userOf("aks").exec.env).toEqual(kept);
    expect(stderr).toContain(`not taken from the entry before it: env ${dropped.join(", ")}\n`);
    await run(["--uninstall", "--context", "aks"]);
    expect(userOf("aks")).toEqual(userOf("aks", CONFIG)); // what kubelogin had, not what was added since
  });

  // The file chose what the token is for, and where it goes: a stranger's cluster got one for Microsoft Graph.
  test.each([
    ["00000003-0000-0000-c000-000000000000", TENANT, "wants tokens for Microsoft Graph to go to https://evil.example"],
    ["00000002-0000-0ff1-ce00-000000000000", TENANT, "wants tokens for the API 00000002-"],
    ["https://graph.microsoft.com", TENANT, "do not trust this file"],
    ["api://contoso", TENANT, "If the cluster accepts these, name the app: --server-id api://contoso\n"],
  ])("takes no server id %s and tenant %s from kubelogin's arguments", async (serverId, tenant, says) => {
    const args = ["get-token", "--server-id", serverId, "--tenant-id", tenant];
    const text = foreignConfig({ command: "kubelogin", args });
    writeFileSync(path, text);
    const { code, stdout, stderr } = await install("contoso");
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
    expect(stderr).toContain("https://evil.example");
    expect(content()).toBe(text);
  });

  test("takes no domain for a tenant from kubelogin's arguments", async () => {
    const args = ["get-token", "--server-id", AKS, "--tenant-id", "evil.example"];
    writeFileSync(path, foreignConfig({ command: "kubelogin", args }, AKS_SERVER));
    const { code, stderr } = await install("contoso");
    expect(code).toBe(2);
    expect(stderr).toContain("If that is the cluster's tenant, name it: --tenant evil.example\n");
  });

  test("takes a server id that the user names, if it can be a cluster's", async () => {
    const args = ["get-token", "--server-id", "api://x", "--tenant-id", "contoso.com"];
    writeFileSync(path, foreignConfig({ command: "kubelogin", args }, "https://k8s.contoso.com"));
    expect((await install("contoso", "--server-id", "api://x", "--tenant", "contoso.com")).code).toBe(0);
    expect(userOf("jane").exec.args).toEqual(expect.arrayContaining(["--server-id=api://x", "--tenant=contoso.com"]));
    const others = ["api://797f4846-ba00-4fd7-ba43-dac1f8f63013", "https://graph.microsoft.com."];
    for (const id of ["00000003-0000-0000-c000-000000000000", "https://management.azure.com", ...others]) {
      const { code, stderr } = await install("contoso", "--server-id", id);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("the app of a cluster, not") });
    }
  });

  // The cluster then knew a person where it had known an app.
  test.each([
    ["workloadidentity", ["--login", "workloadidentity"], []],
    ["spn", ["-lspn"], []],
    ["msi", ["-l", "msi"], []],
    ["azurepipelines", ["--login=azurepipelines"], []],
    ["githubactions", ["--login", "devicecode", "--login", "githubactions"], []],
    ["spn", [], [{ name: "AAD_LOGIN_METHOD", value: "spn" }]],
    ["spn", ["--login", "devicecode"], [{ name: "AAD_LOGIN_METHOD", value: "spn" }]],
    ["msi", [], [{ name: "AAD_LOGIN_METHOD", value: "azurecli" }, { name: "AAD_LOGIN_METHOD", value: "msi" }]],
  ])("replaces no app's sign-in by a user's: %s, %j %j", async (login, words, env) => {
    // Flags before the command hid it.
    const exec = { command: "kubelogin", args: ["-v", "5", "get-token", "--server-id", AKS, ...words], env };
    const text = foreignConfig(exec);
    writeFileSync(path, text);
    const { code, stdout, stderr } = await install("contoso");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`The user "jane" signs in as an app (kubelogin --login ${login})`);
    expect(stderr).toContain(quoteCommand(["kubectl", "config", "set-context", "contoso", "--user=contoso-latchkey"]));
    expect(content()).toBe(text);
  });

  test("replaces no entry of kubelogin that it does not understand", async () => {
    const text = foreignConfig({ command: "kubelogin.EXE", args: ["token", "--login", "spn"] });
    writeFileSync(path, text);
    const { code, stderr } = await install("contoso", "--server-id", AKS);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("runs kubelogin without get-token") });
    expect(content()).toBe(text);
  });

  // A token for the app of Azure Kubernetes Service is good at every cluster of the user's tenant, and went to any server.
  test.each([
    ["https://evil.example", {}],
    ["https://azmk8s.io.evil.example", {}],
    ["https://evilazmk8s.io", {}],
    ["http://contoso.hcp.westeurope.azmk8s.io", {}],
    ["https://jane@contoso.hcp.westeurope.azmk8s.io", {}],
    [AKS_SERVER, { "proxy-url": "http://evil.example" }],
    [AKS_SERVER, { "insecure-skip-tls-verify": true }],
    [AKS_SERVER, { "tls-server-name": "evil.example" }],
  ])("takes the id of Azure Kubernetes Service for no other server: %s %j", async (server, more) => {
    const text = foreignConfig({ command: "kubelogin", args: ["get-token", "--server-id", AKS] }, server, more);
    writeFileSync(path, text);
    const { code, stdout, stderr } = await install("contoso");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`tokens for Azure Kubernetes Service to go to ${server}`);
    expect(stderr).toContain(`name the app: --server-id ${AKS}\n`);
    expect(content()).toBe(text);
    expect((await install("contoso", "--server-id", AKS)).code).toBe(0);
  });

  test.each(["chinaeast2.cx.prod.service.azk8s.cn", "usgovvirginia.cx.aks.containerservice.azure.us"])(
    "takes the id of Azure Kubernetes Service for a server of %s",
    async (domain) => {
      const exec = { command: "kubelogin", args: ["get-token", "--server-id", AKS] };
      writeFileSync(path, foreignConfig(exec, `https://contoso.hcp.${domain}:443`));
      expect((await install("contoso")).code).toBe(0);
    },
  );

  test.each(["devicecode", "interactive", "azurecli", "azd", "ropc"])(
    "replaces kubelogin --login %s",
    async (login) => {
      writeFileSync(path, foreignConfig({ command: "kubelogin", args: ["get-token", "--login", login] }));
      expect((await install("contoso", "--server-id", AKS)).code).toBe(0);
    },
  );

  test("says why it cannot read the kubeconfig", async () => {
    symlinkSync("loop", join(folder, "loop"));
    for (const [name, why] of [["loop", "it is a symbolic link"], [".", "it is a folder"]] as const) {
      const { code, stderr } = await run(["--uninstall"], join(folder, name));
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(why) });
      expect(stderr).toContain("error: configuration\n");
    }
  });

  // Another user put a file of this name next to the link, and --uninstall wrote what it named into the kubeconfig.
  test("believes no .before-latchkey that others could have put there", async () => {
    const own = foreignConfig({ command: "latchkey", args: ["kube"] });
    const evil = "users: [{name: jane, user: {exec: {command: /tmp/evil}}}]\n";
    writeFileSync(path, own);
    const link = join(folder, "link");
    symlinkSync("config", link);
    writeFileSync(`${link}.before-latchkey`, evil);
    expect(await run(["--uninstall"], link)).toMatchObject({ code: 0 });
    expect(userOf("jane")).toEqual({});

    for (const [mode, folderMode] of [[0o666, 0o700], [0o600, 0o770]] as const) {
      writeFileSync(path, own);
      writeFileSync(kept(), evil);
      chmodSync(kept(), mode);
      chmodSync(folder, folderMode);
      const { code, stderr } = await run(["--uninstall"]);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("others can write to it") });
      expect(content()).toBe(own);
      chmodSync(folder, 0o700);
      rmSync(kept());
    }
    symlinkSync("elsewhere", kept());
    writeFileSync(join(folder, "elsewhere"), evil);
    const { code, stderr } = await run(["--uninstall"]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("it is a symbolic link") });
    expect(content()).toBe(own);
  });

  test("writes no secret to a folder that others can write", async () => {
    chmodSync(folder, 0o770);
    const { code, stderr } = await install("contoso", "--server-id", AKS);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`Run chmod go-w ${folder}\n`) });
    expect(content()).toBe(CONFIG);
    expect(readdirSync(folder)).toEqual(["config"]);
  });

  test("follows KUBECONFIG: the first file with the context, and the first with its user", async () => {
    const users = join(folder, "users"), link = join(folder, "link");
    symlinkSync("users", link);
    writeFileSync(path, "contexts: [{name: contoso, context: {user: jane}}]\n");
    writeFileSync(users, "users: [{name: jane, user: {token: abc}}] # mine\r\n", { mode: 0o600 });
    const all = [join(folder, "missing"), path, link].join(delimiter);
    const words = ["--install", "--context", "contoso", "--client-id", "azure-cli", "--server-id", AKS];
    expect(await run(words, all)).toMatchObject({ code: 0, stderr: expect.stringContaining(`in ${link}`) });
    expect(content()).toBe("contexts: [{name: contoso, context: {user: jane}}]\n");
    expect(readlinkSync(link)).toBe("users");
    expect(readFileSync(users, "utf8")).toContain("# mine");
    expect(userOf("jane", readFileSync(users, "utf8"))).toEqual({ exec: expect.anything() });
    await run(["--uninstall"], all);
    expect(userOf("jane", readFileSync(users, "utf8"))).toEqual({ token: "abc" });
  });

  test("keeps the ends of lines, indented lists and JSON", async () => {
    const forms = [
      CONFIG.replaceAll("\n", "\r\n"),
      "contexts:\n  - name: contoso\n    context: { user: jane }\nusers:\n  - name: jane\n    user: { token: yes } # t\n  - name: x\n",
      JSON.stringify({ contexts: [{ name: "contoso", context: { user: "jane" } }], users: null, x: ["yes", 1, null] }),
      "contexts:\n- name: contoso\n  context:\n    user: jane\n",
    ];
    for (const form of forms) {
      writeFileSync(path, form);
      expect(await install("contoso", "--server-id", AKS)).toMatchObject({ code: 0 });
      expect(content().replaceAll("\r\n", "").includes("\n")).toBe(!form.includes("\r\n"));
      const { users: _, ...others } = parse(content()), { users: __, ...before } = parse(form);
      expect(others).toEqual(before);
      expect(userOf("jane").exec.args).toContain("kube");
    }
  });

  test("leaves a file alone that it cannot use or change, and quotes nothing of it", async () => {
    const wrong: readonly (readonly [string, RegExp])[] = [
      [`users: [{token: c2VjcmV0}\ncontexts: }`, /it is not YAML: [A-Z_]+ in line \d, column \d/],
      ["- c2VjcmV0", /it is not a mapping/],
      [
        "contexts: [{name: contoso, context: {user: jane}}]\nusers: [{name: jane, user: &a {token: c2VjcmV0}}, {name: b, user: *a}]",
        /without a change for others/,
      ],
      ["contexts: [{name: contoso, context: {}}]", /has no user\. Give it one/],
      ["contexts: [{name: contosa, context: {user: a}}]", /did you mean contosa\?/],
    ];
    for (const [text, why] of wrong) {
      writeFileSync(path, text);
      const { code, stdout, stderr } = await install("contoso", "--server-id", AKS);
      expect({ text, stdout, stderr }).toEqual({ text, stdout: "", stderr: expect.stringMatching(why) });
      expect(code).toBeGreaterThan(0);
      expect(stderr).not.toContain("c2VjcmV0");
      expect(content()).toBe(text);
      expect(existsSync(`${path}.lock`)).toBe(false);
    }
  });

  test("waits for nobody who changes the file, and says what is missing", async () => {
    writeFileSync(`${path}.lock`, "");
    expect(await install("contoso", "--server-id", AKS)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`Another program is changing ${path}`),
    });
    rmSync(`${path}.lock`);
    for (
      const [words, missing] of [
        [["--install", "--client-id", "azure-cli"], "--context is missing"],
        [["--install", "--context", "contoso"], "--client-id is missing"],
        [["--install", "--context", "contoso", "--client-id", "azure-cli"], "--server-id is missing"],
        [["--context", "contoso"], "--context goes with"],
      ] as const
    ) {
      expect(await run(words)).toMatchObject({ code: 2, stderr: expect.stringContaining(missing) });
    }
    expect(content()).toBe(CONFIG);
    rmSync(path);
    expect(await install("contoso")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("There is no kubeconfig"),
    });
  });
});

// Deno without FFI has not all permissions, and does not tell which ones a program has.
test.each(TESTED_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))(
  "latchkey kube --install writes, on $name, a command that runs",
  async ({ program }) => {
    const command = [...latchkeyBy(program()), "kube"];
    const words = ["--install", "--context", "contoso", "--client-id", "azure-cli", "--server-id", AKS];
    expect((await runProgram([...command, ...words], { KUBECONFIG: path })).code).toBe(0);
    const { command: runtime, args } = userOf("jane").exec;
    const help = await runProgram([runtime, ...args, "--help"], {});
    expect(help.stdout).toStartWith("Credential plugin for kubectl.");
    expect((await runProgram([...command, "--uninstall"], { KUBECONFIG: path })).code).toBe(0);
    expect(lost(CONFIG, content())).toEqual([]);
  },
);

test("kubeconfigPaths() reads KUBECONFIG as kubectl does", () => {
  const home = () => "/home/jane";
  expect(kubeconfigPaths("/a:b::/a", "linux", home)).toEqual(["/a", "b"]);
  expect(kubeconfigPaths("C:\\a;D:\\b", "win32", home)).toEqual(["C:\\a", "D:\\b"]);
  for (const none of [undefined, "", ":"]) {
    expect(kubeconfigPaths(none, "linux", home)).toEqual(["/home/jane/.kube/config"]);
  }
});

// An executable with another name did not know what it had written: it kept that, in place of the person's certificate.
test("isOwn() knows latchkey by its name, and this executable by its path", () => {
  const kube = (command: string, ...args: string[]) => isOwn({ command, args: [...args, "kube"] }, ["/opt/lk"]);
  expect([kube("latchkey"), kube("C:\\a b\\latchkey.exe"), kube("npx", "@latchkey/latchkey"), kube("/opt/lk")])
    .toEqual([true, true, true, true]);
  expect(kube("deno", "run", "-A", "jsr:@latchkey/latchkey@0.1/cli")).toBe(true);
  expect([kube("/usr/bin/lk"), kube("/home/latchkey/plugin"), kube("aws", "latchkey", "x"), kube("/opt/lk", "x")])
    .toEqual([false, false, false, false]);
});

test("kubelogin() reads kubelogin's arguments, on Windows too, and no other program's", () => {
  const args = ["get-token", "--server-id", "a", "--tenant-id", "b"];
  const read = { serverId: "a", tenant: "b", login: "devicecode" };
  expect(kubelogin({ command: "C:\\tools\\kubelogin.exe", args })).toEqual(read);
  expect(kubelogin({ command: "kubelogin", args: ["get-token", "--server-id=x", "-tb", "--server-id=a", "-l=msi"] }))
    .toEqual({ ...read, login: "msi" });
  expect(kubelogin({ command: "kubelogin", args: ["-v", "5", ...args] })).toEqual(read);
  for (
    const other of [undefined, { command: "aws", args }, { command: "kubelogin", args: ["convert", ...args.slice(1)] }]
  ) {
    expect(kubelogin(other)).toBeUndefined();
  }
});
