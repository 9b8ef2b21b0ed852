// What az-shim writes, run by the library of Terraform's provider for Azure (go-azure-sdk), against a fake of Azure Resource
// Manager.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProgram } from "../bin/run_latchkey.ts";
import { type FakeAzure, startFakeAzure } from "../fakes/fake_azure.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { findTool } from "../tools/find_tool.js";
import { goClient } from "./go_client.ts";

const CONTOSO = "11111111-1111-1111-1111-111111111111", OTHER = "33333333-3333-4333-8333-333333333333";
const PRODUCTION = { id: "44444444-4444-4444-8444-444444444444", name: "Production" };
const TEST = { id: "55555555-5555-4555-8555-aaaaaaaaaaaa", name: "Test" };

let bus: PrivateBus, broker: FakeBroker, azure: FakeAzure, folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "terraform-peer-"));
  azure = startFakeAzure(CONTOSO);
  azure.pages = [[PRODUCTION], [TEST]];
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
  const shim = ["bin/latchkey.ts", "az-shim", "--install", folder, "--client-id", "azure-cli"];
  const run = await runProgram([findTool("bun"), "--conditions", "latchkey-source", ...shim], {});
  expect(run.code).toBe(0);
});
beforeEach(async () => {
  await broker.behave({ replies: {} });
  azure.failure = undefined;
  azure.asked.length = 0;
});
afterAll(async () => {
  await azure[Symbol.asyncDispose]();
  await broker.stop();
  await bus.stop();
  rmSync(folder, { recursive: true });
});

/** Asks for a token for a subscription, as the provider with it in its configuration does, in a new home. */
async function ask(subscription: string, env: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
  const { stdout } = await runProgram([goClient("terraform"), "", subscription], {
    DBUS_SESSION_BUS_ADDRESS: bus.address,
    PATH: `${folder}:${process.env.PATH}`,
    LATCHKEY_ENDPOINT_RESOURCE_MANAGER: azure.url,
    XDG_STATE_HOME: join(folder, crypto.randomUUID()),
    ...env,
  });
  return JSON.parse(stdout);
}

// The library refuses an id that az account list does not have.
test.each([[TEST.id], [TEST.id.toUpperCase()], [""]])("Terraform gets a token with the subscription %p", async (id) => {
  const { token, ...others } = await ask(id);
  expect(others).toEqual({ tenant: CONTOSO, defaultSubscription: PRODUCTION.id });
  expect(JSON.parse(atob(token!.split(".")[1]!)).aud).toContain("https://management.azure.com");
  // The list has two pages. All calls of az share it.
  expect(azure.asked).toHaveLength(2);
});

test("Terraform is told that the account does not have a subscription", async () => {
  expect((await ask(OTHER)).error).toContain("is not known by Azure CLI");
});

test("Terraform needs no network for the subscription of ARM_SUBSCRIPTION_ID", async () => {
  azure.failure = { status: 503, body: "" };
  expect(await ask(TEST.id, { ARM_SUBSCRIPTION_ID: TEST.id })).toEqual({
    ...{ token: expect.stringMatching(/^eyJ/), tenant: CONTOSO, defaultSubscription: TEST.id },
  });
  const { error } = await ask(TEST.id);
  expect(error).toContain("HTTP status 503");
  expect(error).toContain("set ARM_SUBSCRIPTION_ID");
});

test("Terraform tells the person to log in", async () => {
  await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
  expect((await ask(TEST.id)).error).toContain("Please run 'az login'");
});
