// Deno without a permission: the flag to add is named, nobody is asked, and that flag is enough. Real Deno, in programs of their own.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../tools/find_tool.js";

const lib = new URL("../../lib/", import.meta.url).href;
let top: string, folder: string;

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), "permission-"));
  folder = join(top, "private");
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, "tokens"), "kept", { mode: 0o600 });
});

afterAll(() => rmSync(top, { recursive: true }));

/** What an expression over what modules export gives or throws, under Deno with some flags. */
async function run(modules: string, expression: string, flags: readonly string[] = []): Promise<unknown> {
  const program = join(top, "program.ts"), names = modules.split(" ");
  writeFileSync(
    program,
    `${names.map((name, index) => `import * as module${index} from "${lib}${name}.ts";`).join("\n")}
    const all = Object.assign({}, ${names.map((_, index) => `module${index}`).join()});
    const { ${EXPORTS.join()} } = all, folder = ${JSON.stringify(folder)}, path = folder + "/tokens";
    const bytes = new TextEncoder().encode("kept");
    const result = await (async () => await (${expression}))().catch(({ code, hint, message }) => code ? { code, hint } : message);
    console.log(JSON.stringify(result ?? null));`,
  );
  // Without --no-prompt: a question would be printed, and there would be nobody to answer.
  const command = [findTool("deno"), "run", "--no-config", "--no-check", ...flags, program];
  const env = { ...process.env, BROWSER: "true", HOME: "/home/jane", XDG_STATE_HOME: "/state" };
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], env });
  const [output, complaint] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(complaint).toBe("");
  return JSON.parse(output);
}

/** What expressions use. */
const EXPORTS = [
  ...["listPrivateFolder", "readPrivateFile", "replacePrivateFile", "setAsideFile", "configFolder", "stateFolder"],
  ...["withLock", "runCommand", "openBrowser", "listenOnLoopback", "makeFetch", "fastClock"],
];

const files = (expression: string, flags?: readonly string[]) =>
  run("files/private_files files/user_folders files/lock ../tests/tools/test_clocks", expression, flags);
const missing = (flags: string) => ({ code: "missing_dependency", hint: `Run deno with ${flags}` });
const readFlags = () => [`--allow-read=${folder}`, "--allow-sys=uid"];
const writeFlags = () => [`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid"];

test("readPrivateFile() and listPrivateFolder() name the flags that are missing, and need no more", async () => {
  const read = "readPrivateFile(path).then((bytes) => bytes.length)";
  expect(await files(read)).toEqual(missing(readFlags().join(" ")));
  expect(await files(read, [`--allow-read=${folder}`])).toEqual(missing("--allow-sys=uid"));
  expect(await files(read, readFlags())).toBe(4);
  expect(await files("listPrivateFolder(folder)")).toEqual(missing(readFlags().join(" ")));
  expect(await files("listPrivateFolder(folder)", readFlags())).toEqual(["tokens"]);
});

test("replacePrivateFile() and setAsideFile() name the flags that are missing, and need no more", async () => {
  const write = "replacePrivateFile(path, bytes)";
  expect(await files(write)).toEqual(missing(writeFlags().join(" ")));
  expect(await files(write, readFlags())).toEqual(missing(`--allow-write=${folder}`));
  expect(await files(write, writeFlags())).toBe(null);
  expect(await files("setAsideFile(path)", readFlags())).toEqual(missing(`--allow-write=${folder}`));
  const aside = "replacePrivateFile(folder + '/other', bytes).then(() => setAsideFile(folder + '/other'))";
  expect(readFileSync(await files(aside, writeFlags()) as string, "utf8")).toBe("kept");
});

test("replacePrivateFile() makes the folder that it may write, and those above it", async () => {
  const below = join(top, "a", "b"), flags = [`--allow-read=${below}`, `--allow-write=${below}`, "--allow-sys=uid"];
  expect(await files(`replacePrivateFile("${below}/tokens", bytes)`, flags)).toBe(null);
  expect(readFileSync(join(below, "tokens"), "utf8")).toBe("kept");
});

test("withLock() names the flags that are missing, and needs no more", async () => {
  const lock = `withLock(path + ".lockfile", () => listPrivateFolder(folder).then((names) => names.length))`;
  expect(await files(lock)).toEqual(missing(writeFlags().join(" ")));
  const before = await files("listPrivateFolder(folder)", readFlags()) as string[];
  expect(await files(lock, writeFlags())).toBe(before.length + 1);
});

test("withLock() takes over a lock of latchkey's whose process it may not look for", async () => {
  writeFileSync(join(folder, "left.lockfile"), "2147483646 latchkey");
  const lock = (more: string) => `withLock(folder + "/left.lockfile", async () => "taken"${more})`;
  expect(await files(lock(", { waitMs: 50 }"), writeFlags())).toMatchObject({ code: "timed_out" });
  expect(await files(lock(", { clock: fastClock().clock }"), writeFlags())).toBe("taken");
});

test("stateFolder() and configFolder() name --allow-env, and need no more", async () => {
  const state = "--allow-env=XDG_STATE_HOME,HOME";
  expect(await files("stateFolder()")).toEqual(missing(state));
  expect(await files("stateFolder()", ["--allow-env=HOME"])).toEqual(missing(state));
  expect(await files("stateFolder()", [state])).toBe("/state/latchkey");
  expect(await files("configFolder()")).toEqual(missing("--allow-env=XDG_CONFIG_HOME,HOME"));
});

test("runCommand() names --allow-run, and needs no more", async () => {
  const call = 'runCommand(["echo", "a"])';
  expect(await run("runtime/process", call)).toEqual(missing("--allow-run=echo"));
  expect(await run("runtime/process", call, ["--allow-run=echo"])).toEqual({ code: 0, stdout: "a\n", stderr: "" });
});

test("runCommand() lets go of what it may not kill as a group", async () => {
  const call = 'runCommand(["sh", "-c", "sleep 3 & wait"], { timeoutMs: 50 })';
  expect(await run("runtime/process", call, ["--allow-run=sh"])).toEqual({ code: "timed_out" });
});

test("openBrowser() opens nothing that may not be run", async () => {
  const open = 'openBrowser("https://login.contoso.com")';
  expect(await run("runtime/browser", open)).toBe(false);
  expect(await run("runtime/browser", open, ["--allow-env=BROWSER"])).toBe(false);
  expect(await run("runtime/browser", open, ["--allow-env=BROWSER", "--allow-run=true"])).toBe(true);
});

test("listenOnLoopback() names --allow-net, and needs no more", async () => {
  const listen = "(await listenOnLoopback({ onRequest: () => null })).close()";
  expect(await run("http/loopback", listen)).toEqual(missing("--allow-net=127.0.0.1,[::1]"));
  expect(await run("http/loopback", listen, ["--allow-net=127.0.0.1:0"])).toBe(null);
  expect(await run("http/loopback", listen, ["--allow-net=127.0.0.1,[::1]"])).toBe(null);
  const onPort = listen.replace("{", "{ port: 51234,");
  expect(await run("http/loopback", onPort)).toEqual(missing("--allow-net=127.0.0.1:51234,[::1]:51234"));
});

test("makeFetch() names --allow-net, of the server or the proxy", async () => {
  const send = 'makeFetch()("https://localhost:1")';
  expect(await run("http/client", send)).toEqual(missing("--allow-net=localhost:1"));
  expect(await run("http/client", send, ["--allow-net=localhost:1"])).toMatchObject({ code: "no_network" });
  const byProxy = `makeFetch({ variable: (name) => name === "HTTPS_PROXY" ? "a:b@proxy.contoso.com:1" : undefined })(
    "https://login.contoso.com")`;
  const flag = "--allow-net=login.contoso.com";
  expect(await run("http/client", byProxy, [flag])).toEqual(missing("--allow-net=proxy.contoso.com:1"));
  expect(await run("http/client", byProxy, [`${flag},proxy.contoso.com`])).toEqual(
    missing("--allow-net=127.0.0.1"),
  );
});
