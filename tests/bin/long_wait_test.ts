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

const delayed = (member: string) => broker.behave({ replies: { [member]: { kind: "delay", ms: 2_500 } } });

test.each([
  ["token --scope User.Read", "acquireTokenSilently"],
  ["accounts", "getAccounts"],
  ["kube --server-id api://contoso", "acquireTokenSilently"],
  ["cookie --show-secret", "acquirePrtSsoCookie"],
])("latchkey %s says once at a terminal what it waits for", async (line, member) => {
  await delayed(member);
  const { code, stderr: text } = await start(line, true).ended();
  expect(code).toBe(0);
  expect([...text.replaceAll("\r\n", "\n").matchAll(SAID)].map(([, whose]) => whose)).toEqual([member]);
  expect(text.replaceAll(/\r\n|\t/g, "")).not.toMatch(/\p{Cc}/u); // no escape code, and no line that is rewritten
});

test("latchkey says nothing of a wait into a pipe", async () => {
  await delayed("acquireTokenSilently");
  expect(await start("token --scope User.Read", false).ended()).toMatchObject({ code: 0, stderr: "" });
});

test.each(TESTED_PATHS.map(({ name, program }) => [name, program] as const))(
  "latchkey token says so on %s, and says what it waits for in the end",
  async (_, program) => {
    await broker.behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const run = start("token --scope User.Read", true, program());
    await run.printed(/still waiting for the device's broker \(acquireTokenSilently\)/);
    run.interrupt();
    expect((await run.ended()).stderr.match(/still waiting/g)).toHaveLength(1);
  },
);

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
