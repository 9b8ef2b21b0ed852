import { expect, test } from "bun:test";
import type { DBusValue } from "../../../lib/dbus/bus.ts";
import { decodeMessage, encodeMessage, METHOD_CALL, SIGNAL } from "../../../lib/dbus/marshal.ts";

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
