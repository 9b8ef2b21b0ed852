import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { moduleWord, packageFoldersAbove, withoutFiles } from "../../../lib/runtime/installation.ts";
import { makeHostileFolder } from "../../fakes/hostile_folder.ts";
import { findTool } from "../../tools/find_tool.js";

test.each([
  ["file:///home/jane/my%20tools/bin/latchkey.ts", "/home/jane/my tools/bin/latchkey.ts"],
  [`https://${["jsr", "io"].join(".")}/@latchkey/latchkey/0.1.0/bin/latchkey.ts`, "jsr:@latchkey/latchkey@0.1.0/cli"],
  ["https://contoso.com/bin/latchkey.ts", "https://contoso.com/bin/latchkey.ts"],
])("moduleWord() names %s as %s", (url, word) => {
  expect(moduleWord(url)).toBe(word);
});

// A relative file among the options was looked for in the folder that the written program happened to be started in.
describe("withoutFiles()", () => {
  test.each([
    ["--conditions latchkey-source", "--conditions latchkey-source"],
    ["--env-file=.env --use-system-ca", "--use-system-ca"],
    ["--env-file .env --env-file-if-exists .env --smol", "--smol"],
    ["-r ./a.js --require=./a.js --import ./a.js --preload ./a.js --conditions=b", "--conditions=b"],
    ["--config=a.toml -c a.toml --cwd .. --tsconfig-override a.json", ""],
    ["--experimental-default-config-file --experimental-config-file=a --conditions=b", "--conditions=b"],
    ["--loader ./a.js --experimental-loader=./a.js --trace-warnings", "--trace-warnings"],
  ])("of %j is %j", (options, kept) => {
    expect(withoutFiles(options.split(" ")).join(" ")).toBe(kept);
  });
});

/** A registry as JSR is, with one package of one file, whose entry is `./cli`. */
async function playJsr(text: string): Promise<{ readonly url: string } & AsyncDisposable> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const files: Record<string, unknown> = {
    "/@contoso/tool/meta.json": { scope: "contoso", name: "tool", latest: "1.0.0", versions: { "1.0.0": {} } },
    "/@contoso/tool/1.0.0_meta.json": {
      exports: { "./cli": "./cli.js" },
      manifest: { "/cli.js": { size: text.length, checksum: `sha256-${Buffer.from(digest).toString("hex")}` } },
    },
  };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname.endsWith(".js")) return new Response(text, { headers: { "content-type": "text/javascript" } });
      return files[pathname] ? Response.json(files[pathname]) : new Response("", { status: 404 });
    },
  });
  return { url: server.url.href, [Symbol.asyncDispose]: () => server.stop(true) };
}

// Deno reads deno.json of the current folder for a program of JSR's: its import map took the place of node:fs. With
// "manual", which a clone takes, a program from the network took its packages from node_modules there.
test("ownCommand() of a program from the network has Deno read nothing of the current folder", async () => {
  const cache = mkdtempSync(join(tmpdir(), "latchkey-deno-")), lib = new URL("../../../lib/", import.meta.url);
  const program = `import { ownCommand } from "./runtime/installation.ts";
    console.log(JSON.stringify(ownCommand(() => ["--allow-all"])));`;
  await using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => {
      const path = new URL(request.url).pathname.slice(1);
      const headers = { "content-type": "application/typescript" };
      return path === "main.ts"
        ? new Response(program, { headers })
        : new Response(Bun.file(new URL(path, lib)), { headers });
    },
  });
  using hostile = makeHostileFolder();
  const run = async (command: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<unknown> => {
    const env = { DENO_DIR: cache, NO_COLOR: "1", ...more };
    const child = Bun.spawn([...command], { cwd: hostile.path, env, stdio: ["ignore", "pipe", "pipe"] });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect(stderr.replaceAll(/^Download .*\n/gm, "")).toBe("");
    return JSON.parse(stdout);
  };
  try {
    const deno = findTool("deno"), url = new URL("main.ts", server.url).href;
    const command = await run([deno, "run", "-A", "--no-config", url]) as string[];
    expect(command).toEqual([
      ...[deno, "run", "--no-prompt", "--no-config", "--no-lock", "--node-modules-dir=none", "--allow-all", url],
    ]);
    expect(await run(command)).toEqual(command);
    await using registry = await playJsr(
      'import fs from "node:fs";\nconsole.log(typeof fs.readFileSync === "function");\n',
    );
    expect(await run([...command.slice(0, -1), "jsr:@contoso/tool/cli"], { JSR_URL: registry.url })).toBe(true);
    expect(hostile.wasRun()).toBe(false);
  } finally {
    rmSync(cache, { recursive: true });
  }
});

test.each([
  ["/app/src/main.ts", ["/app/src/node_modules/@a/b", "/app/node_modules/@a/b", "/node_modules/@a/b"]],
  ["/main.ts", ["/node_modules/@a/b"]],
  ["C:\\app\\src\\main.ts", ["C:\\app\\src\\node_modules\\@a\\b", "C:\\app\\node_modules\\@a\\b"]],
  ["C:\\main.ts", []],
  ["\\\\server\\share\\app\\main.ts", ["\\\\server\\share\\app\\node_modules\\@a\\b"]],
  [
    "/app/node_modules/@latchkey/latchkey/dist/x.js",
    [
      "/app/node_modules/@latchkey/latchkey/dist/node_modules/@a/b",
      "/app/node_modules/@latchkey/latchkey/node_modules/@a/b",
      "/app/node_modules/@latchkey/node_modules/@a/b",
      "/app/node_modules/@a/b",
      "/node_modules/@a/b",
    ],
  ],
])("packageFoldersAbove(%j) is where Node looks", (file, folders) => {
  expect(packageFoldersAbove(file, "@a/b")).toEqual(folders);
});
