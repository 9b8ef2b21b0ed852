// How the command line tells of what is no request's failure: to people, and with --format json to programs.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { runLatchkey, runProgram } from "./run_latchkey.ts";

const TIMEOUT_MS = 60_000;
const TOKEN = "token --client-id azure-cli --scope a --broker never --interactive never";

describe("latchkey --format json", () => {
  test.each([
    [`${TOKEN} --format json --scop b`, "There is no option --scop; did you mean --scope?"],
    [`${TOKEN} --format=json --broker maybe`, '--broker takes auto, require, never, not "maybe"'],
    [`${TOKEN} --format json --claims x`, "claims must be a JSON object"],
    [`${TOKEN} --format json --tenant ../x`, "neither an id nor a domain"],
    ["token --format json --scope a", "--client-id is missing"],
  ])("%s is wrong usage, in JSON as well", async (line, says) => {
    const { code, stdout, stderr } = await runLatchkey(line.split(" "));
    expect(code).toBe(2);
    expect(stderr).toContain(says);
    expect(JSON.parse(stdout)).toEqual({
      error: "wrong_usage",
      error_description: expect.stringContaining(says),
      error_codes: [],
      hint: "See latchkey token --help",
    });
  });

  test("is heeded where the environment says it, by commands that have it", async () => {
    const run = (line: string) =>
      runLatchkey(line.split(" "), { env: { LATCHKEY_FORMAT: "json" }, permissions: ["--allow-env=LATCHKEY_FORMAT"] });
    expect(JSON.parse((await run("token --scop a")).stdout).error).toBe("wrong_usage");
    expect((await run("logout --scop a")).stdout).toBe("");
  });

  test("says nothing of a command that is wrapped", async () => {
    const { code, stdout } = await runLatchkey("serve --scop a -- tool --format json".split(" "));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });
});

describe.each(RUNTIME_PATHS)("a fault of the program on $name", ({ program }) => {
  let folder: string, script: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "latchkey-fault-"));
    script = join(folder, "fault.ts");
    const latchkey = new URL("../../bin/latchkey.ts", import.meta.url);
    writeFileSync(
      script,
      `const { main } = await import(${JSON.stringify(latchkey)});
crypto.randomUUID = () => { throw new TypeError("Cannot read properties of undefined"); };
process.exit(await main(process.argv.slice(2)));`,
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("is no wrong usage, though it is a TypeError", async () => {
    const run = (more: string) =>
      runProgram([...program(), script, ...`${TOKEN} ${more}`.split(" ").filter(Boolean)], {});
    expect(await run("")).toEqual({
      ...{ code: 1, stdout: "", stderr: "latchkey: TypeError: Cannot read properties of undefined\n" },
    });
    const { code, stdout } = await run("--format json");
    expect({ code, ...JSON.parse(stdout) }).toEqual({
      ...{ code: 1, error: "unexpected", error_codes: [] },
      error_description: "TypeError: Cannot read properties of undefined",
    });
  }, TIMEOUT_MS);
});

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Returns the paths below the root of a source and of all that it imports early. */
function earlySources(entry: string): ReadonlySet<string> {
  const paths = new Set([entry]), transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const path of paths) { // a Set visits what is added meanwhile
    for (const { kind, path: other } of transpiler.scanImports(readFileSync(join(ROOT, path), "utf8"))) {
      if (kind === "import-statement" && other.startsWith(".")) paths.add(join(dirname(path), other));
    }
  }
  return paths;
}

// The report imported its own code late, which was missing as well: the runtime's error for that was all that was left.
describe.each(RUNTIME_PATHS)("an incomplete download on $name", ({ program }) => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "latchkey-incomplete-"));
    for (const path of earlySources("bin/latchkey.ts")) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      cpSync(join(ROOT, path), join(folder, path));
    }
    cpSync(join(ROOT, "package.json"), join(folder, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("is named, in JSON as well", async () => {
    const command = [...program(), join(folder, "bin/latchkey.ts")];
    const plain = await runProgram([...command, "token"], {});
    expect(plain.stderr).toMatch(/^latchkey: .*\btoken\.ts/);
    expect({ code: plain.code, stdout: plain.stdout }).toEqual({ code: 1, stdout: "" });
    const { code, stdout, stderr } = await runProgram([...command, "token", "--format", "json"], {});
    expect(JSON.parse(stdout)).toMatchObject({ error: "unexpected", error_codes: [] });
    expect(code).toBe(1);
    expect(stderr).toBe(plain.stderr);
    expect(await runProgram([...command, "token"], { LATCHKEY_FORMAT: "json" })).toEqual(plain);
  }, TIMEOUT_MS);
});
