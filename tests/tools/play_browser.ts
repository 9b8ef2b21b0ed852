// What `BROWSER` names in tests: `bun play_browser.ts FILE URL` signs jane in, goes where it is led, and leaves the last page's text in FILE.
import { renameSync, writeFileSync } from "node:fs";
import process from "node:process";
import { ScriptedBrowser } from "./scripted_browser.ts";

const [file = "", url = ""] = process.argv.slice(2);
let text: string;
try {
  await new ScriptedBrowser().open(url, () => false, { login: "jane", password: "x" });
  text = "";
} catch (error) {
  text = (error as Error).message;
}
writeFileSync(`${file}.new`, text);
renameSync(`${file}.new`, file);
