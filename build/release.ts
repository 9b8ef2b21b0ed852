// npm run release [-- --target NAME… --allow-dirty --publishable]: executables for each kind of machine, the npm package, the list of
// what each contains, and checksums, in dist/release. Each executable that can run here is started. The run prints what this
// machine cannot do, and fails if it cannot build or start something. With --publishable it also fails unless the result may be
// published; publishing is the workflow's, in a job that builds nothing.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { currentCommit, ROOT } from "./bundle.ts";
import { CHECKSUMS, denoRuntime, readChecksums, sha256Of } from "./deno_runtime.ts";
import { compileByDeno, denoForCompile } from "./executable.ts";
import { billOfMaterials, PACKAGE_BILL, printBill } from "./sbom.ts";
import { starterOf } from "./starters.ts";
import { type Target, targetNamed, TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    "target": { type: "string", multiple: true },
    "allow-dirty": { type: "boolean", default: false },
    "publishable": { type: "boolean", default: false },
  },
});
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const { version } = manifest;
/** Far more than a start takes under an emulator. */
const START_LIMIT_MS = 120_000;
const folder = join(ROOT, "dist/release");
const failures: string[] = [];

try {
  const targets = values.target?.map(targetNamed) ?? TARGETS;
  const obstacles = [...obstaclesToBuilding(), ...(values.publishable ? obstaclesToPublishing() : [])];
  if (obstacles.length > 0) throw new Error(obstacles.join("\n"));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const target of targets) await attempt(`the executable for ${target.name}`, () => makeExecutable(target));
  await attempt("npm's package", makePackage);
  await attempt("the checksums", writeChecksums);
} catch (error) {
  failures.push(error instanceof Error ? error.message : String(error));
}
for (const failure of failures) process.stderr.write(`${failure}\n`);
process.exitCode = Number(failures.length > 0);

/** Returns the reasons why nothing can be built from here. */
function obstaclesToBuilding(): readonly string[] {
  const commit = currentCommit();
  if (values["allow-dirty"] || (commit !== null && !commit.endsWith("-dirty"))) return [];
  return ["Files differ from what is committed: commit them, or give --allow-dirty to try a release out"];
}

/** Returns the reasons why what is built here may not be published. */
function obstaclesToPublishing(): readonly string[] {
  const obstacles: string[] = [];
  if (values["allow-dirty"] || values.target) {
    obstacles.push("--publishable needs all targets of a commit: omit --allow-dirty and --target");
  }
  const tag = spawnSync("git", ["describe", "--exact-match", "--tags"], { cwd: ROOT, encoding: "utf8" }).stdout.trim();
  if (tag !== `v${version}`) obstacles.push(`This commit does not have the tag v${version}: git tag v${version}`);
  if (!manifest.repository) {
    obstacles.push("package.json has no repository, and npm's provenance says from which one a package came");
  }
  const checksums = readChecksums();
  const runtimes = TARGETS.map((target) => denoRuntime(denoForCompile(), target));
  for (const { variable, download } of runtimes) {
    if (variable !== undefined) {
      obstacles.push(`${variable} names a runtime, and only those of ${CHECKSUMS} are published: unset it`);
    } else if (!checksums.has(download)) {
      obstacles.push(`${CHECKSUMS} has no checksum of ${download}: add it as the file says`);
    }
  }
  return obstacles;
}

/** Returns what to say of its start, for people. */
async function makeExecutable(target: Target): Promise<string> {
  const name = `latchkey-${version}-${target.name}`;
  const inside = join(folder, name);
  // Windows does not open a tar archive with a click.
  const output = target.suffix ? join(folder, `${name}${target.suffix}`) : join(inside, "latchkey");
  try {
    const { packages, runtime: { path, version: denoVersion } } = await compileByDeno({ target, output });
    const started = start(target, output);
    const runtime = { name: "deno", version: started?.version ?? denoVersion, sha256: sha256Of(path) } as const;
    const bill = billOfMaterials({ type: "application", name, version }, packages, runtime);
    writeFileSync(join(folder, `${name}.cdx.json`), printBill(bill));
    if (!target.suffix) makeArchive(name);
    return started ? `, started${started.by}` : " (not started: this machine cannot run it)";
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
}

/** An executable that was started. */
interface Started {
  /** ` under qemu` or ` under Wine`, for people. */
  readonly by: string;
  /** Version of the Deno inside. */
  readonly version: string;
}

/**
 * Starts an executable, if this machine can run it.
 *
 * @throws {Error} if it does not start, or says that it is another one.
 */
function start(target: Target, executable: string): Started | undefined {
  const starter = starterOf(target);
  if (!starter) return undefined;
  const [program = "", ...words] = [...starter.command, executable, "--version", "--format", "json"];
  const { status, error, stdout, stderr } = spawnSync(program, words, { encoding: "utf8", timeout: START_LIMIT_MS });
  if (status !== 0) throw new Error(`It does not start: ${stderr || error?.message}`);
  const { version: own, build, runtime } = JSON.parse(stdout);
  if (own === version && build.target === target.deno) return { by: starter.by, version: runtime.version };
  throw new Error(`It says that it is ${own} for ${build.target}`);
}

/** Packs npm's package, and puts the list of what it contains beside it. */
function makePackage(): void {
  run(["npm", "pack", "--pack-destination", folder]);
  const [tarball = ""] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  copyFileSync(join(ROOT, PACKAGE_BILL), join(folder, tarball.replace(/\.tgz$/, ".cdx.json")));
}

function makeArchive(name: string): void {
  const inside = join(folder, name);
  for (const file of ["LICENSE", "README.md"]) copyFileSync(join(ROOT, file), join(inside, file));
  chmodSync(join(inside, "latchkey"), 0o755);
  // Without times and owners, so that the same files give the same archive.
  const plain = [
    "--sort=name",
    "--mtime=@0",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--use-compress-program=gzip -n",
  ];
  run(["tar", "--create", ...plain, "--file", `${inside}.tar.gz`, "--directory", folder, name]);
}

/** Writes the checksums for `sha256sum --check`. */
function writeChecksums(): void {
  const lines = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name)
    .sort().map((name) => `${sha256Of(join(folder, name))}  ${name}\n`);
  writeFileSync(join(folder, "SHA256SUMS"), lines.join(""));
}

async function attempt(what: string, make: () => Promise<string | void> | void): Promise<void> {
  try {
    process.stdout.write(`ok     ${what}${await make() ?? ""}\n`);
  } catch (error) {
    process.stdout.write(`FAILED ${what}\n`);
    failures.push(`${what}: ${error instanceof Error ? error.message : error}`);
  }
}

function run([program = "", ...words]: readonly string[]): void {
  const { status, error, stderr } = spawnSync(program, words, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) throw new Error(`${[program, ...words].join(" ")} failed: ${stderr || error?.message}`);
}
