// npm run release [-- --target NAME… --allow-dirty --publish]: executables for each kind of machine, the npm package, and their
// checksums, in dist/release; --publish also publishes to npm and JSR. The run prints what this machine cannot do, and fails.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { currentCommit, ROOT } from "./bundle.ts";
import { compileByDeno } from "./executable.ts";
import { type Target, targetNamed, TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    "target": { type: "string", multiple: true },
    "allow-dirty": { type: "boolean", default: false },
    "publish": { type: "boolean", default: false },
  },
});
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")), { version } = manifest;
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

async function makeExecutable(target: Target): Promise<void> {
  const name = `latchkey-${version}-${target.name}`;
  // Windows does not open a tar archive with a click.
  if (target.suffix) return await compileByDeno({ target, output: join(folder, `${name}${target.suffix}`) });
  const inside = join(folder, name);
  try {
    await makeArchive(target, name);
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
}

async function makeArchive(target: Target, name: string): Promise<void> {
  const inside = join(folder, name);
  await compileByDeno({ target, output: join(inside, "latchkey") });
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

async function attempt(what: string, make: () => Promise<void> | void): Promise<void> {
  try {
    await make();
    process.stdout.write(`ok     ${what}\n`);
  } catch (error) {
    process.stdout.write(`FAILED ${what}\n`);
    failures.push(`${what}: ${error instanceof Error ? error.message : error}`);
  }
}

function run([program = "", ...words]: readonly string[]): void {
  const { status, error, stderr } = spawnSync(program, words, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) throw new Error(`${[program, ...words].join(" ")} failed: ${stderr || error?.message}`);
}
