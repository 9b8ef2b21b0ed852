// The keyring, on a private bus: a real gnome-keyring-daemon, and a peer for KDE's wallet, which no test machine runs.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createCipheriv, createDecipheriv, createDiffieHellman, type DiffieHellman, hkdfSync } from "node:crypto";
import { Variant } from "dbus-next";
import type { SessionBus } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import {
  agreeOnKey,
  decryptSecret,
  encryptSecret,
  makeKeyShare,
  readSecretService,
} from "../../../lib/keyring/secret_service.ts";
import { startAnsweringPeer } from "../../fakes/answering_peer.ts";
import { addPrivateKeyring } from "../../fakes/private_keyring.ts";
import { failure, openStage, type Stage } from "../../fixture.ts";

let stage: Stage;
let bus: SessionBus;

beforeEach(async () => {
  stage = await openStage({ bus: true });
  bus = await openSessionBus();
});

afterEach(async () => {
  bus.close();
  await stage[Symbol.asyncDispose]();
});

const WALLET = "/org/freedesktop/secrets/collection/kdewallet";

/** A peer with these names and an open keyring. */
const startWallet = (...names: string[]) =>
  startAnsweringPeer(stage.bus.address, ["org.freedesktop.secrets", ...names], {
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
    await addPrivateKeyring(stage.bus, how);
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
    const peers = [await startWallet(), await startAnsweringPeer(stage.bus.address, ["org.kde.kwalletd6"], {})];
    expect((await readSecretService(bus)).provider).toBeUndefined();
    for (const peer of peers) peer.stop();
  });

  test("finds KDE's Secret portal, running or not", async () => {
    await stage.bus.addService("org.freedesktop.impl.portal.desktop.kwallet", ["/bin/false"]);
    expect((await readSecretService(bus)).hasKdePortal).toBe(true);
  });

  test("takes what is not clearly open for locked", async () => {
    const peer = await startAnsweringPeer(stage.bus.address, ["org.freedesktop.secrets"], {
      ReadAlias: ["o", WALLET],
      Get: ["v", new Variant("s", "false")],
    });
    expect((await readSecretService(bus)).state).toBe("locked");
    peer.stop();
  });

  test("passes on what the bus says of a keyring that cannot be started", async () => {
    await stage.bus.addService("org.freedesktop.secrets", ["/bin/false"]);
    await expect(readSecretService(bus)).rejects.toMatchObject({ name: "DBusError" });
  });
});

// The Secret Service's encrypted session, against Node's implementation of the same group.

/** RFC 2409, 6.2: 2^1024 - 2^960 - 1 + 2^64 * ([2^894 pi] + 129093). */
const PRIME = 2n ** 1024n - 2n ** 960n - 1n + 2n ** 64n * ((piTimes2To(1000n) >> 106n) + 129093n);
const primeBytes = Buffer.from(PRIME.toString(16), "hex");

/** By Machin: pi = 16 arctan(1/5) - 4 arctan(1/239). */
function piTimes2To(bits: bigint): bigint {
  const arctan = (x: bigint) => {
    let sum = 0n, sign = 1n, divisor = 1n;
    for (let power = (1n << bits) / x; power > 0n; power /= x * x) {
      sum += sign * power / divisor;
      sign = -sign;
      divisor += 2n;
    }
    return sum;
  };
  return 16n * arctan(5n) - 4n * arctan(239n);
}

function newPeer(): DiffieHellman {
  const peer = createDiffieHellman(primeBytes, 2);
  peer.generateKeys();
  return peer;
}

/** The AES key that the other side has, with the secret as long as the prime. */
function peerKey(secret: Uint8Array): Uint8Array {
  const padded = new Uint8Array(128);
  padded.set(secret, 128 - secret.length);
  return new Uint8Array(hkdfSync("sha256", padded, new Uint8Array(), new Uint8Array(), 16));
}

describe("agreeOnKey()", () => {
  test("comes to the key that the other side has", async () => {
    for (let round = 0; round < 20; round++) {
      const peer = newPeer(), share = makeKeyShare();
      const key = peerKey(peer.computeSecret(share.publicValue)), ours = await agreeOnKey(share, peer.getPublicKey());
      const { parameters, value } = await encryptSecret(new TextEncoder().encode("a secret"), ours);
      const decipher = createDecipheriv("aes-128-cbc", key, parameters);
      expect(Buffer.concat([decipher.update(value), decipher.final()]).toString()).toBe("a secret");
    }
  });

  test("counts the zeros that a secret begins with", async () => {
    // 2^e is short for a small e: with an exponent of 1 on our side, the secret is the other side's value.
    for (const length of [1, 64, 127]) {
      const theirs = new Uint8Array(length).fill(7),
        ours = await agreeOnKey({ ...makeKeyShare(), exponent: 1n }, theirs);
      const cipher = createCipheriv("aes-128-cbc", peerKey(theirs), new Uint8Array(16));
      const value = new Uint8Array(Buffer.concat([cipher.update("a secret"), cipher.final()]));
      const uncovered = await decryptSecret({ parameters: new Uint8Array(16), value }, ours);
      expect(new TextDecoder().decode(uncovered)).toBe("a secret");
    }
  });

  test("takes a value with a zero before it, as signed numbers have one", async () => {
    const theirs = new Uint8Array([0, ...newPeer().getPublicKey()]);
    expect(await agreeOnKey(makeKeyShare(), theirs)).toBeDefined();
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["0", new Uint8Array(128)],
    ["1", new Uint8Array([1])],
    ["the prime less 1", new Uint8Array([...primeBytes.subarray(0, 127), primeBytes[127]! - 1])],
    ["the prime", new Uint8Array(primeBytes)],
    ["more than the prime", new Uint8Array(129).fill(255)],
    ["what is far too long", new Uint8Array(1_000_000).fill(1)],
  ])("refuses %s", async (_, theirs) => {
    expect(await failure(agreeOnKey(makeKeyShare(), theirs))).toMatchObject({ code: "invalid_response" });
  });
});

describe("makeKeyShare()", () => {
  test("is another one each time, of the prime's length", () => {
    const shares = Array.from({ length: 50 }, makeKeyShare);
    expect(new Set(shares.map(({ exponent }) => exponent)).size).toBe(50);
    for (const { publicValue } of shares) expect(publicValue.length).toBe(128);
  });
});

describe("coverSecret(), uncoverSecret()", () => {
  test("are each other's reverse, and never cover alike", async () => {
    const key = await agreeOnKey(makeKeyShare(), makeKeyShare().publicValue),
      secret = new TextEncoder().encode("a secret");
    const one = await encryptSecret(secret, key), other = await encryptSecret(secret, key);
    expect(one.parameters).not.toEqual(other.parameters);
    expect(await decryptSecret(one, key)).toEqual(secret);
    expect(await decryptSecret(other, key)).toEqual(secret);
  });

  test("do not open what another key covered", async () => {
    const [key, other] = await Promise.all([0, 1].map(() => agreeOnKey(makeKeyShare(), makeKeyShare().publicValue)));
    let refused = 0;
    for (let round = 0; round < 20; round++) {
      const covered = await encryptSecret(new TextEncoder().encode("a secret"), key!);
      // Padding is all that tells, and fits by chance once in 256 times.
      await decryptSecret(covered, other!).catch((error) => {
        expect(error).toMatchObject({ code: "invalid_response" });
        refused++;
      });
    }
    expect(refused).toBeGreaterThan(10);
  });
});
