/** The command line while it runs: what it printed so far, what is typed, and how it ends. */
import { fileURLToPath } from "node:url";
import { openHome } from "../fixture.ts";

/** A run under way. */
export interface RunningLatchkey {
  /** Waits until standard error, or the terminal, has it. Fails when the program ends before. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** Types at the terminal. */
  type(text: string): void;
  /** What Ctrl-C does. */
  interrupt(): void;
  /** Kills it, without a chance to tidy up. */
  kill(): void;
  /** Sends it a signal. */
  signal(name: NodeJS.Signals): void;
  /** Waits for the end. */
  ended(): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
}

/** How it is run. */
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Whether at a terminal: what is printed is then all in `stderr`. @default false */
  readonly terminal?: boolean;
}

/** Starts a program; the environment has little but what is given. Unless that names a home, it has a new one. */
export function startLatchkey(
  command: readonly string[],
  { env = {}, terminal = false }: StartOptions = {},
): RunningLatchkey {
  const quoted = command.map((word) => `'${word}'`).join(" ");
  // Without the echo, what is typed is not among what was printed.
  const all = terminal ? ["script", "-qec", `stty -echo; exec ${quoted}`, "/dev/null"] : [...command];
  const home = openHome();
  const child = Bun.spawn(all, {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env: { NO_COLOR: "1", PATH: process.env.PATH, ...home.env, ...env },
    stdio: [terminal ? "pipe" : "ignore", "pipe", "pipe"],
  });
  const stdout = terminal ? "" : new Response(child.stdout).text();
  let text = "", isOver = false, changed = Promise.withResolvers<void>();
  const notify = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of terminal ? child.stdout : child.stderr) {
      text += decoder.decode(chunk, { stream: true });
      notify();
    }
    isOver = true;
    notify();
  })();

  return {
    async printed(pattern) {
      for (;;) {
        const found = pattern.exec(text);
        if (found) return found;
        if (isOver) throw new Error(`It ended without printing ${pattern}: ${text}`);
        await changed.promise;
      }
    },
    type(typed) {
      child.stdin!.write(typed);
      void child.stdin!.flush();
    },
    interrupt: () => child.kill("SIGINT"),
    kill: () => child.kill("SIGKILL"),
    signal: (name) => child.kill(name),
    async ended() {
      const code = await child.exited;
      await reading;
      home[Symbol.dispose]();
      return { code, stdout: await stdout, stderr: text };
    },
  };
}
