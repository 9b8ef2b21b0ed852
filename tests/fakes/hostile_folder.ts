/** The folder of somebody who wants their code run by whoever starts a program there: a clone, for one. */
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** Such a folder. */
export interface HostileFolder extends Disposable {
  readonly path: string;
  /** Whether anything of it was run. */
  wasRun(): boolean;
}

/** What latchkey imports by name. */
const PACKAGES = ["dbus-next", "@panva/oauth4webapi", "@std/cli", "@latchkey/latchkey"];

/** Makes one, with all by which Bun, Deno and Node are known to take code or settings from a folder. */
export function makeHostileFolder(): HostileFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-hostile-"))), mark = join(path, "was-run");
  const evil = `process.getBuiltinModule("node:fs").writeFileSync(${JSON.stringify(mark)}, "");\nexport default {};\n`;
  const own = ["./*", "../*", "*", "node:*", ...PACKAGES];
  const imports = Object.fromEntries(["node:fs", "node:process", ...PACKAGES].map((name) => [name, "./evil.mjs"]));
  const files: Record<string, string> = {
    "evil.mjs": evil,
    ".env":
      "LATCHKEY_CLIENT_ID=nobody\nLATCHKEY_TIMEOUT=never\nNODE_OPTIONS=--import=./evil.mjs\nBUN_OPTIONS=--preload=./evil.mjs\n",
    "bunfig.toml": 'preload = ["./evil.mjs"]\n[run]\nbun = true\n',
    "tsconfig.json": JSON.stringify({
      compilerOptions: { baseUrl: ".", paths: Object.fromEntries(own.map((name) => [name, ["./evil.mjs"]])) },
    }),
    "package.json": JSON.stringify({
      ...{ name: "@latchkey/latchkey", type: "commonjs", exports: "./evil.mjs", imports: { "#x": "./evil.mjs" } },
      dependencies: Object.fromEntries(PACKAGES.map((name) => [name, "*"])),
    }),
    "deno.json": JSON.stringify({
      imports,
      scopes: { "file:///": imports, "http://127.0.0.1/": imports },
      nodeModulesDir: "manual",
    }),
    "deno.lock": '{ "version": "5", "remote": { "http://127.0.0.1/": "0" } }',
    "node.config.json": JSON.stringify({ nodeOptions: { import: ["./evil.mjs"] } }),
  };
  for (const name of PACKAGES) {
    files[`node_modules/${name}/package.json`] = JSON.stringify({ name, version: "99.0.0", exports: "./index.mjs" });
    files[`node_modules/${name}/index.mjs`] = evil;
  }
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return {
    path,
    wasRun: () => existsSync(mark),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
