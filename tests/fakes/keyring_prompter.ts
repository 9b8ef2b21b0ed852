/** Who answers a private keyring's prompts, by the keyring's real protocol. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findTool } from "../tools/find_tool.js";

export interface KeyringPrompter {
  /** Its unique bus name, for the keyring. */
  readonly name: string;
  /** Resolves when the next prompt is shown, or has gone. */
  next(event: "shown" | "gone"): Promise<void>;
  /** How many prompts have been shown. */
  count(): number;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
}

/**
 * Starts a prompter.
 *
 * @param busAddress The keyring's bus.
 * @param answers What it answers, in order: `password:TEXT`, `cancel`, or `ignore`, which leaves the prompt standing.
 */
export async function startKeyringPrompter(
  busAddress: string,
  answers: readonly (`password:${string}` | "cancel" | "ignore")[],
): Promise<KeyringPrompter> {
  const program = fileURLToPath(new URL("play_prompter.ts", import.meta.url));
  const child: ChildProcess = spawn(findTool("bun"), [program, ...answers], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: busAddress },
  });
  const lines = createInterface({ input: child.stdout! }), events: string[] = [];
  const waiting: (() => void)[] = [];
  lines.on("line", (line) => {
    events.push(line);
    for (const wake of waiting.splice(0)) wake();
  });
  child.once("exit", () => waiting.splice(0).forEach((wake) => wake()));
  let seen = 0;
  const nextLine = async (): Promise<string> => {
    while (seen === events.length) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error("The prompter has ended");
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    return events[seen++]!;
  };
  return {
    name: await nextLine(),
    async next(event) {
      while (await nextLine() !== event);
    },
    count: () => events.filter((event) => event === "shown").length,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
