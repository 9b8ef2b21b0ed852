// latchkey git: transcripts of git's documented protocol, which git speaks since 2.46 in all of its parts; and git itself, with
// user name and token, against a server that wants them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { quoteCommand } from "../../../../lib/runtime/host.ts";
import { makeHostileFolder } from "../../../fakes/hostile_folder.ts";
import { HOSTILE_TEXT } from "../../../fakes/hostile_texts.ts";
import { LEAST_PERMISSIONS } from "../../../tools/deno_command.ts";
import { findTool } from "../../../tools/find_tool.js";
import { type GitServer, OWN_GIT_ENVIRONMENT, startGitServer } from "../../../tools/git_server.ts";
import { putLatchkeyInPath } from "../../latchkey_in_path.ts";
import { CLIENT_ID, type Home, JANE, JOE, openHome, useStage } from "../../../fixture.ts";
import { type Run, runLatchkey, type RunOptions, runProgram } from "../../run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS, testOfSources } from "../../tested_latchkey.ts";

const FABRIKAM = "33333333-2222-4333-8444-555555555555";
const AZURE_DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798/.default";
const TOKEN = "[\\w-]+\\.[\\w-]+\\.[\\w-]+";
/** What git writes for Azure DevOps, as far back as there are credential helpers. */
const OLD = "protocol=https\nhost=dev.azure.com\n";
/** What git 2.46 and later write after the server's answer. */
const NEW = "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=dev.azure.com\n" +
  `wwwauth[]=Bearer authorization_uri=https://login.microsoftonline.com/${FABRIKAM}\n` +
  'wwwauth[]=Basic realm="https://tfsprodweu1.visualstudio.com/"\nwwwauth[]=TFS-Federated\n';

const stage = useStage({ broker: { accounts: [JANE, JOE] } });

const environment = () => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
const git = (operation: string, input: RunOptions["input"], options = `--client-id ${CLIENT_ID}`): Promise<Run> =>
  runLatchkey([...`git ${options}`.trim().split(" "), operation], { env: environment(), input });
const asked = async () => (await stage.broker.calls("acquireTokenSilently")).at(-1)?.request.authParameters;
const valuesOf = (stdout: string) => Object.fromEntries(stdout.trim().split("\n").map((line) => line.split(/=(.*)/s)));
const NOTHING = { code: 0, stdout: "", stderr: "" };

describe("latchkey git get", () => {
  test("gives a git that knows no better the user name and the token as password", async () => {
    const { code, stdout, stderr } = await git("get", OLD);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      new RegExp(`^username=jane@contoso\\.com\npassword=${TOKEN}\npassword_expiry_utc=\\d{10}\n$`),
    );
    const { password_expiry_utc: until } = valuesOf(stdout);
    expect(Number(until) - Date.now() / 1000).toBeWithin(3600, 4001);
    expect(await asked()).toMatchObject({ clientId: CLIENT_ID, requestedScopes: [AZURE_DEVOPS] });
  });

  test("gives a git that understands it a bearer token, once, of the tenant that the server names", async () => {
    const { code, stdout, stderr } = await git("get", NEW);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      new RegExp(
        "^capability\\[\\]=authtype\ncapability\\[\\]=state\nauthtype=Bearer\n" +
          `credential=${TOKEN}\nephemeral=1\npassword_expiry_utc=\\d{10}\nstate\\[\\]=latchkey:\\w+\n$`,
      ),
    );
    expect(await asked()).toMatchObject({ authority: `https://login.microsoftonline.com/${FABRIKAM}` });
  });

  test("uses each capability by itself, and gives no bearer token to a server that wants Basic alone", async () => {
    const only = (name: string) => git("get", `capability[]=${name}\n${OLD}`);
    const [authtype, state, basic] = await Promise.all([
      only("authtype"),
      only("state"),
      git("get", `capability[]=authtype\n${OLD}wwwauth[]=Basic realm="contoso"\n`),
    ]);
    expect(Object.keys(valuesOf(authtype.stdout))).toEqual([
      ...["capability[]", "authtype", "credential", "ephemeral", "password_expiry_utc"],
    ]);
    const withPassword = ["username", "password", "password_expiry_utc"];
    expect(Object.keys(valuesOf(state.stdout))).toEqual(["capability[]", ...withPassword, "state[]"]);
    expect(Object.keys(valuesOf(basic.stdout))).toEqual(withPassword);
  });

  test("names the user of the address, who is the account where it is a user name of Entra's", async () => {
    expect(valuesOf((await git("get", `${OLD}username=contoso\n`)).stdout)).toMatchObject({ username: "contoso" });
    expect(await asked()).toMatchObject({ username: "" });
    await git("get", `${OLD}username=joe@contoso.com\n`);
    expect(await asked()).toMatchObject({ username: "joe@contoso.com" });
    await git("get", `${OLD}username=joe@contoso.com\n`, `--client-id ${CLIENT_ID} --account jane@contoso.com`);
    expect(await asked()).toMatchObject({ username: "jane@contoso.com" });
  });

  test("takes --tenant, or the authority's, before the server's", async () => {
    await git("get", NEW, `--client-id ${CLIENT_ID} --tenant contoso.com`);
    expect(await asked()).toMatchObject({ authority: "https://login.microsoftonline.com/contoso.com" });
    const authority = "https://login.microsoftonline.com/contoso.onmicrosoft.com";
    await git("get", NEW, `--client-id ${CLIENT_ID} --authority ${authority}`);
    expect(await asked()).toMatchObject({ authority });
  });

  test("ends git's command when a person is needed, and says what to type", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const { code, stdout, stderr } = await git("get", `${OLD}username=jane@contoso.com\n`);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "quit=1\n" });
    expect(stderr).toContain(
      `hint: Sign in: latchkey login --client-id ${CLIENT_ID} --account jane@contoso.com --scope ${AZURE_DEVOPS}\n`,
    );
  });

  test("leaves it to the next helper when it has no app, or no broker answers", async () => {
    const noApp = await git("get", OLD, "");
    expect(noApp).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("--client-id is missing") });
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 4 } } });
    expect(await git("get", OLD)).toMatchObject({ code: 5, stdout: "", stderr: expect.stringContaining("error: ") });
  });

  testOfSources("opens the broker's window when standard error is a terminal, and git may ask", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const atTerminal = (env: Readonly<Record<string, string>>) =>
      runLatchkey(["git", "--client-id", CLIENT_ID, "get"], {
        env: { ...environment(), ...env },
        input: `${OLD}\n`,
        terminals: ["stderr"],
      });
    const may = await atTerminal({});
    expect({ code: may.code, isTold: may.stderr.includes("sign in at the window") }).toEqual({ code: 0, isTold: true });
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
    expect(await atTerminal({ GIT_TERMINAL_PROMPT: "0" })).toMatchObject({ code: 3, stdout: "quit=1\n" });
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });
});

describe("latchkey git for what is not for it", () => {
  test("another server gets nothing, nor does one without TLS, nor another protocol", async () => {
    const servers = [["https", "github.com"], ["https", "dev.azure.com.contoso.com"], ["http", "dev.azure.com"]];
    const runs = servers.map(([protocol, host]) => git("get", `protocol=${protocol}\nhost=${host}\n`));
    expect(await Promise.all(runs)).toEqual([NOTHING, NOTHING, NOTHING]);
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("the older name of an organisation gets a token", async () => {
    expect((await git("get", "protocol=https\nhost=Contoso.visualstudio.com\n\n")).stdout).toContain("password=");
    expect(await asked()).toMatchObject({ requestedScopes: [AZURE_DEVOPS] });
  });

  test("store, and operations that are to come, do nothing and say nothing", async () => {
    expect(await git("store", `${OLD}username=jane@contoso.com\npassword=secret\n`)).toEqual(NOTHING);
    expect(await git("frobnicate", "nonsense")).toEqual(NOTHING);
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("capability tells what is understood", async () => {
    const stdout = "version 0\ncapability authtype\ncapability state\n";
    expect(await git("capability", "")).toEqual({ code: 0, stdout, stderr: "" });
  });
});

describe("latchkey git with bad input", () => {
  test.each([
    ["a line without =", `${OLD}nonsense\n`],
    ["a NUL", `protocol=https\nhost=dev.azure.com\0.evil.com\n`],
    ["no end", "x=y\n".repeat(300_000)],
  ])("%s: nothing is given, and nothing repeated", async (_, input) => {
    for (const { code, stdout, stderr } of await Promise.all([git("get", input), git("erase", input)])) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toStartWith("latchkey: Cannot use what git wrote to standard input: ");
      expect(stderr).not.toMatch(/evil|nonsense|xxx/);
    }
    expect(await stage.broker.calls("acquireTokenSilently")).toEqual([]);
  });

  test("what is no text, or is hostile, is a name like any other", async () => {
    const input = new Uint8Array([...new TextEncoder().encode(`${OLD}path=`), 0xff, 0xfe, 10]);
    expect((await git("get", input)).code).toBe(0);
    const hostile = HOSTILE_TEXT.replace(/[\0\r\n]/g, "");
    expect(await git("get", `protocol=https\nhost=${hostile}\n`)).toEqual(NOTHING);
  });

  test("an operation is needed, one, and known options", async () => {
    const run = (line: string) => runLatchkey(line.split(" "), { env: environment(), input: OLD });
    const says = expect.stringContaining("get, store or erase");
    expect(await run("git")).toMatchObject({ code: 2, stdout: "", stderr: says });
    expect(await run("git get erase")).toMatchObject({ code: 2, stdout: "" });
    expect(await run("git get --scope User.Read")).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("latchkey git erase", () => {
  const refused = (secret: string, more = "") =>
    git("erase", `${OLD}${more}username=jane@contoso.com\npassword=${secret}\n`);

  test("renews the token that was refused", async () => {
    const { password: first } = valuesOf((await git("get", OLD)).stdout);
    expect(await refused(first!)).toEqual(NOTHING);
    const { password: second } = valuesOf((await git("get", OLD)).stdout);
    expect(second).not.toBe(first);
    expect(await refused(first!)).toEqual(NOTHING); // said again, of what is replaced
    expect(valuesOf((await git("get", OLD)).stdout)).toMatchObject({ password: second });
  });

  test("renews a bearer token that is its own", async () => {
    const { credential: first, "state[]": state } = valuesOf((await git("get", NEW)).stdout);
    const [capabilities, where] = [NEW.slice(0, NEW.indexOf("protocol")), NEW.slice(NEW.indexOf("protocol"))];
    const told = `authtype=Bearer\ncredential=${first}\nephemeral=1\n`;
    expect(await git("erase", `${capabilities}${told}${where}password_expiry_utc=1\nstate[]=${state}\n`)).toEqual(
      NOTHING,
    );
    const { credential: second } = valuesOf((await git("get", NEW)).stdout);
    expect(second).not.toBe(first);
  });

  test("does nothing about what is not its own", async () => {
    const { password } = valuesOf((await git("get", OLD)).stdout);
    await stage.broker.forgetCalls();
    const others = `capability[]=authtype\ncapability[]=state\n${OLD}state[]=manager:token\npassword=${password}\n`;
    expect(await git("erase", others)).toEqual(NOTHING);
    expect(await git("erase", OLD)).toEqual(NOTHING);
    expect(await git("erase", `${OLD}password=${password}\n`, "")).toEqual(NOTHING);
    expect(await stage.broker.calls("acquireTokenSilently")).toEqual([]);
    expect(await refused("another")).toEqual(NOTHING);
    expect(valuesOf((await git("get", OLD)).stdout)).toMatchObject({ password });
  });

  test("says nothing where nobody is signed in: the password was another helper's", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect(await refused("another")).toEqual(NOTHING);
  });

  test("says what to type when the renewal needs a person", async () => {
    const { password } = valuesOf((await git("get", `${OLD}username=jane@contoso.com\n`)).stdout);
    await stage.behave({
      replies: {
        [`acquireTokenSilently ${AZURE_DEVOPS}`]: { kind: "delay", ms: 0, times: 1 },
        acquireTokenSilently: { kind: "broker_error", status: 2 },
      },
    });
    const { code, stdout, stderr } = await refused(password!);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain(
      `latchkey login --client-id ${CLIENT_ID} --account jane@contoso.com --scope ${AZURE_DEVOPS}\n`,
    );
  });
});

describe.each(TESTED_PATHS)("latchkey git on $name", ({ program }) => {
  const words = (...options: string[]) => [
    ...[...latchkeyBy(program()), "git", "--client-id", CLIENT_ID, ...options, "get"],
  ];
  const on = (input: string) => runProgram(words(), environment(), { input });

  /** Runs it with a standard input that does not end. */
  async function withOpenInput(input: string, ...options: string[]): Promise<Run> {
    using home = openHome();
    const child = Bun.spawn(words(...options), {
      env: { ...home.env, ...environment() },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.write(input);
    await child.stdin.flush();
    const texts = [child.stdout, child.stderr].map((stream) => new Response(stream).text());
    const [code, stdout = "", stderr = ""] = [await child.exited, ...await Promise.all(texts)];
    return { code, stdout, stderr };
  }

  test("reads standard input to an empty line, or its end, or its limit", async () => {
    const [line, end, nothing, limit] = await Promise.all([
      ...[withOpenInput(`${OLD}\n`), on(OLD), on("")],
      on("x=y\n".repeat(300_000)),
    ]);
    expect(line).toMatchObject({ code: 0, stdout: expect.stringContaining("password="), stderr: "" });
    expect(end).toMatchObject({ code: 0, stdout: expect.stringContaining("password="), stderr: "" });
    expect(nothing).toEqual(NOTHING);
    expect(limit).toMatchObject({ code: 2, stdout: "" });
  });

  test("does not wait for more than --timeout allows", async () => {
    const { code, stdout, stderr } = await withOpenInput(OLD, "--timeout", "0.5");
    expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
    expect(stderr).toContain("longer than --timeout 0.5");
  });
});

describe("git itself", () => {
  let server: GitServer, home: Home, path: Readonly<Record<string, string>>;
  let isRefused: (token: string) => boolean;
  beforeAll(() => {
    isRefused = () => false;
    server = startGitServer({
      accepts(authorization) {
        const [scheme, value = ""] = authorization?.split(" ") ?? [];
        const [username, password = ""] = atob(scheme === "Basic" ? value : "").split(/:(.*)/s);
        return username === "jane@contoso.com" && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(password) && !isRefused(password);
      },
      challenges: ['Basic realm="contoso"'],
    });
    home = openHome();
    path = putLatchkeyInPath(home, [
      ...[LEAST_PERMISSIONS[0]!, "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,HOME,XDG_CONFIG_HOME"],
      ...["--allow-sys=uid", `--allow-read=${home.config}`],
    ]);
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    const config = { git: { [server.host]: { scope: "api://git.contoso.com/.default", client_id: CLIENT_ID } } };
    writeFileSync(join(home.config, "config.json"), JSON.stringify(config), { mode: 0o600 });
    writeFileSync(join(home.path, ".gitconfig"), `[credential "http://${server.host}"]\n\thelper = !latchkey git\n`);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    home[Symbol.dispose]();
  });

  const realGit = (words: readonly string[], config = join(home.path, ".gitconfig")): Promise<Run> =>
    runProgram(["git", ...words], {
      ...{ ...OWN_GIT_ENVIRONMENT, ...path, ...environment() },
      ...{ GIT_CONFIG_GLOBAL: config, GIT_TERMINAL_PROMPT: "0" },
    });
  const cloneTo = (name: string) => realGit(["clone", "--quiet", server.url, join(home.path, name)]);

  test("clones, fetches and pushes with the token", async () => {
    expect(await cloneTo("one")).toEqual(NOTHING);
    expect(await asked()).toMatchObject({ clientId: CLIENT_ID, requestedScopes: ["api://git.contoso.com/.default"] });
    const inClone = (line: string) => realGit(["-C", join(home.path, "one"), ...line.split(" ")]);
    expect(await inClone("commit --quiet --allow-empty -m More")).toEqual(NOTHING);
    expect(await inClone("push --quiet origin main")).toEqual(NOTHING);
    expect(await inClone("fetch --quiet")).toEqual(NOTHING);
    expect((await inClone("log --format=%s origin/main")).stdout).toBe("More\nBegin\n");
  });

  // Bun runs what bunfig.toml of the current folder preloads: docs/install.md says how a helper is written for it.
  test.each(TESTED_PATHS)("runs nothing of a hostile clone by a helper that is run by $name", async ({ program }) => {
    using hostile = makeHostileFolder();
    const source = "bin/latchkey.ts", root = fileURLToPath(new URL("../../../../", import.meta.url));
    const words = latchkeyBy(program()).map((word) => word === source ? `${root}${source}` : word);
    if (words[0] === findTool("bun")) words.splice(1, 0, `--cwd=${root}bin`);
    const helper = `credential.helper=!${quoteCommand([...words, "git"])}`;
    const run = await realGit(["-C", hostile.path, "-c", helper, "ls-remote", server.url], "/dev/null");
    expect({ ...run, stdout: "" }).toEqual(NOTHING);
    expect(run.stdout).toContain("refs/heads/main");
    expect(hostile.wasRun()).toBe(false);
  });

  test("has another token after the server refused one", async () => {
    const tokens = new Set<string>();
    isRefused = (token) => tokens.add(token).size === 1;
    const { code, stderr } = await cloneTo("refused");
    expect({ code, isRefused: stderr.includes("Authentication failed") }).toEqual({ code: 128, isRefused: true });
    expect(await cloneTo("two")).toEqual(NOTHING);
    expect(tokens.size).toBe(2);
    isRefused = () => false;
  });

  test("stops with latchkey's words when a person is needed", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const { code, stderr } = await cloneTo("three");
    expect(code).toBe(128);
    expect(stderr).toContain(`latchkey login --client-id ${CLIENT_ID} --scope api://git.contoso.com/.default`);
    expect(stderr).toContain("told us to quit");
  });

  test("asks the next helper for other servers", async () => {
    const url = `http://localhost:${new URL(server.url).port}/sample.git`;
    const helpers = ["!latchkey git", "!f() { echo username=joe; echo password=his; }; f"];
    const config = helpers.flatMap((helper) => ["-c", `credential.helper=${helper}`]);
    const run = await realGit([...config, "ls-remote", url], "/dev/null");
    expect(run.code).toBe(128);
    expect(server.authorizations.at(-1)).toBe(`Basic ${btoa("joe:his")}`);
  });
});
