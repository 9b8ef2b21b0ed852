// What documents show is so: links lead somewhere, commands and options exist, scripts exist, pictures are what was drawn.
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { readCommandLine } from "../../bin/cli/command_line.ts";
import { loadGroups } from "../../bin/cli/commands.ts";
import { FIRST_EXAMPLES } from "../../bin/cli/help.ts";
import { readFigures } from "../bench/figures.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { openStage } from "../fixture.ts";
import { barPicture } from "../pictures/bar_picture.ts";
import { withFiguresTable } from "../pictures/figures_table.ts";
import { PALETTES } from "../pictures/palette.ts";
import { commitableFiles } from "../tools/commitable_files.ts";
import { shellCommands } from "../tools/shell_commands.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const documents = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
}).split("\0").filter((file) => file && existsSync(join(root, file)));
const commands = (await loadGroups()).flatMap((group) => group.commands);
/** What the command line is called as. */
const PROGRAMS = /^(latchkey|(.*\/)?bin\/latchkey(\.ts)?|\.?\/?dist\/latchkey|jsr:@latchkey\/latchkey\/cli)$/;

/** Languages of blocks with commands. */
const SHELLS = ["sh", "bash", "shell", "console", "fish"];

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** Blocks of code that are in one of some languages. */
function blocks(file: string, languages: readonly string[]): readonly { language: string; code: string }[] {
  return [...read(file).matchAll(/^ *```(\w+)[^\n]*\n([^]*?)^ *```$/gm)]
    .map(([, language, code]) => ({ language: language!, code: code! }))
    .filter(({ language }) => languages.includes(language));
}

/** The text without its blocks of code. */
function prose(file: string): string {
  return read(file).replaceAll(/^ *```[^]*?^ *```$/gm, "");
}

/** What is wrong with the calls of the command line among some commands. */
function complaints(script: string): readonly string[] {
  return shellCommands(script).map(withoutNpm).flatMap((words) => {
    const at = words.findIndex((word) => PROGRAMS.test(word));
    // A command may stand behind variables, or behind what runs it; elsewhere the word is an argument like any other.
    if (at < 0 || at > 0 && words[at] === "latchkey" && !words.slice(0, at).every((word) => word.includes("="))) {
      return [];
    }
    const complaint = complaintOf(words.slice(at + 1));
    return complaint === undefined ? [] : [`${words.join(" ")}: ${complaint}`];
  });
}

/** Returns `npm run latchkey -- token` as `latchkey token`, and of any other script its name. */
function withoutNpm(words: readonly string[]): readonly string[] {
  if (words[0] !== "npm" || words[1] !== "run") return words;
  const end = words.indexOf("--");
  return words[end - 1] === "latchkey" ? ["latchkey", ...words.slice(end + 1)] : words.slice(0, 2);
}

function complaintOf([name = "", ...rest]: readonly string[]): string | undefined {
  if (["--help", "--version", "help"].includes(name)) return undefined;
  const isFile = name.endsWith(".json"),
    command = commands.find((each) => each.name === (isFile ? "CONFIG.json" : name));
  if (!command) return `there is no command ${name}`;
  try {
    readCommandLine(command, isFile ? [name, ...rest] : rest);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The commands in the shell's blocks of a document, one a line. */
function shellLines(file: string): readonly string[] {
  return blocks(file, SHELLS).flatMap(({ language, code }) => {
    const lines = code.replaceAll(/\\\n\s*/g, " ").split("\n").map((line) => line.trim());
    return language === "console" ? lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2)) : lines;
  }).filter((line) => line !== "" && !line.startsWith("#"));
}

test.each(documents)("every relative link of %s leads to a file", (file) => {
  const text = prose(file).replaceAll(/`[^`]*`/g, "");
  const targets = [
    ...[...text.matchAll(/\]\(([^)\s]+)\)/g), ...text.matchAll(/(?:src|srcset|href)="([^"\s]+)"/g)].map(([, to]) =>
      to!
    ),
  ].filter((target) => !/^([a-z]+:|#)/.test(target)).map((target) => target.split("#")[0]!);
  const paths = targets.map((target) => normalize(join(dirname(file), target)));
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test.each(documents)("every heading that a link of %s names is there", (file) => {
  const links = [...prose(file).matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)];
  const missing = links.filter(([, to, heading]) => {
    const target = to ? normalize(join(dirname(file), to)) : file;
    const headings = [...prose(target).matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
      text!.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")
    );
    return !headings.includes(heading!);
  });
  expect(missing.map(([link]) => link)).toEqual([]);
});

test.each(documents)("every command that %s shows is one that the command line takes", (file) => {
  const yaml = blocks(file, ["yaml"]).map(({ code }) => code);
  expect([shellLines(file).join("\n"), ...yaml].flatMap(complaints)).toEqual([]);
});

test.each(documents)("every command and option that %s speaks of exists", (file) => {
  const named = [...prose(file).matchAll(/`latchkey ([a-z][^`]*)`/g)].map(([, words]) => words!.split(/\s+/));
  const wrong = named.filter(([name, ...words]) => {
    const command = commands.find((each) => each.name === name || each.alias === name);
    const options = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined)
      .flatMap((word) => /^\[?--([\w-]+)/.exec(word)?.[1] ?? []);
    return !command || options.some((option) => ![...command.options.map(({ name }) => name), "help"].includes(option));
  });
  expect(wrong.map((words) => words.join(" "))).toEqual([]);
});

test.each(documents)("every script that %s names is there", (file) => {
  const { scripts } = JSON.parse(read("package.json"));
  const named = [...read(file).matchAll(/\b(?:npm run|deno task)(?: --silent| --prefix \S+)* ([\w:-]+)/g)]
    .map(([, name]) => name!);
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
});

test("the examples of the help are what the command line takes", () => {
  const firstOf = (command: string) => commands.find(({ name }) => name === command)?.examples[0];
  expect(FIRST_EXAMPLES).toEqual([firstOf("token")!, firstOf("login")!]);
  const lines = commands.flatMap(({ examples }) => examples.map(([line]) => line));
  expect(lines.flatMap(complaints)).toEqual([]);
});

test("docs/command_line.md has a row for every command", () => {
  const rows = read("docs/command_line.md").match(/^\| `latchkey .*$/gm) ?? [];
  const missing = commands.filter(({ name }) => !rows.some((row) => row.includes(`latchkey ${name}`)));
  expect(missing.map(({ name }) => name)).toEqual([]);
});

test("the picture and the tables of what a token costs have the figures that were kept", () => {
  const figures = readFigures();
  for (const [name, palette] of Object.entries(PALETTES)) {
    expect(read(`docs/images/silent_token_${name}.svg`)).toBe(barPicture(figures, palette));
  }
  expect(withFiguresTable(read("docs/bench.md"), figures)).toBe(read("docs/bench.md"));
  const rows = {
    "latchkey token": "latchkey",
    "MSAL for Python, its broker": "MSAL for Python",
    "MSAL for Node, its broker": "MSAL for Node",
  };
  for (const [name, row] of Object.entries(rows)) {
    const { cpuMs, peakMiB } = figures.silentToken.find((figure) => figure.name === name)!;
    expect(read("docs/comparison.md")).toMatch(
      new RegExp(`^\\| ${row}\\b.*\\| ${cpuMs} ms, ${peakMiB} MiB +\\|$`, "m"),
    );
  }
});

describe("README.md", () => {
  test("has at most 130 lines and two tables", () => {
    const lines = read("README.md").trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(130);
    expect(lines.filter((line) => /^\|[ :|-]+\|$/.test(line)).length).toBeLessThanOrEqual(2);
  });

  test("shows commands that work as they are written, in a clone and with a broker", async () => {
    await using stage = await openStage({ broker: {} });
    // The demonstration has a suite of its own, and the network is not there.
    const lines = shellLines("README.md").filter((line) => !line.startsWith("npm run demo"));
    const script = ["set -e", "shopt -s expand_aliases", "curl() { cat; }", ...lines].join("\n");
    const { code, stdout, stderr } = await runProgram(["bash", "-c", script], {
      ...{ HOME: stage.folder, XDG_STATE_HOME: "", XDG_CONFIG_HOME: "", npm_config_update_notifier: "false" },
      DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /Usage: latchkey[^]*\njane@contoso\.com\t.*\n[\w-]+\.[\w-]+\.[\w-]+\nAuthorization: Bearer /,
    );
  });
});

test("docs/README.md links every page of docs", () => {
  const pages = documents.filter((file) => /^docs\/(?!README\.md)/.test(file)).map((file) =>
    file.slice("docs/".length)
  );
  expect(pages.filter((page) => !read("docs/README.md").includes(`](${page})`))).toEqual([]);
});

/** Words that tire readers, or hide the term of art, and what to write instead. */
const WORDS: readonly (readonly [word: RegExp, instead: string])[] = [
  [/\btexts?\b/i, "string"],
  [/\baddress(es)?\b/i, "URL"],
  [/\bfields?\b/i, "header"],
  [/\b(persons?|people)\b/i, "user"],
  [/\banswer(s|ed|ing)?\b/i, "response (HTTP, OAuth), reply (broker, D-Bus), result (a function)"],
  [/\bkept (lists?|sign-ins?)\b/i, "cached, stored"],
  [/\bset aside\b/i, "quarantined"],
  [/\bpassed over\b/i, "skipped"],
  [/\bheld\b/i, "in memory, stored"],
  [/\b(that|those) of\b/i, "the noun again"],
  [/\bbeside\b/i, "in addition to, except, next to"],
  [/(^|[;:,(]|\bor) ?else\b/i, "otherwise"],
  [/\b(nobody|somebody|whoever|anybody)\b/i, "the actor: the caller, another user, no other program"],
  [/\b(has|have|had) to\b/i, "must"],
  [/\b(for ever|any more|even so|all the same|at last)\b/i, "indefinitely, no longer, still, anyway, finally"],
  [/(?<!there )\bis none\b/i, "is missing, is invalid"],
  [/\b(mend|heed)\b/i, "fix, respect"],
  [/\bof Windows'/, "Windows' own"],
  [/\bwindows?\b/, "prompt"],
  [/\b(\w*)(ganis(e|ation)|recognis|authoris|behaviour|colour|licence|cancelled)/i, "the American spelling"],
];

/** Places where such a word is the right one, and why. A document without a place is left out as a whole. */
const ALLOWED: readonly (readonly [document: string, place: RegExp | undefined, why: string])[] = [
  ["CONTRIBUTING.md", undefined, "it is rewritten together with the layout that it describes"],
  ["SECURITY.md", /\b(IP|private) address\b/, "of the Internet Protocol"],
  ["docs/browser_sign_in.md", /\bIP addresses\b/, "of the Internet Protocol"],
  ["docs/azure.md", /\bparent window of a prompt\b/, "the window of the program"],
  ["docs/brokers.md", /\bwindow handle\b|\bX11 and Wayland windows\b/, "the windows of programs"],
  ["docs/library.md", /\bX11 or Wayland window\b/, "the window of the program"],
  ["docs/windows_and_macos.md", /\b(the console's|of that|front of that) window\b/, "the windows of programs"],
];

test.each(documents)("%s has the terms of art, and plain words", (file) => {
  const places = ALLOWED.filter(([document]) => document === file).map(([, place]) => place);
  if (places.includes(undefined)) return;
  const shown = read(file).replaceAll(/^ *```[^]*?^ *```$/gm, (block) => block.replaceAll(/[^\n]/g, ""))
    .replaceAll(/`[^`]*`|\]\([^)]*\)|(?:src|srcset)="[^"]*"/g, (code) => code.replaceAll(/[^\n]/g, ""));
  const text = places.reduce((left, place) => left.replaceAll(new RegExp(place!, "g"), ""), shown);
  const found = text.split("\n").flatMap((line, index) =>
    WORDS.flatMap(([word, instead]) => {
      const [bad] = word.exec(line) ?? [];
      return bad === undefined ? [] : [`${file}:${index + 1}: "${bad.trim()}"; write ${instead}`];
    })
  );
  expect(found).toEqual([]);
});

test("every place that is allowed is there", () => {
  const gone = ALLOWED.filter(([file, place]) => place && !place.test(read(file)));
  expect(gone.map(([file, place]) => `${file}: ${place}`)).toEqual([]);
});

const SECOND = 1000, MINUTE = 60 * SECOND, KIB = 1024, MIB = 1024 * KIB;

/** A number in a document: its place, the folder or file of the constant that it is, and the unit that it is in. */
type ShownNumber = readonly [document: string, place: RegExp, sources: string, constant: string, unit?: number];

const NUMBERS: readonly ShownNumber[] = [
  ["docs/agents.md", /more than (\S+) connections/, "bin/commands/serve", "MAX_CLIENTS"],
  ["docs/agents.md", /body of more than (\S+) KiB/, "bin/commands/serve", "MAX_KEPT_BYTES", KIB],
  ["docs/agents.md", /head has more than (\S+) KiB/, "bin/commands/serve", "MAX_REQUEST_HEAD_BYTES", KIB],
  ["docs/agents.md", /has (\S+) seconds for the head/, "bin/commands/serve", "HEAD_LIMIT_MS", SECOND],
  ["docs/agents.md", /(\S+) minutes may pass without a byte/, "bin/commands/serve", "STALL_LIMIT_MS", MINUTE],
  ["docs/azure.md", /(\S+) hours? in `azure_subscriptions\.json`/, "bin/commands/az", "KEPT_MS", 60 * MINUTE],
  ["docs/brokers.md", /at most (\S+) characters/, "lib/broker", "MAX_COMMAND_LINE"],
  ["docs/brokers.md", /time limit \((\S+) seconds\)/, "lib/broker", "silentMs", SECOND],
  ["docs/browser_sign_in.md", /at most (\S+) columns/, "bin/cli", "COLUMNS"],
  ["docs/browser_sign_in.md", /default for the browser is (\S+) minutes/, "lib/oauth", "SIGN_IN_LIMIT_MS", MINUTE],
  ["docs/browsers.md", /At most (\S+) requests run at once/, "bin/commands/browser_host", "MAX_PENDING"],
  ["docs/browsers.md", /more than (\S+) MiB/, "bin/commands/browser_host", "MAX_MESSAGE", MIB],
  ["docs/browsers.md", /then have (\S+) seconds/, "bin/commands/browser_host", "LINGER_MS", SECOND],
  ["docs/browsers.md", /at most once in (\S+) minutes/, "lib/broker/cookie_pause", "PAUSE_MS", MINUTE],
  ["docs/cache.md", /as by Ctrl-Z: (\S+) seconds/, "lib/files", "RUNNING_MS", SECOND],
  ["docs/cache.md", /without `--allow-run`: (\S+) seconds/, "lib/files", "UNKNOWN_MS", SECOND],
  ["docs/cache.md", /changed in the last (\S+) seconds/, "lib/files", "SETTLED_MS", SECOND],
  ["docs/cache.md", /expire after (\S+) day/, "lib/cache", "DAMAGED_S", 24 * 60 * 60],
  ["docs/command_line.md", /runs up to (\S+) s longer/, "bin/latchkey", "RENEWAL_GRACE_MS", SECOND],
  ["docs/command_line.md", /does not respond within (\S+) s\b/, "lib/sources", "RENEWAL_MS", SECOND],
  ["docs/command_line.md", /refresh token: (\S+) s at Microsoft/, "lib/sources", "REPEATABLE_HOLD_MS", SECOND],
  ["docs/command_line.md", /the printed token has (\S+) s left/, "lib/token", "LEFT_TO_CALLER_MS", SECOND],
  ["docs/command_line.md", /for (\S+) s at most/, "lib/sources", "MAX_HOLD_MS", SECOND],
  ["docs/command_line.md", /longer than (\S+) seconds, latchkey says/, "bin/cli", "LONG_WAIT_MS", SECOND],
  ["docs/containers.md", /(\S+) requests run at once/, "bin/commands/serve", "MAX_REQUESTS"],
  ["docs/containers.md", /more than (\S+) connections/, "bin/commands/serve", "MAX_CONNECTIONS"],
  ["docs/containers.md", /none opens for (\S+) minutes/, "bin/commands/serve", "PROMPT_PAUSE_MS", MINUTE],
  ["docs/containers.md", /more than (\S+) KiB/, "lib/http/server", "MAX_HEAD_BYTES", KIB],
  ["docs/containers.md", /has (\S+) seconds to send its request/, "lib/http", "CLIENT_LIMIT_MS", SECOND],
  ["docs/containers.md", /responses up to (\S+) MiB/, "lib/http/unix_socket", "MAX_ANSWER_BYTES", MIB],
  ["docs/git.md", /reads up to (\S+) MiB/, "bin/commands/git", "MAX_REQUEST_BYTES", MIB],
  ["docs/git.md", /(\S+) bytes a line/, "bin/commands/git", "MAX_LINE_BYTES"],
  ["docs/library.md", /at least (\S+) more minutes/, "lib/token", "EXPIRY_MARGIN_MS", MINUTE],
  ["docs/library.md", /(\S+) s for a broker that runs/, "lib/broker", "pingMs", SECOND],
  ["docs/library.md", /(\S+) s for one that the bus starts/, "lib/broker", "startMs", SECOND],
  ["docs/library.md", /(\S+) s for accounts/, "lib/broker", "accountsMs", SECOND],
  ["docs/library.md", /(\S+) s for a token/, "lib/broker", "silentMs", SECOND],
  ["docs/mcp.md", /renews a token (\S+) minutes before/, "lib/token", "EXPIRY_MARGIN_MS", MINUTE],
  ["docs/mcp.md", /at most (\S+) MiB either way/, "bin/commands/mcp", "MAX_MESSAGE_BYTES", MIB],
  ["docs/mcp.md", /at most (\S+) new tokens/, "lib/oauth", "MAX_NEW_TOKENS"],
  ["SECURITY.md", /there is none for (\S+) minutes/, "bin/commands/serve", "PROMPT_PAUSE_MS", MINUTE],
  ["SECURITY.md", /waits for it for at most (\S+) s\b/, "lib/sources", "MAX_HOLD_MS", SECOND],
];

describe("numbers in documents are those of the code", () => {
  for (const [document, place, sources, constant, unit = 1] of NUMBERS) {
    test(`${document}: ${constant} of ${sources}`, () => {
      const [, shown] = place.exec(read(document).replaceAll(/\s+/g, " ")) ?? [];
      if (shown === undefined) throw new Error(`${document} has no ${place}: correct NUMBERS`);
      expect(numberOf(shown) * unit).toBe(constantBelow(sources, constant));
    });
  }
});

test("documents name the versions that the code has", () => {
  const all = documents.map((file) => [file, read(file).replaceAll(/\s+/g, " ")] as const);
  const { version } = JSON.parse(read("package.json"));
  const { packages } = JSON.parse(read("package-lock.json"));
  const wrong = all.flatMap(([file, text]) =>
    [
      ...[...text.matchAll(/\bVersion (\d+\.\d+\.\d+) is not published\b/g)].filter(([, own]) => own !== version),
      ...[...text.matchAll(/\bnpm:([\w-]+)@([\d.]+)/g)]
        .filter(([, name, its]) => packages[`node_modules/${name}`]?.version !== its),
    ].map(([place]) => `${file}: ${place}`)
  );
  expect(wrong).toEqual([]);
  const strict = /FIRST_VERSIONS = \{ Deno: "([\d.]+)", Bun: "([\d.]+)", Node: "([\d.]+)" \}/;
  const [, deno, bun, node] = strict.exec(sourcesBelow("bin/commands/serve")) ?? [];
  expect(read("docs/agents.md")).toContain(`needs Deno ${deno}, Bun ${bun} or Node ${node}`);
  const [, azureCli] = /AZURE_CLI_VERSION = "([\d.]+)"/.exec(sourcesBelow("bin/commands/az")) ?? [];
  expect(read("docs/azure.md")).toContain(`${azureCli}, the version of Azure CLI`);
});

/** Returns the value of a constant, or of a property with a number, below a folder, or in the files whose paths begin so. */
function constantBelow(sources: string, name: string): number {
  const pattern = new RegExp(`\\b${name}(?:: number)?(?: =|:) ([\\d_.]+(?: \\* [\\d_.]+)*)[,;]`, "g");
  const values = [...sourcesBelow(sources).matchAll(pattern)].map(([, product]) =>
    product!.replaceAll("_", "").split(" * ").reduce((value, factor) => value * Number(factor), 1)
  );
  if (values.length !== 1) throw new Error(`${sources} has ${values.length} numbers ${name}: correct NUMBERS`);
  return values[0]!;
}

function sourcesBelow(path: string): string {
  return commitableFiles().filter((file) => file.startsWith(path) && file.endsWith(".ts")).map(read).join("\n");
}

function numberOf(shown: string): number {
  if (/^an?$/i.test(shown)) return 1;
  const index = NUMERALS.indexOf(shown.toLowerCase());
  return index >= 0 ? index : Number(shown.replaceAll(",", ""));
}

const NUMERALS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/** Commands of shells themselves, and programs of every Unix, of which documents show what they do. */
const OF_SHELLS =
  /^(and|alias|cd|chmod|echo|end|eval|exit|export|fi|for|if|install|mkdir|rm|set|source|tar|timeout|umask)$/;

/** What runs the other commands that documents show, or why nothing does. The longest beginning of a command counts. */
const RUN_BY: Readonly<Record<string, string>> = {
  ".ci/run": "not run: it runs this suite",
  "az": "peers/azure_cli_login_peer.ts",
  "azd": "not run: Go's proxy does not have it",
  "bun --conditions": "bin/runtimes_test.ts",
  "bun add": "not run: a registry has the package only once it is published",
  "bwrap": "not run: its sandbox is not what is tested",
  "claude": "not run: it needs an account",
  "curl": "bin/shell_test.ts",
  "curl --unix-socket": "bin/commands/serve/upstream_test.ts",
  "deno add": "not run: a registry has the package only once it is published",
  "deno run": "bin/runtimes_test.ts",
  "docker": "not run: it needs a daemon",
  "git": "bin/commands/git/install_test.ts",
  "kubectl": "peers/kubernetes_peer.ts",
  "node --conditions": "bin/runtimes_test.ts",
  "node tests/tools/run.js": "examples/console_app_test.ts",
  "npm install": "artifacts/npm_package_artifact.ts",
  "npm pack": "artifacts/npm_package_artifact.ts",
  "npx @modelcontextprotocol/inspector": "peers/mcp_peer.ts",
  "npx mcp-remote": "not run: it is another project's client, which latchkey mcp replaces",
  "podman": "not run: it needs a daemon",
  "psql": "bin/shell_test.ts",
  "qemu-aarch64-static": "arm64/command_line_arm64.ts",
  "sha256sum": "artifacts/release_artifact.ts",
  "ssh": "not run: it needs a second machine",
};

describe("what documents show in a shell", () => {
  test.each(documents)("of %s is read by the command line, is a script of npm, or is run by a test", (file) => {
    const lines = shellLines(file).map((line) => line.replace(/^(\(|if ! |\w+=("[^"]*"|(?!\$\()\S*) +)+/, ""));
    const others = lines.filter((line) => !/^((\w+=\$\()?latchkey|npm (run|test))\b/.test(line));
    const unknown = others.filter((line) => !OF_SHELLS.test(line.split(/\s/)[0]!) && evidenceOf(line) === undefined);
    expect(unknown).toEqual([]);
  });

  test("has evidence that is there", () => {
    const suites = Object.values(RUN_BY).filter((evidence) => !evidence.startsWith("not run: "));
    expect(suites.filter((suite) => !existsSync(join(root, "tests", suite)))).toEqual([]);
  });
});

function evidenceOf(line: string): string | undefined {
  const found = Object.keys(RUN_BY).filter((begin) =>
    line.startsWith(begin) && /^($|[\s=])/.test(line.slice(begin.length))
  );
  return RUN_BY[found.toSorted((one, other) => other.length - one.length)[0] ?? ""];
}
