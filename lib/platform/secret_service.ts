/**
 * The keyring in which Microsoft's broker keeps its keys: freedesktop's Secret Service.
 *
 * @module
 */
import { BUS_DAEMON, type CallLimits, type DBusValue, type SessionBus } from "./session_bus.ts";
import { orUnowned } from "./unowned_name.ts";

/** How the keyring stands. */
export interface SecretService {
  /** `missing`: nobody serves it, nor can be started. `no_default`: there is no keyring to put things in. */
  readonly state: "missing" | "no_default" | "locked" | "unlocked";
  /** Who serves it; `undefined` when that is nobody whom we know. */
  readonly provider: "gnome-keyring" | "kwallet" | "KeePassXC" | undefined;
  /** Whether KDE's wallet can stand behind the Secret portal, which newer brokers go through. */
  readonly hasKdePortal: boolean;
}

const NAME = "org.freedesktop.secrets";
const PATH = "/org/freedesktop/secrets";
const KDE_PORTAL = "org.freedesktop.impl.portal.desktop.kwallet";
/** What else the process is called that serves the keyring: the bus knows no more of it than its names. */
const OTHER_NAMES: readonly (readonly [name: string, provider: NonNullable<SecretService["provider"]>])[] = [
  ["org.gnome.keyring", "gnome-keyring"],
  ["org.kde.kwalletd5", "kwallet"],
  ["org.kde.kwalletd6", "kwallet"],
  ["org.kde.secretservicecompat", "kwallet"],
  ["org.keepassxc.KeePassXC.MainWindow", "KeePassXC"],
];

/**
 * Reads how the keyring stands. The service is started when it does not run; nothing is unlocked, and nobody is asked.
 *
 * @param bus The session bus.
 * @param limits How long a call may take, and what ends it.
 * @returns How it stands.
 * @throws {DBusError} when it cannot be started, or answers with an error.
 * @throws {LatchkeyError} `timed_out`.
 */
export async function readSecretService(bus: SessionBus, limits: CallLimits = {}): Promise<SecretService> {
  const askBus = async (member: string, ...body: readonly string[]) =>
    (await bus.call({ ...BUS_DAEMON, member, signature: "s".repeat(body.length), body }, limits))[0];
  const ownerOf = (name: string) => orUnowned(askBus("GetNameOwner", name));

  const state = await stateOf(bus, limits);
  const [owner, ...owners] = await Promise.all([NAME, ...OTHER_NAMES.map(([name]) => name)].map(ownerOf));
  const [, provider] = OTHER_NAMES.find((_, index) => owner !== undefined && owners[index] === owner) ?? [];
  const startable = await askBus("ListActivatableNames");
  const hasKdePortal = Array.isArray(startable) && startable.includes(KDE_PORTAL) ||
    await ownerOf(KDE_PORTAL) !== undefined;
  return { state, provider, hasKdePortal };
}

async function stateOf(bus: SessionBus, limits: CallLimits): Promise<SecretService["state"]> {
  const service = { destination: NAME, path: PATH, interface: "org.freedesktop.Secret.Service" };
  const alias = { ...service, member: "ReadAlias", signature: "s", body: ["default"] };
  const reply = await orUnowned(bus.call(alias, limits));
  if (reply === undefined) return "missing";
  const [path] = reply;
  if (typeof path !== "string" || path === "/") return "no_default";
  const properties = { destination: NAME, path, interface: "org.freedesktop.DBus.Properties" };
  const body = ["org.freedesktop.Secret.Collection", "Locked"];
  const [locked] = await bus.call({ ...properties, member: "Get", signature: "ss", body }, limits);
  return isFalse(locked) ? "unlocked" : "locked";
}

function isFalse(variant: DBusValue | undefined): boolean {
  return typeof variant === "object" && "value" in variant && variant.value === false;
}
