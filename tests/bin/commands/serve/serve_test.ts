// latchkey serve on a real bus, with Deno's least permissions, asked as programs ask.
import { afterEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Behaviour } from "../../../fakes/behaviour.ts";
import { CLIENT_ID, openHome, useStage } from "../../../fixture.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { denoRun, joinFlags, LEAST_PERMISSIONS, socketFlags } from "../../../tools/deno_command.ts";
import { askAsAzd, askEndpoint, type Place, startAsking } from "../../ask_endpoint.ts";
import { type Run, runLatchkey } from "../../run_latchkey.ts";
import { type RunningLatchkey, startLatchkey } from "../../running_latchkey.ts";

const SERVE = ["bin/latchkey.ts", "serve"];
const ARM = "https://management.azure.com";

const stage = useStage({ broker: {} });
const running: RunningLatchkey[] = [];
let count = 0;

afterEach(async () => {
  for (const each of running.splice(0)) {
    each.interrupt();
    await each.ended();
  }
});

const newFolder = () => join(stage.folder, `folder-${++count}`);
const serverFlags = (folder: string) => [...socketFlags(join(folder, "identity"), folder), "--allow-sys=uid"];
const secretFlags = (folder: string) => ["--allow-net=127.0.0.1", `--allow-read=${folder}`, "--allow-sys=uid"];
const environment = () => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
const words = (line: string) => ["--client-id", CLIENT_ID, "--resource", ARM, ...line.split(" ").filter(Boolean)];

function start(args: readonly string[], permissions: readonly string[]): RunningLatchkey {
  const flags = joinFlags([...LEAST_PERMISSIONS, ...permissions]);
  const started = startLatchkey([...denoRun(), ...flags, ...SERVE, ...args], { env: environment() });
  running.push(started);
  return started;
}

interface Server extends RunningLatchkey {
  readonly place: Place;
  readonly folder: string;
}

/** A server on a socket, once it listens. */
async function onSocket(more = "", folder = newFolder()): Promise<Server & { readonly place: { socketPath: string } }> {
  const socketPath = join(folder, "identity");
  const server = start(["--socket", socketPath, ...words(more)], serverFlags(folder));
  await server.printed(/serving at /);
  return { ...server, place: { socketPath }, folder };
}

/** A server on a port, once it listens. */
async function onPort(more = ""): Promise<Server> {
  const folder = newFolder(), file = join(folder, "secret");
  const flags = [...secretFlags(folder), `--allow-write=${folder}`];
  const server = start(["--port", "0", "--secret-file", file, ...words(more)], flags);
  const [, port] = await server.printed(/serving at http:\/\/127\.0\.0\.1:(\d+)\/msi\/token/);
  return { ...server, place: { port: Number(port), secret: readFileSync(file, "utf8").trim() }, folder };
}

const serve = (args: readonly string[], permissions: readonly string[] = []): Promise<Run> =>
  runLatchkey(["serve", ...args], { permissions: [...LEAST_PERMISSIONS, ...permissions], env: environment() });
const tokenCalls = async () => (await stage.broker.calls("acquireTokenSilently")).length;

describe("latchkey serve --socket", () => {
  test("hands out a token as App Service does, and tells of it without the token", async () => {
    const server = await onSocket();
    const answer = await askEndpoint(server.place, ARM), { body } = answer;
    expect(answer).toEqual({
      status: 200,
      body: {
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        expires_on: expect.stringMatching(/^\d{10}$/),
        resource: ARM,
        token_type: "Bearer",
        client_id: CLIENT_ID,
      },
    });
    expect(JSON.parse(atob(body.access_token.split(".")[1]))).toMatchObject({ aud: ARM, upn: "jane@contoso.com" });
    expect(Number(body.expires_on)).toBeGreaterThan(Date.now() / 1000 + 3000);
    server.interrupt();
    const { code, stdout, stderr } = await server.ended();
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 200 https:\/\/management\.azure\.com \d+ ms$/m);
    expect(stderr).not.toContain(body.access_token.slice(0, 20));
    expect(existsSync(server.place.socketPath)).toBe(false);
  });

  test("hands out what was allowed and nothing else, written exactly so", async () => {
    const { place, printed } = await onSocket("--scope api://orders/read --scope User.Read");
    for (const allowed of [ARM, `${ARM}/.default`, "api://orders/read", "User.Read"]) {
      expect(await askEndpoint(place, allowed)).toMatchObject({ status: 200, body: { resource: allowed } });
    }
    const before = await tokenCalls();
    for (const other of [`${ARM}/`, `${ARM}//.default`, "https://graph.microsoft.com", "api://orders", "user.read"]) {
      expect(await askEndpoint(place, other)).toEqual({
        status: 403,
        body: { statusCode: 403, message: expect.stringContaining(`--resource ${other}`) },
      });
    }
    expect(await tokenCalls()).toBe(before);
    await printed(/ 403 https:\/\/graph\.microsoft\.com \d+ ms/);
  });

  test("stands in for the managed identities that it is told, and for no other", async () => {
    const { place } = await onSocket("--identity AAAAAAAA-1111-4111-8111-111111111111");
    const ask = async (parameters: Record<string, string>) => (await askEndpoint(place, ARM, parameters)).status;
    expect(await ask({ client_id: CLIENT_ID.toUpperCase() })).toBe(200);
    expect(await ask({ principal_id: "aaaaaaaa-1111-4111-8111-111111111111" })).toBe(200);
    expect(await ask({ client_id: "bbbbbbbb-1111-4111-8111-111111111111" })).toBe(400);
    expect(await ask({ mi_res_id: "/subscriptions/x" })).toBe(400);
  });

  test("gives another token for one that is not good any more", async () => {
    const { place } = await onSocket();
    const first = (await askEndpoint(place, ARM)).body.access_token;
    expect((await askEndpoint(place, ARM)).body.access_token).toBe(first);
    const digest = new Bun.CryptoHasher("sha256").update(first).digest("hex");
    const second = (await askEndpoint(place, ARM, { token_sha256_to_refresh: digest })).body.access_token;
    expect(second).not.toBe(first);
    // It has been renewed by now.
    expect((await askEndpoint(place, ARM, { token_sha256_to_refresh: digest })).body.access_token).toBe(second);
  });

  test("makes one call for requests at once, and goes on with it when one of them leaves", async () => {
    const { place, printed } = await onSocket("--scope User.Read");
    await askEndpoint(place, "User.Read"); // so that the broker is found
    await stage.broker.forgetCalls();
    await stage.behave({ replies: { acquireTokenSilently: { kind: "delay", ms: 500 } } });
    const all = Array.from({ length: 20 }, () => startAsking(place, ARM));
    const [left, ...others] = all;
    while (await tokenCalls() === 0) await Bun.sleep(2);
    left!.leave();
    await expect(left!.answer).rejects.toThrow();
    const answers = await Promise.all(others.map(({ answer }) => answer));
    expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(1);
    expect(await tokenCalls()).toBe(1);
    await printed(/ 499 https:\/\/management\.azure\.com /);
  });

  test("gives up a call that nobody waits for any more", async () => {
    const { place, printed } = await onSocket();
    await stage.behave({ replies: { acquireTokenSilently: { kind: "hang", times: 1 } } });
    const { answer, leave } = startAsking(place, ARM);
    answer.catch(() => {}); // it left
    while (await tokenCalls() === 0) await Bun.sleep(2);
    leave();
    await printed(/ 499 /);
    // Another request would share a call that is still under way.
    expect((await askEndpoint(place, ARM)).status).toBe(200);
  });

  test("opens no window, and says once who has to sign in", async () => {
    const { place, printed, interrupt, ended } = await onSocket("--account jane@contoso.com");
    await stage.behave({
      replies: { acquireTokenSilently: { kind: "broker_error", status: 2, context: "MFA\x1b[2J" } },
    });
    for (let times = 0; times < 2; times++) {
      const message = expect.stringContaining("interaction_required"), correlationId = expect.any(String);
      expect(await askEndpoint(place, ARM)).toEqual({ status: 400, body: { statusCode: 400, message, correlationId } });
    }
    await printed(/ 400 .*\n.* 400 /);
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
    await stage.behave();
    expect((await askEndpoint(place, ARM)).status).toBe(200);
    interrupt();
    const { stderr } = await ended();
    expect(stderr.match(/has to sign in/g)).toHaveLength(1);
    expect(stderr).toContain(
      `latchkey: jane@contoso.com has to sign in (interaction_required): latchkey login --client-id ${CLIENT_ID} ` +
        `--account jane@contoso.com --scope ${ARM}/.default\n`,
    );
    expect(stderr).not.toContain("\x1b");
  });

  test("opens the broker's window at a terminal, where it is told that it may", async () => {
    const folder = newFolder(), socketPath = join(folder, "identity");
    const command = [...denoRun(), ...LEAST_PERMISSIONS, ...serverFlags(folder), ...SERVE, "--socket", socketPath];
    const server = startLatchkey([...command, "--interactive", "auto", ...words("")], {
      env: environment(),
      terminal: true,
    });
    await server.printed(/serving at/);
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect(await askEndpoint({ socketPath }, ARM)).toMatchObject({ status: 200 });
    await server.printed(/sign in at the window that the device's broker opens/);
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
    server.type("\x03");
    expect((await server.ended()).code).toBe(0);
    expect(existsSync(socketPath)).toBe(false);
  });

  test.each<[number, Behaviour["replies"]]>([
    [503, { acquireTokenSilently: { kind: "broker_error", status: 3 } }],
    [503, { acquireTokenSilently: { kind: "broker_error", status: 4 } }],
    [400, { acquireTokenSilently: { kind: "broker_error", status: 9 } }],
  ])("answers %d, by which a client knows whether to try again", async (status, replies) => {
    const { place } = await onSocket();
    await stage.behave({ replies: replies! });
    expect(await askEndpoint(place, ARM)).toMatchObject({ status, body: { statusCode: status } });
  });

  test("ends when nobody has asked for a while", async () => {
    const folder = newFolder(), path = join(folder, "identity");
    const { code } = await serve(["--socket", path, "--idle", "0.2", ...words("")], serverFlags(folder));
    expect({ code, isThere: existsSync(path) }).toEqual({ code: 0, isThere: false });
  });

  test("ends at once, though a call is under way, and tells who waits", async () => {
    const { place, interrupt, ended } = await onSocket();
    await stage.behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const { answer } = startAsking(place, ARM);
    while (await tokenCalls() === 0) await Bun.sleep(2);
    interrupt();
    expect(await answer).toMatchObject({ status: 503, body: { statusCode: 503 } });
    expect((await ended()).code).toBe(0);
  });

  test("refuses a path that others can reach, or that is served; takes over one that is not any more", async () => {
    const { place, folder } = await onSocket();
    const again = () => serve(["--socket", place.socketPath, ...words("--idle 0.1")], serverFlags(folder));
    expect(await again()).toMatchObject({ code: 1, stderr: expect.stringContaining("another server does") });
    expect((await askEndpoint(place, ARM)).status).toBe(200);

    const open = newFolder();
    mkdirSync(open, { mode: 0o755 });
    const { code, stderr } = await serve(["--socket", join(open, "identity"), ...words("")], serverFlags(open));
    expect({ code, hint: stderr.includes(`chmod 700 ${open}`) }).toEqual({ code: 1, hint: true });

    chmodSync(open, 0o700);
    const killed = start(["--socket", join(open, "identity"), ...words("")], serverFlags(open));
    await killed.printed(/serving/);
    killed.kill();
    await killed.ended();
    expect(existsSync(join(open, "identity"))).toBe(true);
    expect((await onSocket("", open)).place.socketPath).toBe(join(open, "identity"));
  });
});

describe("latchkey serve, asked by azd", () => {
  const AZD_SCOPE = "https://management.azure.com//.default", FABRIKAM = "33333333-3333-4333-8333-333333333333";

  test.each<[string, () => Promise<Server>]>([
    ["on a socket, whatever the key", () => onSocket("--resource azure")],
    ["on a port", () => onPort("--resource azure")],
  ])("gives a token of the tenant that is asked for, %s", async (_, open) => {
    const { place, printed } = await open();
    const answer = await askAsAzd(place, [AZD_SCOPE], FABRIKAM), { body } = answer;
    expect(answer).toEqual({
      status: 200,
      body: {
        status: "success",
        token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        // RFC 3339, in which Go reads a time.
        expiresOn: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/),
      },
    });
    expect(Date.parse(body.expiresOn) - Date.now()).toBeGreaterThan(3_000_000);
    const { authority } = (await stage.broker.calls("acquireTokenSilently")).at(-1)!.request.authParameters;
    expect(authority).toBe(`https://login.microsoftonline.com/${FABRIKAM}`);
    await printed(/ 200 https:\/\/management\.azure\.com\/\/\.default \d+ ms/);
  });

  // azd shows the message only where the status is 200.
  test("says why there is none, in its form", async () => {
    const { place } = await onSocket(`--tenant contoso.com`);
    const failed = (code: string, message: string) => ({
      status: 200,
      body: { status: "error", code, message: expect.stringContaining(message) },
    });
    expect(await askAsAzd(place, ["https://graph.microsoft.com/.default"]))
      .toEqual(failed("GetTokenError", "latchkey serve with --resource https://graph.microsoft.com"));
    expect(await askAsAzd(place, [`${ARM}/.default`], FABRIKAM)).toEqual(failed("GetTokenError", "contoso.com"));
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect(await askAsAzd(place, [`${ARM}/.default`])).toEqual(failed("NotSignedInError", "correlation id"));
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 3 } } });
    expect(await askAsAzd(place, [`${ARM}/.default`])).toEqual(failed("GetTokenError", "no_network"));
    await stage.behave();
    expect(await askAsAzd(place, [`${ARM}/.default`], "Contoso.com")).toMatchObject({ body: { status: "success" } });
  });

  test("gives nothing without the key", async () => {
    const { place } = await onPort(), { port } = place as { port: number };
    expect(await askAsAzd({ port, secret: "x".repeat(64) }, [`${ARM}/.default`])).toMatchObject({ status: 401 });
    expect(await tokenCalls()).toBe(0);
  });

  test("knows the clouds of --resource azure", async () => {
    const { place } = await onSocket("--resource azure --authority https://login.microsoftonline.us/common");
    expect(await askAsAzd(place, ["https://management.usgovcloudapi.net//.default"]))
      .toMatchObject({ body: { status: "success" } });
    expect(await askAsAzd(place, ["https://graph.microsoft.com/.default"])).toMatchObject({
      body: { status: "error" },
    });
    const other = ["--authority", "https://login.sovcloud-identity.de/common", "--client-id", CLIENT_ID];
    expect(await serve(["--socket", "x", "--resource", "azure", ...other]))
      .toMatchObject({ code: 2, stderr: expect.stringContaining("name each resource") });
  });
});

describe("latchkey serve --port", () => {
  test("prints what a program has to have in its environment, once and on standard output alone", async () => {
    const server = start(["--port", "0", ...words("")], ["--allow-net=127.0.0.1"]);
    const [, port] = await server.printed(/serving at http:\/\/127\.0\.0\.1:(\d+)\/msi\/token\n/);
    server.interrupt();
    const { code, stdout, stderr } = await server.ended();
    const [, secret] = /^export IDENTITY_HEADER=([\da-f]{64})$/m.exec(stdout)!;
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `export IDENTITY_ENDPOINT=http://127.0.0.1:${port}/msi/token\nexport IDENTITY_HEADER=${secret}\n` +
        `export AZD_AUTH_ENDPOINT=http://127.0.0.1:${port}\nexport AZD_AUTH_KEY=${secret}\n` +
        'export NO_PROXY="${no_proxy:-${NO_PROXY:-localhost}},127.0.0.1"\nexport no_proxy="$NO_PROXY"\n',
    });
    expect(stderr).not.toContain(secret);
  });

  // Azure's libraries for Python sent the request, and the secret with it, to the proxy of the shell.
  test.each<[string, Readonly<Record<string, string>>]>([
    ["localhost,127.0.0.1", {}],
    ["a.example,127.0.0.1", { NO_PROXY: "a.example" }],
    ["b.example,127.0.0.1", { NO_PROXY: "a.example", no_proxy: "b.example" }],
  ])("prints what keeps a proxy out of it: %s with %j", async (expected, env) => {
    const server = start(["--port", "0", ...words("")], ["--allow-net=127.0.0.1"]);
    await server.printed(/serving at /);
    server.interrupt();
    const script = `set -eu; ${(await server.ended()).stdout} echo "$NO_PROXY $no_proxy"`;
    const { stdout } = Bun.spawnSync(["sh", "-c", script], { env });
    expect(stdout.toString()).toBe(`${expected} ${expected}\n`);
  });

  test("keeps the secret in a file of its own, from run to run, and prints it nowhere", async () => {
    const first = await onPort(), { place, folder } = first, file = join(folder, "secret");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await askEndpoint(place, ARM)).toMatchObject({ status: 200 });
    first.interrupt();
    const { stdout, stderr } = await first.ended(), secret = readFileSync(file, "utf8").trim();
    expect(stdout).toContain(`export IDENTITY_HEADER="$(cat ${file})"\n`);
    expect(stdout + stderr).not.toContain(secret);
    const again = start(["--port", "0", "--secret-file", file, ...words("")], secretFlags(folder));
    const [, port] = await again.printed(/127\.0\.0\.1:(\d+)/);
    expect((await askEndpoint({ port: Number(port), secret }, ARM)).status).toBe(200);
  });

  test("refuses who does not know the secret, and pages that have another name for this machine", async () => {
    const { place, printed } = await onPort(), { port } = place as { port: number };
    const at = (path: string, headers: Record<string, string>) =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers, proxy: undefined });
    for (
      const [status, path, headers] of [
        [401, "/msi/token?resource=x", {}],
        [401, "/msi/token?resource=x", { "x-identity-header": "x".repeat(43) }],
        [403, "/msi/token", { origin: "https://evil.example" }],
        [421, "/msi/token", { host: "evil.example" }],
        [404, "/", {}],
      ] as const
    ) {
      const answer = await at(path, headers);
      expect(answer.status).toBe(status);
      expect(await answer.json()).toEqual({ statusCode: status, message: expect.any(String) });
      expect(answer.headers.get("cache-control")).toBe("no-store");
      expect(answer.headers.has("access-control-allow-origin")).toBe(false);
      await printed(new RegExp(` ${status} \\(`));
    }
    expect(await tokenCalls()).toBe(0);
  });

  test.each<[string, string, number, number, string]>([
    ["that is short", "abc", 0o600, 2, ""],
    ["of several words", "x ".repeat(40), 0o600, 2, ""],
    ["that others may read", "x".repeat(40), 0o644, 1, "others can read it"],
  ])("takes no secret %s", async (_, secret, mode, exit, says) => {
    const folder = newFolder(), file = join(folder, "secret");
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(file, secret, { mode });
    const run = await serve(["--port", "0", "--secret-file", file, ...words("")], secretFlags(folder));
    expect(run).toEqual({ code: exit, stdout: "", stderr: expect.stringContaining(says) });
    expect(run.stderr).not.toContain(secret);
  });

  test("has one secret with a server that begins at the same time", async () => {
    const folder = newFolder(), file = join(folder, "secret");
    const flags = [...secretFlags(folder), `--allow-write=${folder}`];
    const servers = [1, 2, 3].map(() => start(["--port", "0", "--secret-file", file, ...words("")], flags));
    const ports = await Promise.all(servers.map((server) => server.printed(/127\.0\.0\.1:(\d+)/)));
    const secret = readFileSync(file, "utf8").trim();
    const answers = await Promise.all(ports.map(([, port]) => askEndpoint({ port: Number(port), secret }, ARM)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  test("says so where another program has the port", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    const { port } = server.address() as { port: number };
    const run = await serve(["--port", `${port}`, ...words("")], ["--allow-net=127.0.0.1"]);
    expect(run).toMatchObject({ code: 1, stdout: "" });
    server.close();
  });
});

describe("latchkey serve", () => {
  test.each([
    ["", "or a command after -- is missing"],
    [`--client-id ${CLIENT_ID} --socket x`, "what clients may get tokens for"],
    [`--client-id ${CLIENT_ID} --socket x --resource nonsense`, "--resource takes a URL"],
    [`--resource ${ARM} --socket x`, "--client-id is missing"],
    [`--socket x --port 1`, "--socket or --port, not both"],
    [`--socket x --forward y -- true`, "not both"],
    ["--forward x", "needs a command"],
    ["--forward x --resource y -- true", "for the server outside"],
    [`${words("").join(" ")} --socket x -- true`, "omit it"],
    [`${words("").join(" ")} --port 70000`, "0 to 65535"],
    [`${words("").join(" ")} --port 1 --interactive always`, "--interactive takes never, auto"],
    [`${words("").join(" ")} --port 1 --timeout 5`, "--idle SECONDS"],
    [`${words("").join(" ")} --port 1 --idle 0`, "above 0"],
    [`${words("").join(" ")} curl`, 'after "--"'],
  ])("%s is wrong usage", async (line, message) => {
    expect(await serve(line.split(" ").filter(Boolean))).toEqual({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining(message),
    });
  });

  test("takes what it hands out from no environment and no profile", async () => {
    const env = { LATCHKEY_SCOPE: "User.Read", LATCHKEY_RESOURCE: ARM, LATCHKEY_PORT: "1" };
    const run = await runLatchkey(["serve", "--client-id", CLIENT_ID, "--socket", "x"], { env });
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining("what clients may get tokens for") });
  });

  test("names the flags that Deno is to be run with", async () => {
    const folder = newFolder();
    for (
      const [place, flags] of [
        [["--socket", join(folder, "identity")], `--allow-read=${folder} --allow-write=${folder} --allow-sys=uid`],
        [["--port", "0"], "--allow-net=127.0.0.1"],
      ] as const
    ) {
      expect(await serve([...place, ...words("")])).toMatchObject({ code: 1, stderr: expect.stringContaining(flags) });
    }
  });
});

/** Both ends of a pipe. The end that writes waits for the other one, as that of a shell does. */
function makePipe(): { readonly near: number; readonly far: number } {
  const path = join(stage.folder, `pipe-${++count}`);
  Bun.spawnSync(["mkfifo", path]);
  const far = openSync(path, constants.O_RDWR);
  return { near: openSync(path, constants.O_WRONLY), far };
}

/** Fills a pipe that nobody reads. */
function fill(pipe: number): void {
  const fd = openSync(`/proc/self/fd/${pipe}`, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(fd, "x".repeat(1024));
  } catch (error) {
    expect(error).toMatchObject({ code: "EAGAIN" });
  } finally {
    closeSync(fd);
  }
}

// A line that could not be written ended the server, and one that nobody read held it up for good.
describe.each(RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))(
  "latchkey serve on $name",
  ({ program }) => {
    test.each<[string, () => readonly number[]]>([
      ["on a full disk", () => [openSync("/dev/full", "w")]],
      ["on a pipe that is closed", () => {
        const { near, far } = makePipe();
        closeSync(far);
        return [near];
      }],
      ["on a pipe that nobody reads", () => {
        const { near, far } = makePipe();
        fill(near);
        return [near, far];
      }],
    ])("serves with its standard error %s", async (_, open) => {
      const socketPath = join(stage.folder, `socket-${++count}`), [stderr, ...others] = open();
      using home = openHome();
      const child = Bun.spawn([...program(), ...SERVE, "--socket", socketPath, ...words("")], {
        env: { NO_COLOR: "1", PATH: process.env.PATH, ...home.env },
        stdio: ["ignore", "ignore", stderr!],
      });
      const ask = () => askEndpoint({ socketPath }, "https://graph.microsoft.com");
      while (child.exitCode === null && !await ask().catch(() => undefined)) await Bun.sleep(5);
      for (let times = 0; times < 3; times++) expect((await ask()).status).toBe(403);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      for (const fd of [stderr!, ...others]) closeSync(fd);
    });
  },
);
