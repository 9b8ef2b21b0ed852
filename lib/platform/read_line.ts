/**
 * Reads what a person types, or pastes, at the terminal.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";

/**
 * A line of standard input.
 *
 * @param signal Reads no further, and lets the program end.
 * @returns The line, without its end; at the end of the input it waits for the signal.
 * @throws The signal's reason.
 */
export async function readLine(signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const line = Promise.withResolvers<string>(), end = () => line.reject(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  const stop = denoNamespace() ? readByDeno(line.resolve) : readByNode(line.resolve);
  try {
    return await line.promise;
  } finally {
    signal.removeEventListener("abort", end);
    stop();
  }
}

/** A read under way cannot be called off; the program does not wait for it when it exits. */
function readByDeno(found: (line: string) => void): () => void {
  const reader = denoNamespace()!.stdin.readable.getReader(), decoder = new TextDecoder();
  let text = "";
  const read = async (): Promise<void> => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      text += decoder.decode(next.value, { stream: true });
      const [line, ...rest] = text.split("\n");
      if (rest.length > 0) return found(line!);
    }
  };
  read().catch(() => {}); // nobody can type anything: the browser may still come back
  return () => reader.releaseLock();
}

function readByNode(found: (line: string) => void): () => void {
  const { stdin } = globalThis.process, decoder = new TextDecoder();
  let text = "";
  const read = (chunk: Uint8Array): void => {
    text += decoder.decode(chunk, { stream: true });
    const [line, ...rest] = text.split("\n");
    if (rest.length > 0) found(line!);
  };
  const ignore = (): void => {}; // nobody can type anything: the browser may still come back
  stdin.on("data", read).on("error", ignore).resume();
  return () => {
    // A stream that is paused keeps no program.
    stdin.off("data", read).off("error", ignore).pause();
  };
}
