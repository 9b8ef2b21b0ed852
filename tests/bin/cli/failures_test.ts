// Remedies as commands: what to type after a failure.
import { beforeAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readCommandLine } from "../../../bin/cli/command_line.ts";
import {
  commandHint,
  failureText,
  messageOf,
  signInCommands,
  withConsentUrl,
  withLogin,
} from "../../../bin/cli/failures.ts";
import { command as accounts } from "../../../bin/commands/accounts.ts";
import { command as git } from "../../../bin/commands/git/git.ts";
import { command as kube } from "../../../bin/commands/kube/kube.ts";
import { command as login } from "../../../bin/commands/login.ts";
import { command as token } from "../../../bin/commands/token.ts";
import { remedyFor } from "../../../lib/aadsts.ts";
import type { Remedy } from "../../../lib/remedies.ts";
import { quoteCommand } from "../../../lib/runtime/host.ts";
import { LatchkeyError, PublicClientApplication } from "../../../mod.ts";
import { REMEDIES } from "../../fakes/remedies.ts";
import { CLIENT_ID, useStage } from "../../fixture.ts";
import { RUNTIME_PATHS } from "../../runtimes/runtime_paths.ts";
import { commitableFiles } from "../../tools/commitable_files.ts";
import { runLatchkey, runProgram } from "../run_latchkey.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

test("withLogin() has the sign-in pass the broker where the command does", () => {
  const line = readCommandLine(kube, ["--client-id", "azure-cli", "--broker", "never"]);
  const error = withLogin(new LatchkeyError("interaction_required", "No user is signed in"), line, ["User.Read"]);
  expect(error).toMatchObject({
    hint: expect.stringContaining("latchkey login --client-id azure-cli --broker never --scope User.Read"),
  });
});

// Hints named a bare `latchkey login`, which takes another app and authority than the command that failed.
test.each<[remedy: Remedy, hint: string]>([
  [{ kind: "sign_in_again" }, "Sign in again: CMD"],
  [{ kind: "enable_broker", options: ["enableBrokerOnLinux"] }, "Sign in: CMD"],
  [{ kind: "sign_in", note: "There was no broker to ask" }, "Sign in: `CMD`. There was no broker to ask"],
  [{ kind: "sign_in_again", with: "claims" }, "Sign in again: CMD --claims '{\"a\":1}'"],
  [{ kind: "sign_in_again", with: "scopes" }, "Sign in again: CMD"],
  [{ kind: "sign_in_again", with: "prompt" }, "Sign in again: CMD --prompt login"],
  [{ kind: "list_accounts", or: { kind: "sign_in" } }, "List the accounts: `ACCOUNTS`; or sign in: CMD"],
  [{ kind: "choose_account", among: "users" }, "Choose one: --account (ACCOUNTS)"],
  [{ kind: "sign_in", when: "To go on without the broker" }, "To go on without the broker, sign in: CMD"],
  [{ kind: "advice", text: "Sign in: latchkey login --client-id other" }, "Sign in: latchkey login --client-id other"],
  [{ kind: "consent" }, "Ask an administrator to consent, or visit the URL that latchkey login --no-browser prints"],
])("commandHint() gives %j the options of the command line", (remedy, told) => {
  const words = ["--client-id", "azure-cli", "--tenant", "contoso.com", "--resource", "https://vault.azure.net"];
  const line = readCommandLine(token, words);
  const error = new LatchkeyError("interaction_required", "No user is signed in", { remedy, claims: '{"a":1}' });
  const command = "latchkey login --client-id azure-cli --tenant contoso.com --scope https://vault.azure.net/.default";
  // JSON cannot be quoted for both shells of Windows.
  const wanted = process.platform === "win32" ? told.replace(/ --claims '.*'$/, "") : told;
  const list = "latchkey accounts --client-id azure-cli";
  expect(commandHint(error, line)).toBe(wanted.replace("CMD", command).replace("ACCOUNTS", list));
});

test("commandHint() gives commands that can be read again, whatever the options' values", () => {
  const words = ["--client-id", "azure-cli", "--broker", "never", "--cache-file=-odd.json", "--scope", "a"];
  const error = new LatchkeyError("account_not_found", "There is no account", {
    remedy: { kind: "list_accounts", or: { kind: "sign_in" } },
  });
  const odd = process.platform === "win32" ? '"--cache-file=-odd.json"' : "--cache-file=-odd.json";
  const options = `--client-id azure-cli --broker never ${odd}`;
  expect(commandHint(error, readCommandLine(token, words))).toBe(
    `List the accounts: \`latchkey accounts ${options}\`; or sign in: latchkey login ${options} --scope a`,
  );
  const again = readCommandLine(accounts, options.replaceAll('"', "").split(" "));
  expect(again.text("cache-file")).toBe("-odd.json");
});

test("commandHint() names bare commands if no app was given", () => {
  const error = new LatchkeyError("interaction_required", "No user is signed in", { remedy: { kind: "sign_in" } });
  expect(commandHint(error, readCommandLine(token, []))).toBe("Sign in: latchkey login");
  expect(commandHint(error)).toBe("Sign in: latchkey login");
  expect(messageOf(error)).toBe("No user is signed in. Sign in: latchkey login");
});

// A server chooses claims and a repository a user name: the command in the hint took what begins with a dash for an option,
// and in fish the claims could end in a command of theirs.
test.each([["sh", ["-c"]], ["fish", ["--no-config", "-c"]]])(
  "withLogin() gives a command that %s runs as it was meant, whatever a server wrote into it",
  (shell, options) => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-hint-"));
    try {
      const file = join(folder, "latchkey"), name = "--store=memory$(touch pwned)@contoso.com";
      writeFileSync(file, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n");
      chmodSync(file, 0o755);
      const line = readCommandLine(git, ["--client-id", "azure-cli", `--account=${name}`, "get"]);
      const claims = `{"a":"\\\\' ; touch pwned #"}`, scope = "api://x/'; touch pwned; '";
      const error = withLogin(new LatchkeyError("interaction_required", "No", { claims }), line, [scope]);
      const [, command = ""] = /^Sign in: (.*)$/s.exec((error as LatchkeyError).hint!) ?? [];
      const printed = execFileSync(shell, [...options, command], {
        cwd: folder,
        env: { PATH: `${folder}${delimiter}${process.env.PATH}`, HOME: folder },
        encoding: "utf8",
      });
      const words = printed.split("\0").slice(0, -1);
      expect(words).toEqual([
        ...["login", "--client-id", "azure-cli", `--account=${name}`, "--scope", scope, "--claims", claims],
      ]);
      expect(readCommandLine(login, words.slice(1)).text("account")).toBe(name);
      expect(existsSync(join(folder, "pwned"))).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test("withLogin() says first what a sign-in needs", () => {
  const line = readCommandLine(login, ["--client-id", "azure-cli"]);
  const hintFor = (remedy: Remedy | string | undefined) => {
    const error = withLogin(new LatchkeyError("interaction_required", "No", { remedy }), line, ["User.Read"]);
    return (error as LatchkeyError).hint;
  };
  const signIn = "Sign in: latchkey login --client-id azure-cli --scope User.Read";
  const register = "Register the device again in the Intune app";
  expect(hintFor(register)).toBe(`${register}. ${signIn}`);
  expect(hintFor({ kind: "sign_in_again" })).toBe(signIn);
  expect(hintFor(undefined)).toBe(signIn);
});

// The library's hints name API calls, which nobody can type at a shell.
test.each<[code: number, ...words: string[]]>([
  [530084, "--broker require"],
  [53000, "--broker require"],
  [50005, "--broker require"],
  [50076, "latchkey login --claims"],
  [50173, "Sign in again: latchkey login"],
  [70008, "Sign in again: latchkey login"],
  [70043, "Sign in again: latchkey login"],
  [700016, "--client-id", "--tenant"],
  [50020, "--tenant", "--account"],
  [500011, "--resource adds /.default"],
])("the hint to AADSTS%d names %s at a shell", (code, ...words) => {
  const facts = { flow: "browser", clientId: "app", redirectUri: "http://localhost", scopes: ["User.Read"] } as const;
  const remedy = remedyFor({ errorCodes: [code], text: "" }, facts, "linux");
  const text = failureText(new LatchkeyError("refused", "No", { remedy })).join("\n");
  for (const word of words) expect(text).toContain(word);
});

test.each(REMEDIES)("commandHint() of %j names nothing of the API", (remedy) => {
  const hint = commandHint(new LatchkeyError("refused", "No", { remedy }))!;
  expect(hint).not.toMatch(/[a-z][A-Z]|undefined|in the request/);
});

// Regular expressions over the library's English gave hints their commands: rewording one in lib broke the command line.
test("the command line and the library read no hint: words come from remedies alone", () => {
  const sources = commitableFiles().filter((file) => /^(bin|lib)\/.*\.ts$/.test(file));
  const read =
    /\bhint\b\??!?\s*(\)\s*)?\??\.(replace|replaceAll|match|matchAll|search|split|includes|startsWith|endsWith|slice)\b|\.(test|exec)\([^)]*\bhint\b/;
  const lines = sources.flatMap((file) =>
    readFileSync(join(root, file), "utf8").split("\n").filter((line) => read.test(line)).map((line) =>
      `${file}: ${line}`
    )
  );
  expect(lines).toEqual([]);
  // In bin not even the words of the API are shown: what shows a hint renders a remedy.
  const shown = sources.filter((file) => file.startsWith("bin/"))
    .filter((file) =>
      /(error|failure|cause)\??\.hint\b|\{[^{}=]*\bhint\b[^{}]*\}: (Latchkey)?Error/.test(
        readFileSync(join(root, file), "utf8"),
      )
    );
  expect(shown).toEqual([]);
});

// The command for a sign-in that no user can answer here left out what was asked for.
test.each<[words: string, asked: string[][], prompt: string]>([
  ["login --scope Mail.Read --scope User.Read", [["--scope", "Mail.Read"], ["--scope", "User.Read"]], ""],
  ["login --resource https://vault.azure.net", [["--scope", "https://vault.azure.net/.default"]], ""],
  ['login --claims {"a":1} --prompt select_account', [["--claims", '{"a":1}']], " --prompt select_account"],
  ["token --scope User.Read --interactive always", [["--scope", "User.Read"]], ""],
])("signInCommands() repeats what latchkey %s asks for", (words, asked, prompt) => {
  const [name, ...options] = words.split(" ");
  const command = name === "login" ? login : token;
  const line = readCommandLine(command, ["--client-id", "azure-cli", "--tenant", "contoso.com", ...options]);
  const app = ["latchkey", "login", "--client-id", "azure-cli", "--tenant", "contoso.com"];
  const wanted = quoteCommand([...app, ...asked]);
  expect(signInCommands(line)).toEqual({ atTerminal: `${wanted}${prompt}`, onOtherDevice: `${wanted} --device-code` });
});

// The hint named the profile's scope, and the token would have failed again.
test("signInCommands() takes a resource of the command line before the scope of a profile", () => {
  const profile = { name: "work", values: { "client-id": "azure-cli", scope: "api.read" } };
  const line = readCommandLine(token, ["--resource", "https://vault.azure.net"], profile);
  expect(signInCommands(line).atTerminal).toBe(
    "latchkey login --client-id azure-cli --scope https://vault.azure.net/.default",
  );
});

// The sign-in that was repeated stored no profile.
test("signInCommands() repeats the profile that a sign-in stores, and no other command's", () => {
  const words = ["--profile", "work", "--client-id", "azure-cli"];
  expect(signInCommands(readCommandLine(login, words)).atTerminal).toBe(
    "latchkey login --profile work --client-id azure-cli",
  );
  expect(signInCommands(readCommandLine(token, [...words, "--scope", "a"])).atTerminal).toBe(
    "latchkey login --client-id azure-cli --scope a",
  );
});

const SCOPES = ["User.Read"];
const MISSING = new LatchkeyError("interaction_required", "The server refused: AADSTS65001", {
  ...{ errorCodes: [65001], correlationId: "id", claims: "{}", remedy: { kind: "consent" } },
});
/** It has no network. */
const makeApp = (authority: string) => {
  const fetch = () => Promise.reject(new TypeError("fetch failed"));
  return new PublicClientApplication({ clientId: CLIENT_ID, authority, fetch });
};

test("withConsentUrl() tells where to consent, in the tenant that was asked", async () => {
  const error = await withConsentUrl(MISSING, makeApp("https://login.microsoftonline.com/common"), {
    ...{ scopes: SCOPES, tenantId: "fabrikam.com" },
  });
  expect(error).toMatchObject({ code: "interaction_required", errorCodes: [65001], claims: "{}", correlationId: "id" });
  expect((error as LatchkeyError).hint).toContain(
    "https://login.microsoftonline.com/fabrikam.com/oauth2/v2.0/authorize?",
  );
});

test("withConsentUrl() leaves the error as it is where there is no address, or consent is not what is missing", async () => {
  const app = makeApp("https://id.contoso.com");
  expect(await withConsentUrl(MISSING, app, { scopes: SCOPES })).toBe(MISSING);
  expect(await withConsentUrl(MISSING, makeApp("https://contoso.ciamlogin.com"), { scopes: [] })).toBe(MISSING);
  const other = new LatchkeyError("refused", "no"), bug = new TypeError("bug");
  for (const error of [other, bug]) expect(await withConsentUrl(error, app, { scopes: SCOPES })).toBe(error);
});

// How the command line tells of what is no request's failure: to people, and with --format json to programs.

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
  const stage = useStage();
  let script: string;
  beforeAll(() => {
    script = join(stage.folder, "fault.ts");
    const latchkey = new URL("../../../bin/latchkey.ts", import.meta.url);
    writeFileSync(
      script,
      `const { main } = await import(${JSON.stringify(latchkey)});
crypto.randomUUID = () => { throw new TypeError("Cannot read properties of undefined"); };
process.exit(await main(process.argv.slice(2)));`,
    );
  });

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

/** Returns the paths below the root of a source and of all that it imports early. */
function earlySources(entry: string): ReadonlySet<string> {
  const paths = new Set([entry]), transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const path of paths) { // a Set visits what is added meanwhile
    for (const { kind, path: other } of transpiler.scanImports(readFileSync(join(root, path), "utf8"))) {
      if (kind === "import-statement" && other.startsWith(".")) paths.add(join(dirname(path), other));
    }
  }
  return paths;
}

// The report imported its own code late, which was missing as well: the runtime's error for that was all that was left.
describe.each(RUNTIME_PATHS)("an incomplete download on $name", ({ program }) => {
  const stage = useStage();
  let folder: string;
  beforeAll(() => {
    ({ folder } = stage);
    for (const path of earlySources("bin/latchkey.ts")) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      cpSync(join(root, path), join(folder, path));
    }
    cpSync(join(root, "package.json"), join(folder, "package.json"));
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  });

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
