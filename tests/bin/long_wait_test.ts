// Whoever sits at a terminal is told what a command waits for.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { denoRun } from "../tools/deno_command.ts";
import { startLatchkey } from "./running_latchkey.ts";
import { latchkeyBy, TESTED_PATHS } from "./tested_latchkey.ts";

const SAID = /^latchkey: still waiting for the device's broker \((\w+)\)$/gm;

let bus: PrivateBus, broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});
beforeEach(() => broker.behave({ sender: "microsoft-2.5.2", replies: {} }));
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

function start(line: string, terminal: boolean, program: readonly string[] = [...denoRun(), "--allow-all"]) {
  const env = { DBUS_SESSION_BUS_ADDRESS: bus.address, KUBERNETES_EXEC_INFO: "", LATCHKEY_CLIENT_ID: "azure-cli" };
  return startLatchkey([...latchkeyBy(program), ...line.split(" ")], { env, terminal });
}

const DELAYED = { kind: "delay", ms: 2_500 } as const;

/** Runs commands at a terminal at the same time, and expects each to say once that it waits for a call. */
async function expectSaid(commands: Readonly<Record<string, string>>): Promise<void> {
  await Promise.all(
    Object.entries(commands).map(async ([line, member]) => {
      const { code, stderr: text } = await start(line, true).ended();
      const said = [...text.replaceAll("\r\n", "\n").matchAll(SAID)].map(([, whose]) => whose);
      expect({ line, code, said }).toEqual({ line, code: 0, said: [member] });
      expect(text.replaceAll(/\r\n|\t/g, "")).not.toMatch(/\p{Cc}/u); // no escape code, and no line that is rewritten
    }),
  );
}

test("a command says once at a terminal what it waits for, and nothing into a pipe", async () => {
  await broker.behave({ replies: { acquireTokenSilently: DELAYED, acquirePrtSsoCookie: DELAYED } });
  const piped = start("token --scope User.Read", false).ended();
  await expectSaid({
    "token --scope User.Read": "acquireTokenSilently",
    "kube --server-id api://contoso": "acquireTokenSilently",
    "cookie --show-secret": "acquirePrtSsoCookie",
  });
  expect(await piped).toMatchObject({ code: 0, stderr: "" });
  await broker.behave({ replies: { getAccounts: DELAYED } });
  await expectSaid({ accounts: "getAccounts" });
});

test("latchkey token says so on each runtime, and says what it waits for in the end", async () => {
  await broker.behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
  await Promise.all(TESTED_PATHS.map(async ({ name, program }) => {
    const run = start("token --scope User.Read", true, program());
    await run.printed(/still waiting for the device's broker \(acquireTokenSilently\)/);
    run.interrupt();
    expect({ name, count: (await run.ended()).stderr.match(/still waiting/g)?.length }).toEqual({ name, count: 1 });
  }));
});

test("latchkey login at its window says nothing of a wait: the person sees it", async () => {
  const replies = {
    acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS50076" },
    acquireTokenInteractively: { kind: "delay", ms: 2_500 },
  } as const;
  await broker.behave({ replies });
  const { code, stderr } = await start("login", true).ended();
  expect(code).toBe(0);
  expect(stderr).not.toContain("acquireTokenInteractively");
});
