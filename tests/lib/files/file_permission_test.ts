// Files under Deno without a permission: the flags are named, nobody is asked, and those flags are enough.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../tools/find_tool.js";

const files = new URL("../../../lib/files/", import.meta.url).href;
let top: string, folder: string;

beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), "file-permission-"));
  folder = join(top, "private");
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, "tokens"), "kept");
  chmodSync(join(folder, "tokens"), 0o600);
});

afterAll(() => rmSync(top, { recursive: true }));

/** What an expression gives or throws, under Deno with some flags. */
async function evaluate(expression: string, flags: readonly string[] = []): Promise<unknown> {
  const program = join(top, "program.ts");
  writeFileSync(
    program,
    `import { listPrivateFolder, readPrivateFile, replacePrivateFile, setAsideFile } from "${files}private_files.ts";
    import { configFolder, stateFolder } from "${files}user_folders.ts";
    import { withLock } from "${files}lock.ts";
    const folder = ${JSON.stringify(folder)}, path = folder + "/tokens", bytes = new TextEncoder().encode("kept");
    const result = await (async () => await (${expression}))().catch(({ code, hint, message }) => code ? { code, hint } : message);
    console.log(JSON.stringify(result ?? null));`,
  );
  // Without --no-prompt: a question would be printed, and there would be nobody to answer.
  const command = [findTool("deno"), "run", "--no-config", "--no-check", ...flags, program];
  const env = { ...process.env, HOME: "/home/jane", XDG_STATE_HOME: "/state" };
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], env });
  const [output, complaint] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(complaint).toBe("");
  return JSON.parse(output);
}

const missing = (flags: string) => ({ code: "missing_dependency", hint: `Run deno with ${flags}` });
const readFlags = () => [`--allow-read=${folder}`, "--allow-sys=uid"];
const writeFlags = () => [`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid"];

test("readPrivateFile() and listPrivateFolder() name the flags that are missing, and need no more", async () => {
  const read = "readPrivateFile(path).then((bytes) => bytes.length)";
  expect(await evaluate(read)).toEqual(missing(readFlags().join(" ")));
  expect(await evaluate(read, [`--allow-read=${folder}`])).toEqual(missing("--allow-sys=uid"));
  expect(await evaluate(read, readFlags())).toBe(4);
  expect(await evaluate("listPrivateFolder(folder)")).toEqual(missing(readFlags().join(" ")));
  expect(await evaluate("listPrivateFolder(folder)", readFlags())).toEqual(["tokens"]);
});

test("replacePrivateFile() and setAsideFile() name the flags that are missing, and need no more", async () => {
  const write = "replacePrivateFile(path, bytes)";
  expect(await evaluate(write)).toEqual(missing(writeFlags().join(" ")));
  expect(await evaluate(write, readFlags())).toEqual(missing(`--allow-write=${folder}`));
  expect(await evaluate(write, writeFlags())).toBe(null);
  expect(await evaluate("setAsideFile(path)", readFlags())).toEqual(missing(`--allow-write=${folder}`));
  const aside = "replacePrivateFile(folder + '/other', bytes).then(() => setAsideFile(folder + '/other'))";
  expect(readFileSync(await evaluate(aside, writeFlags()) as string, "utf8")).toBe("kept");
});

test("replacePrivateFile() makes the folder that it may write, and those above it", async () => {
  const below = join(top, "a", "b"), flags = [`--allow-read=${below}`, `--allow-write=${below}`, "--allow-sys=uid"];
  expect(await evaluate(`replacePrivateFile("${below}/tokens", bytes)`, flags)).toBe(null);
  expect(readFileSync(join(below, "tokens"), "utf8")).toBe("kept");
});

test("withLock() names the flags that are missing, and needs no more", async () => {
  const lock = `withLock(path + ".lockfile", () => listPrivateFolder(folder).then((names) => names.length))`;
  expect(await evaluate(lock)).toEqual(missing(writeFlags().join(" ")));
  const before = await evaluate("listPrivateFolder(folder)", readFlags()) as string[];
  expect(await evaluate(lock, writeFlags())).toBe(before.length + 1);
});

test("withLock() takes over a lock of latchkey's whose process it may not look for", async () => {
  writeFileSync(join(folder, "left.lockfile"), "2147483646 latchkey");
  const lock = (more: string) => `withLock(folder + "/left.lockfile", async () => "taken"${more})`;
  expect(await evaluate(lock(", { waitMs: 50 }"), writeFlags())).toMatchObject({ code: "timed_out" });
  expect(await evaluate(lock(""), writeFlags())).toBe("taken");
});

test("stateFolder() and configFolder() name --allow-env, and need no more", async () => {
  const state = "--allow-env=XDG_STATE_HOME,HOME";
  expect(await evaluate("stateFolder()")).toEqual(missing(state));
  expect(await evaluate("stateFolder()", ["--allow-env=HOME"])).toEqual(missing(state));
  expect(await evaluate("stateFolder()", [state])).toBe("/state/latchkey");
  expect(await evaluate("configFolder()")).toEqual(missing("--allow-env=XDG_CONFIG_HOME,HOME"));
});
