import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bundle, bundleCommandLine, ROOT } from "../../build/bundle.ts";
import { externalPackages } from "../../build/npm_package.ts";
import { openStage } from "../fixture.ts";
import { denoCommand } from "../tools/deno_command.ts";

test("bundleCommandLine has all that a silent token evaluates in one file beside the entry", async () => {
  await using stage = await openStage({ broker: {} });
  const { folder } = stage;
  await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
  const command = denoCommand(join(folder, "bin/latchkey.js")), coverage = join(folder, "coverage");
  command.splice(command.indexOf("run") + 1, 0, `--coverage=${coverage}`);
  const words = ["token", "--client-id", "azure-cli", "--resource", "https://graph.microsoft.com"];
  const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: stage.bus.address, HOME: folder };
  execFileSync(command[0]!, [...command.slice(1), ...words, "--broker", "require"], { env });
  const loaded = await Promise.all(
    (await readdir(coverage)).map(async (file) => JSON.parse(await readFile(join(coverage, file), "utf8")).url),
  );
  const home = pathToFileURL(`${folder}/`).href;
  const ours = loaded.filter((url) => url.startsWith(home))
    .map((url) => url.slice(home.length).replace(/-[\w-]{8}\.js$/, ""));
  expect(ours.sort()).toEqual(["bin/latchkey.js", "chunks/hot"]);
}, 60_000);

test("bundleCommandLine writes files that Bun does not transpile, and a hot one that engines keep in a byte a character", async () => {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bundle-"));
  try {
    await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
    const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".js"));
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
    expect(names).toContain("bin/latchkey.js");
    expect(names.filter((_, index) => !texts[index]!.startsWith("// @bun\n"))).toEqual([]);
    // One character beyond ASCII makes it two bytes. The minifier turns escapes into such characters, not String.fromCodePoint().
    const hot = texts[names.findIndex((name) => name.startsWith("chunks/hot-"))]!;
    expect(hot.match(/[^\0-\x7f]/gu)).toBeNull();
    expect(names.filter((name) => name.includes("socket-")), "Bun's transport, which is in the hot file").toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("bundle() writes files of the library that people can read, and of which users' bundles take what they need", async () => {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bundle-"));
  try {
    const external = externalPackages(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")));
    await bundle(["./mod.ts", "./lib/redis.ts"], {
      folder,
      facts: { kind: "bundle", target: null, commit: null },
      external,
    });
    const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".js"));
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
    const has = (words: string) => texts.some((text) => text.includes(words));
    expect([has("LatchkeyError = class extends Error {"), has(ROOT), has("// @bun")]).toEqual([true, false, false]);

    const program = join(folder, "program.js");
    await writeFile(program, 'import { LatchkeyError } from "./mod.js";\nconsole.log(LatchkeyError.name);\n');
    const { outputs } = await Bun.build({
      entrypoints: [program],
      minify: true,
      external: [...external],
      target: "browser",
    });
    expect(outputs).toHaveLength(1);
    // The class, and the words of its hints.
    expect(outputs[0]!.size).toBeLessThan(5_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});
