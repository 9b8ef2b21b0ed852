// The examples of a remote MCP server and its client, with a real OpenID provider between them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openHome } from "../fixture.ts";
import { type ProviderStage, startProviderStage } from "../bin/provider_stage.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
let provider: ProviderStage, folder: string;
beforeAll(async () => {
  provider = await startProviderStage();
  folder = mkdtempSync(join(tmpdir(), "mcp-examples-"));
  const script = `#!/bin/sh\ncd '${root}' && exec ${LATCHKEY_ON_BUN.join(" ")} "$@"\n`;
  writeFileSync(join(folder, "latchkey"), script, { mode: 0o755 });
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** A port that is free, which the example has to be told. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.each(RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))("On $name", ({ program }) => {
  test("mcp_client.ts calls the tool of remote_mcp_server.ts as the person who signed in", async () => {
    using home = openHome();
    const url = `http://127.0.0.1:${await freePort()}/mcp`, { BROWSER } = provider.playedBrowser();
    const words = [url, "common", "contoso", provider.url, `${provider.url}/jwks`];
    const server = Bun.spawn([...program(), "examples/remote_mcp_server.ts", ...words], {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
    });
    try {
      while (!await fetch(url).then(({ status }) => status === 401).catch(() => false)) await Bun.sleep(10);
      const options = ["--client-id", provider.clientId, "--authority", provider.url, "--store", "plaintext"];
      const env = { ...home.env, PATH: `${folder}:${process.env.PATH}`, BROWSER };
      const login = ["login", "--for", url, "--scope", "api.read", ...options];
      expect((await runProgram([...LATCHKEY_ON_BUN, ...login], env)).code).toBe(0);
      const call = [...program(), "examples/mcp_client.ts", url, "hello", ...options, "--interactive", "never"];
      const { code, stdout } = await runProgram(call, env);
      expect({ code, stdout }).toEqual({ code: 0, stdout: "Hello jane\n" });
    } finally {
      server.kill();
      await server.exited;
    }
  });
});
