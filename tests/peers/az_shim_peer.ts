// What az-shim writes, run by Azure's own library for Go (azidentity), which many tools have their tokens by, and by the library
// of Terraform's provider for Azure (go-azure-sdk), against a fake of Azure Resource Manager.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { type FakeAzure, startFakeAzure } from "../fakes/fake_azure.ts";
import { CONTOSO, useStage } from "../fixture.ts";
import { goClient } from "./clients.ts";

const FABRIKAM = "33333333-3333-4333-8333-333333333333", OTHER = FABRIKAM;
const PRODUCTION = { id: "44444444-4444-4444-8444-444444444444", name: "Production" };
const TEST = { id: "55555555-5555-4555-8555-aaaaaaaaaaaa", name: "Test" };
const SIGNED_OUT = { replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } } as const;

const stage = useStage({ broker: {} });
let azure: FakeAzure;
beforeAll(async () => {
  azure = startFakeAzure(CONTOSO);
  azure.pages = [[PRODUCTION], [TEST]];
  const shim = ["az-shim", "--install", stage.folder, "--client-id", "azure-cli"];
  expect((await runProgram([...LATCHKEY_ON_BUN, ...shim], {})).code).toBe(0);
});
beforeEach(() => {
  azure.failure = undefined;
  azure.asked.length = 0;
});
afterAll(() => azure[Symbol.asyncDispose]());

/** Runs a client in a new home. */
// deno-lint-ignore no-explicit-any -- what the client prints
async function ask(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<any> {
  const { stdout } = await runProgram(command, {
    DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    PATH: `${stage.folder}:${process.env.PATH}`,
    LATCHKEY_ENDPOINT_RESOURCE_MANAGER: azure.url,
    XDG_STATE_HOME: join(stage.folder, crypto.randomUUID()),
    ...env,
  });
  return JSON.parse(stdout);
}

const claimsOf = (token: string) => JSON.parse(atob(token.split(".")[1]!));

describe("azidentity's AzureCLICredential", () => {
  const askCredential = () => ask([goClient("azure_cli"), FABRIKAM]);

  test("gets the broker's token, of the tenant that is asked for", async () => {
    const { token, expires } = await askCredential();
    expect(claimsOf(token)).toMatchObject({ aud: "https://management.azure.com", exp: expires });
    expect((await stage.requestOf("acquireTokenSilently")).authParameters.authority)
      .toBe(`https://login.microsoftonline.com/${FABRIKAM}`);
  });

  test("tells the person to log in, in the words that it has from az", async () => {
    await stage.behave(SIGNED_OUT);
    expect((await askCredential()).error).toContain("Please run 'az login'");
  });
});

describe("Terraform", () => {
  /** Asks for a token for a subscription, as the provider with it in its configuration does. */
  const askProvider = (subscription: string, env = {}) => ask([goClient("terraform"), "", subscription], env);

  // The library refuses an id that az account list does not have.
  test.each([[TEST.id], [TEST.id.toUpperCase()], [""]])("gets a token with the subscription %p", async (id) => {
    const { token, ...others } = await askProvider(id);
    expect(others).toEqual({ tenant: CONTOSO, defaultSubscription: PRODUCTION.id });
    expect(claimsOf(token).aud).toContain("https://management.azure.com");
    // The list has two pages. All calls of az share it.
    expect(azure.asked).toHaveLength(2);
  });

  test("is told that the account does not have a subscription", async () => {
    expect((await askProvider(OTHER)).error).toContain("is not known by Azure CLI");
  });

  test("needs no network for the subscription of ARM_SUBSCRIPTION_ID", async () => {
    azure.failure = { status: 503, body: "" };
    expect(await askProvider(TEST.id, { ARM_SUBSCRIPTION_ID: TEST.id })).toEqual({
      ...{ token: expect.stringMatching(/^eyJ/), tenant: CONTOSO, defaultSubscription: TEST.id },
    });
    const { error } = await askProvider(TEST.id);
    expect(error).toContain("HTTP status 503");
    expect(error).toContain("set ARM_SUBSCRIPTION_ID");
  });

  test("tells the person to log in", async () => {
    await stage.behave(SIGNED_OUT);
    expect((await askProvider(TEST.id)).error).toContain("Please run 'az login'");
  });
});
