/**
 * Reads a stream of server-sent events of an MCP server, and writes the one that MCP's SDK gets in its place: without the messages,
 * with all that the SDK needs to open the stream again.
 *
 * @module
 */

/** Stands for an answer that went to the client, so that the SDK does not resume the stream to get it. */
export const ANSWERED: string = JSON.stringify({ jsonrpc: "2.0", id: 0, result: {} });

/**
 * Joins many strings. Strings of like length are joined to longer ones, so that there are never many, and none is copied often,
 * however small the pieces are that a server sends.
 */
class TextBuilder {
  #pieces: string[] = [];

  add(text: string): void {
    this.#pieces.push(text);
    for (;;) {
      const [one, other] = this.#pieces.slice(-2);
      if (one === undefined || other === undefined || one.length > other.length) return;
      this.#pieces.splice(-2, 2, [one, other].join(""));
    }
  }

  /** Returns the whole string, and begins again. */
  take(): string {
    const text = this.#pieces.join("");
    this.#pieces = [];
    return text;
  }
}

/** Splits decoded text into lines. */
class LineSplitter {
  readonly #line = new TextBuilder();
  #length = 0;
  #isCut = false;
  #endsInReturn = false;

  /** Length of the unfinished line. */
  get unfinished(): number {
    return this.#length;
  }

  /** Yields the lines that a chunk completes; `undefined` for one that was cut. */
  *push(chunk: string): Generator<string | undefined> {
    if (chunk === "") return;
    let from = this.#endsInReturn && chunk.startsWith("\n") ? 1 : 0; // the second half of a line end
    this.#endsInReturn = chunk.endsWith("\r");
    for (const { index, 0: lineEnd } of chunk.matchAll(/\r\n|\r|\n/g)) {
      if (index < from) continue;
      this.#add(chunk.slice(from, index));
      const line = this.#line.take();
      const isCut = this.#isCut;
      this.#length = 0;
      this.#isCut = false;
      from = index + lineEnd.length;
      yield isCut ? undefined : line;
    }
    this.#add(chunk.slice(from));
  }

  /** Forgets the unfinished line, and what is still to come of it. */
  cut(): void {
    this.#isCut = this.#length > 0;
    this.#line.take();
  }

  #add(text: string): void {
    this.#length += text.length;
    if (!this.#isCut && text !== "") this.#line.add(text);
  }
}

/** A server-sent event while it is read. Every line counts toward its limit, with data or without. */
class EventReader {
  readonly #limit: number;
  readonly #data = new TextBuilder();
  #type = "";
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isTooLong(): boolean {
    return this.#length > this.#limit;
  }

  /** Returns true if a line of this length makes the event too long. */
  isTooLongWith(length: number): boolean {
    return this.#length + length > this.#limit;
  }

  /** Counts a line. Nothing is kept of an event that is too long. */
  count(length: number): void {
    this.#length += length + 1;
    if (this.isTooLong) this.#data.take();
  }

  /** Reads a line. Returns it if the SDK needs it. */
  read(line: string): string | undefined {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#type = value;
    if (name === "data" && !this.isTooLong) this.#data.add(`${value}\n`);
    return name === "id" || name === "retry" ? `${line}\n` : undefined;
  }

  /** Ends the event. Returns the text of its message; empty if it has none. */
  end(): string {
    const text = this.#data.take().slice(0, -1);
    const isMessage = this.#type === "" || this.#type === "message";
    this.#type = "";
    this.#length = 0;
    return isMessage ? text : "";
  }
}

/**
 * Takes the messages out of a stream of server-sent events (WHATWG HTML, 9.2), each before the next is read, so that a slow
 * client slows the server down. Yields the lines that the SDK needs: ids, and marks of the answers.
 */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  deliver: (text: string) => Promise<boolean>,
  onTooLong: () => Promise<void>,
  limit: number,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const lines = new LineSplitter();
  const event = new EventReader(limit);

  async function count(length: number): Promise<void> {
    const isKnown = event.isTooLong;
    event.count(length);
    if (event.isTooLong && !isKnown) await onTooLong();
  }

  for await (const chunk of body) {
    for (const line of lines.push(decoder.decode(chunk, { stream: true }))) {
      if (line === undefined) continue; // it was counted when it was cut
      if (line === "") {
        const { isTooLong } = event;
        const text = event.end();
        yield isTooLong || text !== "" && await deliver(text) ? `data: ${ANSWERED}\n\n` : "data:\n\n";
        continue;
      }
      await count(line.length);
      const needed = event.read(line);
      if (needed !== undefined) yield needed;
    }
    if (!event.isTooLongWith(lines.unfinished)) continue;
    await count(lines.unfinished);
    lines.cut();
  }
}

/** The SDK forgets where a resumed stream was if it breaks again before an event. */
export async function* resumedAfter(lastId: string | null, lines: AsyncIterable<string>): AsyncGenerator<string> {
  if (lastId !== null) yield `id: ${lastId}\ndata:\n\n`;
  yield* lines;
}

export function streamOf(lines: AsyncGenerator<string>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await lines.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: async () => void await lines.return(undefined),
  }, { highWaterMark: 0 });
}
