import { describe, expect, test } from "bun:test";
import { eventsOf } from "../../../../bin/commands/mcp/event_stream.ts";

/** Bytes in chunks of a length. */
function* chunksOf(text: string, length: number): Generator<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
}

const answer = { jsonrpc: "2.0", id: 1, result: {} };

async function read(text: string, { length = 1000, limit = 1000 } = {}) {
  const delivered: string[] = [], kept: string[] = [];
  let tooLong = 0;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunksOf(text, length)) controller.enqueue(chunk);
      controller.close();
    },
  });
  const deliver = (each: string) => Promise.resolve(delivered.push(each) > 0 && each.includes("result"));
  for await (const line of eventsOf(stream, deliver, () => Promise.resolve(void tooLong++), limit)) kept.push(line);
  return { delivered, kept: kept.join(""), tooLong };
}

describe("eventsOf()", () => {
  const text = ':comment\r\nid: 7\r\nretry: 5\r\ndata: {"a":\rdata:1}\r\n\r\nevent: other\ndata: x\n\n' +
    `event:message\ndata:${JSON.stringify(answer)}\nid:8\n\ndata: unfinished`;
  test.each([1, 2, 3, 5, 1000])(
    "takes messages out, and keeps ids and marks, in chunks of %d bytes",
    async (length) => {
      const { delivered, kept } = await read(text, { length });
      expect(delivered).toEqual(['{"a":\n1}', JSON.stringify(answer)]);
      expect(kept).toBe(`id: 7\nretry: 5\ndata:\n\ndata:\n\nid:8\ndata: ${JSON.stringify({ ...answer, id: 0 })}\n\n`);
    },
  );

  test.each([1, 10, 1000])(
    "tells of a message that is too long as soon as it is, and reads the next (%d bytes)",
    async (length) => {
      const { delivered, tooLong } = await read(
        `data: ${"x".repeat(50)}\n\ndata: y\n\ndata: 123\ndata: ${"z".repeat(40)}`,
        { length, limit: 20 },
      );
      expect({ delivered, tooLong }).toEqual({ delivered: ["y"], tooLong: 2 });
    },
  );

  // Only the values of data counted: a stream of empty data lines filled the memory without one message.
  test.each(["data\n", "data:\n", "data: \n", ":\n", ":comment\n", "event: x\n", "id: 1\n", "other\n"])(
    "counts every line toward the limit: %j",
    async (line) => {
      const { delivered, tooLong } = await read(`${line.repeat(50)}data: x\n\ndata: y\n\n`, { limit: 60 });
      expect({ delivered, tooLong }).toEqual({ delivered: ["y"], tooLong: 1 });
    },
  );

  test("marks an event that is too long as answered, and keeps its id", async () => {
    const { kept } = await read(`id: 7\ndata: ${"x".repeat(50)}\n\n`, { limit: 20 });
    expect(kept).toBe(`id: 7\ndata: ${JSON.stringify({ ...answer, id: 0 })}\n\n`);
  });

  // Each piece was joined to all before it, and searched again: the time grew with the square of the length.
  test("copies a line that comes in small pieces a few times only", async () => {
    const length = 1 << 20, { join } = Array.prototype;
    let copied = 0;
    Array.prototype.join = function (separator) {
      const text = join.call(this, separator);
      copied += text.length;
      return text;
    };
    try {
      const { delivered } = await read(`data: ${"x".repeat(length)}\n\n`, { length: 512, limit: 2 * length });
      expect(delivered.map((each) => each.length)).toEqual([length]);
    } finally {
      Array.prototype.join = join;
    }
    expect(copied).toBeGreaterThan(length);
    expect(copied).toBeLessThan(20 * length);
  });
});
