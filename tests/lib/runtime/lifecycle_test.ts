import { expect, test } from "bun:test";
import { findTool } from "../../tools/find_tool.js";

const module = (name: string): string =>
  JSON.stringify(new URL(`../../../lib/runtime/${name}.ts`, import.meta.url).href);
const IMPORTS = `const { exit, exitSoon } = await import(${module("lifecycle")}); ` +
  `const { write } = await import(${module("terminal")}); `;

test.each([["Bun", process.execPath, ["-e"]], ["Node", findTool("node"), ["--input-type=module", "-e"]]])(
  "exit() on %s waits for nothing that still runs, and what was written is there",
  async (_, runtime, flags) => {
    const code = `${IMPORTS}setInterval(() => {}, 1e6);` +
      `write("stdout", "x".repeat(1e6)); exit(3);`;
    const child = Bun.spawn([runtime, ...flags, code], { stdout: "pipe", stderr: "inherit" });
    expect((await new Response(child.stdout).text()).length).toBe(1e6);
    expect(await child.exited).toBe(3);
  },
);

test.each([["Bun", process.execPath, ["-e"]], ["Node", findTool("node"), ["--input-type=module", "-e"]]])(
  "exitSoon() on %s waits for what ends, and not for what does not",
  async (_, runtime, flags) => {
    const code = `${IMPORTS}setInterval(() => {}, 1e6);` +
      `setTimeout(() => write("stdout", "told"), 10); exitSoon(4);`;
    const child = Bun.spawn([runtime, ...flags, code], { stdout: "pipe", stderr: "inherit" });
    expect(await new Response(child.stdout).text()).toBe("told");
    expect(await child.exited).toBe(4);
  },
);
