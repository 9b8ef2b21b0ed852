// The keyring, on a private bus: a real gnome-keyring-daemon, and a peer for KDE's wallet, which no test machine runs.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Variant } from "dbus-next";
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { readSecretService } from "../../../lib/keyring/secret_service.ts";
import { startAnsweringPeer } from "../../fakes/answering_peer.ts";
import { type PrivateBus, startPrivateBus } from "../../fakes/private_bus.ts";
import { addPrivateKeyring } from "../../fakes/private_keyring.ts";

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

const WALLET = "/org/freedesktop/secrets/collection/kdewallet";

/** A peer with these names and an open keyring. */
const startWallet = (...names: string[]) =>
  startAnsweringPeer(daemon.address, ["org.freedesktop.secrets", ...names], {
    ReadAlias: ["o", WALLET],
    Get: ["v", new Variant("b", false)],
  });

describe("readSecretService()", () => {
  test.each(
    [
      ["unlocked", "unlocked"],
      ["locked", "locked"],
      ["empty", "no_default"],
    ] as const,
  )("finds a keyring of gnome-keyring that is %s", async (how, state) => {
    await addPrivateKeyring(daemon, how);
    expect(await readSecretService(bus)).toEqual({ state, provider: "gnome-keyring", hasKdePortal: false });
  });

  test("finds that there is none", async () => {
    expect(await readSecretService(bus)).toEqual({ state: "missing", provider: undefined, hasKdePortal: false });
  });

  test.each([["org.kde.kwalletd5"], ["org.kde.kwalletd6"], ["org.kde.secretservicecompat"]])(
    "knows KDE's wallet by its name %s",
    async (name) => {
      const peer = await startWallet(name);
      expect(await readSecretService(bus)).toEqual({ state: "unlocked", provider: "kwallet", hasKdePortal: false });
      peer.stop();
    },
  );

  test("does not take a wallet that runs beside the keyring for it", async () => {
    const peers = [await startWallet(), await startAnsweringPeer(daemon.address, ["org.kde.kwalletd6"], {})];
    expect((await readSecretService(bus)).provider).toBeUndefined();
    for (const peer of peers) peer.stop();
  });

  test("finds KDE's Secret portal, running or not", async () => {
    await daemon.addService("org.freedesktop.impl.portal.desktop.kwallet", ["/bin/false"]);
    expect((await readSecretService(bus)).hasKdePortal).toBe(true);
  });

  test("takes what is not clearly open for locked", async () => {
    const peer = await startAnsweringPeer(daemon.address, ["org.freedesktop.secrets"], {
      ReadAlias: ["o", WALLET],
      Get: ["v", new Variant("s", "false")],
    });
    expect((await readSecretService(bus)).state).toBe("locked");
    peer.stop();
  });

  test("passes on what the bus says of a keyring that cannot be started", async () => {
    await daemon.addService("org.freedesktop.secrets", ["/bin/false"]);
    await expect(readSecretService(bus)).rejects.toMatchObject({ name: "DBusError" });
  });
});
