// npm run api: the API reference of what programs import, as pages in dist/api.
import { mkdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { findTool } from "./find_tool.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { name, exports } = JSON.parse(readFileSync(`${root}deno.json`, "utf8"));
/** The command line is called, not imported. */
const entries = Object.entries<string>(exports).filter(([entry]) => entry !== "./cli").map(([, file]) => file);
// By package.json's names, since JSR may be out of reach.
const options = [
  "--html",
  `--name=${name}`,
  "--output=dist/api",
  "--no-config",
  "--node-modules-dir=manual",
  "--quiet",
];
mkdirSync(`${root}dist`, { recursive: true });
const child = Bun.spawn([findTool("deno"), "doc", ...options, ...entries], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
});
process.exitCode = await child.exited;
if (process.exitCode === 0) process.stdout.write("Written: dist/api/index.html\n");
