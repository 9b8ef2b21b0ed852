// A program that stands for the browser is really started, and the surroundings are really looked at.
import { expect, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { openBrowser, readSessionFacts } from "../../../lib/runtime/browser.ts";
import { useStage } from "../../fixture.ts";

const stage = useStage();

test("openBrowser() starts $BROWSER with the address as one argument", async () => {
  const browser = join(stage.folder, "my browser"), url = "https://login.contoso.com/?a=b&c='d'&e=$(f)";
  await writeFile(browser, '#!/bin/sh\nfor word; do echo "$word"; done > "$0.out"\n', { mode: 0o755 });
  const surroundings = { ...await readSessionFacts(), variable: variables({ BROWSER: `"${browser}" --new-window` }) };
  expect(await openBrowser(url, { session: surroundings })).toBe(true);
  expect(await readFile(`${browser}.out`, "utf8")).toBe(`--new-window\n${new URL(url).href}\n`);
});

test("openBrowser() says that nothing was opened", async () => {
  const variable = variables({ BROWSER: `${join(stage.folder, "nowhere")}:false` });
  expect(
    await openBrowser("https://login.contoso.com", {
      session: { system: "linux", isWsl: false, isContainer: false, variable },
    }),
  ).toBe(false);
});

test("readSurroundings() tells what is around", async () => {
  const { system, isWsl, variable } = await readSessionFacts();
  expect(system).toBe(process.platform);
  expect(isWsl).toBe(/microsoft/i.test(release()));
  expect(variable("PATH")).toBe(process.env.PATH);
  expect(variable("LATCHKEY_NOT_SET")).toBeUndefined();
});

function variables(all: Readonly<Record<string, string>>): (name: string) => string | undefined {
  return (name) => all[name];
}
