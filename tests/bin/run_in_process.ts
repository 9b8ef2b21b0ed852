/** The command line inside the test's own process: a command takes 9 ms so, and 50 to 110 as a program. */
import { main } from "../../bin/latchkey.ts";
import { renewalsInFlight } from "../../lib/async.ts";
import type { SignalName, StreamName } from "../../lib/runtime/host.ts";
import { openHome } from "../fixture.ts";
import type { Run } from "./run_latchkey.ts";

/** How it is run. */
export interface InProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What standard input has. @default nothing */
  readonly input?: string | Uint8Array<ArrayBuffer> | undefined;
  /** Streams that are terminals. @default none */
  readonly terminals?: readonly StreamName[];
  /** Aborts to send a signal: its reason is the signal's name. */
  readonly signal?: AbortSignal;
}

/** Runs that wait for the one before: a process has one environment. */
let queue: Promise<unknown> = Promise.resolve();

/** Runs the command line to its end; the environment has nothing but what is given, and a new home. */
export async function runInProcess(words: readonly string[], options: InProcessOptions = {}): Promise<Run> {
  const run = queue.then(() => runNow(words, options));
  queue = run.catch(() => {});
  return await run;
}

async function runNow(
  words: readonly string[],
  { env = {}, input = "", terminals = [], signal }: InProcessOptions,
): Promise<Run> {
  using home = openHome();
  const written = { stdout: "", stderr: "" };
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  const code = await main(words, {
    environment: { NO_COLOR: "1", PATH: process.env.PATH ?? "", ...home.env, ...env },
    input: new Blob([input]).stream(),
    terminals,
    write: (stream, bytes) => void (written[stream] += decoders[stream].decode(bytes, { stream: true })),
    onSignals(names, listener) {
      const onAbort = (): void => {
        const name = signal?.reason as SignalName;
        if (names.includes(name)) listener(name);
      };
      signal?.addEventListener("abort", onAbort);
      return { [Symbol.dispose]: () => signal?.removeEventListener("abort", onAbort) };
    },
  });
  await renewalsInFlight.drained();
  return { code, ...written };
}
