// What the command line makes of all that a broker, its bus and other processes can do to it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EXIT } from "../../../bin/cli/failures.ts";
import type { LatchkeyErrorCode } from "../../../mod.ts";
import { FAILED_STARTS } from "../../fakes/failed_starts.ts";
import { FAILURES, type Method, SECRET } from "../../fakes/failures.ts";
import { expectHarmlessText } from "../../fakes/harmless_error.ts";
import { HOSTILE_TEXT } from "../../fakes/hostile_texts.ts";
import { startPrivateBus } from "../../fakes/private_bus.ts";
import { endStage, play, type Stage, startStage } from "../../fakes/stage.ts";
import { activatableFakeBroker } from "../../fakes/start_fake_broker.ts";
import { CLIENT_ID, openStage } from "../../fixture.ts";
import { latchkeyOf, type Run, runLatchkey } from "../run_latchkey.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
});
afterAll(() => endStage(stage));

const latchkey = (line: string, { address } = stage.bus): Promise<Run> =>
  runLatchkey([...line.split(" "), "--client-id", CLIENT_ID, "--broker", "require"], {
    env: { DBUS_SESSION_BUS_ADDRESS: address },
  });

/** The commands that call each method, to be completed with a format. */
const COMMANDS: Readonly<Record<Method, string>> = {
  getAccounts: "accounts",
  acquireTokenSilently: "token --scope User.Read",
  acquireTokenInteractively: "token --scope User.Read --interactive always",
  acquirePrtSsoCookie: "cookie",
  generateSignedHttpRequest: "sign --url https://graph.microsoft.com/",
};

/** Expects that a run failed as it should, and that nothing it wrote does harm. */
function expectFailure({ code, stdout, stderr }: Run, format: string, expected: LatchkeyErrorCode): void {
  expect({ code, stderr }).toEqual({ code: EXIT[expected], stderr: expect.stringContaining(`error: ${expected}\n`) });
  for (const line of stderr.split("\n").slice(0, -1)) {
    expect(line).toMatch(/^(latchkey|error|error_description|suberror|see|correlation_id|time|hint): ./);
    expectHarmlessText(line);
  }
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
  const [, id] = /^correlation_id: ([0-9a-f-]{36})$/m.exec(stderr) ?? [];
  expect(id).toBeDefined();
  if (format !== "json") return expect(stdout).toBe("");
  expectHarmlessText(stdout.replace(/\n$/, ""));
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ error: expected, error_description: expect.stringMatching(/./), correlation_id: id },
  });
}

describe("latchkey, when the broker fails", () => {
  // What a window can be answered with a silent call can be, too, and the programs' starts are what takes the time.
  const failures = FAILURES.filter(([method]) => method !== "acquireTokenInteractively");

  test.each(failures)("in %s: it %s", async (method, name, failure) => {
    const format = name.startsWith("gives") ? "header" : "json";
    const limit = failure.code === "timed_out" ? " --timeout 0.5" : "";
    await stage.broker.forgetCalls();
    await play(stage, {
      failure,
      method,
      call: () => latchkey(`${COMMANDS[method]} --format ${format}${limit}`),
      afterwards: (run) => expectFailure(run, format, failure.code),
    });
  });

  test.each(["token", "header", "env", "az"])("prints nothing on standard output with --format %s", async (format) => {
    await stage.broker.behave({ replies: { acquireTokenSilently: { kind: "text", text: `token: ${SECRET}` } } });
    const run = await latchkey(`${COMMANDS.acquireTokenSilently} --format ${format}`);
    expectFailure(run, format, "invalid_response");
  });

  test("at its window, asks once and says so", async () => {
    await stage.broker.forgetCalls();
    await stage.broker.behave({ replies: { acquireTokenInteractively: { kind: "drop_name" } } });
    expectFailure(await latchkey(`${COMMANDS.acquireTokenInteractively} --timeout 0.5`), "token", "timed_out");
    await stage.broker.kill();
    await stage.broker.start();
    await stage.broker.behave({
      replies: { acquireTokenInteractively: { kind: "broker_error", status: 6, context: HOSTILE_TEXT } },
    });
    expectFailure(await latchkey(`${COMMANDS.acquireTokenInteractively} --format json`), "json", "refused");
    expect((await stage.broker.calls("acquireTokenInteractively")).length).toBeLessThan(3);
  });
});

describe("latchkey, when the broker cannot be started", () => {
  test.each(FAILED_STARTS.map((start) => [start.name, start] as const))(
    "because it %s",
    async (_name, { install, isSilent, hint }) => {
      const bus = await startPrivateBus(), installed = await install(bus);
      // The command line has the usual limit for a broker that starts, which is longer than a test may take.
      const limit = isSilent ? " --timeout 0.5" : "", code = isSilent ? "timed_out" : "broker_unavailable";
      try {
        const run = await latchkey(`token --scope User.Read --format json${limit}`, bus);
        expectFailure(run, "json", code);
        if (!isSilent) expect(JSON.parse(run.stdout).hint).toMatch(hint);
        const listed = await latchkey(`accounts${limit}`, bus);
        expectFailure(listed, "text", code);
      } finally {
        await installed?.kill();
        await bus.stop();
      }
    },
  );

  // "Nobody is signed in" came first, with exit code 3 and the advice to use the browser; the cause was the last sentence. And az
  // named latchkey login, without the client id: AzureCliCredential looks for "az login".
  test("says so first, where no broker is required and no user can be asked", async () => {
    await using stage = await openStage({ bus: true });
    await stage.bus.addService("com.microsoft.identity.broker1", ["/bin/false"]);
    const commandLine = latchkeyOf(stage);
    const said = (hint: string) =>
      new RegExp(`^error: broker_unavailable\nerror_description: Cannot start the broker: .*\n(.*\n)*hint: ${hint}`);
    const display = said("Give the bus the display"),
      status = /^error: broker_unavailable\n.*: Cannot start the broker: /;
    for (
      const [line, exit, pattern] of [
        ...["token --scope User.Read", "accounts", "accounts --format json", "logout", "login"]
          .map((line) => [line, 5, display] as const),
        ...["status", "status --format json"].map((line) => [line, 5, status] as const),
      ]
    ) {
      const { code, stderr } = await commandLine(`${line} --client-id ${CLIENT_ID}`);
      expect({ line, code, stderr }).toEqual({ line, code: exit, stderr: expect.stringMatching(pattern) });
      expect(stderr).not.toContain("no user is signed in");
    }
    const login =
      "Give the bus the display.*\\. To go on without the broker, sign in\\. Please run 'az login' to setup account\\.\n$";
    expect(await commandLine(`az --client-id ${CLIENT_ID} -- account get-access-token`)).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(said(login)),
    });
  });

  // An address of a bus is no way on where the broker is on another device.
  test("names latchkey serve first over SSH and in a container, where there is no bus", async () => {
    const words = ["token", "--client-id", CLIENT_ID, "--scope", "User.Read", "--broker", "require"];
    const places = [{ SSH_CONNECTION: "192.0.2.1 1 192.0.2.2 22" }, { SSH_TTY: "/dev/pts/1" }, { container: "podman" }];
    for (const remote of places) {
      const env = { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere/bus", ...remote };
      expect((await runLatchkey(words, { env })).stderr).toMatch(
        /^hint: Get tokens from the device that has the broker: /m,
      );
    }
  });

  test("because it takes seconds, waits for it", async () => {
    const bus = await startPrivateBus(), broker = await activatableFakeBroker(bus, { startDelayMs: 1_000 });
    expect(await latchkey("accounts", bus)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("jane@contoso.com"),
    });
    await broker.stop();
    await bus.stop();
  });
});

describe("latchkey, when the broker's answer is hostile", () => {
  const realm = "11111111-1111-1111-1111-111111111111";
  const JANE = { homeAccountId: `o.${realm}`, realm, username: HOSTILE_TEXT, name: HOSTILE_TEXT };
  const claims = { name: HOSTILE_TEXT, preferred_username: HOSTILE_TEXT, tid: HOSTILE_TEXT };
  const idToken = `a.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c`;
  const token = { accessToken: "a.b.c", accessTokenType: 0, expiresOn: 4e12, idToken, grantedScopes: [HOSTILE_TEXT] };
  const text = (value: unknown) => ({ kind: "text", text: JSON.stringify(value) }) as const;

  beforeAll(() =>
    stage.broker.behave({
      replies: {
        getAccounts: text({ accounts: [JANE] }),
        acquireTokenSilently: text({ brokerTokenResponse: { ...token, account: JANE } }),
        acquireTokenInteractively: text({ brokerTokenResponse: { ...token, account: JANE } }),
      },
    })
  );

  test.each([
    ["accounts", /^(?:[^\n\t]*\t){3}[^\n\t]*\n$/],
    ["accounts -vv --account nobody", /^$/],
    ["login -vv", /^(?:[^\n\t]*\t){3}[^\n\t]*\n$/],
    ["token -vv --scope a", /^a\.b\.c\n$/],
    ["token -vv --scope a --format header", /^Authorization: Bearer a\.b\.c\n$/],
    ["token -vv --scope a --format env", /^ACCESS_TOKEN=a\.b\.c\nTOKEN_TYPE=Bearer\nEXPIRES_ON=4000000000\n$/],
  ])("%s writes nothing that a terminal would obey", async (command, expected) => {
    const { stdout, stderr } = await latchkey(command);
    expect(stdout).toMatch(expected);
    for (const line of `${stdout}${stderr}`.split(/[\n\t]/)) expectHarmlessText(line);
  });

  test.each([
    "accounts --format json",
    "login --format json",
    "token --scope a --format json",
    "token --scope a --format az",
  ])(
    "%s keeps it, and escapes it",
    async (command) => {
      const { code, stdout, stderr } = await latchkey(command);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expectHarmlessText(stdout.replace(/\n$/, ""));
      expect(JSON.stringify(JSON.parse(stdout))).toContain(JSON.stringify(HOSTILE_TEXT));
    },
  );
});
