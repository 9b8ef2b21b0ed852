import { expect, test } from "bun:test";
import { MessageSplitter } from "../../../lib/dbus/socket.ts";
import { encodeMessage, SIGNAL } from "../../../lib/dbus/marshal.ts";

const messages = ["", "a", "x".repeat(1000)].map((text, index) =>
  encodeMessage({ type: SIGNAL, serial: index + 1, path: "/a", member: "M", signature: "s", body: [text] })
);
const stream = Uint8Array.from(messages.flatMap((message) => [...message]));

test.each([[1], [7], [16], [64], [5000]])("MessageSplitter gives messages out of pieces of %d bytes", (size) => {
  const splitter = new MessageSplitter(), given: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) given.push(...splitter.push(stream.subarray(at, at + size)));
  expect(given).toEqual(messages.map((message) => message.slice()));
});

test("MessageSplitter keeps nothing of the pieces", () => {
  const splitter = new MessageSplitter(), piece = stream.slice();
  const [first] = splitter.push(piece);
  piece.fill(0);
  expect(first).toEqual(messages[0]!.slice());
});

test("MessageSplitter reads either byte order", () => {
  const big = Uint8Array.from([0x42, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
  expect(new MessageSplitter().push(big)).toEqual([big]);
});

test.each([
  ["another byte order", [0x48, 0, 0, 0, 0, 0, 0, 0]],
  ["more than 128 MiB", [0x6c, 4, 0, 1, 0xf0, 0xff, 0xff, 0x07]],
])("MessageSplitter refuses %s", (_, start) => {
  const header = Uint8Array.from([...start, 1, 0, 0, 0, 1, 0, 0, 0]);
  expect(() => new MessageSplitter().push(header)).toThrow(RangeError);
});
