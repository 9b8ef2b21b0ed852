// Secrets in a real gnome-keyring, and what keyrings and strangers on the bus must not be able to do.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import process from "node:process";
import { Message, sessionBus, Variant } from "dbus-next";
import { BUS_DAEMON, type MethodCall, type SessionBus } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { type PromptCall, readSecret, type SecretLocation, storeSecret } from "../../../lib/keyring/secret_service.ts";
import { type Answers, startAnsweringPeer } from "../../fakes/answering_peer.ts";
import { type KeyringPrompter, startKeyringPrompter } from "../../fakes/keyring_prompter.ts";
import { addPrivateKeyring, keyringProcess, killKeyring, lockKeyring } from "../../fakes/private_keyring.ts";
import { failure, openStage, rejection, type Stage } from "../../fixture.ts";

const COLLECTION = "/org/freedesktop/secrets/collection/login";
const NEW = { label: "test", attributes: { application: "latchkey", key: "one" }, text: "a secret" };
const PLACE: SecretLocation = { attributes: NEW.attributes, collection: COLLECTION };
const QUIETLY: PromptCall = { mayPrompt: false };
const ASKING: PromptCall = { ...QUIETLY, mayPrompt: true };

let stage: Stage;
let bus: SessionBus;
let prompter: KeyringPrompter | undefined;
const peers: { stop(): void }[] = [];

beforeEach(async () => {
  stage = await openStage({ bus: true });
  bus = await openSessionBus();
});

afterEach(async () => {
  bus.close();
  for (const peer of peers.splice(0)) peer.stop();
  await prompter?.kill();
  prompter = undefined;
  await stage[Symbol.asyncDispose]();
});

async function startPeer(answers: Answers): Promise<void> {
  peers.push(await startAnsweringPeer(stage.bus.address, ["org.freedesktop.secrets"], answers));
}

/** A stored secret, in a keyring that is locked and whose prompt stands until it is taken away. */
async function lockSecret(): Promise<void> {
  prompter = await startKeyringPrompter(stage.bus.address, ["ignore"]);
  await addPrivateKeyring(stage.bus, "unlocked", prompter.name);
  await storeSecret(bus, NEW, QUIETLY);
  await lockKeyring(stage.bus.address);
}

/** The bus, and the next call of a method that goes over it: it has reached the bus when that has answered another. */
function watching(member: string): { readonly watched: SessionBus; readonly called: Promise<MethodCall> } {
  const { promise: called, resolve } = Promise.withResolvers<MethodCall>();
  const watched: SessionBus = {
    client: bus.client,
    call: (call, limits) => {
      const reply = bus.call(call, limits);
      if (call.member === member) void roundTrip().then(() => resolve(call));
      return reply;
    },
    subscribe: (match, listener, limits) => bus.subscribe(match, listener, limits),
    close: () => bus.close(),
    [Symbol.dispose]: () => bus.close(),
  };
  return { watched, called };
}

/** All that was sent before has been taken by the bus, and all that came before has been heard. */
const roundTrip = () => bus.call({ ...BUS_DAEMON, member: "GetId" });

const pingKeyring = () =>
  bus.call({
    destination: "org.freedesktop.secrets",
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.DBus.Peer",
    member: "Ping",
  });

describe("storeSecret(), readSecret()", () => {
  test("store a secret and read it", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    expect(await readSecret(bus, PLACE, QUIETLY)).toBeUndefined();
    expect(await storeSecret(bus, NEW, QUIETLY)).toEqual(PLACE);
    expect(await readSecret(bus, PLACE, QUIETLY)).toBe("a secret");
  });

  test("replace a secret of the same attributes", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    for (const text of ["a secret", "", "x".repeat(10_000), "é"]) {
      await storeSecret(bus, { ...NEW, text }, QUIETLY);
      expect(await readSecret(bus, PLACE, QUIETLY)).toBe(text);
    }
  });

  test("agree on a key a hundred times, zeros at the beginning of a secret or not", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    await storeSecret(bus, NEW, QUIETLY);
    for (let round = 0; round < 100; round++) expect(await readSecret(bus, PLACE, QUIETLY)).toBe("a secret");
  });
});

describe("readSecret()", () => {
  test.each(
    [
      ["a key agreement of 1", { OpenSession: ["vo", new Variant("ay", Buffer.from([1])), "/s"] }],
      ["a key agreement of 0", { OpenSession: ["vo", new Variant("ay", Buffer.alloc(128)), "/s"] }],
      ["an empty key agreement", { OpenSession: ["vo", new Variant("ay", Buffer.alloc(0)), "/s"] }],
      ["a key agreement of 1 MB", { OpenSession: ["vo", new Variant("ay", Buffer.alloc(1_000_000, 7)), "/s"] }],
      ["a key agreement that is a text", { OpenSession: ["vo", new Variant("s", "x"), "/s"] }],
      ["nothing to a session", { OpenSession: [""] }],
      ["a text to a session", { OpenSession: ["ss", "x", "y"] }],
      ["nothing to a search", { SearchItems: [""] }],
      ["texts to a search", { SearchItems: ["asas", ["x"], ["y"]] }],
      ["a number to a search", { SearchItems: ["uu", 1, 2] }],
      ["texts to an unlocking", { SearchItems: ["aoao", [], ["/item"]], Unlock: ["ss", "x", "y"] }],
      ["nothing to the secret", { GetSecret: [""] }],
      ["a text to the secret", { GetSecret: ["s", "x"] }],
      ["a short struct to the secret", { GetSecret: ["(o)", ["/s"]] }],
      ["a secret without an initialization vector", {
        GetSecret: ["(oayays)", ["/s", Buffer.alloc(0), Buffer.alloc(16), "text/plain"]],
      }],
      ["a secret of an odd length", {
        GetSecret: ["(oayays)", ["/s", Buffer.alloc(16), Buffer.alloc(15), "text/plain"]],
      }],
      ["an empty secret", { GetSecret: ["(oayays)", ["/s", Buffer.alloc(16), Buffer.alloc(0), "text/plain"]] }],
    ] as [string, Answers][],
  )("refuses a keyring that answers %s", async (_, answers) => {
    await startPeer({
      OpenSession: ["vo", new Variant("ay", Buffer.from([2])), "/session"],
      SearchItems: ["aoao", ["/item"], []],
      ...answers,
    });
    expect(await failure(readSecret(bus, PLACE, ASKING))).toMatchObject({ code: "invalid_response" });
  });

  test("fails when the keyring is killed while it has the call", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    await storeSecret(bus, NEW, QUIETLY);
    for (const member of ["OpenSession", "GetSecret"]) {
      const pid = await keyringProcess(stage.bus.address), { watched, called } = watching(member);
      if (member === "OpenSession") process.kill(pid, "SIGSTOP");
      const reading = rejection(readSecret(stopping(watched, member, pid), PLACE, QUIETLY));
      await called;
      process.kill(pid, "SIGKILL");
      expect(await reading).toMatchObject({ name: "KeyringError", problem: "gone" });
    }
    expect(await readSecret(bus, PLACE, QUIETLY)).toBe("a secret");
  });

  test("ends at once when it is aborted while a keyring does not answer", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    const pid = await keyringProcess(stage.bus.address);
    process.kill(pid, "SIGSTOP");
    const { watched, called } = watching("SearchItems"),
      controller = new AbortController(),
      reason = new Error("enough");
    const reading = readSecret(watched, PLACE, { ...ASKING, signal: controller.signal });
    await called;
    controller.abort(reason);
    await expect(reading).rejects.toBe(reason);
    process.kill(pid, "SIGKILL"); // while it is stopped it does not see the bus end
  });

  test("ends with the reason, and nothing else fails, when it is aborted while the prompt is being called for", async () => {
    await lockSecret();
    const controller = new AbortController(), reason = new Error("enough"), unhandled: unknown[] = [];
    const hear = (error: unknown) => void unhandled.push(error);
    process.on("unhandledRejection", hear);
    const aborting: SessionBus = {
      client: bus.client,
      subscribe: (match, listener, limits) => bus.subscribe(match, listener, limits),
      call(call, limits) {
        const reply = bus.call(call, limits);
        if (call.member === "Prompt") controller.abort(reason);
        return reply;
      },
      close: () => bus.close(),
      [Symbol.dispose]: () => bus.close(),
    };
    await expect(readSecret(aborting, PLACE, { ...ASKING, signal: controller.signal })).rejects.toBe(reason);
    await roundTrip();
    process.off("unhandledRejection", hear);
    expect(unhandled).toEqual([]);
  });

  test("says that the keyring is gone when it was killed and cannot be started", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    await storeSecret(bus, NEW, QUIETLY);
    await stage.bus.addService("org.freedesktop.secrets", ["/bin/false"]);
    await killKeyring(stage.bus.address);
    expect(await rejection(readSecret(bus, PLACE, QUIETLY))).toMatchObject({ problem: "no_service" });
  });

  test("is not told by a stranger that a prompt has ended", async () => {
    await lockSecret();
    const { watched, called } = watching("Prompt"), controller = new AbortController(), reason = new Error("enough");
    const reading = readSecret(watched, PLACE, { ...ASKING, signal: controller.signal });
    let isEnded = false;
    reading.catch(() => isEnded = true);
    const { path } = await called;
    await prompter!.next("shown");
    const stranger = sessionBus({ busAddress: stage.bus.address });
    const names = await uniqueNames();
    for (const dismissed of [true, false]) {
      for (const destination of [undefined, ...names]) {
        const signal = Message.newSignal(path, "org.freedesktop.Secret.Prompt", "Completed", "bv", [
          dismissed,
          new Variant("ao", [COLLECTION]),
        ]);
        if (destination) signal.destination = destination;
        stranger.send(signal);
      }
    }
    await stranger.call(new Message({ ...BUS_DAEMON, member: "GetId" }));
    await roundTrip();
    await pingKeyring(); // what was said to it before, such as that the prompt is to go, has been answered
    await pingKeyring();
    expect(isEnded).toBe(false);
    controller.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await prompter!.next("gone");
    stranger.disconnect();
  });

  test("refuses a prompt whose result is of another type", async () => {
    const peer = sessionBus({ busAddress: stage.bus.address });
    peer.addMethodHandler((message) => {
      const reply = (signature: string, ...body: unknown[]) =>
        peer.send(Message.newMethodReturn(message, signature, body));
      if (message.member === "OpenSession") reply("vo", new Variant("ay", Buffer.from([2])), "/session");
      else if (message.member === "SearchItems") reply("aoao", [], ["/item"]);
      else if (message.member === "Unlock") reply("aoo", [], "/prompt");
      else if (message.member === "Prompt") {
        reply("");
        peer.send(
          Message.newSignal("/prompt", "org.freedesktop.Secret.Prompt", "Completed", "bv", [
            false,
            new Variant("s", "/item"),
          ]),
        );
      } else return false;
      return true;
    });
    await peer.requestName("org.freedesktop.secrets", 0);
    expect(await failure(readSecret(bus, PLACE, ASKING))).toMatchObject({ code: "invalid_response" });
    peer.disconnect();
  });
});

/** Stops the keyring before it gets a call. */
function stopping(watched: SessionBus, member: string, pid: number): SessionBus {
  return {
    ...watched,
    call(call, limits) {
      if (call.member === member) process.kill(pid, "SIGSTOP");
      return watched.call(call, limits);
    },
  };
}

/** All unique names on the bus. */
async function uniqueNames(): Promise<readonly string[]> {
  const [names] = await bus.call({ ...BUS_DAEMON, member: "ListNames" });
  return (names as readonly string[]).filter((name) => name.startsWith(":"));
}

describe("storeSecret()", () => {
  test.each(
    [
      ["nothing for an alias", { ReadAlias: [""] }],
      ["a number for an alias", { ReadAlias: ["u", 1] }],
      ["texts to the making of a keyring", { ReadAlias: ["o", "/"], CreateCollection: ["ss", "x", "y"] }],
    ] as [string, Answers][],
  )("refuses a keyring that answers %s", async (_, answers) => {
    await startPeer(answers);
    expect(await failure(storeSecret(bus, NEW, ASKING))).toMatchObject({ code: "invalid_response" });
  });

  test("does not put a secret into the keyring that ends with the session", async () => {
    await startPeer({ ReadAlias: ["o", "/session"] });
    expect(await rejection(storeSecret(bus, NEW, QUIETLY))).toMatchObject({ problem: "no_keyring" });
  });

  test("fails when a keyring takes a secret and does not keep it", async () => {
    await addPrivateKeyring(stage.bus, "unlocked");
    const forgetful: SessionBus = {
      client: bus.client,
      call: async (call, limits) => {
        const reply = await bus.call(call, limits);
        return call.member === "SearchItems" ? [[], []] : reply;
      },
      subscribe: (match, listener, limits) => bus.subscribe(match, listener, limits),
      close: () => bus.close(),
      [Symbol.dispose]: () => bus.close(),
    };
    expect(await rejection(storeSecret(forgetful, NEW, QUIETLY))).toMatchObject({
      problem: "failed",
      detail: "it did not keep the secret",
    });
  });

  test("passes on that nobody has the name", async () => {
    expect(await rejection(storeSecret(bus, NEW, ASKING))).toMatchObject({ problem: "no_service" });
  });
});
