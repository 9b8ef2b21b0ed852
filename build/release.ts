// npm run release [-- --target NAME… --allow-dirty --publish]: executables for each kind of machine, the npm package, and their
// checksums, in dist/release; --publish also publishes to npm and JSR. Each executable that can run here is started. The run
// prints what this machine cannot do, and fails if it cannot build or start something.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { currentCommit, ROOT } from "./bundle.ts";
import { compileByDeno } from "./executable.ts";
import { starterOf } from "./starters.ts";
import { type Target, targetNamed, TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    "target": { type: "string", multiple: true },
    "allow-dirty": { type: "boolean", default: false },
    "publish": { type: "boolean", default: false },
  },
});
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")), { version } = manifest;
/** Far more than a start takes under an emulator. */
const START_LIMIT_MS = 120_000;
const folder = join(ROOT, "dist/release"), failures: string[] = [];

try {
  const targets = values.target?.map(targetNamed) ?? TARGETS;
  const obstacles = obstaclesTo(values.publish);
  if (obstacles.length > 0) throw new Error(obstacles.join("\n"));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const target of targets) await attempt(`the executable for ${target.name}`, () => makeExecutable(target));
  await attempt("npm's package", () => run(["npm", "pack", "--pack-destination", folder]));
  await attempt("the checksums", writeChecksums);
  if (failures.length === 0 && values.publish) {
    const [tarball] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
    await attempt(
      "npm publish",
      () => run(["npm", "publish", "--provenance", "--access", "public", join(folder, tarball!)]),
    );
    // JSR gets the sources of the checkout, and attests their origin itself.
    if (failures.length === 0) await attempt("deno publish", () => run(["deno", "publish"]));
  }
} catch (error) {
  failures.push(error instanceof Error ? error.message : String(error));
}
for (const failure of failures) process.stderr.write(`${failure}\n`);
process.exitCode = Number(failures.length > 0);

/** Returns the reasons why nothing can be released from here. */
function obstaclesTo(publish: boolean): readonly string[] {
  const obstacles: string[] = [], commit = currentCommit();
  if (!values["allow-dirty"] && (commit === null || commit.endsWith("-dirty"))) {
    obstacles.push("Files differ from what is committed: commit them, or give --allow-dirty to try a release out");
  }
  if (!publish) return obstacles;
  if (values["allow-dirty"] || values.target) obstacles.push("--publish goes with a whole release of a commit alone");
  const tag = spawnSync("git", ["describe", "--exact-match", "--tags"], { cwd: ROOT, encoding: "utf8" }).stdout.trim();
  if (tag !== `v${version}`) obstacles.push(`This commit does not have the tag v${version}: git tag v${version}`);
  if (!manifest.repository) {
    obstacles.push("package.json has no repository, and npm's provenance says from which one a package came");
  }
  // npm signs the provenance with an identity that only a job of a forge has, and not a person's machine.
  const { ACTIONS_ID_TOKEN_REQUEST_URL, SIGSTORE_ID_TOKEN } = process.env;
  if (!ACTIONS_ID_TOKEN_REQUEST_URL && !SIGSTORE_ID_TOKEN) {
    obstacles.push(
      "npm's provenance and JSR's need the identity of a job of the forge: run this there, in a job with `id-token: write`",
    );
  }
  return obstacles;
}

/** Returns what to say of its start. */
async function makeExecutable(target: Target): Promise<string> {
  const name = `latchkey-${version}-${target.name}`, inside = join(folder, name);
  // Windows does not open a tar archive with a click.
  const output = target.suffix ? join(folder, `${name}${target.suffix}`) : join(inside, "latchkey");
  try {
    await compileByDeno({ target, output });
    const said = start(target, output);
    if (!target.suffix) makeArchive(name);
    return said;
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
}

/**
 * Starts an executable, and returns what to say of it.
 *
 * @throws {Error} if it does not start, or says that it is another one.
 */
function start(target: Target, executable: string): string {
  const starter = starterOf(target);
  if (!starter) return " (not started: this machine cannot run it)";
  const [program = "", ...words] = [...starter.command, executable, "--version", "--format", "json"];
  const { status, error, stdout, stderr } = spawnSync(program, words, { encoding: "utf8", timeout: START_LIMIT_MS });
  if (status !== 0) throw new Error(`It does not start: ${stderr || error?.message}`);
  const said = JSON.parse(stdout);
  if (said.version === version && said.build.target === target.deno) return `, started${starter.by}`;
  throw new Error(`It says that it is ${said.version} for ${said.build.target}`);
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
    .sort().map((name) => `${createHash("sha256").update(readFileSync(join(folder, name))).digest("hex")}  ${name}\n`);
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
