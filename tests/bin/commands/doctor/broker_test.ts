import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { brokerFix, msalRuntime } from "../../../../bin/commands/doctor/broker.ts";
import {
  type Check,
  type CheckContext,
  type CheckResult,
  type Finding,
  runChecks,
} from "../../../../bin/commands/doctor/check.ts";
import { API_WORDS } from "../../../../lib/remedies.ts";
import type { BrokerStatus } from "../../../../mod.ts";

const NAME = "@azure/msal-node-runtime", place = process.env.LATCHKEY_MSALRUNTIME;
const folders: string[] = [];

afterEach(async () => {
  if (place === undefined) delete process.env.LATCHKEY_MSALRUNTIME;
  else process.env.LATCHKEY_MSALRUNTIME = place;
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

/** What the check finds where the broker's own check has ended so. */
async function look(broker: Finding["state"], status: Partial<BrokerStatus>): Promise<CheckResult> {
  const app = { brokerStatus: () => Promise.resolve(status) };
  const context = { app, words: () => API_WORDS } as unknown as CheckContext;
  const ended: Check = { id: "broker", limitMs: 60_000, run: () => ({ state: broker, detail: "" }) };
  const [, finding] = await runChecks([ended, msalRuntime], context);
  return finding!;
}

async function putPackage(): Promise<string> {
  const folder = await mkdtemp(`${tmpdir()}/msalruntime-`);
  folders.push(folder);
  await writeFile(`${folder}/package.json`, JSON.stringify({ name: NAME, version: "0.20.7" }));
  return process.env.LATCHKEY_MSALRUNTIME = folder;
}

test("msalRuntime says where the package is, and its version, or why the library does not start", async () => {
  const folder = await putPackage();
  expect(await look("ok", {})).toMatchObject({ state: "ok", detail: `${NAME} 0.20.7, in ${folder}, starts` });
  expect(await look("failed", { reason: "no broker" })).toMatchObject({
    state: "failed",
    detail: `${NAME} 0.20.7, in ${folder}, does not start: no broker`,
    fix: expect.stringContaining("reinstall the package: npm install"),
  });
  process.env.LATCHKEY_MSALRUNTIME = `${folder}/gone`;
  expect(await look("failed", {})).toMatchObject({ state: "failed", fix: expect.stringContaining(`install ${NAME}`) });
});

test("msalRuntime does not look where no broker is wanted", async () => {
  expect(await look("unknown", {})).toMatchObject({ state: "unknown" });
});

test.each([
  ["win32", false, "dsregcmd"],
  ["darwin", false, "Company Portal"],
  ["linux", true, "wsl --shutdown"],
  ["linux", false, "systemctl --user restart"],
])("brokerFix() on %s (WSL: %p) says %s", (system, isWsl, words) => {
  expect(brokerFix(system, isWsl)).toContain(words);
});
