// The pause between calls for a cookie that fail, which open a PIN dialog with himmelblau since 4.0: over all programs of a user.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Behaviour } from "../fakes/behaviour.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { denoRun } from "../tools/deno_command.ts";
import { type Home, openHome } from "../fixture.ts";
import { type Run, runProgram } from "./run_latchkey.ts";
import { type StartedHost, startHost } from "./started_host.ts";
import { latchkeyBy } from "./tested_latchkey.ts";

const FAILS: Behaviour["replies"] = {
  acquirePrtSsoCookie: { kind: "broker_error", status: 0, context: "Failed to fetch prt sso cookie" },
};
const MINUTE = 60_000;

let bus: PrivateBus, broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});
beforeEach(async () => {
  await broker.behave({ sender: "himmelblau-4.0", replies: FAILS });
  await broker.forgetCalls();
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

const program = (...permissions: readonly string[]) => latchkeyBy([...denoRun(), ...permissions]);
const environment = (home: Home) => ({ ...home.env, DBUS_SESSION_BUS_ADDRESS: bus.address });
const run = async (line: string, home: Home): Promise<Run> =>
  await runProgram([...program("--allow-all"), ...line.split(" ")], environment(home));
const asked = async () => (await broker.calls("acquirePrtSsoCookie")).length;
const markIn = (home: Home) => join(home.state, "broker/cookie.json");

test("latchkey cookie and browser-host ask once in ten minutes while it fails, whichever asks", async () => {
  using home = openHome();
  const first = await run("cookie", home);
  expect([first.code, await asked()]).toEqual([1, 1]);
  const second = await run("cookie", home);
  expect([second.code, second.stdout, await asked()]).toEqual([5, "", 1]);
  expect(second.stderr).toContain("error_description: Not asked for a cookie: ");
  expect(second.stderr).toMatch(/^hint: Try again in (9|10) min, or sign in first: latchkey login --prompt login$/m);
  await using host = startHost([...program("--allow-all"), "browser-host"], environment(home));
  const account = await accountOf(host);
  host.send({ command: "acquirePrtSsoCookie", account });
  expect((await host.answers(1))[0]!.message.error).toStartWith("Not asked for a cookie: ");
  expect(await asked()).toBe(1);

  // An empty reply, of a daemon that does not answer, ended the pause as a sign-in does.
  await broker.behave({ replies: { ...FAILS, acquireTokenInteractively: { kind: "text", text: "" } } });
  const login = "login --client-id azure-cli --prompt login --scope User.Read";
  expect([(await run(login, home)).code, existsSync(markIn(home))]).toEqual([5, true]);

  // What a person did to mend it ends the pause for all of them.
  await broker.behave({ replies: {} });
  expect((await run(login, home)).code).toBe(0);
  expect(existsSync(markIn(home))).toBe(false);
  host.send({ command: "acquirePrtSsoCookie", account });
  expect((await host.answers(1))[0]!.message.cookieName).toBe("x-ms-RefreshTokenCredential");
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
])("latchkey cookie minds a call that failed %s", async (_, mark, calls) => {
  using home = openHome();
  writeMark(home, JSON.stringify({ ...mark, since: Date.now() + mark.since }));
  await run("cookie", home);
  expect(await asked()).toBe(calls);
});

test.each([[""], ["{"], ['{"since":"now"}'], ["[1]"], ['{"since":1e999}']])(
  "latchkey cookie takes no harm from the mark %p",
  async (text) => {
    using home = openHome();
    writeMark(home, text);
    expect((await run("cookie", home)).code).toBe(1);
    expect(JSON.parse(readFileSync(markIn(home), "utf8"))).toEqual({ since: expect.any(Number), hasFailed: true });
  },
);

test("latchkey cookie pauses for no other broker, and for none that is gone", async () => {
  using home = openHome();
  await broker.behave({ sender: "microsoft-3.0.1", replies: FAILS });
  for (const calls of [1, 2]) {
    expect([(await run("cookie", home)).code, await asked()]).toEqual([1, calls]);
  }
  await broker.behave({ sender: "himmelblau-4.0", replies: { acquirePrtSsoCookie: { kind: "text", text: "" } } });
  for (const calls of [3, 4]) {
    const { code, stderr } = await run("cookie", home);
    expect([code, await asked()]).toEqual([5, calls]);
    expect(stderr).toMatch(/its daemon could not answer[^]*hint: .*systemctl status himmelblaud/);
  }
  expect(existsSync(markIn(home))).toBe(false);
});

// Calls at the same time were all made before the first one failed: himmelblau opened a dialog for each page of a browser.
test("programs that ask at the same time ask once if it fails", async () => {
  using home = openHome();
  await using host = startHost([...program("--allow-all"), "browser-host"], environment(home));
  const account = await accountOf(host);
  for (let count = 0; count < 3; count++) host.send({ command: "acquirePrtSsoCookie", account });
  const [runs, answers] = await Promise.all([
    Promise.all([run("cookie", home), run("cookie", home)]),
    host.answers(3),
  ]);
  const errors = [...answers.map(({ message }) => JSON.stringify(message.error)), ...runs.map(({ stderr }) => stderr)];
  expect(errors.filter((error) => error.includes("Not asked for a cookie: the broker failed"))).toHaveLength(4);
  expect(await asked()).toBe(1);

  await broker.behave({ replies: {} });
  rmSync(markIn(home));
  host.send({ command: "acquirePrtSsoCookie", account });
  host.send({ command: "acquirePrtSsoCookie", account });
  expect((await host.answers(2)).map(({ message }) => message.cookieName)).toEqual(
    ["x-ms-RefreshTokenCredential", "x-ms-RefreshTokenCredential"],
  );
});

test("a host that may write nothing keeps the pause to itself", async () => {
  using home = openHome();
  const env = { ...environment(home), HOME: "", XDG_STATE_HOME: "" };
  await using host = startHost([...program("--allow-all"), "browser-host"], env);
  const account = await accountOf(host);
  host.send({ command: "acquirePrtSsoCookie", account });
  expect((await host.answers(1))[0]!.message.error.context).toBe("Failed to fetch prt sso cookie");
  host.send({ command: "acquirePrtSsoCookie", account });
  expect((await host.answers(1))[0]!.message.error).toStartWith("Not asked for a cookie: ");
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
