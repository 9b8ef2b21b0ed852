// Commands that find an endpoint in their environment, on each runtime. What is outside of the container is played by the test.
import { afterEach, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { forward } from "../../../../bin/commands/serve/serve.ts";
import { CLIENT_ID, useStage } from "../../../fixture.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { denoRun, joinFlags, socketFlags } from "../../../tools/deno_command.ts";
import { type Run, runProgram } from "../../run_latchkey.ts";
import { startLatchkey } from "../../running_latchkey.ts";

const SERVE = ["bin/latchkey.ts", "serve"], PATH = process.env.PATH!;
const QUERY = "?resource=https://vault.azure.net&api-version=2019-08-01&client_id=abc";
/** A command that asks as Azure's libraries do. */
const ASK = `curl --silent --show-error --header "X-IDENTITY-HEADER: $IDENTITY_HEADER" "$IDENTITY_ENDPOINT${QUERY}"`;

const stage = useStage({ broker: {} });
const servers: Server[] = [];
let folder: string, socket: string, count = 0;

beforeAll(() => {
  folder = stage.folder;
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** What is outside: it answers each request with a text, as it is. */
async function outside(answer: (request: string, socket: Socket) => string | undefined): Promise<void> {
  socket = join(folder, `socket-${++count}`);
  const server = createServer((client) => {
    let received = "";
    client.on("error", () => {});
    client.on("data", (chunk) => {
      received += chunk;
      if (!received.endsWith("\r\n\r\n") && !received.endsWith("}")) return;
      const text = answer(received, client);
      if (text !== undefined) client.end(text);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen({ path: socket }, resolve));
}

const http = (body: string, length = body.length, status = 200) =>
  `HTTP/1.1 ${status} \r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${body}`;

/** The D-Bus client makes no difference here. */
describe.each(RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))(
  "latchkey serve --forward on $name",
  ({ program }) => {
    const words = (command: readonly string[]) => [...program(), ...SERVE, "--forward", socket, "--", ...command];
    const run = (command: readonly string[], env: Record<string, string> = {}): Promise<Run> =>
      runProgram(words(command), { PATH, ...env });

    test("passes on what the command asks for, and what is answered", async () => {
      const requests: string[] = [];
      await outside((request) => {
        requests.push(request);
        return http('{"statusCode":403,"message":"not for you"}', undefined, 403);
      });
      expect(await run(["sh", "-c", `${ASK} --write-out ' %{http_code} %{content_type}'`])).toEqual({
        code: 0,
        stdout: '{"statusCode":403,"message":"not for you"} 403 application/json; charset=utf-8',
        stderr: "",
      });
      const [line] = requests[0]!.split("\r\n");
      expect(line).toBe(`GET /msi/token${QUERY} HTTP/1.1`);
      expect(requests[0]!.toLowerCase()).not.toContain("x-identity-header");
    });

    test("passes on what azd asks for, without the key", async () => {
      const requests: string[] = [];
      await outside((request) => {
        requests.push(request);
        return http('{"status":"success"}');
      });
      const script = 'curl --silent --json \'{"scopes":["x"]}\' --oauth2-bearer "$AZD_AUTH_KEY" ' +
        '"$AZD_AUTH_ENDPOINT/token?api-version=2023-07-12-preview"; echo "$AZD_AUTH_CERT"';
      const { stdout } = await run(["sh", "-c", script], { AZD_AUTH_CERT: "x" });
      expect(stdout).toBe('{"status":"success"}\n');
      const [line] = requests[0]!.split("\r\n");
      expect(line).toBe("POST /token?api-version=2023-07-12-preview HTTP/1.1");
      expect(requests[0]).toEndWith('\r\n\r\n{"scopes":["x"]}');
      expect(requests[0]!.toLowerCase()).not.toContain("bearer");
    });

    test("is what LATCHKEY_FORWARD means for a command alone", async () => {
      await outside(() => http("{}"));
      const env = { PATH, LATCHKEY_FORWARD: socket };
      const { stdout } = await runProgram([...program(), ...SERVE, "--", "sh", "-c", ASK], env);
      expect(stdout).toBe("{}");
    });

    test("runs the command with its own words and streams, and ends with its code", async () => {
      await outside(() => "");
      const script = 'printf "%s\\n" "$@"; cat; echo trouble >&2; exit 7';
      const inner = words(["sh", "-c", script, "curl", "-v", "--foo", "--", "a b", "--help"]);
      const quoted = inner.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
      expect(await runProgram(["sh", "-c", `printf typed | ${quoted}`], { PATH })).toEqual({
        code: 7,
        stdout: "-v\n--foo\n--\na b\n--help\ntyped",
        stderr: "trouble\n",
      });
    });

    test("passes signals on", async () => {
      await outside(() => "");
      const traps = 'trap "echo interrupted >&2" INT; trap "echo asked >&2" USR1; trap "exit 42" TERM';
      const running = startLatchkey(words(["sh", "-c", `${traps}; echo ready >&2; while :; do sleep 0.01; done`]));
      await running.printed(/ready/);
      running.signal("SIGINT");
      await running.printed(/interrupted/);
      running.signal("SIGUSR1");
      await running.printed(/asked/);
      running.signal("SIGTERM");
      expect((await running.ended()).code).toBe(42);
    });

    test("ends as a shell does: 128 and the signal, 127 without the command, 126 where it cannot be run", async () => {
      await outside(() => "");
      expect((await run(["sh", "-c", "kill -KILL $$"])).code).toBe(137);
      const { code, stdout, stderr } = await run(["no-such-command\x1b", "x"]);
      expect({ code, stdout }).toEqual({ code: 127, stdout: "" });
      expect(stderr).toContain("latchkey: Cannot run no-such-command\u{FFFD}");
      const file = join(folder, "not-executable");
      writeFileSync(file, "", { mode: 0o644 });
      expect((await run([file])).code).toBe(126);
    });

    test("keeps the secret of one command from others, and proxies from it", async () => {
      await outside(() => http("{}"));
      const stranger = `curl --silent --output /dev/null --write-out %{http_code} "$IDENTITY_ENDPOINT${QUERY}"`;
      const env = { http_proxy: "http://127.0.0.1:9", NO_PROXY: "contoso.com", IDENTITY_SERVER_THUMBPRINT: "x" };
      const script =
        `echo "$(${stranger}) $(${ASK}) $no_proxy $NO_PROXY$IDENTITY_SERVER_THUMBPRINT"; env | grep -c "=$IDENTITY_HEADER"`;
      expect((await run(["sh", "-c", script], env)).stdout).toBe(
        "401 {} contoso.com,127.0.0.1 contoso.com,127.0.0.1\n2\n",
      );
    });

    test("tells the command in its protocol when what answers is no server of latchkey's", async () => {
      const answers = [
        "",
        http("{}", 100),
        "220 mail.contoso.com ready\r\n",
        http("<html>"),
        http("[]", undefined, 999),
        http(`{"a":"${"x".repeat(3_000_000)}"}`),
        "HTTP/1.1 101 \r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
      ];
      const left = [...answers];
      await outside(() => left.shift());
      const { stdout } = await run(["sh", "-c", answers.map(() => `${ASK}; echo`).join("; ")]);
      expect(stdout.trimEnd().split("\n").map((line) => JSON.parse(line).statusCode)).toEqual(answers.map(() => 502));
    });

    test("lets the server go when the command's request is given up", async () => {
      const file = join(folder, `left-${++count}`);
      await outside((_, socket) => {
        socket.on("close", () => writeFileSync(file, ""));
        return undefined;
      });
      const wait = `while [ ! -e ${file} ]; do sleep 0.01; done`;
      expect(await run(["sh", "-c", `${ASK} --max-time 0.2; ${wait}; echo left`])).toMatchObject({ stdout: "left\n" });
    });

    // Whoever made a socket in a folder that others can write was asked, and could hand out tokens of another account.
    test("asks no server whose socket others could have put there", async () => {
      const asked: string[] = [];
      await outside((request) => {
        asked.push(request);
        return http("{}");
      });
      const there = socket, open = join(folder, `open-${++count}`);
      mkdirSync(open, { mode: 0o700 });
      socket = join(open, "identity");
      // The folder is opened when the command runs: one that is open before is refused at once, with a socket or without.
      const { code, stdout } = await run(["sh", "-c", `chmod 777 ${open}; ln -s ${there} ${socket}; ${ASK}`]);
      expect({ code, answer: JSON.parse(stdout) }).toMatchObject({
        code: 0,
        answer: { statusCode: 502, message: expect.stringContaining(`others can write to its folder. Run chmod go-w`) },
      });
      const refusals = [
        [0o777, `${socket} is not safe to ask for tokens: others can write to its folder`, `Run chmod go-w ${open}\n`],
        [0o1777, `${socket} is not safe to ask for tokens: others`, "Choose a socket in a folder of your own\n"],
      ] as const;
      for (const [mode, why, hint] of refusals) {
        chmodSync(open, mode);
        const { code, stderr } = await run(["true"]);
        expect(code).toBe(1);
        expect(stderr).toContain(why);
        expect(stderr).toContain(hint);
      }
      expect(asked).toEqual([]);
    });

    // "serve --forward /tmp/nope" advised "chmod go-w /tmp", which breaks the machine, for a socket that was not there.
    test("says first that there is no socket, and advises nothing for the folder", async () => {
      const open = mkdtempSync(join(folder, "open-"));
      socket = join(open, "nope");
      for (const mode of [0o777, 0o1777]) {
        chmodSync(open, mode);
        const { code, stderr } = await run(["true"]);
        expect(code).toBe(1);
        expect(stderr).toContain(`There is no socket at ${socket}, and others can write to its folder`);
        expect(stderr).toContain("Choose a socket in a folder of your own: see latchkey serve --help");
        expect(stderr).not.toContain("chmod");
      }
    });

    // A client that was one too many outside came back at once.
    test("passes on when to come back", async () => {
      await outside(() => http("{}", undefined, 503).replace("\r\n", "\r\nRetry-After: 7\r\n"));
      const { stdout } = await run(["sh", "-c", `${ASK} --write-out ' %header{retry-after}'`]);
      expect(stdout).toBe("{} 7");
    });

    test("warns of a server that is not there yet, and finds it when it is", async () => {
      await outside(() => http("{}"));
      const there = socket;
      socket = join(folder, "nowhere");
      const { code, stdout, stderr } = await run(["sh", "-c", `${ASK}; ln -s ${there} ${socket}; ${ASK}`]);
      expect(stderr).toContain(`latchkey: there is no socket at ${socket} yet`);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^{"statusCode":503,"message":"No server answers at [^"]*mount its folder[^"]*"}{}$/);
      rmSync(socket);
    });
  },
);

describe("latchkey serve --forward on Deno", () => {
  const run = (flags: readonly string[]) =>
    runProgram([...denoRun(), ...joinFlags(flags), ...SERVE, "--forward", socket, "--", "sh", "-c", ASK], { PATH });
  const flags = () => [
    ...["--allow-net=127.0.0.1", "--allow-sys=uid", "--allow-run=sh", `--allow-read=${folder}`],
    ...socketFlags(socket).slice(1),
  ];

  test("takes what it needs, and no more", async () => {
    await outside(() => http("{}"));
    expect(await run(flags())).toEqual({ code: 0, stdout: "{}", stderr: "" });
  });

  test("names a flag that is missing", async () => {
    await outside(() => http("{}"));
    for (const flag of flags()) {
      const { code, stdout, stderr } = await run(flags().filter((other) => other !== flag));
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toContain(flag);
    }
  });
});

test.each(RUNTIME_PATHS)(
  "latchkey serve -- COMMAND hands a token to it, and nothing but its own output to ours, on $name",
  async ({ program }) => {
    const options = ["--client-id", CLIENT_ID, "--resource", "https://vault.azure.net"];
    const command = ["sh", "-c", ASK.replace("&client_id=abc", "")];
    const env = { PATH, DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
    const { code, stdout, stderr } = await runProgram([...program(), ...SERVE, ...options, "--", ...command], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ access_token: expect.any(String), resource: "https://vault.azure.net" });
  },
);

test("forward() answers for a server that does not, when its time is over", async () => {
  const path = join(folder, "stands-still");
  const timeout = spyOn(AbortSignal, "timeout").mockReturnValue(AbortSignal.timeout(50));
  const asked = Promise.withResolvers<Socket>(), server = createServer((socket) => asked.resolve(socket));
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const reply = await forward(path, { query: "" }, new AbortController().signal);
    expect(reply.status).toBe(504);
    expect(JSON.parse(String(reply.body))).toMatchObject({ statusCode: 504, message: expect.stringContaining(path) });
    (await asked.promise).destroy();
  } finally {
    timeout.mockRestore();
    server.close();
  }
});

// A server was asked whoever it belonged to. Only root can give a file away, to play that.
if (process.getuid?.() === 0) {
  test.each<[string, number, boolean]>([
    ["asks no socket of another user", 0o1777, false],
    ["asks one that root put there, as a container's mount is", 0o755, true],
  ])("forward() %s", async (_, mode, isAsked) => {
    const top = mkdtempSync(join(stage.folder, "forward-")),
      folder = join(top, "theirs"),
      path = join(folder, "identity");
    const server = createServer((socket) => {
      socket.end("HTTP/1.1 200 \r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    try {
      mkdirSync(folder, { mode: 0o700 });
      chmodSync(top, mode);
      await new Promise<void>((resolve) => server.listen(path, resolve));
      for (const each of [path, folder]) chownSync(each, 12_345, 12_345);
      const { status, body } = await forward(path, { query: "" }, new AbortController().signal);
      expect(status).toBe(isAsked ? 200 : 502);
      if (!isAsked) expect(JSON.parse(body).message).toContain("belongs to user 12345");
    } finally {
      server.close();
    }
  });
}
