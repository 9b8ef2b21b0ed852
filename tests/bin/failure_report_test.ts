// How the command line tells of what is no request's failure: to people, and with --format json to programs.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { runLatchkey, runProgram } from "./run_latchkey.ts";

const TIMEOUT_MS = 60_000;
const TOKEN = "token --client-id azure-cli --scope a --broker never --interactive never";

describe("latchkey --format json", () => {
  test.each([
    [`${TOKEN} --format json --scop b`, "There is no option --scop; did you mean --scope?"],
    [`${TOKEN} --format=json --broker maybe`, '--broker takes auto, require, never, not "maybe"'],
    [`${TOKEN} --format json --claims x`, "claims has to be a JSON object"],
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
