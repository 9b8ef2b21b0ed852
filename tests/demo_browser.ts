// What `BROWSER` names in the demonstration: a person at a browser, Chromium where it is there, else a script that reads pages.
// `demo_browser.ts FILE URL` signs in, goes where it is led, and leaves who it was and what the last page said in FILE.
import { renameSync, writeFileSync } from "node:fs";
import process from "node:process";
import { findChromium } from "./tools/find_chromium.js";
import { ScriptedBrowser } from "./tools/scripted_browser.ts";

/** Pages of a sign-in: password, consent, and those between. */
const MAX_PAGES = 10;
const JANE = { login: "jane", password: "any" };

const [file = "", url = ""] = process.argv.slice(2);
const chromium = await import("playwright-core").then(({ chromium }) => chromium, () => undefined);
const executablePath = chromium && findChromium();
// One that cannot be started, as in some containers, is as good as none.
const clicked = executablePath ? await clickThrough(executablePath).catch(() => undefined) : undefined;
const text = clicked ?? await readThrough();
// Renamed when it is whole, since the demonstration reads it as soon as it is there.
writeFileSync(`${file}.part`, JSON.stringify({ browser: clicked === undefined ? "a script" : "Chromium", text }));
renameSync(`${file}.part`, file);

async function clickThrough(executablePath: string): Promise<string> {
  const browser = await chromium!.launch({ executablePath });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const next = page.locator("main, [type=submit]:visible").first();
      await next.waitFor();
      if (new URL(page.url()).pathname.startsWith("/done/")) break; // ours, at last
      for (const [name, value] of Object.entries(JANE)) {
        const field = page.locator(`input[name=${name}]:visible`);
        if (await field.count() > 0) await field.fill(value);
      }
      const before = page.url();
      await next.click();
      await page.waitForURL((to) => to.href !== before);
    }
    return await page.locator("main").innerText();
  } finally {
    await browser.close();
  }
}

async function readThrough(): Promise<string> {
  try {
    await new ScriptedBrowser().open(url, () => false, JANE);
    return "";
  } catch (error) {
    return (error as Error).message.replace(/^.*?: /, "");
  }
}
