// What to type when a person is needed, of a command line by itself.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { readCommandLine } from "../../../bin/cli/command_line.ts";
import { failureText, signInCommands, withLoginHint, withLoginOptions } from "../../../bin/cli/failures.ts";
import { command as accounts } from "../../../bin/commands/accounts.ts";
import { command as git } from "../../../bin/commands/git/git.ts";
import { command as kube } from "../../../bin/commands/kube/kube.ts";
import { command as login } from "../../../bin/commands/login.ts";
import { command as token } from "../../../bin/commands/token.ts";
import { commandLineHint } from "../../../bin/cli/output.ts";
import { hintFor } from "../../../lib/aadsts.ts";
import { quoteCommand } from "../../../lib/runtime/host.ts";
import { LatchkeyError } from "../../../mod.ts";

test("withLoginHint() has the sign-in pass the broker where the command does", () => {
  const line = readCommandLine(kube, ["--client-id", "azure-cli", "--broker", "never"]);
  const error = withLoginHint(new LatchkeyError("interaction_required", "Nobody is signed in"), line, ["User.Read"]);
  expect(error).toMatchObject({
    hint: expect.stringContaining("latchkey login --client-id azure-cli --broker never --scope User.Read"),
  });
});

// Hints named a bare `latchkey login`, which takes another app and authority than the command that failed.
test.each([
  ["Sign in again: acquireTokenInteractive", "Sign in again: CMD"],
  ["acquireTokenInteractive begins anew", "`CMD` begins anew"],
  ["Sign in: acquireTokenInteractive. There was no broker to ask", "Sign in: `CMD`. There was no broker to ask"],
  [
    "Sign in once more to pass the check: acquireTokenInteractive with the error's claims",
    "Sign in once more to pass the check: CMD --claims '{\"a\":1}'",
  ],
  ["Sign in: acquireTokenInteractive with these scopes", "Sign in: CMD"],
  [
    "List the accounts (getAccounts), or sign in: acquireTokenInteractive",
    "List the accounts (`latchkey accounts --client-id azure-cli`), or sign in: CMD",
  ],
  ["Use acquireTokenInteractive with a prompt", "Use CMD --prompt login"],
  ["Sign in: latchkey login --client-id other", "Sign in: latchkey login --client-id other"],
  ["visit the address of getAuthorizationRequestUrl", "visit the address that latchkey login --no-browser prints"],
])("withLoginOptions() gives %p the options of the command line", (hint, told) => {
  const words = ["--client-id", "azure-cli", "--tenant", "contoso.com", "--resource", "https://vault.azure.net"];
  const line = readCommandLine(token, words);
  const error = new LatchkeyError("interaction_required", "Nobody is signed in", { hint, claims: '{"a":1}' });
  const command = "latchkey login --client-id azure-cli --tenant contoso.com --scope https://vault.azure.net/.default";
  // JSON cannot be quoted for both shells of Windows.
  const wanted = process.platform === "win32" ? told.replace(/ --claims '.*'$/, "") : told;
  expect(withLoginOptions(error, line).hint).toBe(wanted.replace("CMD", command));
});

test("withLoginOptions() gives commands that can be read again, whatever the options' values", () => {
  const words = ["--client-id", "azure-cli", "--broker", "never", "--cache-file=-odd.json", "--scope", "a"];
  const error = new LatchkeyError("account_not_found", "There is no account", {
    hint: "List the accounts (getAccounts), or sign in: acquireTokenInteractive",
  });
  const odd = process.platform === "win32" ? '"--cache-file=-odd.json"' : "--cache-file=-odd.json";
  const options = `--client-id azure-cli --broker never ${odd}`;
  expect(withLoginOptions(error, readCommandLine(token, words)).hint).toBe(
    `List the accounts (\`latchkey accounts ${options}\`), or sign in: latchkey login ${options} --scope a`,
  );
  const again = readCommandLine(accounts, options.replaceAll('"', "").split(" "));
  expect(again.text("cache-file")).toBe("-odd.json");
});

test("withLoginOptions() leaves a hint as it is if no app was given", () => {
  const error = new LatchkeyError("interaction_required", "Nobody is signed in", { hint: "latchkey login" });
  expect(withLoginOptions(error, readCommandLine(token, []))).toBe(error);
});

// A server chooses claims and a repository a user name: the command in the hint took what begins with a dash for an option,
// and in fish the claims could end in a command of theirs.
test.each([["sh", ["-c"]], ["fish", ["--no-config", "-c"]]])(
  "withLoginHint() gives a command that %s runs as it was meant, whatever a server wrote into it",
  (shell, options) => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-hint-"));
    try {
      const file = join(folder, "latchkey"), name = "--store=memory$(touch pwned)@contoso.com";
      writeFileSync(file, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n");
      chmodSync(file, 0o755);
      const line = readCommandLine(git, ["--client-id", "azure-cli", `--account=${name}`, "get"]);
      const claims = `{"a":"\\\\' ; touch pwned #"}`, scope = "api://x/'; touch pwned; '";
      const error = withLoginHint(new LatchkeyError("interaction_required", "No", { claims }), line, [scope]);
      const [, command = ""] = /^Sign in, and try again: (.*)$/s.exec((error as LatchkeyError).hint!) ?? [];
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

test("withLoginHint() says first what a sign-in needs", () => {
  const line = readCommandLine(login, ["--client-id", "azure-cli"]);
  const hintOf = (hint: string) => {
    const error = withLoginHint(new LatchkeyError("interaction_required", "No", { hint }), line, ["User.Read"]);
    return (error as LatchkeyError).hint;
  };
  const command = "ign in, and try again: latchkey login --client-id azure-cli --scope User.Read";
  expect(hintOf("Register the device again in the Intune app")).toBe(
    `Register the device again in the Intune app. Then s${command}`,
  );
  expect(hintOf("Sign in again: acquireTokenInteractive")).toBe(`S${command}`);
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
  const context = { flow: "browser", clientId: "app", redirectUri: "http://localhost", scopes: ["User.Read"] } as const;
  const hint = hintFor({ errorCodes: [code], text: "" }, context, "linux");
  const text = failureText(new LatchkeyError("refused", "No", { hint })).join("\n");
  for (const word of words) expect(text).toContain(word);
  expect(text).not.toMatch(/acquireTokenInteractive|requireBroker|clientId/);
});

test.each([
  ["Sign in again: acquireTokenInteractive", "Sign in again: latchkey login"],
  ["Ask without authenticationScheme", "Ask without --pop"],
  ["Choose plaintextStore or memoryStore", "Choose --store plaintext or memory (LATCHKEY_STORE)"],
  ["List the accounts (getAccounts)", "List the accounts (latchkey accounts)"],
])("commandLineHint(%p) names what can be typed", (hint, text) => {
  expect(commandLineHint(hint)).toBe(text);
});

// A command that was made to be pasted named another account than the one that it was for.
test.each([
  "Sign in, and try again: latchkey login --client-id azure-cli --account requireBroker --scope acquireTokenInteractive",
  "Run chmod 700 '/home/jane/my acquireTokenInteractive', or choose another folder",
  "Run deno with --allow-read=/opt/requireBroker",
  "Move /opt/requireBroker/authenticationScheme away",
])("commandLineHint() leaves the command and the path in %p as they are", (hint) => {
  expect(commandLineHint(hint)).toBe(hint);
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
