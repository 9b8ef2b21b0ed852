// node build/unpack_deno.ts FOLDER: puts the Deno of package-lock.json into a folder, which must exist. It installs nothing, runs no
// script of a package, and needs none, so that a job with an identity can start it: npm fetches the one archive, and its bytes must
// be those that package-lock.json says.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runtimePackage } from "../tests/tools/find_tool.js";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: node build/unpack_deno.ts FOLDER");
const name: string = runtimePackage("deno");
const lock = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"));
const { version, integrity } = lock.packages[`node_modules/${name}`];
const downloads = mkdtempSync(join(tmpdir(), "latchkey-deno-"));
try {
  const packed = run("npm", [
    "pack",
    "--ignore-scripts",
    "--json",
    "--pack-destination",
    downloads,
    `${name}@${version}`,
  ]);
  // npm 12 lists by name, earlier ones in order.
  const [{ filename }] = Object.values<{ readonly filename: string }>(JSON.parse(packed)) as [{ filename: string }];
  const archive = join(downloads, filename);
  const actual = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
  if (actual !== integrity) throw new Error(`${name} ${version} is ${actual}, and package-lock.json has ${integrity}`);
  run("tar", ["--extract", "--gzip", "--file", archive, "--directory", folder, "--strip-components=1", "package/deno"]);
} finally {
  rmSync(downloads, { recursive: true });
}

function run(program: string, words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, words, { encoding: "utf8" });
  if (status === 0) return stdout;
  throw new Error(`${program} ${words.join(" ")} failed: ${stderr || error?.message}`);
}
