// Others' own programs against latchkey mcp: the conformance suite of MCP, and the inspector's command line.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { findTool } from "../tools/find_tool.js";
import { type McpTestServer, startMcpServer } from "../tools/start_mcp_server.ts";

const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url)), bun = findTool("bun");
const packageOf = (name: string) => pathOf(`mcp/node_modules/@modelcontextprotocol/${name}/`);
const CONFORMANCE = join(packageOf("conformance"), "dist/index.js");

/** Scenarios that a client passes whose app is registered and has no secret. */
const PASSED = [
  ...["initialize", "tools_call", "sse-retry", "elicitation-sep1034-client-defaults"],
  ...["auth/scope-from-www-authenticate", "auth/scope-from-scopes-supported", "auth/scope-step-up"],
  ...["auth/scope-retry-limit", "auth/token-endpoint-auth-none", "auth/resource-mismatch"],
  ...["auth/offline-access-scope", "auth/offline-access-not-supported"],
];
/** Scenarios whose only failed check is that the client registers itself: ours is registered. */
const PASSED_BUT_FOR_REGISTRATION = [
  ...["auth/metadata-default", "auth/metadata-var1", "auth/metadata-var2", "auth/metadata-var3"],
];
const NO_SECRET = "an app on people's devices has no secret";
const NOT_THE_APP = "the app itself gets the token there, and latchkey's are people's";
/** The others, which are not run, and why. */
const NOT_FOR_US: Readonly<Record<string, string>> = {
  "auth/basic-cimd": "it warns if the id of the client is not an address",
  "auth/scope-omitted-when-undefined":
    "it warns if a scope is asked for, and a sign-in asks for the person's id at least",
  "auth/pre-registration": NO_SECRET,
  "auth/token-endpoint-auth-basic": NO_SECRET,
  "auth/token-endpoint-auth-post": NO_SECRET,
  "auth/client-credentials-basic": NOT_THE_APP,
  "auth/client-credentials-jwt": NOT_THE_APP,
  "auth/cross-app-access-complete-flow": "a company's identity provider exchanges tokens there",
  "auth/2025-03-26-oauth-metadata-backcompat":
    "the metadata of the origin names the issuer /oauth, which is refused (RFC 8414, 3.3)",
  "auth/2025-03-26-oauth-endpoint-fallback": "the provider has no metadata, so that its endpoints are not known",
};

let folder: string, server: McpTestServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mcp-peer-"));
  server = await startMcpServer();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await server[Symbol.asyncDispose]();
});

/** Runs a scenario, and gives the ids of the checks that it failed or was warned for, and of those that it passed. */
async function play(scenario: string): Promise<{ readonly bad: readonly string[]; readonly good: number }> {
  const output = mkdtempSync(join(folder, "scenario-")), command = `${bun} ${pathOf("mcp/conformance_client.ts")}`;
  const words = ["client", "--command", command, "--scenario", scenario, "--timeout", "60000", "-o", output];
  await runProgram([bun, CONFORMANCE, ...words], { PATH: process.env.PATH! });
  const [file = ""] = readdirSync(output, { recursive: true, encoding: "utf8" }).filter((each) =>
    each.endsWith("checks.json")
  );
  const checks: { id: string; status: string }[] = JSON.parse(readFileSync(join(output, file), "utf8"));
  const bad = checks.filter(({ status }) => status === "FAILURE" || status === "WARNING").map(({ id }) => id);
  return { bad: [...new Set(bad)], good: checks.filter(({ status }) => status === "SUCCESS").length };
}

describe("the conformance suite of MCP", () => {
  test("has no scenario for clients that is not named here", async () => {
    const { stdout } = await runProgram([bun, CONFORMANCE, "list", "--client"], { PATH: process.env.PATH! });
    const [, clients = stdout] = /Client scenarios[^\n]*\n([^]*?)(?:\n\n|$)/.exec(stdout) ?? [];
    const listed = [...clients.matchAll(/^ +- (\S+)/gm)].map(([, name]) => name!);
    const named = [...PASSED, ...PASSED_BUT_FOR_REGISTRATION, ...Object.keys(NOT_FOR_US)];
    expect(listed.sort()).toEqual(named.sort());
  });

  test.each(PASSED)("%s", async (scenario) => {
    const { bad, good } = await play(scenario);
    expect({ bad, hasGood: good > 0 }).toEqual({ bad: [], hasGood: true });
  });

  test.each(PASSED_BUT_FOR_REGISTRATION)("%s, but for the registration", async (scenario) => {
    expect((await play(scenario)).bad).toEqual(["client-registration"]);
  });
});

const document = readFileSync(pathOf("../../docs/mcp.md"), "utf8");
/** The configurations that docs/mcp.md shows, of the form that Claude Code, Copilot CLI and Cursor read, and the inspector. */
const configurations = [...document.matchAll(/^```json\n([^]*?)^```$/gm)]
  .map(([, json]) => json!).filter((json) => json.includes('"mcpServers"') && json.includes('"command"'));
/** The inspector's own line, and the command in it. */
const [, ofInspector = ""] = /^npx @modelcontextprotocol\/inspector -- (.*)$/m.exec(document) ?? [];

test("docs/mcp.md shows configurations", () => expect(configurations.length).toBeGreaterThanOrEqual(3));

/** Runs the inspector's command line with words, which call latchkey by its name. */
async function inspect(words: readonly string[]): Promise<Run> {
  const path = mkdtempSync(join(folder, "path-"));
  const script = `#!/bin/sh\ncd '${pathOf("../../")}' && exec ${LATCHKEY_ON_BUN.join(" ")} "$@"\n`;
  writeFileSync(join(path, "latchkey"), script, { mode: 0o755 });
  const inspector = join(packageOf("inspector"), "clients/launcher/build/index.js");
  return await runProgram([findTool("node"), inspector, "--cli", ...words], {
    PATH: `${path}:${process.env.PATH}`,
    MCP_INSPECTOR_SECRET_STORE: "memory",
  });
}

/** Returns what docs/mcp.md shows with the test's server and an app of no provider. */
const withOwnServer = (text: string) =>
  text.replace("https://mcp.contoso.com/mcp", server.url).replace(/\bID\b/, "11111111-2222-4333-8444-555555555555");

test.each(configurations)("the inspector's command line lists and calls tools by %s", async (json) => {
  const config = join(folder, `config-${crypto.randomUUID()}.json`);
  const words = withOwnServer(json.replace('"ID"', '"ID", "--broker", "never"'))
    .replace('"type": "local"', '"type": "stdio"'); // Copilot CLI's own word
  writeFileSync(config, words);
  const call = async (...more: readonly string[]) => {
    const { code, stdout, stderr } = await inspect(["--config", config, "--server", "contoso", ...more]);
    expect({ code, isQuiet: !stderr.includes("latchkey") }).toEqual({ code: 0, isQuiet: true });
    return JSON.parse(stdout);
  };
  expect((await call("--method", "tools/list")).tools.map(({ name }: { name: string }) => name)).toContain("echo");
  const called = await call("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=Grüße");
  expect(called.content).toEqual([{ type: "text", text: "Grüße" }]);
});

test("the inspector's command line lists tools by its own line, and only with -- in it", async () => {
  const words = [...withOwnServer(ofInspector).split(" "), "--broker", "never"], list = ["--method", "tools/list"];
  const { code, stdout } = await inspect([...list, "--", ...words]);
  expect([code, JSON.parse(stdout).tools[0].name]).toEqual([0, "echo"]);
  expect((await inspect([...words, ...list])).code).toBe(1);
});
