/** What users get, built as those who release it do: for the suites that look at it. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { currentCommit } from "../../build/bundle.ts";
import { commitableFiles } from "../tools/commitable_files.ts";
import { findTool } from "../tools/find_tool.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where things are that were built; a folder has no slash at its end. */
export interface Artifacts {
  /** What they were built from, as `--version` tells it. */
  readonly commit: string | null;
  /** The command line compiled by Deno. */
  readonly byDeno: string;
  /** The command line compiled by Bun. */
  readonly byBun: string;
  /** What `npm pack` made. */
  readonly tarball: string;
  /** A folder in which npm has installed that, and nothing else but what it needs. */
  readonly npmFolder: string;
  /** The same by Bun. */
  readonly bunFolder: string;
}

/** Environment variable that has them, in JSON. */
export const ARTIFACTS = "ARTIFACTS";

/**
 * What was built.
 *
 * @throws {Error} when the suite was not started by run_artifacts.ts
 */
export function artifacts(): Artifacts {
  const text = process.env[ARTIFACTS];
  if (text === undefined) throw new Error(`${ARTIFACTS} names nothing that was built: npm run test:artifacts`);
  return JSON.parse(text);
}

/**
 * Builds all in a folder, and installs the packages where nothing else is.
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

/**
 * Copies what a commit would have of the checkout, to build in: npm changes files of the folder that it packs. npm's packages,
 * and what the tests bring, stay where they are.
 */
export function copyCheckout(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "latchkey-checkout-"));
  for (const file of commitableFiles()) cpSync(join(root, file), join(path, file));
  for (const folder of ["node_modules", ".latchkey-tools"]) symlinkSync(join(root, folder), join(path, folder));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
