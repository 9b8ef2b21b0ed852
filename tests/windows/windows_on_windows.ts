// The command line as people run it on Windows: from the sources on Node, and as executables.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { findTool, MSAL_NODE_EXTENSIONS } from "../tools/find_tool.js";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";
import { EXECUTABLES, whenWine, WINE_VARIABLE } from "./tested_executables.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const NODE = findTool("node"), ENTRA_APP = "--client-id 11111111-2222-4333-8444-555555555555".split(" ");
const SOURCES = [NODE, "--conditions=latchkey-source", join(root, "bin/latchkey.ts")];
const JWT_OR_OPAQUE = /^[\w.-]{20,}\r?\n$/;

let folder: string, provider: OidcProvider, count = 0;
beforeAll(async () => {
  // As user names and their folders are.
  folder = join(mkdtempSync(join(tmpdir(), "latchkey-")), "Jürgen Groß");
  mkdirSync(folder);
  provider = await startOidcProvider();
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  rmSync(join(folder, ".."), { recursive: true, maxRetries: 5 });
});

interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Arguments are quoted already. @default false */
  readonly isVerbatim?: boolean;
  /** A file for its standard output. @default a pipe */
  readonly stdout?: number;
}

/** Runs a program with a profile folder of the tests' own. */
async function run(
  command: readonly string[],
  { env = {}, cwd = folder, isVerbatim = false, stdout: file }: RunOptions = {},
) {
  const { SystemRoot = "C:\\Windows", PATH = "", TEMP = tmpdir(), PATHEXT = ".COM;.EXE;.BAT;.CMD" } = process.env;
  const ComSpec = `${SystemRoot}\\System32\\cmd.exe`;
  const home = { USERPROFILE: folder, APPDATA: join(folder, "Roaming"), LOCALAPPDATA: join(folder, "Local") };
  const child = spawn(command[0]!, command.slice(1), {
    cwd,
    windowsVerbatimArguments: isVerbatim,
    env: { SystemRoot, ComSpec, PATH, PATHEXT, TEMP, NO_COLOR: "1", ...home, ...env },
    stdio: ["ignore", file ?? "pipe", "pipe"],
  });
  const code = new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  const [stdout, stderr] = await Promise.all([child.stdout ? text(child.stdout) : "", text(child.stderr!)]);
  return { code: await code, stdout, stderr };
}

/** A batch file that signs jane in, for `BROWSER`. */
function browser(): { readonly BROWSER: string } {
  const path = join(folder, `my browser ${++count}.cmd`), script = join(root, "tests/tools/play_browser.ts");
  // cmd.exe reads a batch file in the console's code page, so the folder is told by %~dp0.
  writeFileSync(path, `@"${NODE}" "${script}" "%~dp0page-${count}" %1\r\n`);
  return { BROWSER: `"${path}"` };
}

/** Returns the commands that add a certificate to this user's trusted ones, and remove it: its hash and itself as properties. */
function storeEntry(pem: string): { readonly add: readonly string[]; readonly remove: readonly string[] } {
  const { raw } = new X509Certificate(pem), hash = createHash("sha1").update(raw).digest();
  const property = (id: number, value: Uint8Array) => [Buffer.from(Uint32Array.of(id, 1, value.length).buffer), value];
  const blob = Buffer.concat([...property(3, hash), ...property(32, raw)]).toString("hex");
  const key = `HKCU\\Software\\Microsoft\\SystemCertificates\\Root\\Certificates\\${
    hash.toString("hex").toUpperCase()
  }`;
  return {
    add: ["reg", "add", key, "/v", "Blob", "/t", "REG_BINARY", "/d", blob, "/f"],
    remove: ["reg", "delete", key, "/f"],
  };
}

const appWords = () => ["--client-id", provider.clientId, "--authority", provider.url];

for (const [name, latchkey] of [["Node", SOURCES] as const, ...EXECUTABLES]) {
  describe(`latchkey on ${name}`, () => testOn(name, latchkey));
}

function testOn(name: string, latchkey: readonly string[]): void {
  let cache: string;

  beforeAll(() => {
    cache = join(folder, name, "a cache", "tökens.json");
  });

  // Bun's executable printed nothing, and exited with 0.
  test("tells its version", async () => {
    const { code, stdout, stderr } = await run([...latchkey, "--version", "--format", "json"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ version: expect.stringMatching(/^\d+\./) });
  });

  test("signs in through a batch file, and keeps the sign-in in a path with spaces and umlauts", async () => {
    const words = [...appWords(), "--scope", "api.read", "--cache-file", cache];
    const login = await run([...latchkey, "login", ...words], { env: browser() });
    expect(login).toMatchObject({ code: 0, stdout: "jane@contoso.com\tjane\tJane Doe\t\n" });
    const token = await run([...latchkey, "token", "--interactive", "never", ...words]);
    expect(token).toEqual({ code: 0, stdout: expect.stringMatching(JWT_OR_OPAQUE), stderr: "" });
  });

  // Without BROWSER the address goes to rundll32, and from there to what the registry has for http:.
  whenWine("signs in through rundll32", async () => {
    const path = join(folder, `page-${++count}`), script = join(root, "tests/tools/play_browser.ts");
    const key = "HKLM\\Software\\Classes\\http\\shell\\open\\command", reg = "C:\\windows\\system32\\reg.exe";
    const setBrowser = (command: string) => run([reg, "add", key, "/ve", "/f", "/d", command]);
    expect(await setBrowser(`"${NODE}" "${script}" "${path}" "%1"`)).toMatchObject({ code: 0 });
    try {
      const login = await run([...latchkey, "login", ...appWords(), "--scope", "api.read", "--store", "memory"]);
      expect(login).toMatchObject({ code: 0, stdout: "jane@contoso.com\tjane\tJane Doe\t\n" });
    } finally {
      await setBrowser('"C:\\windows\\system32\\winebrowser.exe" "%1"');
    }
  });

  test("reads a CONFIG.json as Windows' programs write it", async () => {
    const config = { client_id: provider.clientId, authority: provider.url, username: "jane@contoso.com" };
    const written = JSON.stringify({ ...config, scope: ["api.read"] }, undefined, 2).replaceAll("\n", "\r\n");
    const path = join(folder, "Parameter für Jürgen.json");
    // The latter is what `>` does in Windows PowerShell.
    for (const encoding of ["utf8", "utf16le"] as const) {
      writeFileSync(path, `\uFEFF${written}\r\n`, encoding);
      const got = await run([...latchkey, path, "--cache-file", cache, "--interactive", "never"]);
      expect(got).toEqual({ code: 0, stdout: expect.stringMatching(JWT_OR_OPAQUE), stderr: "" });
    }
  });

  // On Deno it ended in EISDIR.
  test("gives a cookie to a pipe, and not to a file", async () => {
    const cookie = [...latchkey, "cookie", "--broker", "never"], file = openSync(join(folder, "cookie"), "w");
    expect(await run(cookie)).toMatchObject({ code: 5, stderr: expect.stringContaining("broker_unavailable") });
    const { code, stderr } = await run(cookie, { stdout: file });
    closeSync(file);
    expect({ code, says: stderr.includes("pipe it to the program") }).toEqual({ code: 2, says: true });
  });

  const serving = (resource: string): readonly string[] => [
    ...["serve", ...ENTRA_APP, "--broker", "never", "--cache-file", cache, "--resource", resource],
  ];

  // cmd.exe said so, and the code was 1.
  test("exits with 127 if a batch file is missing", async () => {
    const words = serving("https://vault.azure.net");
    for (const program of ["no such program.cmd", join(folder, "nowhere.bat")]) {
      const { code, stdout, stderr } = await run([...latchkey, ...words, "--", program]);
      expect({ code, stdout }).toEqual({ code: 127, stdout: "" });
      expect(stderr).toContain(`Cannot run ${program}: there is no such program`);
    }
  });

  // Windows looks there before PATH, and cmd.exe does: a clone's terraform.exe got the secret of the endpoint.
  test("runs no command of the current folder", async () => {
    const clone = join(folder, `clone ${name}`);
    mkdirSync(clone);
    copyFileSync(NODE, join(clone, "terraform.exe"));
    writeFileSync(join(clone, "terraform.cmd"), "@echo %IDENTITY_HEADER%\r\n");
    for (const program of ["terraform", "terraform.exe", "terraform.cmd"]) {
      const words = serving("https://vault.azure.net");
      const { code, stdout } = await run([...latchkey, ...words, "--", program, "--version"], { cwd: clone });
      expect({ program, code, stdout }).toEqual({ program, code: 127, stdout: "" });
    }
  });

  test("prints paths with one kind of separator", async () => {
    const { stdout, stderr } = await run([...latchkey, "doctor", ...ENTRA_APP]);
    expect(stdout + stderr).toContain(`${folder}\\Local\\latchkey\\`);
    expect((stdout + stderr).match(/[A-Z]:\\[^"\n]*\/\S*/g)).toBeNull();
  });

  test("serves tokens to a batch file, and exits as it does", async () => {
    const child = join(folder, "my program.cmd");
    writeFileSync(child, "@echo %1 %IDENTITY_ENDPOINT%\r\n@exit /b 7\r\n");
    const words = serving("https://graph.microsoft.com");
    const { code, stdout, stderr } = await run([...latchkey, ...words, "--", child, "a&b"]);
    expect({ code, stdout, stderr }).toEqual({
      code: 7,
      stdout: expect.stringMatching(/^"a&b" http:\/\/(localhost|127\.0\.0\.1):\d+\/\S+\s+$/),
      stderr: expect.anything(),
    });
  });

  // cmd.exe reads a batch file in the console's code page, so letters of the path came out as others.
  test("is called as az by Azure's libraries, from a folder below %LOCALAPPDATA%", async () => {
    const parts = ["Local", "R&D (100%) ^x !y"];
    const place = join(folder, ...parts, `az ${name}`), command = [...latchkey];
    mkdirSync(place, { recursive: true });
    if (latchkey.length === 1) copyFileSync(latchkey[0]!, command[0] = join(place, "..", `${name}.exe`));
    const shim = await run([...command, "az-shim", "--install", place, ...ENTRA_APP]);
    expect(shim).toMatchObject({ code: 0, stderr: expect.stringContaining("az.cmd") });
    const [forCmd, forPowerShell] = shim.stdout.split("\n");
    expect(forPowerShell).toBe(`$env:PATH = '${place};' + $env:PATH`);
    expect(forCmd).toMatch(/^rem /); // an exclamation mark has no quotation in cmd.exe
    const { SystemRoot = "C:\\Windows" } = process.env;
    const options = { env: { PATH: `${place};${SystemRoot}\\System32`, LATCHKEY_CACHE_FILE: cache } };
    // Without a shell's quotation marks, with them, and by @azure/identity.
    const version = { code: 0, stdout: expect.stringContaining('"azure-cli"'), stderr: "" };
    const cmd = `${SystemRoot}\\System32\\cmd.exe`;
    expect(await run([cmd, "/c", "az", "version", "-o", "json"], options)).toEqual(version);
    expect(await run([cmd, "/v:on", "/c", '"az"', "version"], { ...options, isVerbatim: true })).toEqual(version);
    const script = join(root, "tests/windows/azure_cli_credential.mjs");
    expect(await run([NODE, script], options)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("Please run 'az login' from a command prompt to authenticate"),
    });
  });

  // It ended in missing_dependency, although nobody had asked for the broker.
  test("goes on without MSALRuntime unless a broker is required", async () => {
    const words = ["token", ...ENTRA_APP, "--scope", "User.Read", "--interactive", "never"];
    const without = { cwd: folder, env: { LATCHKEY_MSALRUNTIME: join(folder, "nowhere") } };
    expect(await run([...latchkey, ...words], without)).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/There was no broker to ask: Cannot use LATCHKEY_MSALRUNTIME/),
    });
    expect((await run([...latchkey, ...words, "--broker", "require"], without)).code).toBe(1);
  });

  whenWine("tells that MSALRuntime finds no account manager, and goes on without", async () => {
    const words = ["token", ...ENTRA_APP, "--scope", "User.Read", "--interactive", "never"];
    const LATCHKEY_MSALRUNTIME = join(MSAL_NODE_EXTENSIONS, "../msal-node-runtime");
    const env = { LATCHKEY_MSALRUNTIME };
    expect(await run([...latchkey, ...words], { env })).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/There was no broker to ask: Windows has no account manager \(0x80040154\)/),
    });
    expect(await run([...latchkey, ...words, "--broker", "require"], { env })).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("broker_unavailable"),
    });
  });

  // The executable by Deno had Mozilla's certificates only. The store is this user's part of Wine's registry.
  whenWine("trusts an authority that only Windows' store has", async () => {
    const authority = makeCertificateAuthority(`Authority for ${name}`), paths: (string | undefined)[] = [];
    const server = https.createServer(authority.issue(["127.0.0.1"]), ({ url }, response) => {
      paths.push(url);
      response.writeHead(404).end();
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo, store = storeEntry(authority.cert);
    const words = ["login", "--device-code", "--client-id", "app", "--authority", `https://127.0.0.1:${port}`];
    try {
      expect(await run([...latchkey, ...words])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("not signed by a trusted authority"),
      });
      expect(paths).toEqual([]);
      expect(await run(store.add)).toMatchObject({ code: 0 });
      const { stderr } = await run([...latchkey, ...words]);
      expect({ paths, stderr }).toEqual({
        paths: expect.arrayContaining([expect.stringContaining("openid-configuration")]),
        stderr: expect.not.stringContaining("trusted authority"),
      });
    } finally {
      server.close();
      expect(await run(store.remove)).toMatchObject({ code: 0 });
    }
  });

  test("keeps its key where only Windows can read it, and warns where it cannot", async () => {
    const home = { LOCALAPPDATA: join(folder, `Local ${name}`) }, words = [...appWords(), "--scope", "api.read"];
    const login = await run([...latchkey, "login", ...words], { env: { ...browser(), ...home } });
    const [keyFile = ""] = readdirSync(home.LOCALAPPDATA, { recursive: true, encoding: "utf8" })
      .filter((file) => basename(file) === "key.json");
    const { place } = JSON.parse(readFileSync(join(home.LOCALAPPDATA, keyFile), "utf8"));
    // Wine has no PowerShell, and Node nothing else.
    const isProtected = name !== "Node" || !process.env[WINE_VARIABLE];
    expect({ code: login.code, place, warns: login.stderr.includes("Windows (DPAPI) failed: PowerShell") }).toEqual({
      code: 0,
      place: isProtected ? "dpapi" : "file",
      warns: !isProtected,
    });
    const token = await run([...latchkey, "token", "--interactive", "never", ...words], { env: home });
    expect(token).toEqual({ code: 0, stdout: expect.stringMatching(JWT_OR_OPAQUE), stderr: "" });
  });

  test("keeps a sign-in in a path of more than 260 characters", async () => {
    const long = join(folder, ...Array(6).fill("x".repeat(50)), "tokens.json");
    const words = [...appWords(), "--scope", "api.read", "--cache-file", long];
    const login = await run([...latchkey, "login", ...words], { env: browser() });
    expect(login).toMatchObject({ code: 0 });
    expect(JSON.parse(readFileSync(long, "utf8"))).toHaveProperty("RefreshToken");
  });
}
