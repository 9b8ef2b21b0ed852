// What systemd and dbus-daemon give to services that the bus starts. A peer stands for systemd's user manager, which no test
// machine runs; the daemon is a real one.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Variant } from "dbus-next";
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import { readActivationEnvironment } from "../../../lib/dbus/daemon.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { startAnsweringPeer } from "../../fakes/answering_peer.ts";
import { type PrivateBus, startPrivateBus } from "../../fakes/private_bus.ts";

let daemon: PrivateBus;
let bus: SessionBus;

beforeEach(async () => {
  process.env.TEST_OF_DISPLAY = ":7=x";
  daemon = await startPrivateBus();
  delete process.env.TEST_OF_DISPLAY;
  process.env.DBUS_SESSION_BUS_ADDRESS = daemon.address;
  bus = await openSessionBus();
});

afterEach(async () => {
  bus.close();
  await daemon.stop();
});

const startSystemd = (environment: Variant) =>
  startAnsweringPeer(daemon.address, ["org.freedesktop.systemd1"], { Get: ["v", environment] });

describe("readActivationEnvironment()", () => {
  test("reads that of systemd's user manager where there is one", async () => {
    const peer = await startSystemd(new Variant("as", ["DISPLAY=:0", "A=b=c", "EMPTY=", "NONE"]));
    expect(await readActivationEnvironment(bus)).toEqual({
      source: "systemd",
      variables: new Map([["DISPLAY", ":0"], ["A", "b=c"], ["EMPTY", ""], ["NONE", ""]]),
    });
    peer.stop();
  });

  test("takes no variables from a reply of another type", async () => {
    const peer = await startSystemd(new Variant("s", "DISPLAY=:0"));
    expect(await readActivationEnvironment(bus)).toEqual({ source: "systemd", variables: new Map() });
    peer.stop();
  });

  test("reads that of the bus' daemon where systemd is not on the bus", async () => {
    const { source, variables } = await readActivationEnvironment(bus);
    expect([source, variables.get("TEST_OF_DISPLAY")]).toEqual(["daemon", ":7=x"]);
  });

  test("does not have the bus start a systemd", async () => {
    await daemon.addService("org.freedesktop.systemd1", ["/bin/false"]);
    expect((await readActivationEnvironment(bus)).source).toBe("daemon");
  });
});
