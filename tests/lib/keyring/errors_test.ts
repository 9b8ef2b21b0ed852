import { describe, expect, test } from "bun:test";
import { DBusError } from "../../../lib/dbus/bus.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { asKeyringError } from "../../../lib/keyring/errors.ts";

describe("asKeyringError()", () => {
  test.each([
    ["org.freedesktop.DBus.Error.ServiceUnknown", "no_service"],
    ["org.freedesktop.DBus.Error.NameHasNoOwner", "no_service"],
    ["org.freedesktop.DBus.Error.Spawn.ChildExited", "no_service"],
    ["org.freedesktop.DBus.Error.NoServer", "no_bus"],
    ["org.freedesktop.DBus.Error.FileNotFound", "no_bus"],
    ["org.freedesktop.DBus.Error.BadAddress", "no_bus"],
    ["org.freedesktop.DBus.Error.AuthFailed", "no_bus"],
    ["org.freedesktop.DBus.Error.NoReply", "gone"],
    ["org.freedesktop.DBus.Error.Disconnected", "gone"],
    ["org.freedesktop.DBus.Error.TimedOut", "silent"],
    ["org.freedesktop.Secret.Error.IsLocked", "locked"],
    ["org.freedesktop.Secret.Error.NoSession", "failed"],
    ["com.contoso.Error", "failed"],
  ])("knows what %s means", (name, problem) => {
    expect(asKeyringError(new DBusError(name, ""))).toMatchObject({ name: "KeyringError", problem });
  });

  test("knows a time limit that passed", () => {
    expect(asKeyringError(new LatchkeyError("timed_out", "x"))).toMatchObject({ problem: "silent" });
  });

  test("keeps the keyring's own words, or the name of its error", () => {
    expect(asKeyringError(new DBusError("com.contoso.Error", "no"))).toMatchObject({ detail: "no" });
    expect(asKeyringError(new DBusError("com.contoso.Error", ""))).toMatchObject({ detail: "com.contoso.Error" });
  });

  test("passes on what is no keyring's failure", () => {
    for (const error of [new Error("x"), new LatchkeyError("invalid_response", "x"), "x"]) {
      expect(asKeyringError(error)).toBe(error);
    }
  });
});
