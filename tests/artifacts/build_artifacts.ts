/** Builds everything that users get, as those who release it do, and installs the packages where nothing else is. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentCommit } from "../../build/bundle.ts";
import { findTool } from "../tools/find_tool.js";
import type { Artifacts } from "./artifacts.ts";
import { copyCheckout } from "./checkout_copy.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Builds all in a folder.
 *
 * @returns Where it is; what could not be built is not there, and `failed` is told why.
 */
export function buildArtifacts(folder: string, failed: (what: string, why: string) => void): Artifacts {
  const artifacts: Artifacts = {
    commit: currentCommit(),
    byDeno: join(folder, "by-deno/latchkey"),
    byBun: join(folder, "by-bun/latchkey"),
    tarball: join(folder, "latchkey.tgz"),
    npmFolder: join(folder, "by-npm"),
    bunFolder: join(folder, "by-bun-install"),
  };
  const attempt = (what: string, build: () => void): void => {
    process.stdout.write(`Building: ${what}\n`);
    try {
      build();
    } catch (error) {
      failed(`Building ${what}`, error instanceof Error ? error.message : String(error));
    }
  };
  attempt("the executable by Deno", () => run(["npm", "run", "compile", "--", "--output", artifacts.byDeno], root));
  attempt("the executable by Bun", () => run(["npm", "run", "compile:bun", "--", "--output", artifacts.byBun], root));
  attempt("npm's package", () => pack(folder, artifacts.tarball));
  attempt("npm's package, installed by npm", () => {
    // Scripts of packages are off, which is how those who are careful install.
    run(
      ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", artifacts.tarball],
      emptyFolder(artifacts.npmFolder),
    );
  });
  attempt("npm's package, installed by Bun", () => {
    run([findTool("bun"), "add", "--ignore-scripts", artifacts.tarball], emptyFolder(artifacts.bunFolder));
  });
  return artifacts;
}

function pack(folder: string, tarball: string): void {
  using copy = copyCheckout();
  run(["npm", "pack", "--pack-destination", folder], copy.path);
  const [packed] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  run(["mv", join(folder, packed ?? "what npm packed"), tarball], folder);
}

function emptyFolder(path: string): string {
  mkdirSync(path);
  writeFileSync(join(path, "package.json"), JSON.stringify({ private: true, type: "module" }));
  return path;
}

function run(command: readonly string[], folder: string): void {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${stdout}${stderr}`.trim());
}
