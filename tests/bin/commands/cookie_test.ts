// latchkey cookie with a fake broker, and the pause between calls that fail, which open a PIN dialog with himmelblau since 4.0: over
// all programs of a user.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Behaviour } from "../../fakes/behaviour.ts";
import { CLIENT_ID, type Home, openHome, useStage } from "../../fixture.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { latchkeyOf, type Run, runProgram } from "../run_latchkey.ts";
import { type StartedHost, startHost } from "../started_host.ts";
import { isBuilt, latchkeyBy } from "../tested_latchkey.ts";

const COOKIE = "x-ms-RefreshTokenCredential", MINUTE = 60_000;
const stage = useStage({ broker: { sender: "himmelblau-4.0" } }), { behave } = stage;
const latchkey = latchkeyOf(stage);
const asked = async () => (await stage.broker.calls("acquirePrtSsoCookie")).length;

describe("latchkey cookie", () => {
  test("prints the cookie, as a header and as JSON", async () => {
    expect((await latchkey("cookie")).stdout).toMatch(new RegExp(`^${COOKIE}=[\\w.-]+\\n$`));
    expect((await latchkey("cookie --format header")).stdout).toMatch(new RegExp(`^Cookie: ${COOKIE}=[\\w.-]+\\n$`));
    const url = "https://login.microsoftonline.com/?sso_nonce=x";
    const { stdout } = await latchkey(`cookie --format json --url ${url}`);
    expect(JSON.parse(stdout)).toEqual([{ name: COOKIE, value: expect.any(String) }]);
    expect((await stage.requestOf("acquirePrtSsoCookie")).ssoUrl).toBe(url);
    expect((await latchkey("cookie --url http://login.microsoftonline.com/")).code).toBe(2);
    expect((await latchkey("cookie --broker never")).code).toBe(5);
  });

  test("is Edge's unless an app is named", async () => {
    for (
      const [line, clientId] of [["", "d7b530a4-7680-4c23-a8bf-c52c121d2e87"], [`--client-id ${CLIENT_ID}`, CLIENT_ID]]
    ) {
      expect((await latchkey(`cookie ${line}`)).code).toBe(0);
      expect((await stage.requestOf("acquirePrtSsoCookie")).authParameters.clientId).toBe(clientId);
    }
  });

  const REFUSED = {
    code: 2,
    stdout: expect.not.stringContaining(COOKIE),
    stderr: expect.stringContaining("--show-secret"),
  };

  test.each(isBuilt ? [] : ["cookie", "json", "header"])(
    "is not shown on a terminal unasked: --format %s",
    async (format) => {
      const terminals = ["stdin", "stdout", "stderr"] as const;
      expect(await latchkey(`cookie --format ${format}`, { terminals })).toEqual(REFUSED);
      expect(await stage.broker.calls()).toEqual([]);
      const { code, stdout } = await latchkey(`cookie --format ${format} --show-secret`, { terminals });
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringMatching(/RefreshTokenCredential.*[\w.-]{100}/),
      });
    },
  );

  test("is not written to a file unasked", async () => {
    const file = join(stage.folder, "cookie"), command = latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]);
    const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
    expect(await runProgram(["sh", "-c", '"$@" > "$0"', file, ...command, "cookie"], env)).toEqual(REFUSED);
    expect(readFileSync(file, "utf8")).toBe("");
  });
});

describe("the pause after a cookie that was not had", () => {
  const FAILS: Behaviour["replies"] = {
    acquirePrtSsoCookie: { kind: "broker_error", status: 0, context: "Failed to fetch prt sso cookie" },
  };
  const program = () => latchkeyBy([...denoRun(), "--allow-all"]);
  const environment = (home: Home) => ({ ...home.env, DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
  const run = (line: string, { env }: Home): Promise<Run> => latchkey(line, { env });
  const startHostIn = (home: Home, env = {}) =>
    startHost([...program(), "browser-host"], { ...environment(home), ...env });
  const markIn = (home: Home) => join(home.state, "broker/cookie.json");
  const askBy = async (host: StartedHost, account: unknown) => {
    host.send({ command: "acquirePrtSsoCookie", account });
    return (await host.answers(1))[0]!.message;
  };

  test("is ten minutes, for latchkey cookie and browser-host, whichever asks", async () => {
    await behave({ replies: FAILS });
    using home = openHome();
    const first = await run("cookie", home);
    expect([first.code, await asked()]).toEqual([1, 1]);
    const second = await run("cookie", home);
    expect([second.code, second.stdout, await asked()]).toEqual([5, "", 1]);
    expect(second.stderr).toContain("error_description: Not asked for a cookie: ");
    expect(second.stderr).toMatch(
      /^hint: Try again in (9|10) minutes; or sign in again: latchkey login --prompt login$/m,
    );
    await using host = startHostIn(home);
    const account = await accountOf(host);
    expect((await askBy(host, account)).error).toStartWith("Not asked for a cookie: ");
    expect(await asked()).toBe(1);

    // An empty reply, of a daemon that does not answer, ended the pause as a sign-in does.
    await behave({ replies: { ...FAILS, acquireTokenInteractively: { kind: "text", text: "" } } });
    const login = "login --client-id azure-cli --prompt login --scope User.Read";
    expect([(await run(login, home)).code, existsSync(markIn(home))]).toEqual([5, true]);

    // What a user did to fix it ends the pause for all of them.
    await behave();
    expect((await run(login, home)).code).toBe(0);
    expect(existsSync(markIn(home))).toBe(false);
    expect((await askBy(host, account)).cookieName).toBe(COOKIE);
    expect((await run("cookie", home)).code).toBe(0);
    expect(existsSync(markIn(home))).toBe(false);
  });

  test.each([
    ["an hour ago", { since: -60 * MINUTE, hasFailed: true }, 1],
    ["eleven minutes ago", { since: -11 * MINUTE, hasFailed: true }, 1],
    ["nine minutes ago", { since: -9 * MINUTE, hasFailed: true }, 0],
    ["two minutes ago, by a program that was ended", { since: -2 * MINUTE, hasFailed: false }, 0],
    ["a moment ago, by a program that still waits", { since: -100, hasFailed: false }, 1],
    ["in an hour, by a clock that was wrong", { since: 60 * MINUTE, hasFailed: true }, 1],
  ])("minds a call that failed %s", async (_, mark, calls) => {
    await behave({ replies: FAILS });
    using home = openHome();
    writeMark(home, JSON.stringify({ ...mark, since: Date.now() + mark.since }));
    await run("cookie", home);
    expect(await asked()).toBe(calls);
  });

  test.each(["", "{", '{"since":"now"}', "[1]", '{"since":1e999}'])("takes no harm from the mark %p", async (text) => {
    await behave({ replies: FAILS });
    using home = openHome();
    writeMark(home, text);
    expect((await run("cookie", home)).code).toBe(1);
    expect(JSON.parse(readFileSync(markIn(home), "utf8"))).toEqual({ since: expect.any(Number), hasFailed: true });
  });

  test("is for no other broker, and for none that is gone", async () => {
    using home = openHome();
    await behave({ sender: "microsoft-3.0.1", replies: FAILS });
    for (const calls of [1, 2]) expect([(await run("cookie", home)).code, await asked()]).toEqual([1, calls]);
    await behave({ replies: { acquirePrtSsoCookie: { kind: "text", text: "" } } });
    for (const calls of [3, 4]) {
      const { code, stderr } = await run("cookie", home);
      expect([code, await asked()]).toEqual([5, calls]);
      expect(stderr).toMatch(/its daemon could not answer[^]*hint: .*systemctl status himmelblaud/);
    }
    expect(existsSync(markIn(home))).toBe(false);
  });

  // Calls at the same time were all made before the first one failed: himmelblau opened a dialog for each page of a browser.
  test("is for programs that ask at the same time, too", async () => {
    await behave({ replies: FAILS });
    using home = openHome();
    await using host = startHostIn(home);
    const account = await accountOf(host);
    for (let count = 0; count < 3; count++) host.send({ command: "acquirePrtSsoCookie", account });
    const runs = Promise.all([1, 2].map(() => runProgram([...program(), "cookie"], environment(home))));
    const answers = (await host.answers(3)).map(({ message }) => JSON.stringify(message.error));
    const errors = [...answers, ...(await runs).map(({ stderr }) => stderr)];
    expect(errors.filter((error) => error.includes("Not asked for a cookie: the broker failed"))).toHaveLength(4);
    expect(await asked()).toBe(1);

    await behave();
    rmSync(markIn(home));
    for (let count = 0; count < 2; count++) host.send({ command: "acquirePrtSsoCookie", account });
    expect((await host.answers(2)).map(({ message }) => message.cookieName)).toEqual([COOKIE, COOKIE]);
  });

  test("is kept by a host that may write nothing", async () => {
    await behave({ replies: FAILS });
    using home = openHome();
    await using host = startHostIn(home, { HOME: "", XDG_STATE_HOME: "" });
    const account = await accountOf(host);
    expect((await askBy(host, account)).error.context).toBe("Failed to fetch prt sso cookie");
    expect((await askBy(host, account)).error).toStartWith("Not asked for a cookie: ");
    expect(await asked()).toBe(1);
  });

  async function accountOf(host: StartedHost): Promise<unknown> {
    host.send({ command: "getAccounts" });
    return (await host.answers(1))[0]!.message.accounts[0];
  }

  function writeMark(home: Home, text: string): void {
    mkdirSync(dirname(markIn(home)), { recursive: true, mode: 0o700 });
    writeFileSync(markIn(home), text, { mode: 0o600 });
  }
});
