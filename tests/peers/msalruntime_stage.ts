// bun tests/peers/msalruntime_stage.ts COMMAND…: the command on a bus and with a keyring of its own, with Microsoft's library
// as the way to the broker. The library looks for both when its process begins, so they are there before.
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BUS_FOLDER } from "../fakes/given_bus.ts";
import { startPrivateBus } from "../fakes/private_bus.ts";
import { addPrivateKeyring } from "../fakes/private_keyring.ts";

const bus = await startPrivateBus();
try {
  await addPrivateKeyring(bus, "unlocked");
  // No display of the person's who runs the tests, and no settings of theirs.
  const theirs = /^(DISPLAY|WAYLAND_DISPLAY|XDG_RUNTIME_DIR|LATCHKEY_.*)$/;
  const environment = Object.entries(process.env).filter(([name]) => !theirs.test(name));
  const child = Bun.spawn(process.argv.slice(2), {
    env: {
      ...Object.fromEntries(environment),
      HOME: join(bus.directory, "home"),
      DBUS_SESSION_BUS_ADDRESS: bus.address,
      [BUS_FOLDER]: bus.directory,
      LATCHKEY_BROKER_KIND: "msalruntime",
      LATCHKEY_MSALRUNTIME: fileURLToPath(
        new URL("msalruntime/node_modules/@azure/msal-node-runtime", import.meta.url),
      ),
    },
    stdio: ["ignore", "inherit", "inherit"],
  });
  process.on("SIGTERM", () => child.kill());
  process.exitCode = await child.exited;
} finally {
  await bus.stop();
}
