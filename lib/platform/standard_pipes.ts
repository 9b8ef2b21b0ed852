/**
 * Standard input and output as another program speaks through them: bytes, and neither side waits for the other.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";

/** What comes in on standard input, until its end. */
export function standardInput(): AsyncIterable<Uint8Array> {
  return denoNamespace()?.stdin.readable ?? globalThis.process.stdin;
}

/**
 * Writes to standard output without holding up the program when its reader is slow.
 *
 * @returns What writes: bytes that are given before others are written before them. It fails with an error that `isBrokenPipe`
 * knows when nobody reads any more.
 */
export function standardOutput(): (bytes: Uint8Array) => Promise<void> {
  const deno = denoNamespace();
  if (!deno) return writeByNode;
  let before = Promise.resolve();
  return (bytes) => before = before.then(() => writeAll(deno, bytes));
}

async function writeAll(deno: typeof Deno, bytes: Uint8Array): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await deno.stdout.write(left));
}

/** By the stream: Node would not end before a write of its file functions, which a reader that stands still never lets end. */
function writeByNode(bytes: Uint8Array): Promise<void> {
  const { stdout } = globalThis.process;
  // Whoever writes is told of a failure; without a listener it would end the program.
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => {});
  return new Promise((resolve, reject) => stdout.write(bytes, (error) => error ? reject(error) : resolve()));
}
