import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findTool } from "./find_tool.js";

/** A check of the sources that a tool does. */
export interface Check {
  readonly name: string;
  readonly command: readonly string[];
}

const root = new URL("../../", import.meta.url);

/** All checks. deno.json is given to Deno only where its imports are not looked up: JSR may be out of reach. */
export const checks: readonly Check[] = [
  { name: "deno fmt", command: [findTool("deno"), "fmt", "--check", "--config=deno.json"] },
  { name: "deno lint", command: [findTool("deno"), "lint", "--config=deno.json"] },
  { name: "biome lint", command: [findTool("bun"), findTool("biome"), "lint", "--error-on-warnings"] },
  { name: "tsc", command: [findTool("bun"), findTool("tsc"), "--project", "."] },
  {
    name: "deno check",
    command: [findTool("deno"), "check", "--no-config", "--node-modules-dir=manual", ...publishedEntries()],
  },
];

/** What the tool says when it finds something wrong, and `undefined` when all is well. */
export async function complaintOf({ command }: Check): Promise<string | undefined> {
  const child = Bun.spawn([...command], {
    cwd: fileURLToPath(root),
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = (stream: ReadableStream): Promise<string> => new Response(stream).text();
  const [status, ...output] = await Promise.all([child.exited, text(child.stdout), text(child.stderr)]);
  return status === 0 ? undefined : output.join("");
}

function publishedEntries(): readonly string[] {
  const { exports } = JSON.parse(readFileSync(new URL("deno.json", root), "utf8"));
  return Object.values(exports);
}
