// The manual page, read by the programs that show it.
import { beforeAll, expect, test } from "bun:test";
import { loadGroups } from "../../../bin/cli/commands.ts";
import { manualPage } from "../../../bin/cli/help.ts";
import { runLatchkey } from "../run_latchkey.ts";

let page: string;

beforeAll(async () => {
  const { code, stdout, stderr } = await runLatchkey(["man"], { permissions: [] });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  page = stdout;
});

test.each([
  ["groff", ["groff", "-man", "-ww", "-Tutf8", "-z"]],
  ["mandoc", ["mandoc", "-Tlint", "-Wall"]],
  ["mandoc for the web", ["mandoc", "-Thtml", "-Ofragment"]],
])("%s finds nothing wrong in it", async (_name, command) => {
  const { code, stderr, stdout } = await read(command, page);
  expect({ code, stderr, lint: command.includes("-Tlint") ? stdout : "" }).toEqual({ code: 0, stderr: "", lint: "" });
});

test("man shows every command and every option", async () => {
  const { code, stdout } = await read(["man", "-l", "-"], page), words = stdout.replaceAll(/\s+/g, " ");
  expect(code).toBe(0);
  for (const command of (await loadGroups()).flatMap((group) => group.commands)) {
    expect(words).toContain(` latchkey ${command.usage.replaceAll(/\s+/g, " ")} `);
    for (const { name } of command.options) expect(words).toContain(` --${name} `);
    for (const [line] of command.examples) expect(words).toContain(line);
  }
  expect(words).toContain("LATCHKEY_CLIENT_ID As --client-id.");
});

test("manualPage keeps what roff would take for its own", async () => {
  const odd = ".TH 'x' \\fI ~ ^ ` \"y\" --z";
  const command = {
    ...{ name: "odd", summary: odd, usage: odd, operands: 0, examples: [[odd, odd]] as const },
    options: [{ name: "o", kind: "text" as const, value: odd, summary: odd, default: odd }],
  };
  const text = manualPage([{ title: "Odd", commands: [command] }], { version: "0.1.0", date: "2026-01-31" });
  expect(await read(["mandoc", "-Tlint", "-Wall"], text)).toMatchObject({ code: 0, stdout: "" });
  const { stdout } = await read(["man", "-l", "-"], text);
  expect(stdout.replaceAll(/\s+/g, " ").split(odd).length - 1).toBe(8);
});

async function read(
  command: readonly string[],
  text: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([...command], {
    env: {
      PATH: process.env.PATH,
      LC_ALL: "C.UTF-8",
      MANPAGER: "cat",
      MANWIDTH: "200",
      MAN_KEEP_FORMATTING: undefined,
    },
    stdio: [new TextEncoder().encode(text), "pipe", "pipe"],
  });
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, stdout, stderr };
}
