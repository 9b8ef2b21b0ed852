/** A keyring of its own for a test: a real gnome-keyring-daemon, which the private bus starts when it is first asked for. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Message, sessionBus } from "dbus-next";
import type { PrivateBus } from "./private_bus.ts";

const SECRETS = "org.freedesktop.secrets";
/** The keyring that is opened by the password of the log-in. */
const LOGIN = "/org/freedesktop/secrets/collection/login";

/** The password comes on standard input. The daemon ends when the bus does. */
const UNLOCKED = 'folder=$1; shift; printf password | "$@" --unlock --control-directory="$folder"';
const UNTOUCHED = 'folder=$1; shift; exec "$@" --control-directory="$folder"';

/**
 * Adds a keyring to a bus.
 *
 * @param state `unlocked` as after a log-in by password, `locked` as after one without, `empty` before the first.
 */
export async function addPrivateKeyring(bus: PrivateBus, state: "unlocked" | "locked" | "empty"): Promise<void> {
  const home = join(bus.directory, "home"), run = join(home, "run");
  await mkdir(run, { recursive: true, mode: 0o700 });
  const folders = [
    ...[`HOME=${home}`, `XDG_CACHE_HOME=${home}/cache`, `XDG_CONFIG_HOME=${home}/config`],
    ...[`XDG_DATA_HOME=${home}/data`, `XDG_RUNTIME_DIR=${run}`],
  ];
  const daemon = ["env", ...folders, "gnome-keyring-daemon", "--foreground", "--components=secrets"];
  await bus.addService(SECRETS, ["/bin/sh", "-c", state === "empty" ? UNTOUCHED : UNLOCKED, "sh", run, ...daemon]);
  if (state === "locked") await lock(bus.address);
}

async function lock(busAddress: string): Promise<void> {
  const client = sessionBus({ busAddress });
  const service = {
    destination: SECRETS,
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.Secret.Service",
  };
  await client.call(new Message({ ...service, member: "Lock", signature: "ao", body: [[LOGIN]] }));
  client.disconnect();
}
