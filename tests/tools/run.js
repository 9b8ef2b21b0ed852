// node tests/tools/run.js bun|deno|tsc ARGUMENTS…: the tool that npm brings, after setting up what the script needs.
import { spawn } from "node:child_process";
import process from "node:process";
import { findTool } from "./find_tool.js";
import { setUp } from "./set_up.js";

const [tool, ...args] = process.argv.slice(2);
if (tool !== "bun" && tool !== "deno" && tool !== "tsc") {
  process.stderr.write("usage: run.js bun|deno|tsc ARGUMENTS…\n");
  process.exit(2);
}

try {
  setUp(args[0]);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

// tsc is a script, and Bun runs it wherever this does.
const command = tool === "tsc" ? [findTool("bun"), findTool("tsc")] : [findTool(tool)];
const child = spawn(command[0], [...command.slice(1), ...args], { stdio: "inherit" });

const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
for (const signal of signals) {
  process.on(signal, () => {
    // Ctrl-C at a terminal has reached the child already, and twice would mean "at once".
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}

child.on("error", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
child.on("exit", (code, signal) => {
  for (const each of signals) process.removeAllListeners(each);
  if (signal) process.kill(process.pid, signal);
  else process.exitCode = code;
});
