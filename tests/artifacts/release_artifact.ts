// What is released for this machine, for Linux on arm64 and for Windows. macOS takes a network that this machine may not have.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { Bill } from "../../build/sbom.ts";
import { starterOf } from "../../build/starters.ts";
import { targetNamed } from "../../build/targets.ts";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { copyCheckout } from "./artifacts.ts";

const TIMEOUT_MS = 240_000;
const { name } = targetNamed();
/** Each target, and the file of a release that has its executable. */
const ARCHIVES = new Map([[name, `${name}.tar.gz`], ["linux-arm64", "linux-arm64.tar.gz"], [
  "windows-x64",
  "windows-x64.exe",
]]);

const release = (folder: string, ...words: string[]): Promise<Run> => {
  const given = Object.entries(process.env).filter(([name]) =>
    /^(PATH|HOME|DENO_FOR_COMPILE|DENORT_BIN(_\w+)?)$/.test(name)
  );
  const env = Object.fromEntries(given) as Record<string, string>;
  return runProgram(["npm", "run", "--prefix", folder, "release", "--", ...words], env);
};

test("npm run release makes executables that start, npm's package and checksums that hold", async () => {
  using copy = copyCheckout();
  const { version } = JSON.parse(readFileSync(join(copy.path, "deno.json"), "utf8"));
  const { code, stdout, stderr } = await release(
    copy.path,
    ...["--allow-dirty", ...[...ARCHIVES.keys()].flatMap((target) => ["--target", target])],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  for (const target of ARCHIVES.keys()) {
    const starter = starterOf(targetNamed(target));
    const said = starter ? `, started${starter.by}` : " (not started: this machine cannot run it)";
    expect(stdout).toContain(`ok     the executable for ${target}${said}\n`);
  }
  const folder = join(copy.path, "dist/release"), archive = `latchkey-${version}-${name}`;
  const executables = [...ARCHIVES.values()].map((file) => `latchkey-${version}-${file}`);
  const lists = [
    ...[...ARCHIVES.keys()].map((target) => `latchkey-${version}-${target}`),
    `latchkey-latchkey-${version}`,
  ]
    .map((artifact) => `${artifact}.cdx.json`);
  expect(readdirSync(folder).sort()).toEqual(
    ["SHA256SUMS", ...executables, `latchkey-latchkey-${version}.tgz`, ...lists].sort(),
  );
  for (const list of lists) {
    const { metadata, components }: Bill = JSON.parse(readFileSync(join(folder, list), "utf8"));
    const isExecutable = metadata.component.type === "application";
    expect(components.filter(({ type }) => type === "platform").map(({ name }) => name))
      .toEqual(isExecutable ? ["deno"] : []);
    // Users of the package install the former; an executable contains it.
    expect(components.map(({ name }) => name).filter((name) => ["oauth4webapi", "yaml"].includes(name)))
      .toEqual(isExecutable ? ["oauth4webapi", "yaml"] : ["yaml"]);
  }
  const check = 'cd "$0" && sha256sum --check --strict SHA256SUMS && tar xzf "$1.tar.gz" && "$1/latchkey" --version';
  expect(await runProgram(["sh", "-c", check, folder, archive], { PATH: process.env.PATH! })).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`OK\n.*OK\nlatchkey ${version.replaceAll(".", "\\.")}\n$`)),
  });
  expect(readdirSync(join(folder, archive)).sort()).toEqual(["LICENSE", "README.md", "latchkey"]);
}, TIMEOUT_MS);

test(
  "npm run release --publishable builds nothing that may not be published, and says all that is missing",
  async () => {
    using copy = copyCheckout(); // no repository, and so no commit
    const { code, stderr } = await release(copy.path, "--publishable");
    expect(code).toBe(1);
    for (
      const missing of [
        /differ from what is committed/,
        /does not have the tag v/,
        /has no repository/,
        /has no checksum of v.*\/denort-x86_64-apple-darwin\.zip/,
      ]
    ) {
      expect(stderr).toMatch(missing);
    }
    expect(readdirSync(copy.path)).not.toContain("dist");
  },
  TIMEOUT_MS,
);
