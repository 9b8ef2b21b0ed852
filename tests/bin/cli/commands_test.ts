import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "../../../bin/cli/command_line.ts";
import { COMMANDS, CONFIG_FILE } from "../../../bin/cli/commands.ts";
import type { Option } from "../../../bin/cli/options.ts";

const BIN = join(import.meta.dir, "../../../bin"), ENTRIES = [...COMMANDS, CONFIG_FILE];

// A command that was declared and had no case of its own ran as a configuration file's.
test.each(ENTRIES.map((entry) => [entry.name, entry] as const))(
  "%s loads the command that it names",
  async (_, entry) => {
    const { command } = await entry.load();
    expect({ name: command.name, summary: command.summary }).toEqual({ name: entry.name, summary: entry.summary });
    expect(command.usage.split(/[ ,]/)[0]).toBe(entry.name);
  },
);

test("no two commands have a name or a run in common", async () => {
  const commands = await Promise.all(ENTRIES.map(async ({ load }) => (await load()).command));
  expect(new Set(commands.map(({ name }) => name)).size).toBe(ENTRIES.length);
  expect(new Set(commands.map(({ run }) => run)).size).toBe(ENTRIES.length);
});

test("every module that declares a command is in the table", async () => {
  const files = readdirSync(BIN, { recursive: true, encoding: "utf8" });
  const modules = files.filter((file) => /(?<!\.d)\.ts$/.test(file) && file !== "latchkey.ts");
  const declared: Command[] = [];
  for (const file of modules) {
    const { command } = await import(join(BIN, file)) as { readonly command?: Command };
    if (command) declared.push(command);
  }
  const loaded = await Promise.all(ENTRIES.map(async ({ load }) => (await load()).command));
  expect(declared.map(({ name }) => name).toSorted()).toEqual(loaded.map(({ name }) => name).toSorted());
});

// LATCHKEY_FORMAT=az failed latchkey accounts, unless the formats of all commands were looked through at each start.
test("an option passes over what the environment has for the same option of another command", async () => {
  const commands = await Promise.all(ENTRIES.map(async ({ load }) => (await load()).command));
  const options = commands.flatMap((command) => command.options as readonly Option[])
    .filter(({ choices, environment }) => choices && environment !== false);
  for (const [name, same] of Map.groupBy(options, ({ name }) => name)) {
    const all = new Set(same.flatMap(({ choices }) => choices!));
    const refused = same.flatMap(({ choices, foreignChoices = [] }) =>
      [...all].filter((value) => ![...choices!, ...foreignChoices].includes(value))
    );
    expect({ name, refused }).toEqual({ name, refused: [] });
  }
});
