// What a real dbus-daemon gives to services. Deno may not read that without all permissions, so these tests are Bun's alone.
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import { readActivationEnvironment } from "../../../lib/dbus/daemon.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
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

test("readActivationEnvironment() reads that of the bus' daemon where systemd is not on the bus", async () => {
  const { source, variables } = await readActivationEnvironment(bus);
  expect([source, variables.get("TEST_OF_DISPLAY")]).toEqual(["daemon", ":7=x"]);
});

test("readActivationEnvironment() does not have the bus start a systemd", async () => {
  await daemon.addService("org.freedesktop.systemd1", ["/bin/false"]);
  expect((await readActivationEnvironment(bus)).source).toBe("daemon");
});
