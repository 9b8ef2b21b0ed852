import { expect, test } from "bun:test";
import { isMatch, matchRule } from "../../../lib/dbus/bus.ts";

const signal = { sender: ":1.5", path: "/a", interface: "com.example.I", member: "M", body: ["x", 1] };

test("matchRule() writes D-Bus' notation", () => {
  expect(matchRule({})).toBe("type='signal'");
  expect(matchRule({ sender: "com.example.A", arg0: "a'b" })).toBe(
    "type='signal',sender='com.example.A',arg0='a'\\''b'",
  );
});

test("isMatch() compares what was given", () => {
  expect(isMatch({}, signal)).toBe(true);
  expect(isMatch({ path: "/a", interface: "com.example.I", member: "M", arg0: "x" }, signal)).toBe(true);
  for (const other of [{ path: "/b" }, { interface: "com.example.J" }, { member: "N" }, { arg0: "y" }]) {
    expect(isMatch(other, signal)).toBe(false);
  }
});

test("isMatch() does not take another peer's word for the bus'", () => {
  expect(isMatch({ sender: "org.freedesktop.DBus" }, signal)).toBe(false);
  expect(isMatch({ sender: ":1.6" }, signal)).toBe(false);
  expect(isMatch({ sender: ":1.5" }, signal)).toBe(true);
  expect(isMatch({ sender: "com.example.Owner" }, signal)).toBe(true);
});
