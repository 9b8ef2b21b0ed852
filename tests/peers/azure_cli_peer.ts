// What az-shim writes, run by Azure's own library for Go, which many tools have their tokens by.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProgram } from "../bin/run_latchkey.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { findTool } from "../tools/find_tool.js";
import { goClient } from "./go_client.ts";

const FABRIKAM = "33333333-3333-4333-8333-333333333333";

let bus: PrivateBus, broker: FakeBroker, folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "azure-cli-peer-"));
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
  const shim = ["bin/latchkey.ts", "az-shim", "--install", folder, "--client-id", "azure-cli"];
  expect((await runProgram([findTool("bun"), "--conditions", "latchkey-source", ...shim], {})).code).toBe(0);
});
beforeEach(() => broker.behave({ replies: {} }));
afterAll(async () => {
  await broker.stop();
  await bus.stop();
  rmSync(folder, { recursive: true });
});

async function ask(): Promise<{ readonly token: string; readonly expires: number; readonly error: string }> {
  const { stdout } = await runProgram([goClient("azure_cli"), FABRIKAM], {
    DBUS_SESSION_BUS_ADDRESS: bus.address,
    PATH: `${folder}:${process.env.PATH}`,
  });
  return JSON.parse(stdout);
}

describe("azidentity's AzureCLICredential", () => {
  test("gets the broker's token, of the tenant that is asked for", async () => {
    const { token, expires } = await ask();
    expect(JSON.parse(atob(token.split(".")[1]!))).toMatchObject({ aud: "https://management.azure.com", exp: expires });
    const { authority } = (await broker.calls("acquireTokenSilently")).at(-1)!.request.authParameters;
    expect(authority).toBe(`https://login.microsoftonline.com/${FABRIKAM}`);
  });

  test("tells the person to log in, in the words that it has from az", async () => {
    await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect((await ask()).error).toContain("Please run 'az login'");
  });
});
