/** A Secret Service of its own for a test: a real gnome-keyring-daemon, unlocked, on a private bus. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { PrivateBus } from "../fakes/private_bus.ts";

/** A person's folders, so that no program writes into those of whoever runs the test. */
export type PrivateHome = Readonly<Record<string, string>>;

/** The password is read from standard input, and the daemon ends when the bus does. */
const UNLOCKED = 'folder=$1; shift; printf password | "$@" ' +
  "gnome-keyring-daemon --foreground --components=secrets --unlock --control-directory=$folder";

/** Lets the bus start the keyring when it is first asked for. */
export async function addPrivateKeyring(bus: PrivateBus): Promise<PrivateHome> {
  const home = join(bus.directory, "home"), run = join(home, "run");
  await mkdir(run, { recursive: true, mode: 0o700 });
  const folders = {
    HOME: home,
    XDG_CACHE_HOME: join(home, "cache"),
    XDG_CONFIG_HOME: join(home, "config"),
    XDG_DATA_HOME: join(home, "data"),
    XDG_RUNTIME_DIR: run,
  };
  const assignments = Object.entries(folders).map(([name, folder]) => `${name}=${folder}`);
  await bus.addService("org.freedesktop.secrets", ["/bin/sh", "-c", UNLOCKED, "sh", run, "env", ...assignments]);
  return { PATH: process.env.PATH ?? "", ...folders };
}
