// A user at a terminal is told what a command waits for.
import { expect, test } from "bun:test";
import { useStage } from "../../fixture.ts";
import { runInProcess } from "../run_in_process.ts";
import type { Run } from "../run_latchkey.ts";

const SAID = /^latchkey: still waiting for the device's broker \((\w+)\)$/gm;
const stage = useStage({ broker: {} });

/** Runs a command at a terminal, or with pipes, while the broker takes its time. */
async function wait(line: string, member: string, terminals: readonly ("stdin" | "stderr")[]): Promise<Run> {
  await stage.behave({ replies: { [member]: { kind: "delay", ms: 2_500 } } });
  const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, LATCHKEY_CLIENT_ID: "azure-cli" };
  return await runInProcess(line.split(" "), { env, terminals });
}

test("a command says once at a terminal what it waits for", async () => {
  const { code, stderr } = await wait("token --scope User.Read", "acquireTokenSilently", ["stdin", "stderr"]);
  expect(code).toBe(0);
  expect([...stderr.matchAll(SAID)].map(([, whose]) => whose)).toEqual(["acquireTokenSilently"]);
  expect(stderr.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u); // no escape code, and no line that is rewritten
});

test("a command says nothing of a wait into a pipe, nor at its window, which the user sees", async () => {
  const piped = await wait("token --scope User.Read", "acquireTokenSilently", []);
  expect(piped).toMatchObject({ code: 0, stderr: "" });
  const { code, stderr } = await wait("login --prompt login", "acquireTokenInteractively", ["stdin", "stderr"]);
  expect(code).toBe(0);
  expect(stderr).not.toContain("acquireTokenInteractively");
});
