/** A keyring of its own for a test: a real gnome-keyring-daemon, which the private bus starts when it is first asked for. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { Message, sessionBus } from "dbus-next";
import type { PrivateBus } from "./private_bus.ts";

const SECRETS = "org.freedesktop.secrets";
/** The keyring that is opened by the password of the log-in. */
const LOGIN = "/org/freedesktop/secrets/collection/login";

/** The password comes on standard input. The daemon ends when the bus does. */
const UNLOCKED = 'folder=$1; shift; printf password | "$@" --unlock --control-directory="$folder"';
const UNTOUCHED = 'folder=$1; shift; exec "$@" --control-directory="$folder"';

/**
 * Adds a keyring to a bus. Done again, it changes how the keyring is started the next time.
 *
 * @param state `unlocked` as after a log-in by password, `locked` as after one without, `untouched` as it was left, and
 * `empty`, which is the same, before the first.
 * @param prompter Bus name of who answers its prompts. @default nobody: they end at once
 */
export async function addPrivateKeyring(
  bus: PrivateBus,
  state: "unlocked" | "locked" | "empty" | "untouched",
  prompter = "",
): Promise<void> {
  const home = join(bus.directory, "home"), run = join(home, "run");
  await mkdir(run, { recursive: true, mode: 0o700 });
  const folders = [
    ...[`HOME=${home}`, `XDG_CACHE_HOME=${home}/cache`, `XDG_CONFIG_HOME=${home}/config`],
    ...[`XDG_DATA_HOME=${home}/data`, `XDG_RUNTIME_DIR=${run}`],
    ...(prompter ? [`GNOME_KEYRING_TEST_PROMPTER=${prompter}`] : []),
  ];
  const daemon = ["env", ...folders, "gnome-keyring-daemon", "--foreground", "--components=secrets"];
  const script = state === "unlocked" || state === "locked" ? UNLOCKED : UNTOUCHED;
  await bus.addService(SECRETS, ["/bin/sh", "-c", script, "sh", run, ...daemon]);
  if (state === "locked") await lockKeyring(bus.address);
}

/** Locks the log-in's keyring, as the screen's lock of some desktops does. */
export async function lockKeyring(busAddress: string): Promise<void> {
  // The daemon has its name on the bus before it has opened the log-in's keyring.
  const isMade = async () =>
    (await callKeyring(busAddress, { member: "ReadAlias", signature: "s", body: ["login"] }))[0];
  while (await isMade() !== LOGIN) await delay(10);
  await callKeyring(busAddress, { member: "Lock", signature: "ao", body: [[LOGIN]] });
}

/** Process id of the keyring's daemon. The bus starts it when it does not run. */
export async function keyringProcess(busAddress: string): Promise<number> {
  await callKeyring(busAddress, { interface: "org.freedesktop.DBus.Peer", member: "Ping" });
  const busDaemon = { destination: "org.freedesktop.DBus", path: "/", interface: "org.freedesktop.DBus" };
  const [pid] = await callKeyring(busAddress, {
    ...busDaemon,
    member: "GetConnectionUnixProcessID",
    signature: "s",
    body: [SECRETS],
  });
  return Number(pid);
}

/** Kills the keyring's daemon, and waits until the bus knows. */
export async function killKeyring(busAddress: string): Promise<void> {
  const client = sessionBus({ busAddress });
  const gone = Promise.withResolvers<void>();
  client.on("message", (message) => {
    if (message.member === "NameOwnerChanged" && message.body[0] === SECRETS && message.body[2] === "") gone.resolve();
  });
  const busDaemon = { destination: "org.freedesktop.DBus", path: "/", interface: "org.freedesktop.DBus" };
  const rule = "type='signal',member='NameOwnerChanged',arg0='org.freedesktop.secrets'";
  await client.call(new Message({ ...busDaemon, member: "AddMatch", signature: "s", body: [rule] }));
  process.kill(await keyringProcess(busAddress), "SIGKILL");
  await gone.promise;
  client.disconnect();
}

async function callKeyring(busAddress: string, method: Record<string, unknown>): Promise<unknown[]> {
  const client = sessionBus({ busAddress });
  const service = {
    destination: SECRETS,
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.Secret.Service",
  };
  try {
    const reply = await client.call(new Message({ ...service, ...method }));
    return reply!.body;
  } finally {
    client.disconnect();
  }
}
