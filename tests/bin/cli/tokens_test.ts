import { expect, test } from "bun:test";
import { readCommandLine } from "../../../bin/cli/command_line.ts";
import { openTokens, renewalLimitMs } from "../../../bin/cli/tokens.ts";
import { command as serve } from "../../../bin/commands/serve/serve.ts";
import { CLIENT_ID, useStage } from "../../fixture.ts";
import { type InProcessOptions, runInProcess } from "../run_in_process.ts";

const SUBSCRIPTION = "22222222-3333-4444-8555-666666666666";

const stage = useStage({ broker: {} });

/** Returns the names of the calls that the broker gets while a command runs, which must succeed. */
async function callsOf(words: string, options: InProcessOptions = {}): Promise<readonly string[]> {
  const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, LATCHKEY_CLIENT_ID: "azure-cli", ...options.env };
  const { code, stderr } = await runInProcess(words.split(" "), { ...options, env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  return (await stage.broker.calls()).map(({ member }) => member);
}

const SILENT_TOKEN = ["Ping", "getAccounts", "acquireTokenSilently"];

test("token asks the broker three times, at a terminal, too", async () => {
  expect(await callsOf("token --scope User.Read")).toEqual(SILENT_TOKEN);
  await stage.broker.forgetCalls();
  const terminals = ["stdin", "stderr"] as const;
  expect(await callsOf("token --scope User.Read", { terminals })).toEqual(SILENT_TOKEN);
});

test("login asks the broker three times", async () => {
  expect(await callsOf("login")).toEqual(SILENT_TOKEN);
});

// Each token of a run was acquired with an application, and a connection to the bus, of its own.
test("az account get-access-token --subscription makes one application, and one sequence of calls", async () => {
  const words = `az -- account get-access-token --subscription ${SUBSCRIPTION}`;
  expect(await callsOf(words, { env: { ARM_SUBSCRIPTION_ID: SUBSCRIPTION } })).toEqual(SILENT_TOKEN);
});

// It listed the subscriptions with a token of a second application.
test("az login makes one application", async () => {
  const calls = await callsOf("az --endpoint-resource-manager http://127.0.0.1:9 -- login --only-show-errors");
  expect(calls.filter((member) => member === "Ping")).toHaveLength(1);
});

test("logout lists the broker's accounts once", async () => {
  expect(await callsOf("logout")).toEqual(["Ping", "getAccounts"]);
});

test.each(["status", "doctor"])("%s asks the version", async (command) => {
  expect(await callsOf(command)).toContain("getLinuxBrokerVersion");
});

// A token that has ended by this machine's clock was renewed twice, with a word about --min-ttl, which a service lacks.
test("a service hands on the token that it was given", async () => {
  await stage.behave({ tokenLifetimeSeconds: -20 });
  const line = readCommandLine(serve, ["--client-id", CLIENT_ID, "--store", "memory"]);
  const tokens = await openTokens(line, { interactive: "never", isService: true });
  try {
    await tokens.acquire({ scopes: ["User.Read"] });
    expect((await stage.broker.calls()).map(({ member }) => member)).toEqual(SILENT_TOKEN);
  } finally {
    await tokens.app.close();
  }
});

// A renewal was given up before it was sent if the token had 5 s or less left.
test.each([[-1, 2_000], [0, 2_000], [5, 2_000], [7, 2_000], [8, 3_000], [69, 64_000], [70, undefined]])(
  "renewalLimitMs() of a token with %p s left is %p",
  (secondsLeft, limitMs) => {
    expect(renewalLimitMs(secondsLeft)).toBe(limitMs);
  },
);
