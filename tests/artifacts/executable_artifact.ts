// The executables as files: what is in them, and what they take from where they are started.
import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { addCodeCache, MAKER } from "../../build/code_cache.ts";
import { denoForCompile, V8_FLAGS } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { LIBDBUS } from "../tools/deno_command.ts";
import { withEmptyFile } from "../tools/worn_disk.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { artifacts } from "./artifacts.ts";

/** A compiler copies a hundred megabytes. */
const TIMEOUT_MS = 60_000;
const OWN_BYTES = 5 * 2 ** 20;
const TOKEN = `token --client-id ${CLIENT_ID} --scope User.Read`.split(" ");
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;

const { byDeno, byBun, commit } = artifacts(), target = targetNamed();
const EXECUTABLES = [["Deno", byDeno, target.deno], ["Bun", byBun, target.bun]] as const;
const { version } = JSON.parse(readFileSync(new URL("../../deno.json", import.meta.url), "utf8"));

const stage = useStage({ broker: {} });
const onBus = () => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address });

const inFolder = (cwd: string, command: readonly string[]) => ["env", `--chdir=${cwd}`, ...command];
const OWN_ENVIRONMENT = process.env as Readonly<Record<string, string>>;
const build = (script: string, ...words: string[]) =>
  runProgram(["npm", "run", script, "--", ...words], OWN_ENVIRONMENT);

describe.each(EXECUTABLES)("the executable by %s", (runtime, latchkey, compilerTarget) => {
  test("--version --format json tells what it is", async () => {
    const { code, stdout, stderr } = await runProgram([latchkey, "--version", "--format", "json"], {});
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      version,
      runtime: { name: runtime, version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
      build: { kind: "executable", target: compilerTarget, commit },
      parser: "stand-in for @std/cli",
    });
    expect((await runProgram([latchkey, "--version"], {})).stdout).toBe(`latchkey ${version}\n`);
  });

  test("reads nothing of the folder that it is started in", async () => {
    const cwd = join(stage.folder, `hostile-${runtime}`), seen = join(cwd, "seen");
    mkdirSync(cwd);
    writeFileSync(join(cwd, "evil.js"), `require("node:fs").writeFileSync(${JSON.stringify(seen)}, "");`);
    writeFileSync(join(cwd, ".env"), "LATCHKEY_CLIENT_ID=azure-cli\nLATCHKEY_SCOPE=User.Read\n");
    writeFileSync(join(cwd, "bunfig.toml"), 'preload = ["./evil.js"]\n');
    writeFileSync(join(cwd, "deno.json"), '{ "imports": { "node:fs": "./evil.js" } }');
    writeFileSync(join(cwd, "package.json"), '{ "type": "commonjs", "imports": {} }');
    writeFileSync(join(cwd, "tsconfig.json"), '{ "compilerOptions": { "paths": { "*": ["./evil.js"] } } }');
    const { code, stderr } = await runProgram(inFolder(cwd, [latchkey, "token"]), {
      ...onBus(),
    });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("--client-id is missing") });
    expect(readdirSync(cwd)).not.toContain("seen");
  });

  test("trusts an authority that only the system's store has", async () => {
    const authority = makeCertificateAuthority(), paths: (string | undefined)[] = [];
    const server = https.createServer(authority.issue(["localhost"]), ({ url }, response) => {
      paths.push(url);
      response.writeHead(404).end();
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const file = join(stage.folder, `store-${runtime}.pem`), { port } = server.address() as AddressInfo;
      writeFileSync(file, authority.cert);
      const login = [
        latchkey,
        ...`login --device-code --client-id app --authority https://localhost:${port}`.split(" "),
      ];
      expect(await runProgram(login, {})).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("not signed by a trusted authority"),
      });
      expect(paths).toEqual([]);
      const { stderr } = await runProgram(login, { SSL_CERT_FILE: file });
      expect({ paths, stderr }).toEqual({
        paths: expect.arrayContaining([expect.stringContaining("openid-configuration")]),
        stderr: expect.not.stringContaining("trusted authority"),
      });
    } finally {
      server.close();
    }
  });

  test("leaves no compiled code where others could put theirs", async () => {
    const TMPDIR = join(stage.folder, `tmp-${runtime}`);
    mkdirSync(TMPDIR);
    const env = { TMPDIR, ...onBus() };
    for (let run = 0; run < 2; run++) expect(await runProgram([latchkey, ...TOKEN], env)).toMatchObject({ code: 0 });
    expect(readdirSync(TMPDIR)).toEqual([]);
  });

  // It looked above itself as well: an executable that was unpacked in /tmp ran what anybody had put there.
  test("looks for MSALRuntime beside itself, neither above nor where it is started", async () => {
    const own = join(stage.folder, `place-${runtime}`), cwd = join(stage.folder, `start-${runtime}`);
    const packageBelow = "node_modules/@azure/msal-node-runtime/dist/linux/ubuntu/x64";
    for (const place of [own, cwd, join(own, "bin")]) mkdirSync(join(place, packageBelow), { recursive: true });
    await Bun.write(join(own, "bin/latchkey"), Bun.file(latchkey));
    expect((await runProgram(["chmod", "+x", join(own, "bin/latchkey")], {})).code).toBe(0);
    const run = () =>
      runProgram(inFolder(cwd, [join(own, "bin/latchkey"), ...TOKEN]), {
        LATCHKEY_BROKER_KIND: "msalruntime",
        ...onBus(),
      });
    for (const place of [cwd, own]) {
      writeFileSync(join(place, packageBelow, "msal-node-runtime.node"), "no library");
    }
    expect(await run()).toMatchObject({ code: 1, stderr: expect.stringContaining("is not installed") });
    const addon = join(own, "bin", packageBelow, "msal-node-runtime.node");
    writeFileSync(addon, "no library");
    expect(await run()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${realpathSync(addon)} cannot be opened`),
    });
  }, TIMEOUT_MS);
});

describe("the executable by Deno", () => {
  test("has at most 5 MiB of our own, and no node_modules", () => {
    const empty = join(stage.folder, "empty");
    writeFileSync(`${empty}.js`, "");
    const words = ["compile", "--quiet", "--no-config", "--output", empty, `${empty}.js`];
    expect(
      Bun.spawnSync([denoForCompile(), ...words], { cwd: stage.folder, stdio: ["ignore", "ignore", "inherit"] })
        .exitCode,
    )
      .toBe(0);
    const own = statSync(byDeno).size - statSync(empty).size;
    expect(own).toBeGreaterThan(100_000);
    expect(own).toBeLessThan(OWN_BYTES);
    expect(readFileSync(byDeno).subarray(-own).toString("latin1")).not.toMatch(/"n":"node_modules"|latchkey-build-/);
  }, TIMEOUT_MS);

  test("is the same, to the byte, when it is built again", async () => {
    const again = join(stage.folder, "again/latchkey");
    expect(await build("compile", "--output", again)).toMatchObject({ code: 0 });
    expect(Bun.hash(readFileSync(again))).toBe(Bun.hash(readFileSync(byDeno)));
  }, TIMEOUT_MS);

  test("has a code cache that its V8 accepts", async () => {
    const folder = join(stage.folder, "code_cache"), probe = join(folder, "probe");
    mkdirSync(join(folder, "chunks"), { recursive: true });
    writeFileSync(join(folder, "chunks/hot-x.js"), "const one = 1; export { one };");
    const deno = (...words: string[]) => {
      const { exitCode, stderr } = Bun.spawnSync([denoForCompile(), ...words], { cwd: folder, stderr: "pipe" });
      if (exitCode !== 0) throw new Error(String(stderr));
    };
    const included = addCodeCache(
      folder,
      V8_FLAGS,
      (program, words, flags) => deno("run", "--no-config", "--allow-all", `--v8-flags=${flags}`, program, ...words),
    );
    const options = ["--quiet", "--no-config", "--no-code-cache", `--v8-flags=${V8_FLAGS}`, "--allow-read"];
    deno("compile", ...options, "--output", probe, MAKER);
    expect(await runProgram([probe, "check", ...included], {})).toEqual({ code: 0, stdout: "", stderr: "" });
  }, TIMEOUT_MS);

  test("takes its code from itself, and not from where Deno says that it is", async () => {
    const TMPDIR = join(stage.folder, "hostile-tmp"),
      chunks = join(TMPDIR, `deno-compile-${basename(byDeno)}`, "chunks");
    mkdirSync(chunks, { recursive: true });
    for (const file of ["hot.script", "hot.cache"]) writeFileSync(join(chunks, file), "throw new Error('hostile')");
    expect(await runProgram([byDeno, ...TOKEN], { TMPDIR, ...onBus() })).toEqual({
      code: 0,
      stdout: expect.stringMatching(JWT),
      stderr: "",
    });
  });

  // Where this user may hide no file from a program, the executable by Bun alone shows that dbus-next is in it.
  if (withEmptyFile) {
    test("reaches the broker by dbus-next where there is no libdbus", async () => {
      const env = onBus(),
        hide = withEmptyFile!.bind(undefined, realpathSync(LIBDBUS));
      expect(await runProgram(hide([byDeno, ...TOKEN]), env)).toEqual({
        code: 0,
        stdout: expect.stringMatching(JWT),
        stderr: "",
      });
      const { stdout } = await runProgram(hide([byDeno, "doctor", "--format", "json"]), env);
      const { checks } = JSON.parse(stdout) as { checks: readonly { id: string; detail: string }[] };
      expect(checks.find(({ id }) => id === "dbus_client")!.detail).toMatch(/^dbus-next/);
    });
  }

  test("is replaced only by one that starts", async () => {
    const output = join(stage.folder, "kept"),
      env = { ...OWN_ENVIRONMENT, DENORT_BIN: realpathSync("/usr/bin/false") };
    writeFileSync(output, "from before");
    const { code, stderr } = await runProgram(["npm", "run", "compile", "--", "--output", output], env);
    expect({ code, says: stderr.includes("does not start") }).toEqual({ code: 1, says: true });
    expect(readFileSync(output, "utf8")).toBe("from before");
    expect(readdirSync(stage.folder).filter((file) => file.startsWith("new-"))).toEqual([]);
  }, TIMEOUT_MS);

  test("says what to do where its target cannot be compiled", async () => {
    const empty = {
      DENORT_BIN: "/nowhere/denort",
      DENO_FOR_COMPILE: process.env["DENO_FOR_COMPILE"] ?? "",
      PATH: process.env.PATH!,
    };
    const { code, stderr } = await runProgram(
      ["npm", "run", "compile", "--", "--output", join(stage.folder, "none")],
      empty,
    );
    expect({ code, says: stderr.includes("or its path in DENORT_BIN") }).toEqual({ code: 1, says: true });
    const unknown = await build("compile", "--target", "solaris-x64");
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("There is no target solaris-x64: linux-x64,"),
    });
  }, TIMEOUT_MS);
});
