import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { denoCommand } from "../tools/deno_command.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const root = fileURLToPath(new URL("../../", import.meta.url));
let bus: PrivateBus, broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});

beforeEach(async () => {
  await broker.behave({ replies: {} });
  await broker.forgetCalls();
});

afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

test("silent_token.ts prints whose token it is, its end and what was granted, and not the token", async () => {
  const { stdout, stderr, status } = await runExample("User.Read", "Mail.Read");
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  const [account, expires, granted, ...rest] = stdout.split("\n");
  expect([account, granted, ...rest]).toEqual(["account: jane@contoso.com", "granted: User.Read Mail.Read", ""]);
  expect(Date.parse(expires!.replace("expires: ", ""))).toBeGreaterThan(Date.now());
  const [call] = await broker.calls("acquireTokenSilently");
  expect(call?.request.authParameters).toMatchObject({
    clientId: CLIENT_ID,
    requestedScopes: ["User.Read", "Mail.Read"],
  });
});

test("silent_token.ts says so when a person is needed", async () => {
  await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
  expect(await runExample("User.Read")).toEqual({ stdout: "A person has to sign in first\n", stderr: "", status: 0 });
});

async function runExample(...scopes: readonly string[]): Promise<{ stdout: string; stderr: string; status: number }> {
  const child = Bun.spawn([...denoCommand("examples/silent_token.ts"), CLIENT_ID, ...scopes], {
    cwd: root,
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: bus.address },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}
