import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommandLine } from "../../build/bundle.ts";
import { billOfMaterials, printBill } from "../../build/sbom.ts";

const ARTIFACT = { type: "application", name: "latchkey-0.1.0-linux-x64", version: "0.1.0" } as const;

let folder: string, packages: readonly string[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-sbom-"));
  packages = await bundleCommandLine({ folder, facts: { kind: "executable", target: null, commit: null } });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("billOfMaterials", () => {
  test("lists the packages whose licenses the files state, in the same versions, and no other", () => {
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".js"));
    const texts = files.map((name) => readFileSync(join(folder, name), "utf8"));
    const stated = texts.flatMap((text) => [...text.matchAll(/^\/\*! (\S+) (\S+) \(([\w.-]+)\)/gm)])
      .map(([, name, version, license]) => ({ name, version, license }));
    const { components } = billOfMaterials(ARTIFACT, packages);
    const listed = components.map(({ group, name, version, licenses }) => ({
      name: group ? `${group}/${name}` : name,
      version,
      license: licenses?.[0]?.license.id,
    }));
    expect(stated.length).toBeGreaterThan(10);
    const byName = (one: { name?: string | undefined }, other: { name?: string | undefined }) =>
      one.name! < other.name! ? -1 : 1;
    expect(listed.toSorted(byName)).toEqual(stated.toSorted(byName) as typeof listed);
  });

  test("names what depends on what by references that are there, each once", () => {
    const runtime = { name: "deno", version: "2.9.6", sha256: "ab".repeat(32) } as const;
    const { metadata, components, dependencies } = billOfMaterials(ARTIFACT, packages, runtime);
    const references = components.map((component) => component["bom-ref"]);
    expect(new Set(references).size).toBe(references.length);
    expect(dependencies).toEqual([{ ref: metadata.component["bom-ref"], dependsOn: references }]);
    expect(components.filter(({ type }) => type === "platform")).toEqual([expect.objectContaining({
      name: "deno",
      version: "2.9.6",
      hashes: [{ alg: "SHA-256", content: "ab".repeat(32) }],
    })]);
  });

  test("is the same text each time, whatever the order of the packages", () => {
    const texts = [packages, packages.toReversed()].map((some) => printBill(billOfMaterials(ARTIFACT, some)));
    expect(texts[0]).toBe(texts[1]!);
  });

  test("fails for a package that package-lock.json does not have", () => {
    expect(() => billOfMaterials(ARTIFACT, ["bin/std_cli"])).toThrow("package-lock.json does not have @std/cli");
  });
});
