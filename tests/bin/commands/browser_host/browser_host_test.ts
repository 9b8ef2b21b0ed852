// The native messaging host as a browser speaks to it, on a real bus.
import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import deno from "../../../../deno.json" with { type: "json" };
import { startPrivateBus } from "../../../fakes/private_bus.ts";
import { activatableFakeBroker } from "../../../fakes/start_fake_broker.ts";
import { SENDERS } from "../../../fakes/tested_broker.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../../tools/deno_command.ts";
import { CLIENT_ID, CONTOSO, openHome, useStage } from "../../../fixture.ts";
import { runLatchkey } from "../../run_latchkey.ts";
import { type StartedHost, startHost } from "../../started_host.ts";

const EDGE = "d7b530a4-7680-4c23-a8bf-c52c121d2e87", MIB = 1024 * 1024;
/** What Chromium and Firefox start a host with. */
const CHROMIUM_WORDS = ["chrome-extension://jlnfnnolkbjieggibinobhkjdfbpcohn/", "--parent-window=0"];
const FIREFOX_WORDS = [
  "/home/jane/.mozilla/native-messaging-hosts/linux_entra_sso.json",
  "linux-entra-sso@example.com",
];
const stage = useStage({ broker: {} }), { behave } = stage;

const program = (permissions = LEAST_PERMISSIONS) => [...denoRun(), ...permissions, "bin/latchkey.ts", "browser-host"];

function start(
  command: readonly string[] = [...program(), ...CHROMIUM_WORDS],
  env: Readonly<Record<string, string>> = {},
): StartedHost {
  return startHost(command, { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, ...env });
}

async function askOne(host: StartedHost, message: object): Promise<HostAnswer> {
  host.send(message);
  return (await host.answers(1))[0]!.message;
}

// deno-lint-ignore no-explicit-any -- tests look deep into it
type HostAnswer = any;

async function accountOf(host: StartedHost): Promise<object> {
  return (await askOne(host, { command: "getAccounts" })).accounts[0];
}

describe.each(RUNTIME_PATHS)("latchkey browser-host on $name", ({ program }) => {
  test("tells of the broker, answers in the broker's words, and ends with its input", async () => {
    await using host = start([...program(), "bin/latchkey.ts", "browser-host", ...FIREFOX_WORDS]);
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "online" });
    host.send({ command: "getAccounts" }, { command: "getVersion" });
    const answers = new Map((await host.answers(2)).map(({ command, message }) => [command, message]));
    expect(answers.get("getAccounts").accounts).toMatchObject([{ username: "jane@contoso.com", realm: CONTOSO }]);
    expect(answers.get("getVersion")).toEqual({ linuxBrokerVersion: "2.5.2", native: deno.version });
    host.end();
    expect(await host.exited).toBe(0);
    expect(await host.stderr).toBe("");
  });

  test("answers before it ends what was asked before the end", async () => {
    await using host = start([...program(), "bin/latchkey.ts", "browser-host"]);
    host.send({ command: "getAccounts" }, { command: "nonsense" });
    host.end();
    expect((await host.answers(2)).map(({ command }) => command).sort()).toEqual(["getAccounts", "nonsense"]);
    expect(await host.exited).toBe(0);
  });

  test("ends when nobody reads its answers any more", async () => {
    await using host = start([...program(), "bin/latchkey.ts", "browser-host"]);
    await host.next();
    await host.hangUp();
    expect(await host.endAsking({ command: "nonsense" })).toBe(0);
  });

  test("goes on reading while a browser does not, and waits for it no longer than its broker at the end", async () => {
    await behave({ replies: { getAccounts: { kind: "text", text: bigAccounts() } } });
    await using host = start([...program(), "bin/latchkey.ts", "browser-host"]);
    await host.next();
    // More than a pipe holds, and nobody reads.
    host.send(...Array.from({ length: 5 }, () => ({ command: "getAccounts" })));
    while ((await stage.broker.calls("getAccounts")).length < 5) await Bun.sleep(2);
    host.send({ command: "getVersion" });
    while ((await stage.broker.calls("getLinuxBrokerVersion")).length < 1) await Bun.sleep(2);
    const answers = await host.answers(6);
    expect(answers.map(({ command }) => command).filter((command) => command === "getAccounts")).toHaveLength(5);
  });
});

describe.each(SENDERS.map((sender) => [sender] as const))("latchkey browser-host with %s", (sender) => {
  test("passes the broker's JSON on as it is", async () => {
    await behave({ sender });
    await using host = start();
    const account = await accountOf(host);
    const token = await askOne(host, { command: "acquireTokenSilently", account });
    const cookie = await askOne(host, {
      command: "acquirePrtSsoCookie",
      account,
      ssoUrl: "https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=n",
    });
    const calls = await stage.broker.calls(),
      replies = (await stage.broker.replies()).slice(-calls.length).map(([json]) => json && JSON.parse(String(json)));
    const replyTo = (member: string) => replies[calls.findLastIndex((call) => call.member === member)];
    expect({ accounts: [account] }).toEqual(replyTo("getAccounts"));
    expect(token).toEqual(replyTo("acquireTokenSilently"));
    expect(token.brokerTokenResponse.accessToken).toBeString();
    expect(cookie).toEqual(replyTo("acquirePrtSsoCookie"));
    expect(cookie.cookieItems?.[0] ?? cookie).toMatchObject({ cookieName: "x-ms-RefreshTokenCredential" });
    const { request } = calls.findLast(({ member }) => member === "acquirePrtSsoCookie")!;
    expect(request).toMatchObject({ account, authParameters: { clientId: EDGE, account } });
    expect(new Set(calls.flatMap(({ correlationId }) => correlationId ?? [])).size).toBe(3);
  });
});

describe("latchkey browser-host", () => {
  test("asks for Graph's default scope and the public sign-in page where the extension names none", async () => {
    await using host = start();
    const account = await accountOf(host);
    for (const more of [{}, { scopes: null, ssoUrl: null }, { scopes: [], ssoUrl: "" }]) {
      await askOne(host, { command: "acquireTokenSilently", account, ...more });
      await askOne(host, { command: "acquirePrtSsoCookie", account, ...more });
    }
    const scopes = (await stage.broker.calls("acquireTokenSilently")).map(({ request }) =>
      request.authParameters.requestedScopes
    );
    expect(scopes).toEqual(Array(3).fill(["https://graph.microsoft.com/.default"]));
    const urls = (await stage.broker.calls("acquirePrtSsoCookie")).map(({ request }) => request.ssoUrl);
    expect(urls).toEqual(Array(3).fill("https://login.microsoftonline.com/"));
    await askOne(host, { command: "acquireTokenSilently", account, scopes: ["User.Read", "openid"] });
    const { authParameters } = (await stage.broker.calls("acquireTokenSilently")).at(-1)!.request;
    expect(authParameters).toMatchObject({
      authority: `https://login.microsoftonline.com/${CONTOSO}`,
      requestedScopes: ["User.Read"],
    });
  });

  test("asks in the account's own cloud, and in no other place that an account names", async () => {
    await using host = start();
    const account = await accountOf(host);
    for (const environment of ["login.microsoftonline.us", "login.windows.net", "attacker.example", 1, null]) {
      await askOne(host, { command: "acquireTokenSilently", account: { ...account, environment } });
    }
    await askOne(host, { command: "acquireTokenSilently", account: { ...account, realm: "../x" } });
    const asked = (await stage.broker.calls("acquireTokenSilently")).map(({ request }) =>
      request.authParameters.authority
    );
    const at = (host: string, realm = CONTOSO) => `https://${host}/${realm}`, home = "login.microsoftonline.com";
    expect(asked).toEqual([at("login.microsoftonline.us"), at(home), at(home), at(home), at(home), at(home, "common")]);
  });

  test("is for the app that the environment, the command line or a profile names, else for Edge", async () => {
    using home = openHome();
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    const profiles = { work: { client_id: CLIENT_ID }, default: { client_id: "azure-cli" } };
    writeFileSync(join(home.config, "config.json"), JSON.stringify({ profiles }), { mode: 0o600 });
    const clientOf = async (words: readonly string[], env: Readonly<Record<string, string>>): Promise<string> => {
      await stage.broker.forgetCalls();
      await using host = start([...program(["--allow-all"]), ...words], env);
      await accountOf(host);
      return (await stage.broker.calls("getAccounts"))[0]!.request.clientId;
    };
    expect(await clientOf([], {})).toBe(EDGE);
    expect(await clientOf([], { LATCHKEY_CLIENT_ID: CLIENT_ID })).toBe(CLIENT_ID);
    expect(await clientOf([], home.env)).toBe("04b07795-8ddb-461a-bbee-02f9e1bf7b46");
    expect(await clientOf([], { ...home.env, LATCHKEY_PROFILE: "work" })).toBe(CLIENT_ID);
    expect(await clientOf(["--profile", "work"], home.env)).toBe(CLIENT_ID);
    expect(await clientOf(["--client-id", EDGE], home.env)).toBe(EDGE);
  });

  test("answers as the broker does, and those of one command in the order of the requests", async () => {
    await using host = start();
    const account = await accountOf(host);
    await behave({ replies: { acquirePrtSsoCookie: { kind: "delay", ms: 300, times: 1 } } });
    const cookie = (name: string) => ({
      command: "acquirePrtSsoCookie",
      account,
      ssoUrl: `https://login.microsoftonline.com/${name}`,
    });
    host.send(cookie("first"));
    while ((await stage.broker.calls("acquirePrtSsoCookie")).length < 1) await Bun.sleep(2);
    host.send(cookie("second"), { ...cookie("third"), account: 1 }, { command: "acquireTokenSilently", account });
    const answers = await host.answers(4);
    expect(answers.map(({ command }) => command)).toEqual([
      ...["acquireTokenSilently", "acquirePrtSsoCookie", "acquirePrtSsoCookie", "acquirePrtSsoCookie"],
    ]);
    const [, first, second, third] = answers.map(({ message }) => message);
    const urlIn = ({ cookieItems: [{ cookieContent }] }: HostAnswer) =>
      JSON.parse(atob(cookieContent.split(".")[1])).ssoUrl;
    expect([urlIn(first), urlIn(second)].map((url) => url.split("/").at(-1))).toEqual(["first", "second"]);
    expect(third).toEqual({ error: expect.stringContaining("account") });
  });

  test("answers many requests at once", async () => {
    await using host = start();
    const account = await accountOf(host), count = 200;
    const commands = ["getAccounts", "getVersion", "acquireTokenSilently", "acquirePrtSsoCookie", "nonsense"];
    host.send(...Array.from({ length: count }, (_, i) => ({ command: commands[i % commands.length], account })));
    const answers = await host.answers(count), byCommand = Map.groupBy(answers, ({ command }) => command);
    expect(commands.map((command) => byCommand.get(command)?.length)).toEqual(Array(5).fill(count / 5));
    expect(answers.filter(({ message }) => "error" in message)).toHaveLength(count / 5);
  });

  test("passes refusals on, wherever the broker has them", async () => {
    await using host = start();
    const account = await accountOf(host);
    await behave({
      replies: {
        getAccounts: { kind: "broker_error", status: 5, context: "AADSTS90033" },
        acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS50076" },
      },
    });
    expect(await askOne(host, { command: "getAccounts" })).toMatchObject({
      error: { status: 5, context: "AADSTS90033" },
    });
    expect(await askOne(host, { command: "acquireTokenSilently", account })).toMatchObject({
      brokerTokenResponse: { error: { status: 2, context: "AADSTS50076" } },
    });
  });

  test("tells when the broker comes and goes, and what stays so when it does both at once", async () => {
    await using host = start();
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "online" });
    await stage.broker.kill();
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "offline" });
    expect((await askOne(host, { command: "getAccounts" })).error).toContain("com.microsoft.identity.broker1");
    await stage.broker.start();
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "online" });
    expect(await accountOf(host)).toMatchObject({ username: "jane@contoso.com" });
  });

  test("starts a broker that does not run, tells so first, and again one that ends under a request", async () => {
    const own = await startPrivateBus(), idle = await activatableFakeBroker(own, { startDelayMs: 300 });
    try {
      await using host = start(program(), { DBUS_SESSION_BUS_ADDRESS: own.address });
      host.send({ command: "getAccounts" });
      expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "online" });
      expect((await host.answers(1))[0]!.message.accounts).toHaveLength(1);
      await idle.behave({ replies: { getAccounts: { kind: "exit", times: 1 } } });
      expect(await accountOf(host)).toMatchObject({ username: "jane@contoso.com" });
    } finally {
      await idle.stop();
      await own.stop();
    }
  });

  test.each<[string, Record<string, string>, readonly string[], RegExp]>([
    ["no bus", { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere/bus" }, LEAST_PERMISSIONS, /Cannot start the broker/],
    ["no address of a bus", {}, LEAST_PERMISSIONS, /this session has no bus/],
    ["no permission for it", {}, [], /--allow-env=/],
  ])("lives with %s: it is offline, and every answer says why", async (_, env, permissions, says) => {
    await using host = startHost(program(permissions), env);
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "offline" });
    expect(await askOne(host, { command: "getAccounts" })).toEqual({ error: expect.stringMatching(says) });
    expect(await askOne(host, { command: "getVersion" })).toEqual({
      error: expect.stringMatching(says),
      native: expect.any(String),
    });
    host.end();
    expect(await host.exited).toBe(0);
  });

  test("finds the bus that comes later", async () => {
    const socket = join(stage.bus.directory, "late");
    await using host = start(program(), { DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` });
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "offline" });
    symlinkSync(join(stage.bus.directory, "bus"), socket);
    host.send({ command: "getAccounts" });
    expect(await host.next()).toEqual({ command: "brokerStateChanged", message: "online" });
    expect((await host.answers(1))[0]!.message.accounts).toHaveLength(1);
  });
});

describe("latchkey browser-host and what cannot be meant", () => {
  const account = { username: "jane@contoso.com", homeAccountId: "a.b", realm: CONTOSO };
  const TOKEN = { command: "acquireTokenSilently" }, COOKIE = { command: "acquirePrtSsoCookie" };
  const deep = JSON.parse(`${'{"a":'.repeat(100)}1${"}".repeat(100)}`);

  test.each<[string, unknown, string | null, string]>([
    ["an unknown command", { command: "removeAccount", account }, "removeAccount", "no such command"],
    ["a command of the prototype's", { command: "__proto__" }, "__proto__", "no such command"],
    ["another one", { command: "constructor" }, "constructor", "no such command"],
    ["a long one", { command: "x".repeat(5000) }, "x".repeat(100), "no such command"],
    ["no command", { account }, null, "no command"],
    ["a command below __proto__", JSON.parse('{"__proto__":{"command":"getAccounts"}}'), null, "no command"],
    ["a number for a command", { command: 1 }, null, "no command"],
    ["a list", [{ command: "getAccounts" }], null, "not a JSON object"],
    ["a text", "getAccounts", null, "not a JSON object"],
    ["null", null, null, "not a JSON object"],
    ["no account", { command: "acquireTokenSilently" }, "acquireTokenSilently", "account must be"],
    ["a list for an account", { ...COOKIE, account: [] }, COOKIE.command, "account must be"],
    ["a deep account", { ...TOKEN, account: deep }, TOKEN.command, "account has to be"],
    ["scopes that are none", { ...TOKEN, account, scopes: "a" }, TOKEN.command, "scopes"],
    ["a scope that is none", { ...TOKEN, account, scopes: [1] }, TOKEN.command, "scopes"],
    ["two in one", { ...TOKEN, account, scopes: ["a b"] }, TOKEN.command, "is not a scope"],
    ["another URL", { ...COOKIE, account, ssoUrl: "http://a.b" }, COOKIE.command, "https://"],
    ["no URL", { ...COOKIE, account, ssoUrl: {} }, COOKIE.command, "ssoUrl"],
  ])("%s gets an error, asks nothing, and the host lives on", async (_, message, command, says) => {
    await using host = start();
    host.send(message);
    expect((await host.answers(1))[0]).toEqual({ command, message: { error: expect.stringContaining(says) } });
    expect((await stage.broker.calls()).map(({ member }) => member)).not.toContain(command);
    expect(await accountOf(host)).toMatchObject({ username: "jane@contoso.com" });
  });

  test.each([
    ["no JSON", Buffer.from("{x")],
    ["no UTF-8", Buffer.from([0x22, 0xff, 0x22])],
    ["nothing", Buffer.from("")],
    ["a mark before the JSON", Buffer.from("\ufeff{]")],
    ["JSON without end", Buffer.from("[".repeat(100_000))],
  ])("%s gets an error that does not repeat it", async (_, body) => {
    await using host = start();
    host.sendBytes(Buffer.concat([new Uint8Array(new Uint32Array([body.length]).buffer), body]));
    expect((await host.answers(1))[0]).toEqual({ command: null, message: { error: "The message is not JSON" } });
    expect(await accountOf(host)).toMatchObject({ username: "jane@contoso.com" });
  });

  test("what is too long is passed over", async () => {
    await using host = start();
    host.send({ command: "getAccounts", padding: "x".repeat(MIB - 100) });
    expect((await host.answers(1))[0]!.message.accounts).toHaveLength(1);
    host.sendBytes(Buffer.concat([new Uint8Array(new Uint32Array([3 * MIB]).buffer), new Uint8Array(3 * MIB)]));
    expect((await host.answers(1))[0]).toEqual({
      command: null,
      message: { error: `The message is too long: ${3 * MIB} bytes` },
    });
    expect(await accountOf(host)).toMatchObject({ username: "jane@contoso.com" });
  });

  test("an end within a message is no request", async () => {
    await using host = start();
    await host.next();
    const message = Buffer.from(JSON.stringify({ command: "getAccounts" }));
    host.sendBytes(Buffer.concat([new Uint8Array(new Uint32Array([message.length]).buffer), message.subarray(0, 10)]));
    host.end();
    expect(await host.exited).toBe(1);
    expect(await host.stderr).toBe("latchkey: the browser's last message was cut off\n");
    expect(await stage.broker.calls("getAccounts")).toEqual([]);
  });

  test.each([
    ["is no JSON", "<html>secret</html>", "not JSON"],
    ["is no object", '["secret"]', "not a JSON object"],
    ["is too deep", "[".repeat(60) + "]".repeat(60), "not JSON"],
    ["is longer than browsers take", bigAccounts(MIB), "too long for a browser"],
  ])("an answer of the broker that %s becomes an error", async (_, text, says) => {
    await behave({ replies: { getAccounts: { kind: "text", text } } });
    await using host = start();
    const { error } = await askOne(host, { command: "getAccounts" });
    expect(error).toContain(says);
    expect(error).not.toContain("secret");
  });

  test("an answer with names of the prototype's passes as it is", async () => {
    const text = '{"accounts":[{"username":"jane","__proto__":{"a":1},"constructor":2}],"__proto__":3}';
    await behave({ replies: { getAccounts: { kind: "text", text } } });
    await using host = start();
    expect(JSON.stringify(await askOne(host, { command: "getAccounts" }))).toBe(text);
  });

  test("a broker without versions has latchkey's alone", async () => {
    await behave({
      replies: {
        getLinuxBrokerVersion: { kind: "dbus_error", name: "org.freedesktop.DBus.Error.UnknownMethod", message: "?" },
      },
    });
    await using host = start();
    expect(await askOne(host, { command: "getVersion" })).toEqual({ native: deno.version });
  });

  test("a user at a terminal is told what it is for", async () => {
    const run = await runLatchkey(["browser-host"], { terminals: ["stdin", "stdout", "stderr"] });
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining("use --install") });
  });

  test.each([
    ["browser-host --install --uninstall", "not both"],
    ["browser-host --browser firefox", "--browser goes with --install"],
    ["browser-host --force", "--force goes with --install"],
    ["browser-host --client-id nobody", "--client-id takes a GUID"],
    ["browser-host a b c", "is not an option of browser-host"],
  ])("%p is wrong usage", async (line, says) => {
    const { code, stdout, stderr } = await runLatchkey(line.split(" "));
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
  });
});

/** A list of accounts that is larger than what a pipe holds. */
function bigAccounts(size = 300_000): string {
  return JSON.stringify({ accounts: [{ username: "jane@contoso.com", name: "x".repeat(size) }] });
}
