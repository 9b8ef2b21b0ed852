// What every client of the session bus does, on a real dbus-daemon.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { BUS_DAEMON, DBusError, type DBusValue, type SessionBus, type Signal } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { ECHO, ECHO_NAME, startEchoPeer } from "../../fakes/echo_peer.ts";
import { rejection, useStage } from "../../fixture.ts";

const stage = useStage({ bus: true });
let peer: { stop(): void };
let bus: SessionBus;

beforeAll(async () => {
  peer = await startEchoPeer(stage.bus.address);
  bus = await openSessionBus();
});

afterAll(() => {
  bus.close();
  peer.stop();
});

const variant = (signature: string, value: DBusValue) => ({ signature, value });

/** Connections of the bus, but the asking one: what a client leaves behind shows here. */
async function connections(): Promise<number> {
  const [names] = await bus.call({ ...BUS_DAEMON, member: "ListNames" });
  return (names as string[]).filter((name) => name.startsWith(":")).length;
}

describe("SessionBus.call", () => {
  const values: [signature: string, value: DBusValue][] = [
    ["y", 255],
    ["b", true],
    ["b", false],
    ["n", -32768],
    ["q", 65535],
    ["i", -2147483648],
    ["u", 4294967295],
    ["x", -9223372036854775807n], // dbus-next, the peer, cannot send the least one
    ["t", 18446744073709551615n],
    ["d", -0.1],
    ["s", ""],
    ["s", "jäne 🔑 \u202e"],
    ["o", "/com/contoso/Jane_1"],
    ["g", "a{sv}(ii)"],
    ["ay", new Uint8Array([0, 1, 255])],
    ["ay", new Uint8Array()],
    ["as", []],
    ["as", ["a", ""]],
    ["aay", [new Uint8Array([1]), new Uint8Array()]],
    ["a(sx)", [["a", 1n], ["b", -1n]]],
    ["(s(iad))", ["a", [1, [0.5, 2]]]],
    ["a{ss}", new Map([["constructor", "a"], ["toString", "b"]])], // dbus-next, the peer, loses __proto__
    ["a{sv}", new Map<string, DBusValue>([["a", variant("s", "b")], ["c", variant("(xb)", [5n, true])]])],
    ["a{sa{sv}}", new Map([["a", new Map([["b", variant("as", ["c"])]])]])],
    ["v", variant("s", "text")],
    ["v", variant("v", variant("u", 7))],
    ["v", variant("a{sv}", new Map([["k", variant("ay", new Uint8Array([9]))]]))],
  ];
  test.each(values)("carries %s there and back: %p", async (signature, value) => {
    expect(await bus.call({ ...ECHO, member: "Echo", signature, body: [value] })).toEqual([value]);
  });

  test("carries several arguments, and none", async () => {
    expect(await bus.call({ ...ECHO, member: "Echo", signature: "sxas", body: ["a", 1n, ["b"]] })).toEqual(["a", 1n, [
      "b",
    ]]);
    expect(await bus.call({ ...ECHO, member: "Echo" })).toEqual([]);
  });

  test("carries a megabyte", async () => {
    const text = "0123456789abcdef".repeat(65_536);
    expect(await bus.call({ ...ECHO, member: "Echo", signature: "s", body: [text] })).toEqual([text]);
  });

  const misfits: [signature: string, body: DBusValue[]][] = [
    ["s", []],
    ["s", ["a", "b"]],
    ["s", [1]],
    ["s", ["a\0b"]],
    ["y", [256]],
    ["y", [-1]],
    ["i", [0.5]],
    ["u", [1n]],
    ["x", [1]],
    ["t", [-1n]],
    ["b", [1]],
    ["o", ["no/path"]],
    ["o", ["/trailing/"]],
    ["g", ["a"]],
    ["as", ["a"]],
    ["(ss)", [["a"]]],
    ["a{ss}", [["a", "b"]]],
    ["v", ["a"]],
    ["v", [variant("ss", "a")]],
    ["h", [0]],
    ["()", [[]]],
    ["a{vs}", [new Map()]],
    ["(s", [["a"]]],
  ];
  test.each(misfits)("refuses arguments that do not fit %s: %p", async (signature, body) => {
    expect(await rejection(bus.call({ ...ECHO, member: "Echo", signature, body }))).toBeInstanceOf(TypeError);
    expect(await bus.call({ ...ECHO, member: "Echo", signature: "s", body: ["still well"] })).toEqual(["still well"]);
  });

  test("puts a replacement for a lone surrogate", async () => {
    expect(await bus.call({ ...ECHO, member: "Echo", signature: "s", body: ["a\ud800b"] })).toEqual(["a\ufffdb"]);
  });

  test("keeps an error's name and text", async () => {
    const error = await rejection(
      bus.call({ ...ECHO, member: "Fail", signature: "ss", body: ["com.contoso.Error.Own", "no, thanks"] }),
    );
    expect(error).toBeInstanceOf(DBusError);
    expect(error).toMatchObject({ errorName: "com.contoso.Error.Own", message: "no, thanks" });
  });

  test("tells a name that nobody owns", async () => {
    const error = await rejection(bus.call({ ...ECHO, destination: "com.example.Nobody", member: "Echo" }));
    expect(error).toMatchObject({ errorName: "org.freedesktop.DBus.Error.ServiceUnknown" });
  });

  test("gives up after the time limit, and the next call works", async () => {
    const error = await rejection(bus.call({ ...ECHO, member: "Hang" }, { timeoutMs: 30 }));
    expect(error).toBeInstanceOf(LatchkeyError);
    expect(error).toMatchObject({ code: "timed_out" });
    expect(await bus.call({ ...ECHO, member: "Echo" })).toEqual([]);
  });

  test("rethrows the reason of an abort, whatever the peer does", async () => {
    const reason = new Error("enough"), controller = new AbortController();
    const call = rejection(bus.call({ ...ECHO, member: "Hang" }, { signal: controller.signal }));
    controller.abort(reason);
    expect(await call).toBe(reason);
    expect(await rejection(bus.call({ ...ECHO, member: "Echo" }, { signal: controller.signal }))).toBe(reason);
  });

  test("answers others while one call waits", async () => {
    const controller = new AbortController();
    const waiting = rejection(bus.call({ ...ECHO, member: "Hang" }, { signal: controller.signal }));
    const texts = Array.from({ length: 200 }, (_, index) => `call ${index}`);
    const echo = async (text: string) => (await bus.call({ ...ECHO, member: "Echo", signature: "s", body: [text] }))[0];
    expect(await Promise.all(texts.map(echo))).toEqual(texts);
    controller.abort();
    await waiting;
  });

  test("does not wait for a daemon that hangs", async () => {
    const fresh = await openSessionBus();
    stage.bus.pause();
    try {
      const error = await rejection(fresh.call({ ...BUS_DAEMON, member: "GetId" }, { timeoutMs: 50 }));
      expect(error).toMatchObject({ code: "timed_out" });
    } finally {
      stage.bus.resume();
    }
    expect((await fresh.call({ ...BUS_DAEMON, member: "GetId" })).length).toBe(1);
    fresh.close();
  });
});

describe("SessionBus.subscribe", () => {
  const emit = (...body: string[]) => bus.call({ ...ECHO, member: "Emit", signature: "s".repeat(body.length), body });

  /** Signals as they come, one by one. */
  async function listen(
    match: Parameters<SessionBus["subscribe"]>[0],
  ): Promise<{ next(): Promise<Signal>; came: Signal[]; stop(): void }> {
    const came: Signal[] = [];
    let wake = () => {};
    const subscription = await bus.subscribe(match, (signal) => (came.push(signal), wake()));
    return {
      came,
      async next() {
        while (came.length === 0) await new Promise<void>((resolve) => wake = resolve);
        return came.shift()!;
      },
      stop: () => subscription[Symbol.dispose](),
    };
  }

  test("delivers what matches, and nothing else", async () => {
    const signals = await listen({ interface: ECHO.interface, member: "Wanted", arg0: "a'b" });
    await emit("Other", "a'b");
    await emit("Wanted", "else");
    await emit("Wanted", "a'b", "more");
    expect(await signals.next()).toMatchObject({
      path: ECHO.path,
      interface: ECHO.interface,
      member: "Wanted",
      body: ["a'b", "more"],
    });
    expect(signals.came).toEqual([]);
    signals.stop();
  });

  test("delivers while no call is under way", async () => {
    const signals = await listen({
      member: "NameOwnerChanged",
      sender: BUS_DAEMON.destination,
      arg0: "com.example.Later",
    });
    const other = await startEchoPeer(stage.bus.address);
    const { sessionBus } = await import("dbus-next");
    const owner = sessionBus({ busAddress: stage.bus.address });
    await owner.requestName("com.example.Later", 0);
    expect((await signals.next()).body[0]).toBe("com.example.Later");
    owner.disconnect();
    expect((await signals.next()).body[2]).toBe("");
    other.stop();
    signals.stop();
  });

  test("delivers nothing more after it was disposed of", async () => {
    const signals = await listen({ interface: ECHO.interface, member: "Wanted" });
    const witness = await listen({ interface: ECHO.interface, member: "Wanted" });
    signals.stop();
    await emit("Wanted", "a");
    await witness.next();
    expect(signals.came).toEqual([]);
    witness.stop();
  });

  test("loses no signal that comes right behind the reply", async () => {
    for (let round = 0; round < 20; round++) {
      const heard = Promise.withResolvers<Signal>();
      const subscribed = bus.subscribe({ interface: ECHO.interface, member: "Soon" }, heard.resolve);
      const emitted = emit("Soon");
      await emitted;
      await heard.promise;
      (await subscribed)[Symbol.dispose]();
    }
  });

  test("deafens no other when it is abandoned or refused", async () => {
    const match = { interface: ECHO.interface, member: "Shared" }, signals = await listen(match);
    const gone = AbortSignal.abort(new Error("bye"));
    expect(await rejection(bus.subscribe(match, () => {}, { signal: gone }))).toMatchObject({ message: "bye" });
    await emit("Shared");
    expect((await signals.next()).member).toBe("Shared");
    signals.stop();
  });

  test("leaves no rule behind when it is abandoned", async () => {
    const heard: Signal[] = [], leaving = new AbortController();
    const match = { interface: ECHO.interface, member: "Left" };
    stage.bus.pause(); // or its answer may be there at once
    const abandoned = bus.subscribe(match, (signal) => void heard.push(signal), { signal: leaving.signal });
    leaving.abort(new Error("bye"));
    expect(await rejection(abandoned)).toMatchObject({ message: "bye" });
    stage.bus.resume();
    await emit("Left");
    expect(heard).toEqual([]);
  });

  test("refuses a match rule as the bus does", async () => {
    expect(await rejection(bus.subscribe({ sender: "no name" }, () => {}))).toBeInstanceOf(DBusError);
  });
});

describe("SessionBus", () => {
  test("connects anew after the daemon restarted, subscriptions included", async () => {
    const heard = Promise.withResolvers<Signal>();
    const subscription = await bus.subscribe({ member: "NameOwnerChanged", arg0: ECHO_NAME }, heard.resolve);
    const waiting = rejection(bus.call({ ...ECHO, member: "Hang" }));
    await stage.bus.restart();
    expect(await waiting).toMatchObject({ errorName: "org.freedesktop.DBus.Error.Disconnected" });
    expect((await bus.call({ ...BUS_DAEMON, member: "GetId" })).length).toBe(1);
    peer = await startEchoPeer(stage.bus.address);
    expect((await heard.promise).body[0]).toBe(ECHO_NAME);
    subscription[Symbol.dispose]();
  });

  test("says so when no daemon is there, and works again when one is", async () => {
    const address = process.env.DBUS_SESSION_BUS_ADDRESS;
    process.env.DBUS_SESSION_BUS_ADDRESS = `unix:path=${stage.bus.directory}/nobody`;
    const lonely = await openSessionBus();
    expect(await rejection(lonely.call({ ...BUS_DAEMON, member: "GetId" }))).toBeInstanceOf(DBusError);
    lonely.close();
    process.env.DBUS_SESSION_BUS_ADDRESS = address;
  });

  test("fails calls under way when it is closed", async () => {
    const fresh = await openSessionBus();
    const call = rejection(fresh.call({ ...ECHO, member: "Hang" }));
    fresh.close();
    expect(await call).toMatchObject({ errorName: "org.freedesktop.DBus.Error.Disconnected" });
  });

  test("makes no call after it was closed", async () => {
    const fresh = await openSessionBus();
    fresh.close();
    expect(await rejection(fresh.call({ ...ECHO, member: "Echo" }))).toMatchObject({
      errorName: "org.freedesktop.DBus.Error.Disconnected",
    });
  });

  test("leaves no connection behind when it is closed", async () => {
    const before = await connections();
    for (let round = 0; round < 20; round++) {
      const fresh = await openSessionBus();
      const abandoned = rejection(fresh.call({ ...ECHO, member: "Hang" }, { timeoutMs: 1 }));
      await fresh.call({ ...ECHO, member: "Echo" });
      await abandoned;
      fresh.close();
    }
    while (await connections() > before) await bus.call({ ...ECHO, member: "Echo" });
  });

  test("finds the bus by XDG_RUNTIME_DIR when there is no address", async () => {
    const { address, directory } = stage.bus;
    delete process.env.DBUS_SESSION_BUS_ADDRESS;
    expect(address).toContain(`unix:path=${directory}/bus`);
    process.env.XDG_RUNTIME_DIR = directory;
    const fresh = await openSessionBus();
    expect((await fresh.call({ ...BUS_DAEMON, member: "GetId" })).length).toBe(1);
    fresh.close();
    delete process.env.XDG_RUNTIME_DIR;
    expect(await rejection(openSessionBus())).toMatchObject({ errorName: "org.freedesktop.DBus.Error.NoServer" });
    process.env.DBUS_SESSION_BUS_ADDRESS = address;
  });
});
