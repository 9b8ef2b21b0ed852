import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { runExample } from "./run_example.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
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
  const { stdout, stderr, status } = await runExample(
    "silent_token.ts",
    [CLIENT_ID, "User.Read", "Mail.Read"],
    bus.address,
  );
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
  expect(await runExample("silent_token.ts", [CLIENT_ID, "User.Read"], bus.address)).toEqual({
    stdout: "A person has to sign in first\n",
    stderr: "",
    status: 0,
  });
});

test("sign_in.ts opens the broker's window when no token is to be had without", async () => {
  await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
  const { stdout, stderr, status } = await runExample("sign_in.ts", [CLIENT_ID, "User.Read"], bus.address);
  expect({ stdout, stderr, status }).toEqual({ stdout: "signed in: jane@contoso.com\n", stderr: "", status: 0 });
  expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
});

test("sign_in.ts says what to do about a refusal", async () => {
  const refusal = { kind: "broker_error", status: 9, context: "AADSTS50011: redirect URI" } as const;
  await broker.behave({ replies: { acquireTokenSilently: refusal, acquireTokenInteractively: refusal } });
  const { stdout, status } = await runExample("sign_in.ts", [CLIENT_ID, "User.Read"], bus.address);
  expect(status).toBe(0);
  expect(stdout).toContain("https://login.microsoftonline.com/common/oauth2/nativeclient");
});
