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
  /** Resolves when the prompt that is to be ignored, by the last answer, is shown, or has gone. */
  next(event: "shown" | "gone"): Promise<void>;
  /** Whether there are answers that no prompt has got. */
  hasAnswersLeft(): Promise<boolean>;
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
  const waiting: Waiting[] = [], events: string[] = [];
  const settle = () => {
    for (const one of waiting.splice(0)) {
      const index = events.findIndex(one.isWanted);
      if (index >= 0) one.resolve(events.splice(index, 1)[0]!);
      else if (child.exitCode !== null || child.signalCode !== null) one.reject(new Error("The prompter has ended"));
      else waiting.push(one);
    }
  };
  const lineOf = (isWanted: Waiting["isWanted"]) =>
    new Promise<string>((resolve, reject) => {
      waiting.push({ isWanted, resolve, reject });
      settle();
    });
  createInterface({ input: child.stdout! }).on("line", (line) => (events.push(line), settle()));
  child.once("exit", settle);
  return {
    name: await lineOf((line) => line.startsWith(":")),
    async next(event) {
      await lineOf((line) => line === event);
    },
    async hasAnswersLeft() {
      child.stdin!.write("\n");
      return await lineOf((line) => line.endsWith("left")) === "left";
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

interface Waiting {
  readonly isWanted: (line: string) => boolean;
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}
