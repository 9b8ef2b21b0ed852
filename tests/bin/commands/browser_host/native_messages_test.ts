import { describe, expect, test } from "bun:test";
import {
  frameOf,
  type IncomingMessage,
  MAX_MESSAGE,
  readMessages,
} from "../../../../bin/commands/browser_host/browser_host.ts";

const LIMIT = 100;

async function read(chunks: readonly Uint8Array[]): Promise<IncomingMessage[]> {
  async function* input(): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }
  return await Array.fromAsync(readMessages(input(), LIMIT));
}

function lengthOf(length: number): Uint8Array {
  return new Uint8Array(new Uint32Array([length]).buffer);
}

function textOf(message: IncomingMessage): string {
  return message.kind === "message" ? new TextDecoder().decode(message.bytes) : message.kind;
}

describe("readMessages()", () => {
  const bytes = Buffer.concat([frameOf({ a: "ü" })!, frameOf([])!, lengthOf(0), frameOf("end")!]);

  test.each([1, 2, 3, 4, 5, 7, 1000])("puts together what came in pieces of %d bytes", async (size) => {
    const chunks = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => bytes.subarray(i * size, (i + 1) * size),
    );
    expect((await read(chunks)).map(textOf)).toEqual(['{"a":"ü"}', "[]", "", '"end"']);
  });

  test("takes the longest, and passes over what is longer, without what it says", async () => {
    const long = [lengthOf(LIMIT + 1), new Uint8Array(60), new Uint8Array(41)];
    const incoming = await read([lengthOf(LIMIT), new Uint8Array(LIMIT).fill(32), ...long, frameOf({ b: 1 })!]);
    expect(incoming.map(textOf)).toEqual([" ".repeat(LIMIT), "too long", '{"b":1}']);
    expect(incoming[1]).toEqual({ kind: "too long", length: LIMIT + 1 });
  });

  test("waits for nothing that a length promises: 4 GiB are passed over as they come", async () => {
    const incoming = await read([lengthOf(0xffffffff), new Uint8Array(1000)]);
    expect(incoming).toEqual([{ kind: "too long", length: 0xffffffff }, { kind: "cut off" }]);
  });

  test.each([
    ["in the length", [frameOf(1)!, Uint8Array.of(1, 0)]],
    ["after the length", [frameOf(1)!, lengthOf(5)]],
    ["in the message", [frameOf(1)!, lengthOf(5), Uint8Array.of(1, 2)]],
  ])("tells of an end %s", async (_, chunks) => {
    expect((await read(chunks)).map(textOf)).toEqual(["1", "cut off"]);
  });

  test("ends quietly between two messages, and without any", async () => {
    expect(await read([])).toEqual([]);
    expect(await read([frameOf(1)!, new Uint8Array()])).toHaveLength(1);
  });
});

describe("frameOf()", () => {
  test("has the length in the machine's order, and UTF-8", () => {
    expect(frameOf("ü")).toEqual(new Uint8Array([...lengthOf(4), 0x22, 0xc3, 0xbc, 0x22]));
  });

  test("makes none that a browser does not take", () => {
    expect(frameOf("x".repeat(MAX_MESSAGE - 2))).toHaveLength(MAX_MESSAGE + 4);
    expect(frameOf("x".repeat(MAX_MESSAGE - 1))).toBeUndefined();
    expect(frameOf("ü".repeat(MAX_MESSAGE / 2))).toBeUndefined();
  });
});
