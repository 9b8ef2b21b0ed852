// Azure's own libraries in a container that has no network, over latchkey outside of it, on a real bus with a fake broker.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "../bin/run_latchkey.ts";
import { type RunningLatchkey, startLatchkey } from "../bin/running_latchkey.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { denoCommand, denoRun } from "../tools/deno_command.ts";
import { findTool, MSAL_PYTHON } from "../tools/find_tool.js";
import { inContainer, MOUNTED } from "./container.ts";

const VAULT = "https://vault.azure.net", GRAPH = "https://graph.microsoft.com";

const stage = useStage({ broker: {} });
let shared: string, server: RunningLatchkey;

beforeAll(async () => {
  shared = join(stage.folder, "shared");
  mkdirSync(shared, { mode: 0o700 });
  const [deno, ...rest] = denoCommand("bin/latchkey.ts"), path = join(shared, "identity");
  const flags = [`--allow-read=${shared}`, `--allow-write=${shared}`, `--allow-net=unix:${path}`, "--allow-sys=uid"];
  const words = ["serve", "--client-id", CLIENT_ID, "--resource", VAULT, "--socket", path];
  const [script] = rest.splice(-1);
  server = startLatchkey([deno!, ...rest, ...flags, script!, ...words], {
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
  });
  await server.printed(/serving at /);
});
afterAll(async () => {
  server.interrupt();
  await server.ended();
});

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const SOCKET = `${MOUNTED}/identity`;
const contained = (command: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runProgram(inContainer(command, { mount: shared, hide: [stage.bus.directory] }), { PATH: process.env.PATH!, ...env });

/** A library that is used in a container, and the runtime of the latchkey in there. */
const CLIENTS: readonly {
  readonly name: string;
  readonly latchkey: () => readonly string[];
  readonly client: () => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}[] = [
  {
    name: "JavaScript on Node, latchkey on Node",
    latchkey: () => [findTool("node"), "--conditions=latchkey-source"],
    client: () => [findTool("node"), here("client.mjs")],
  },
  {
    name: "JavaScript on Bun, latchkey on Bun",
    latchkey: () => [findTool("bun"), "--conditions", "latchkey-source"],
    client: () => [findTool("bun"), here("client.mjs")],
  },
  {
    name: "Python behind a proxy, latchkey on Deno",
    latchkey: () => [
      ...[...denoRun(), `--allow-read=${dirname(SOCKET)}`, `--allow-write=${SOCKET}`, "--allow-sys=uid"],
      `--allow-net=127.0.0.1,unix:${SOCKET}`,
      ...["--allow-run=python3", "--allow-env=HTTP_PROXY,http_proxy,ALL_PROXY,all_proxy,NO_PROXY,no_proxy"],
    ],
    client: () => ["python3", here("client.py")],
    env: { PYTHONPATH: MSAL_PYTHON, PYTHONDONTWRITEBYTECODE: "1", HTTP_PROXY: "http://proxy.contoso.com:8080" },
  },
];

describe.each(CLIENTS)("Azure's libraries in a container: $name", ({ latchkey, client, env }) => {
  const outcomes = async (
    resource: string,
  ): Promise<Record<string, { token: string; expiresOn: number; error: string }>> => {
    const command = [...latchkey(), "bin/latchkey.ts", "serve", "--forward", SOCKET, "--", ...client(), resource];
    const { code, stdout, stderr } = await contained(command, env);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringMatching(/^{/) });
    return JSON.parse(stdout);
  };

  test("get the person's token", async () => {
    const all = Object.entries(await outcomes(VAULT));
    expect(all).toHaveLength(3);
    for (const [library, { token, expiresOn, error }] of all) {
      expect({ library, error }).toEqual({ library, error: undefined as never });
      const { aud, upn, exp } = JSON.parse(atob(token.split(".")[1]!));
      expect({ aud, upn }).toEqual({ aud: VAULT, upn: "jane@contoso.com" });
      expect(Math.abs(exp - expiresOn)).toBeLessThan(10);
    }
  });

  test("tell what is not handed out, in latchkey's words", async () => {
    for (const [library, { error }] of Object.entries(await outcomes(GRAPH))) {
      expect({ library, error }).toEqual({ library, error: expect.stringContaining(`--resource ${GRAPH}`) });
    }
  });
});

test("a container has no network, and no bus, but for the socket that is mounted in", async () => {
  const outside = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("outside") });
  const script = `curl --silent --max-time 5 ${outside.url}; echo $?; ls -A ${stage.bus.directory}; ls -A ${MOUNTED}`;
  expect((await contained(["sh", "-c", script])).stdout).toBe("7\nidentity\n");
  expect(await (await fetch(outside.url)).text()).toBe("outside");
  await outside.stop();
});
