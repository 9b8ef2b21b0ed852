// On Windows hints named dsreg, ls -ld, ulimit and ~/.config. Each hint is for the system that it is shown on.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brokerFix } from "../../../bin/commands/doctor/broker.ts";
import { variableLines } from "../../../bin/commands/serve/serve.ts";
import { GROUPS, loadGroups } from "../../../bin/cli/commands.ts";
import { helpOf, overview } from "../../../bin/cli/help.ts";
import { remedyFor } from "../../../lib/aadsts.ts";
import { remedyOfStatus } from "../../../lib/broker/errors.ts";
import type { LatchkeyError } from "../../../lib/errors.ts";
import { advice, hintOf } from "../../../lib/remedies.ts";
import { fileFailure } from "../../../lib/files/files.ts";
import { commitableFiles } from "../../tools/commitable_files.ts";

const LINUX_WORDS =
  /\bdsreg\b|\bls -l|\bulimit\b|\bexport \w+=|~\/|\bIntune\b|\bXDG_|systemctl|journalctl|\bchmod\b|\bchown\b|\bsudo\b|\b(apt|dnf|pacman)\b|seahorse|gnome|KWallet|D-?Bus|Secret Service|\$\(|<\(|\bman -l|\| jq\b|\bLinux\b|hwclock|timedatectl/;
/** What neither cmd.exe nor PowerShell reads as a POSIX shell does, in the lines of commands. */
const POSIX_QUOTES = /'[^']*'|\w+=\$/;
const root = fileURLToPath(new URL("../../../", import.meta.url));
const read = (file: string) => readFileSync(`${root}/${file}`, "utf8");

describe("for Windows and macOS", () => {
  const codes = [...read("lib/aadsts.ts").matchAll(/\b\d{5,7}\b/g)].map(([code]) => Number(code));
  const texts = ["[4ko04]", "device_authentication_failed", "token_expired", "Unable to find account"];
  const files = [...read("lib/files/files.ts").matchAll(/\bE[A-Z]{2,}\b/g)].map(([code]) => code);
  const context = { clientId: "app", redirectUri: "http://localhost", scopes: ["User.Read"] };

  test.each(["win32", "darwin"])("no hint has a word for Linux: %s", (system) => {
    const hints = [
      ...(["broker", "browser", "device_code"] as const).flatMap((flow) =>
        [...codes.map((code) => ({ errorCodes: [code], text: "" })), ...texts.map((text) => ({ errorCodes: [], text }))]
          .map((refusal) => remedyFor(refusal, { ...context, flow }, system))
      ),
      ...Array.from({ length: 22 }, (_, status) => remedyOfStatus(status, system)),
      ...files.map((code) => {
        const task = { doing: "read", path: "tokens", system };
        return (fileFailure(Object.assign(new Error(code), { code }), task) as LatchkeyError).remedy;
      }),
      advice(brokerFix(system, false)),
    ].flatMap((remedy) => remedy ? [hintOf(remedy)] : []);
    expect(hints.length).toBeGreaterThan(150);
    // `ls -l` and `ulimit` are macOS' as well.
    const own = system === "darwin" ? /ls -lde|ulimit/g : /^$/g;
    expect(hints.filter((hint) => LINUX_WORDS.test(hint.replaceAll(own, "")))).toEqual([]);
  });

  test("no help has a word or a command for a POSIX shell", async () => {
    const commands = (await loadGroups()).flatMap((group) => group.commands);
    expect(commands.length).toBeGreaterThan(10);
    const examples = commands.flatMap(({ examples }) => examples.map(([line, , onWindows = line]) => onWindows));
    expect(examples.filter((line) => LINUX_WORDS.test(line) || POSIX_QUOTES.test(line))).toEqual([]);
    expect(overview(GROUPS, "win32")).toContain("in your configuration folder (%APPDATA%)");
    for (const command of commands) {
      const [line] = command.examples.map(([line, , onWindows = line]) => onWindows).filter(Boolean);
      const help = helpOf(command, { system: "win32", isDetailed: true });
      expect(help).toContain(line ? `Examples:\n  # ` : "Options:\n");
      expect(help).toContain(line ?? "");
    }
  });

  test("serve --port sets variables in the words of cmd.exe and of PowerShell", () => {
    const address = "http://127.0.0.1:4711/token";
    const variables = (secret: string) => ({ IDENTITY_ENDPOINT: address, IDENTITY_HEADER: secret });
    expect(variableLines(variables, { secret: "ab12" }, "win32")).toBe(`set "IDENTITY_ENDPOINT=${address}"
set "IDENTITY_HEADER=ab12"
set "NO_PROXY=127.0.0.1,%NO_PROXY%"
$env:IDENTITY_ENDPOINT = '${address}'
$env:IDENTITY_HEADER = 'ab12'
$env:NO_PROXY = "127.0.0.1,$env:NO_PROXY"
`);
    const lines = variableLines(variables, { file: "C:\\Jane's files\\secret" }, "win32").split("\n");
    expect(lines[1]).toBe('set /p IDENTITY_HEADER=<"C:\\Jane\'s files\\secret"');
    expect(lines[4]).toBe("$env:IDENTITY_HEADER = (Get-Content -Raw -LiteralPath 'C:\\Jane''s files\\secret').Trim()");
  });
});

/** Files of which all, or what has these words, is only for Linux or POSIX systems. */
const ONLY_LINUX = [
  /^lib\/dbus\//,
  /^lib\/broker\/(linux|wsl|detect|raw_channel|client|wire)\.ts$/,
  /^lib\/broker\/msalruntime(_addon)?\.ts$/, // tables by system
  /^lib\/keyring\/secret_service\.ts$/,
  /^lib\/cache\/encryption_key\.ts$/, // by the keyring's kind
  /^lib\/http\/(unix_socket|loopback)\.ts$/,
  /^lib\/files\/(placed_file|private_files|user_folders|node|deno)\.ts$/, // modes, which Windows lacks
  /^lib\/runtime\//,
  /^lib\/remedies\.ts$/, // the table
  /^bin\/commands\/browser_host\//,
  /^bin\/commands\/doctor\//, // checks by system
  /^bin\/std_cli\//,
];

test("words for Linux are in the table of words, or in what is only for Linux", () => {
  const files = commitableFiles().filter((file) =>
    /^(bin|lib)\/.*\.ts$/.test(file) && !ONLY_LINUX.some((pattern) => pattern.test(file))
  );
  expect(files.length).toBeGreaterThan(60);
  const found = files.flatMap((file) =>
    read(file).split("\n").filter((line) => !/^\s*(\*|\/\*|\/\/)/.test(line))
      .filter((line) => /["'`]/.test(line) && /\bdsreg\b|\bls -l|\bulimit\b|\bIntune\b|systemctl|\bsudo\b/.test(line))
      .map((line) => `${file}: ${line.trim()}`)
  );
  expect(found).toEqual([]);
});
