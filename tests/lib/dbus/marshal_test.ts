import { expect, test } from "bun:test";
import type { DBusValue } from "../../../lib/dbus/bus.ts";
import { decodeMessage, encodeMessage, METHOD_CALL, parseSignature, SIGNAL } from "../../../lib/dbus/marshal.ts";
import { MessageSplitter } from "../../../lib/dbus/socket.ts";

const hex = (text: string) => Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (byte) => parseInt(byte, 16));

test("encodeMessage() writes the bytes of the specification", () => {
  const bytes = encodeMessage({
    type: METHOD_CALL,
    serial: 2,
    path: "/a",
    member: "M",
    signature: "yx",
    body: [1, -2n],
  });
  const header = "6c010001 10000000 02000000 28000000"; // l, call, no flags, version 1; body 16, serial 2, fields 40 bytes
  const path = "01016f00 02000000 2f610000 00000000"; // 1, "o", "/a", padded to 8
  const member = "03017300 01000000 4d000000 00000000"; // 3, "s", "M", padded to 8
  const signature = "08016700 02797800"; // 8, "g", "yx"
  const body = "01000000 00000000 feffffff ffffffff"; // 1, padded to 8, -2
  expect(bytes).toEqual(hex(header + path + member + signature + body));
});

test("decodeMessage() reads either byte order", () => {
  const message = hex("42040001 00000006 00000007 00000008 08016700 02756e00 00010000 fffe");
  expect(decodeMessage(message)).toEqual({ type: SIGNAL, flags: 0, serial: 7, signature: "un", body: [65536, -2] });
});

test("decodeMessage() gives back what encodeMessage() was given", () => {
  const body: DBusValue[] = [
    new Map<string, DBusValue>([["a", { signature: "(tay)", value: [2n ** 64n - 1n, new Uint8Array([1, 2, 3])] }]]),
    [["é", -1], ["", 2]],
    new Map([["__proto__", "a"], ["constructor", "b"]]),
    "x".repeat(5000),
  ];
  const message = {
    ...{
      type: METHOD_CALL,
      flags: 2,
      serial: 4294967295,
      path: "/com/contoso",
      interface: "com.contoso.A",
      member: "Do",
    },
    ...{ destination: "com.contoso.B", sender: ":1.5", replySerial: 9, errorName: "com.contoso.E" },
    ...{ signature: "a{sv}a(sn)a{ss}s", body },
  };
  expect(decodeMessage(encodeMessage(message))).toEqual(message);
});

test("decodeMessage() passes over fields that it does not know", () => {
  const message = hex("6c040001 00000000 01000000 08000000 0a017500 05000000");
  expect(decodeMessage(message)).toEqual({ type: SIGNAL, flags: 0, serial: 1, body: [] });
});

test("decodeMessage() reads no file descriptors, but what stands before them", () => {
  const message = hex("6c040001 04000000 01000000 07000000 08016700 01680000 00000000");
  expect(decodeMessage(message)).toEqual({ type: SIGNAL, flags: 0, serial: 1, signature: "h" });
});

test("parseSignature() reads complete types", () => {
  expect(parseSignature("")).toEqual([]);
  expect(parseSignature("sa{s(xv)}ay").map(({ kind, signature }) => [kind, signature])).toEqual([
    ["basic", "s"],
    ["dictionary", "a{s(xv)}"],
    ["array", "ay"],
  ]);
});

test.each(["z", "a", "(", "()", ")", "{ss}", "a{s}", "a{sss}", "a{vs}", "a{ass}", "h", "(s", "a{ss", "s ", "\0"])(
  "parseSignature() refuses %p",
  (signature) => expect(() => parseSignature(signature)).toThrow(TypeError),
);

test("parseSignature() holds D-Bus' limits", () => {
  expect(parseSignature("a".repeat(32) + "y")).toHaveLength(1);
  expect(() => parseSignature("a".repeat(33) + "y")).toThrow(TypeError);
  expect(parseSignature("(".repeat(32) + "y" + ")".repeat(32))).toHaveLength(1);
  expect(() => parseSignature("(".repeat(33) + "y" + ")".repeat(33))).toThrow(TypeError);
  expect(parseSignature("y".repeat(255))).toHaveLength(255);
  expect(() => parseSignature("y".repeat(256))).toThrow(TypeError);
});

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
