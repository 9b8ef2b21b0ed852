// Several accounts, and none named: a choice at a terminal, an error elsewhere.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedWords, writeCachedAccounts } from "./cached_accounts.ts";
import { runProgram } from "./run_latchkey.ts";
import { type RunningLatchkey, startLatchkey } from "./running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "./tested_latchkey.ts";

let folder: string, path: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-accounts-"));
  path = join(folder, "cache.json");
  await writeCachedAccounts(path, ["jane@contoso.com", "joe@contoso.com", "jane@contoso.com"]);
});
afterAll(() => rmSync(folder, { recursive: true }));

const words = (command: string) => [...command.split(" "), ...cachedWords(path)];
const atTerminal = (command: string, { program = LATCHKEY_ON_BUN, env = {} } = {}): RunningLatchkey =>
  startLatchkey([...program, ...words(command)], { terminal: true, env });
const QUESTION = /type the number of one \(1 to 3\) and press Enter; Ctrl-C cancels: $/;

test.each(TESTED_PATHS)("a person chooses an account by its number on $name", async ({ program }) => {
  const latchkey = atTerminal("token --scope read", { program: latchkeyBy(program()) });
  await latchkey.printed(QUESTION);
  latchkey.type("0\n");
  await latchkey.printed(/Ctrl-C cancels: [^]*Ctrl-C cancels: $/);
  latchkey.type(" 2\n");
  const { code, stderr } = await latchkey.ended();
  expect(code).toBe(0);
  expect(stderr.replaceAll("\r", "")).toContain(
    "latchkey: several accounts are signed in:\n  1  subject 0 (jane@contoso.com)\n  2  joe@contoso.com\n" +
      "  3  subject 2 (jane@contoso.com)\n",
  );
  expect(stderr.trim()).toEndWith("token-1");
});

test("three wrong answers are enough; the end of the input and Ctrl-C cancel", async () => {
  const wrong = atTerminal("token --scope read");
  for (const [index, answer] of ["4", "joe@contoso.com", ""].entries()) {
    await wrong.printed(new RegExp(`(?:Ctrl-C cancels: [^]*){${index + 1}}$`));
    wrong.type(`${answer}\n`);
  }
  expect(await wrong.ended()).toMatchObject({ code: 2, stderr: expect.stringContaining("name one with --account") });

  const over = atTerminal("token --scope read");
  await over.printed(QUESTION);
  over.type("\x04");
  expect(await over.ended()).toMatchObject({ code: 4, stderr: expect.stringContaining("error: user_canceled") });

  const cancelled = atTerminal("token --scope read");
  await cancelled.printed(QUESTION);
  cancelled.type("\x03");
  const { code, stderr } = await cancelled.ended();
  expect(code).toBe(4);
  expect(stderr.replaceAll("\r", "")).toMatch(/Ctrl-C cancels: (\^C)?\nerror: user_canceled\n/);
});

test("nobody is asked who named the account, or may not be asked, or is not at a terminal", async () => {
  const named = await atTerminal("token --scope read --account joe@contoso.com").ended();
  expect({ code: named.code, token: named.stderr.trim() }).toEqual({ code: 0, token: "token-1" });
  for (
    const [command, env] of [["token --scope read --interactive never", {}], ["token --scope read", {
      LATCHKEY_INTERACTIVE: "never",
    }]] as const
  ) {
    const { code, stderr } = await atTerminal(command, { env }).ended();
    expect(code).toBe(3);
    expect(stderr).toContain("Several accounts are signed in");
    expect(stderr).not.toContain("type the number");
  }
  const silent = await runProgram([...LATCHKEY_ON_BUN, ...words("token --scope read")], {});
  expect(silent).toMatchObject({
    code: 3,
    stdout: "",
    stderr: expect.stringContaining("Several accounts are signed in"),
  });
  const logout = await runProgram([...LATCHKEY_ON_BUN, ...words("logout")], {});
  expect(logout).toMatchObject({ code: 2, stderr: expect.stringContaining("--account is missing") });
});

test("one user name of several accounts is chosen from, and logout asks, too", async () => {
  const before = readFileSync(path, "utf8");
  const token = atTerminal("token --scope read --account jane@contoso.com");
  await token.printed(/1 to 2/);
  token.type("2\n");
  expect((await token.ended()).stderr.trim()).toEndWith("token-2");
  expect(readFileSync(path, "utf8")).toBe(before); // nothing is remembered

  const logout = atTerminal("logout");
  await logout.printed(QUESTION);
  logout.type("2\n");
  expect(await logout.ended()).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("joe@contoso.com is signed out"),
  });
  expect((await runProgram([...LATCHKEY_ON_BUN, ...words("accounts")], {})).stdout).not.toContain("joe@contoso.com");
});
