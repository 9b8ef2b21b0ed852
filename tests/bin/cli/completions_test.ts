// The completions at work in real shells: bash and zsh at a terminal, as a person types, and fish by its own `complete`.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  bashCompletions,
  fishCompletions,
  powershellCompletions,
  zshCompletions,
} from "../../../bin/cli/completions.ts";
import type { CommandSyntax } from "../../../bin/cli/options.ts";
import { denoRun } from "../../tools/deno_command.ts";
import { type Home, openHome } from "../../fixture.ts";
import { runLatchkey, runProgram } from "../run_latchkey.ts";
import { startLatchkey } from "../running_latchkey.ts";

/** Commands with all that a table may have, and letters that a shell or its completions might take for their own. */
const ODD: readonly CommandSyntax[] = [{
  name: "wrap",
  summary: 'Don\'t `run` [this]: $(false) \\ "that"',
  usage: "wrap --to FOLDER -- COMMAND",
  operands: Infinity,
  operand: { value: "COMMAND" },
  options: [
    { name: "to", alias: "t", kind: "text", value: "FOLDER", summary: "Who's [it]: 100% $HOME \\ `id`" },
    { name: "how", kind: "list", choices: ["it's", "$(false)", "two words"], summary: "How" },
    { name: "loud", alias: "l", kind: "count", summary: "Say more" },
  ],
  examples: [],
}, { name: "pick", summary: "Pick", usage: "pick FILE", operands: 2, options: [], examples: [] }];
const OF_FILE: CommandSyntax = {
  name: "CONFIG.json",
  summary: "A file",
  usage: "",
  operands: 1,
  options: [],
  examples: [],
};

let home: Home;

beforeAll(async () => {
  home = openHome();
  for (const folder of ["bin", "here", "here/in a folder", "fish"]) mkdirSync(join(home.path, folder));
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(home.config, "config.json"), JSON.stringify({ profiles: { "work-at-contoso": {} } }), {
    mode: 0o600,
  });
  writeFileSync(join(home.path, "here/a file.txt"), "");
  writeFileSync(join(home.path, "here/parameters.json"), "");
  // What the shells ask is answered by the command line; what was typed is shown word by word.
  const command = [
    ...denoRun(),
    `--allow-read=${home.config}`,
    "--allow-sys=uid",
    "--allow-env=HOME,XDG_CONFIG_HOME",
    join(import.meta.dir, "../../../bin/latchkey.ts"),
  ];
  writeFileSync(
    join(home.path, "bin/latchkey"),
    `#!/bin/sh
if [ "$*" = "completions --profiles" ]; then exec ${command.map((word) => `'${word}'`).join(" ")} "$@"; fi
printf 'typed:'; printf '<%s>' "$@"; echo .
`,
  );
  chmodSync(join(home.path, "bin/latchkey"), 0o755);
  const odd = { bash: bashCompletions, zsh: zshCompletions, fish: fishCompletions, powershell: powershellCompletions };
  for (const [shell, completions] of Object.entries(odd)) {
    const { stdout, stderr } = await runLatchkey(["completions", shell], { permissions: [] });
    expect(stderr).toBe("");
    writeFileSync(join(home.path, `latchkey.${shell}`), stdout);
    writeFileSync(join(home.path, `odd.${shell}`), completions(ODD, OF_FILE));
  }
});
afterAll(() => home[Symbol.dispose]());

const SHELLS = {
  bash: { command: ["bash", "--norc", "--noprofile", "-i"], setUp: "bind 'set bell-style none'" },
  zsh: { command: ["zsh", "-f", "-i"], setUp: "unsetopt beep; autoload -Uz compinit && compinit -u -D" },
} as const;

/** Types lines at a shell, each with tabs in it, and tells what words the command line was called with. */
async function typed(shell: keyof typeof SHELLS, lines: readonly string[], script = "latchkey"): Promise<string[]> {
  const { command, setUp } = SHELLS[shell], read: string[] = [];
  const running = startLatchkey([...command], {
    terminal: true,
    env: { ...environment(), PS1: "ready%# ", TERM: "dumb", INPUTRC: "/dev/null" },
  });
  await running.printed(/ready/);
  running.type(`cd ~/here; ${setUp}; source ~/${script}.${shell}; echo sour''ced\n`);
  await running.printed(/sourced/);
  for (const [index, line] of lines.entries()) {
    running.type(`${line}\n`);
    const pattern = new RegExp(`(?:typed:(.*)\\.\\r?\\n[^]*?){${index + 1}}`);
    read.push((await running.printed(pattern))[1]!);
  }
  running.type("exit\n");
  await running.ended();
  return read;
}

function environment(): Record<string, string> {
  return { ...home.env, PATH: `${join(home.path, "bin")}:${process.env.PATH}`, LC_ALL: "C.UTF-8" };
}

/** What fish offers for a line, without the descriptions. */
async function offered(line: string, script = "latchkey"): Promise<string[]> {
  const code = `cd ~/here; source ~/${script}.fish; complete -C ${JSON.stringify(line)}`;
  const { code: status, stdout, stderr } = await runProgram(["fish", "--no-config", "-c", code], environment());
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout.split("\n").filter(Boolean).map((row) => row.split("\t")[0]!);
}

describe.each(["bash", "zsh"] as const)("latchkey completions %s", (shell) => {
  test("completes commands, options and values", async () => {
    const lines = [
      "latchkey tok\t",
      "latchkey tok\t--inter\tnev\t",
      "latchkey token --format=js\t",
      "latchkey token --format=json --no-b\t-vv",
      "latchkey login --client-id azure-c\t",
      "latchkey comple\tfi\t",
      "latchkey help acc\t",
      "latchkey --ver\t",
      "latchkey para\t --store mem\t",
      "latchkey token --cache-file a\\ f\t",
      "latchkey token --profile wor\t",
    ];
    expect((await typed(shell, lines)).map(alike)).toEqual([
      "<token>",
      "<token><--interactive><never>",
      "<token><--format><json>",
      "<token><--format><json><--no-browser><-vv>",
      "<login><--client-id><azure-cli>",
      "<completions><fish>",
      "<help><accounts>",
      "<--version>",
      "<parameters.json><--store><memory>",
      "<token><--cache-file><a file.txt>",
      "<token><--profile><work-at-contoso>",
    ]);
  });

  test("copes with any table", async () => {
    const lines = [
      "latchkey wr\t--ho\ttwo\t",
      "latchkey wrap --how it\t",
      "latchkey wrap --to in\t",
      "latchkey wrap -lt in\t",
      "latchkey wrap --loud --loud -- printen\t",
      "latchkey pick a\t para\t",
    ];
    expect((await typed(shell, lines, "odd")).map(alike)).toEqual([
      "<wrap><--how><two words>",
      "<wrap><--how><it's>",
      "<wrap><--to><in a folder>",
      "<wrap><-lt><in a folder>",
      "<wrap><--loud><--loud><--><printenv>",
      "<pick><a file.txt><parameters.json>",
    ]);
  });
});

/** One shell writes `--format=json` where the other writes two words, and one leaves the slash of a folder. */
function alike(words: string): string {
  return words.replaceAll(/<(--[\w-]+)=/g, "<$1><").replaceAll("/>", ">");
}

describe("latchkey completions fish", () => {
  test("completes commands, options and values", async () => {
    expect(await offered("latchkey tok")).toEqual(["token"]);
    expect(await offered("latchkey par")).toEqual(["parameters.json"]);
    expect(await offered("latchkey --ver")).toEqual(["--version"]);
    expect(await offered("latchkey help acc")).toEqual(["accounts"]);
    expect(await offered("latchkey token --inter")).toEqual(["--interactive"]);
    expect(await offered("latchkey token --interactive ")).toEqual(["always", "auto", "never"]);
    expect(await offered("latchkey token --format=js")).toEqual(["--format=json"]);
    expect(await offered("latchkey login --client-id azure-c")).toEqual(["azure-cli"]);
    expect(await offered("latchkey token --cache-file a")).toEqual(["a file.txt"]);
    expect(await offered("latchkey completions ")).toEqual(["bash", "fish", "powershell", "zsh"]);
    expect(await offered("latchkey parameters.json --store mem")).toEqual(["memory"]);
    expect(await offered("latchkey token --profile ")).toEqual(["work-at-contoso"]);
  });

  test("copes with any table", async () => {
    expect(await offered("latchkey wrap --how ", "odd")).toEqual(["$(false)", "it's", "two words"]);
    expect(await offered("latchkey wrap --to in", "odd")).toEqual(["in a folder/"]);
    expect(await offered("latchkey wrap -- printen", "odd")).toContain("printenv");
    expect(await offered("latchkey pick a", "odd")).toEqual(["a file.txt"]);
  });
});

test("latchkey completions takes the shells that it knows", async () => {
  expect(await runLatchkey(["completions", "tcsh"], { permissions: [] })).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringContaining("bash, zsh, fish, powershell"),
  });
});

// PowerShell is in neither Debian nor npm: without one, these tests hold what its documentation asks for, and no more.
describe("latchkey completions powershell", () => {
  test("registers a native completer, whose words and descriptions are literal", () => {
    const script = powershellCompletions(ODD, OF_FILE);
    expect(script).toContain("\nRegister-ArgumentCompleter -Native -CommandName latchkey -ScriptBlock {\n");
    expect(script).toContain("param($wordToComplete, $commandAst, $cursorPosition)");
    expect(script).toContain(`, @('wrap', 'Don''t \`run\` [this]: $(false) \\ "that"')`);
    expect(script).toContain("'-t' { $folders = $true; break }");
    expect(script).toContain(
      "'--how' { , @('it''s', 'it''s'); , @('$(false)', '$(false)'); , @('two words', 'two words'); break }",
    );
    // Outside of literals every bracket is closed.
    const bare = script.replaceAll(/^\s*#.*$/gm, "").replaceAll(/'(?:[^']|'')*'|"[^"\n]*"/g, "");
    const open: string[] = [];
    for (const [bracket] of bare.matchAll(/[(){}[\]]/g)) {
      if ("({[".includes(bracket)) open.push(bracket);
      else expect(`${open.pop()}${bracket}`).toMatch(/^(\(\)|\{\}|\[\])$/);
    }
    expect(open).toEqual([]);
  });

  // No registry of packages has PowerShell.
  const pwsh = Bun.which("pwsh");
  if (pwsh) {
    test("completes commands, options and values in PowerShell", async () => {
      const rows = [
        ["latchkey tok", "token"],
        ["latchkey token --inter", "--interactive"],
        ["latchkey token --interactive ", "auto never always"],
        ["latchkey token --interactive=n", "--interactive=never"],
        ["latchkey token --profile w", "work-at-contoso"],
      ] as const;
      const code = [
        `. '${join(home.path, "latchkey.powershell")}'`,
        ...rows.map(([line]) => `(TabExpansion2 '${line}' ${line.length}).CompletionMatches.CompletionText -join ' '`),
      ].join("; ");
      const { stdout } = await runProgram([pwsh, "-NoProfile", "-NonInteractive", "-Command", code], environment());
      expect(stdout.trimEnd().split(/\r?\n/)).toEqual(rows.map(([, offered]) => offered));
    });
  }
});
