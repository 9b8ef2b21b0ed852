import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../build/bundle.ts";
import { CHECKSUMS, denoRuntime, readChecksums, requireSameRuntime } from "../../build/deno_runtime.ts";
import { targetNamed, TARGETS } from "../../build/targets.ts";
import { findTool } from "../tools/find_tool.js";

const download = "v2.9.6/denort-x86_64-unknown-linux-gnu.zip";
let folder: string, path: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-runtime-"));
  path = join(folder, "denort.zip");
  writeFileSync(path, "a runtime");
});
afterAll(() => rmSync(folder, { recursive: true }));

const sum = createHash("sha256").update("a runtime").digest("hex"), other = "0".repeat(64);
const downloaded = { download, version: "2.9.6", variable: undefined };

// Deno checks nothing of what it downloads into each executable of a release.
describe("requireSameRuntime", () => {
  test("fails for a download that is another one than its checksum says", () => {
    const check = (checksum: string) =>
      requireSameRuntime({ ...downloaded, path }, readChecksums(`# a comment\n${checksum}  ${download}\n`));
    expect(() => check(other)).toThrow(`${path} has the SHA-256 ${sum}, and ${CHECKSUMS} has ${other}`);
    expect(() => check(sum)).not.toThrow();
  });

  test("passes what is not there yet, what has no checksum, and what the user named", () => {
    const checksums = readChecksums(`${other}  ${download}\n`);
    expect(() => requireSameRuntime({ ...downloaded, path: join(folder, "none") }, checksums)).not.toThrow();
    expect(() => requireSameRuntime({ ...downloaded, path }, new Map())).not.toThrow();
    expect(() => requireSameRuntime({ ...downloaded, path, variable: "DENORT_BIN" }, checksums)).not.toThrow();
  });
});

test("readChecksums() fails for a line that is no checksum", () => {
  expect(() => readChecksums(`${sum.slice(1)}  ${download}\n`)).toThrow("a line that is no checksum");
});

test("every checksum is for a target of the Deno in package-lock.json", () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  const downloads = TARGETS.map(({ deno }) => `v${packages["node_modules/deno"].version}/denort-${deno}.zip`);
  expect([...readChecksums().keys()].filter((name) => !downloads.includes(name))).toEqual([]);
});

test("denoRuntime() names the file that Deno downloads, in Deno's version, unless a variable names another", () => {
  const target = targetNamed("macos-arm64"), deno = findTool("deno");
  const { path, download, variable, version } = denoRuntime(deno, target);
  expect(download).toBe(`v${version}/denort-aarch64-apple-darwin.zip`);
  expect({ isInCache: path.endsWith(`/dl/release/${download}`), variable }).toEqual({
    isInCache: true,
    variable: undefined,
  });
  process.env["DENORT_BIN_MACOS_ARM64"] = "/opt/denort";
  try {
    expect(denoRuntime(deno, target)).toMatchObject({ path: "/opt/denort", variable: "DENORT_BIN_MACOS_ARM64" });
  } finally {
    delete process.env["DENORT_BIN_MACOS_ARM64"];
  }
});
