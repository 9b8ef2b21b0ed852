// The command line in WSL: Windows' broker is told of a sign-in that is given up, although the program has ended; and hints.
import { beforeEach, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { usePlayedWsl } from "../fakes/play_wsl.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { ownRuntimePath } from "../runtimes/runtime_paths.ts";

const LATCHKEY = fileURLToPath(new URL("../../bin/latchkey.ts", import.meta.url));
const stage = useStage({ broker: {} }), { behave } = stage;
const { folder } = usePlayedWsl();
const PERSON_NEEDED = { kind: "broker_error", status: 2 } as const;
beforeEach(() =>
  behave({ replies: { acquireTokenSilently: PERSON_NEEDED, acquireTokenInteractively: { kind: "hang" } } })
);

async function whenAsked(method: "acquireTokenInteractively" | "cancelInteractiveFlow") {
  for (;;) {
    const [call] = await stage.broker.calls(method);
    if (call) return call;
    await setTimeout(5);
  }
}

test("latchkey login in WSL has the window closed at an interrupt", async () => {
  const [command = "", ...args] = [...ownRuntimePath().program(), LATCHKEY, "login", "--client-id", CLIENT_ID];
  const child = spawn(command, [...args, "--store", "memory"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, HTTPS_PROXY: "http://127.0.0.1:1", HOME: folder(), WSL_VERSION: "2.5.9" },
  });
  const ended = once(child, "exit"), asked = await whenAsked("acquireTokenInteractively");
  child.kill("SIGINT");
  await ended; // Deno's node:child_process does not tell the code of a program that it sent a signal to
  expect((await whenAsked("cancelInteractiveFlow")).correlationId).toBe(asked.correlationId);
});

test("latchkey in WSL names mirrored networking where a rule about places refuses", async () => {
  await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 6, context: "AADSTS53003: no" } } });
  const [command = "", ...args] = [...ownRuntimePath().program(), LATCHKEY, "token", "--client-id", CLIENT_ID];
  const child = spawn(command, [...args, ..."--scope a --interactive never --store memory --format json".split(" ")], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, HTTPS_PROXY: "http://127.0.0.1:1", HOME: folder(), WSL_VERSION: "2.5.9" },
  });
  const ended = once(child, "close"), text = (await child.stdout.toArray()).join("");
  await ended;
  expect(JSON.parse(text)).toMatchObject({
    ...{
      error: "refused",
      error_codes: [53003],
      hint: expect.stringMatching(/administrator.*\. In WSL, mirrored networking/),
    },
  });
});
