// npm run check: what tools check in the sources. The last line is the sum, and before it stands what a tool says.
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { findTool } from "./find_tool.js";
import { printSum } from "./test_run.ts";

interface Check {
  readonly name: string;
  readonly command: readonly string[];
}

const root = new URL("../../", import.meta.url);

/** deno.json is given to Deno only where its imports are not looked up: JSR may be out of reach. */
const checks: readonly Check[] = [
  { name: "deno fmt", command: [findTool("deno"), "fmt", "--check", "--config=deno.json"] },
  { name: "deno lint", command: [findTool("deno"), "lint", "--config=deno.json"] },
  { name: "biome lint", command: [findTool("bun"), findTool("biome"), "lint", "--error-on-warnings"] },
  { name: "tsc", command: [findTool("bun"), findTool("tsc"), "--project", "."] },
  // A project of its own, since isolatedDeclarations excludes allowJs.
  {
    name: "tsc, explicit types of exports",
    command: [findTool("bun"), findTool("tsc"), "--project", "tsconfig.declarations.json"],
  },
  {
    name: "deno check",
    command: [findTool("deno"), "check", "--no-config", "--node-modules-dir=manual", ...publishedEntries()],
  },
];

const losses: string[] = [];
for (const { name, command } of checks) {
  const complaint = await complaintOf(command);
  process.stdout.write(`${complaint === undefined ? "ok    " : "FAILED"} ${name}\n`);
  if (complaint !== undefined) losses.push(`${name}\n${complaint}`);
}
printSum({ passed: checks.length - losses.length, losses });

/** Returns what a tool says if it finds something wrong. */
async function complaintOf(command: readonly string[]): Promise<string | undefined> {
  const child = Bun.spawn([...command], {
    cwd: fileURLToPath(root),
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const read = (stream: ReadableStream): Promise<string> => new Response(stream).text();
  const [status, ...output] = await Promise.all([child.exited, read(child.stdout), read(child.stderr)]);
  return status === 0 ? undefined : output.join("");
}

function publishedEntries(): readonly string[] {
  const { exports } = JSON.parse(readFileSync(new URL("deno.json", root), "utf8"));
  return Object.values(exports);
}
