import { expect, test } from "bun:test";
import { parseSignature } from "../../../lib/dbus/marshal.ts";

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
