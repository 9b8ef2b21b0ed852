// npm's package where there are Web APIs alone: bundlers for such runtimes find it by their conditions, and it works there until
// a broker is asked for.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { runProgram } from "../bin/run_latchkey.ts";
import type { BundledModule } from "../tools/bundle_for_edge.ts";
import { findTool } from "../tools/find_tool.js";
import { launchChromium } from "../tools/launch_chromium.ts";
import { startWorker } from "../tools/start_worker.ts";
import { artifacts } from "./artifacts.ts";

/** A browser starts, and workerd. */
const TIMEOUT_MS = 60_000;
const { npmFolder } = artifacts();
const PROGRAM = join(npmFolder, "edge_program.ts"), PAGE = join(npmFolder, "page.ts");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-edge-"));
  // The program that the sources are tested with, as it would be with the package.
  const program = readFileSync(new URL("../lib/edge_program.ts", import.meta.url), "utf8");
  writeFileSync(PROGRAM, program.replace('"../../mod.ts"', '"@latchkey/latchkey"'));
  writeFileSync(
    PAGE,
    `import program from "./edge_program.ts";
import { LatchkeyError } from "@latchkey/latchkey/web";
import { LatchkeyError as SameError } from "@latchkey/latchkey";
globalThis.outcomes = async (flags) => await (await program.fetch(new Request("http://localhost/?" + flags))).json();
globalThis.isOneClass = LatchkeyError === SameError;
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

/** As bundlers for these runtimes do it: by the condition, all in one file, and nothing may be missing. */
async function bundled(entry: string, condition: string): Promise<BundledModule> {
  const { outputs: [output] } = await Bun.build({
    entrypoints: [entry],
    target: "browser",
    format: "esm",
    conditions: [condition],
    minify: true,
  });
  const contents = await output!.text();
  expect(new Bun.Transpiler({ loader: "js" }).scanImports(contents)).toEqual([]);
  return { path: basename(entry).replace(/ts$/, "js"), contents };
}

type Outcomes = (flags: string) => Promise<unknown>;
const REFUSED = {
  ...{ name: "LatchkeyError", code: "missing_dependency" },
  message: expect.stringMatching(/^There is no way to a broker: .*edge/),
};

async function expectWebAlone(outcomes: Outcomes): Promise<void> {
  const flow = { authUri: expect.stringContaining("https://login.microsoftonline.com/common/oauth2/v2.0/authorize?") };
  expect(await outcomes("")).toMatchObject({
    status: { state: "off", kind: null },
    ...{ accounts: [], silent: null, flow },
    sign: { name: "LatchkeyError", code: "broker_unavailable" },
  });
  for (
    const flags of [
      "enableBrokerOnLinux",
      "enableBrokerOnWindows&enableBrokerOnMac",
      "enableBrokerOnLinux&requireBroker",
    ]
  ) {
    expect(await outcomes(flags)).toMatchObject({
      status: { state: "unavailable", reason: REFUSED.message },
      ...{ accounts: REFUSED, silent: REFUSED, sign: REFUSED, flow },
    });
  }
}

test.each(["workerd", "edge-light"])("a worker that is bundled for %s has all but brokers", async (condition) => {
  await using worker = await startWorker([await bundled(PROGRAM, condition)]);
  await expectWebAlone(async (flags) => await (await fetch(`${worker.url}/?${flags}`)).json());
}, TIMEOUT_MS);

test("a page in Chromium has all but brokers", async () => {
  const { contents } = await bundled(PAGE, "browser"), html = { "content-type": "text/html" };
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) =>
      url.endsWith("/page.js")
        ? new Response(contents, { headers: { "content-type": "text/javascript" } })
        : new Response('<!DOCTYPE html><script type="module" src="/page.js"></script>', { headers: html }),
  });
  const browser = await launchChromium();
  try {
    const page = await browser.newPage(), errors: string[] = [];
    page.on("pageerror", ({ message }) => errors.push(message));
    await page.goto(server.url.href);
    await page.waitForFunction("globalThis.isOneClass !== undefined");
    expect(errors).toEqual([]);
    expect(await page.evaluate("globalThis.isOneClass")).toBe(true);
    await expectWebAlone(async (flags) => await page.evaluate(`globalThis.outcomes(${JSON.stringify(flags)})`));
  } finally {
    await browser.close();
  }
}, TIMEOUT_MS);

test("Deno with a condition of the edge has all but brokers, and needs no permission", async () => {
  const program = join(npmFolder, "print_outcomes.ts");
  writeFileSync(
    program,
    `import program from "./edge_program.ts";
const answer = await program.fetch(new Request("http://localhost/?" + Deno.args[0]));
console.log(await answer.text());
`,
  );
  const deno = [findTool("deno"), "run", "--no-prompt", "--node-modules-dir=manual", "--conditions=workerd", program];
  await expectWebAlone(async (flags) => {
    const { stdout, stderr } = await runProgram([...deno, flags], {});
    expect(stderr).toBe("");
    return JSON.parse(stdout);
  });
}, TIMEOUT_MS);
