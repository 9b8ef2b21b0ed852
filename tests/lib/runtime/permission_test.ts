// Deno without a permission: the flag to add is named, and nobody is asked. Real Deno, in programs of their own.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../tools/find_tool.js";

const lib = new URL("../../../lib/", import.meta.url).href;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "permission-"));
});

afterAll(() => rmSync(folder, { recursive: true }));

/** What an expression over an import gives or throws, as JSON, under Deno with some flags. */
async function evaluate(module: string, expression: string, flags: readonly string[] = []): Promise<unknown> {
  const program = join(folder, "program.ts");
  writeFileSync(
    program,
    `import * as module from "${lib}${module}.ts";
    const result = await (async () => await (${expression}))().catch(({ code, hint }) => ({ code, hint }));
    console.log(JSON.stringify(result ?? null));`,
  );
  const command = [findTool("deno"), "run", "--no-config", "--no-check", ...flags, program];
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, BROWSER: "true" } });
  const [output, complaint] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(complaint).toBe("");
  return JSON.parse(output);
}

const missing = (flag: string) => ({ code: "missing_dependency", hint: `Run deno with ${flag}` });

test("runCommand() names --allow-run, and needs no more", async () => {
  const run = 'module.runCommand(["echo", "a"])';
  expect(await evaluate("runtime/process", run)).toEqual(missing("--allow-run=echo"));
  expect(await evaluate("runtime/process", run, ["--allow-run=echo"])).toEqual({ code: 0, stdout: "a\n", stderr: "" });
});

test("runCommand() lets go of what it may not kill as a group", async () => {
  const run = 'module.runCommand(["sh", "-c", "sleep 3 & wait"], { timeoutMs: 50 })';
  expect(await evaluate("runtime/process", run, ["--allow-run=sh"])).toEqual({ code: "timed_out" });
});

test("openBrowser() opens nothing that may not be run", async () => {
  const open = 'module.openBrowser("https://login.contoso.com")';
  expect(await evaluate("runtime/browser", open)).toBe(false);
  expect(await evaluate("runtime/browser", open, ["--allow-env=BROWSER"])).toBe(false);
  expect(await evaluate("runtime/browser", open, ["--allow-env=BROWSER", "--allow-run=true"])).toBe(true);
});

test("listenOnLoopback() names --allow-net, and needs no more", async () => {
  const listen = "(await module.listenOnLoopback({ onRequest: () => null })).close()";
  expect(await evaluate("http/loopback", listen)).toEqual(missing("--allow-net=127.0.0.1,[::1]"));
  expect(await evaluate("http/loopback", listen, ["--allow-net=127.0.0.1:0"])).toBe(null);
  expect(await evaluate("http/loopback", listen, ["--allow-net=127.0.0.1,[::1]"])).toBe(null);
  const onPort = listen.replace("{", "{ port: 51234,");
  expect(await evaluate("http/loopback", onPort)).toEqual(missing("--allow-net=127.0.0.1:51234,[::1]:51234"));
});

test("makeFetch() names --allow-net, of the server or the proxy", async () => {
  const send = 'module.makeFetch()("https://localhost:1")';
  expect(await evaluate("http/client", send)).toEqual(missing("--allow-net=localhost:1"));
  expect(await evaluate("http/client", send, ["--allow-net=localhost:1"])).toMatchObject({ code: "no_network" });
  const byProxy =
    `module.makeFetch({ variable: (name) => name === "HTTPS_PROXY" ? "a:b@proxy.contoso.com:1" : undefined })(
    "https://login.contoso.com")`;
  const flag = "--allow-net=login.contoso.com";
  expect(await evaluate("http/client", byProxy, [flag])).toEqual(missing("--allow-net=proxy.contoso.com:1"));
  expect(await evaluate("http/client", byProxy, [`${flag},proxy.contoso.com`])).toEqual(
    missing("--allow-net=127.0.0.1"),
  );
});
