// What is released: here, for this machine. Other targets take a network that this one may not have.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { targetNamed } from "../../build/targets.ts";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { copyCheckout } from "./checkout_copy.ts";

const TIMEOUT_MS = 120_000;
const { name } = targetNamed();

const release = (folder: string, ...words: string[]): Promise<Run> => {
  const { PATH = "", HOME = "", DENO_FOR_COMPILE = "", DENORT_BIN = "" } = process.env;
  const compiler = { ...(DENO_FOR_COMPILE && { DENO_FOR_COMPILE }), ...(DENORT_BIN && { DENORT_BIN }) };
  return runProgram(["npm", "run", "--prefix", folder, "release", "--", ...words], { PATH, HOME, ...compiler });
};

test("npm run release makes an archive, npm's package and checksums that hold", async () => {
  using copy = copyCheckout();
  const { version } = JSON.parse(readFileSync(join(copy.path, "deno.json"), "utf8"));
  const { code, stdout, stderr } = await release(copy.path, "--allow-dirty", "--target", name);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain(`ok     the executable for ${name}\n`);
  const folder = join(copy.path, "dist/release"), archive = `latchkey-${version}-${name}`;
  expect(readdirSync(folder).sort()).toEqual(["SHA256SUMS", `${archive}.tar.gz`, `latchkey-latchkey-${version}.tgz`]);
  const check = 'cd "$0" && sha256sum --check --strict SHA256SUMS && tar xzf "$1.tar.gz" && "$1/latchkey" --version';
  expect(await runProgram(["sh", "-c", check, folder, archive], { PATH: process.env.PATH! })).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`OK\n.*OK\nlatchkey ${version.replaceAll(".", "\\.")}\n$`)),
  });
  expect(readdirSync(join(folder, archive)).sort()).toEqual(["LICENSE", "README.md", "latchkey"]);
}, TIMEOUT_MS);

test("npm run release --publish publishes nothing from here, and says all that is missing", async () => {
  using copy = copyCheckout(); // no repository, and so no commit
  const { code, stderr } = await release(copy.path, "--publish");
  expect(code).toBe(1);
  for (
    const missing of [
      /differ from what is committed/,
      /does not have the tag v/,
      /has no repository/,
      /job of the forge/,
    ]
  ) {
    expect(stderr).toMatch(missing);
  }
  expect(readdirSync(copy.path)).not.toContain("dist");
}, TIMEOUT_MS);
