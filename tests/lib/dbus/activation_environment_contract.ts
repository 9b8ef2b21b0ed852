// What systemd gives to services that the bus starts. A peer stands for its user manager, which no test machine runs.
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
  daemon = await startPrivateBus();
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

  test("takes no variables from an answer that is none", async () => {
    const peer = await startSystemd(new Variant("s", "DISPLAY=:0"));
    expect(await readActivationEnvironment(bus)).toEqual({ source: "systemd", variables: new Map() });
    peer.stop();
  });
});
