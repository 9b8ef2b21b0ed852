// How every client of the session bus finds its bus, stands hostile ones, and lets the program end.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BUS_DAEMON, DBusError, type DBusValue, type SessionBus, type Signal } from "../../../lib/dbus/bus.ts";
import { openSessionBus } from "../../../lib/dbus/open.ts";
import { ECHO, startEchoPeer } from "../../fakes/echo_peer.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { useStage } from "../../fixture.ts";

const GET_ID = { ...BUS_DAEMON, member: "GetId" };

const stage = useStage({ bus: true });
let peer: { stop(): void };
const opened: SessionBus[] = [];

beforeAll(async () => {
  delete process.env.DISPLAY; // or libdbus starts a bus of its own for `autolaunch:`
  peer = await startEchoPeer(stage.bus.address);
});

afterEach(() => {
  for (const bus of opened.splice(0)) bus.close();
});

afterAll(() => peer.stop());

/** A bus that is closed after the test. */
async function openBus(): Promise<SessionBus> {
  const bus = await openSessionBus();
  opened.push(bus);
  return bus;
}

/** Opens the bus at an address and calls it once. */
async function callAt(address: string, timeoutMs?: number): Promise<readonly DBusValue[]> {
  process.env.DBUS_SESSION_BUS_ADDRESS = address;
  try {
    const bus = await openBus();
    return await bus.call(GET_ID, { timeoutMs });
  } finally {
    process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
  }
}

describe("openSessionBus()", () => {
  test("takes the client of this path", async () => {
    const bus = await openBus();
    expect(bus.client).toBe(ownRuntimePath().client);
  });

  test.each([
    ["nonsense"],
    [";"],
    ["unix:"],
    ["unix:path"],
    ["unix:path=/%zz"],
    ["unix:path=/a b"],
    ["unix:path=/nobody/is/there"],
    ["unix:path=/nobody;unix:abstract=nobody-is-there"],
    ["unix:tmpdir=/tmp"],
    ["unix:abstract=nobody-is-there"],
    ["autolaunch:"],
    ["tcp:host=127.0.0.1,port=1"],
    ["gopher:host=contoso.com"],
  ])("fails with an error of D-Bus for the address %p", async (address) => {
    const error = await callAt(address).catch((error) => error);
    expect(error).toBeInstanceOf(DBusError);
    expect(error.errorName).toMatch(/^org\.freedesktop\.DBus\.Error\./);
    expect(error.message).not.toBe("");
  });

  test("runs no program that an address names", async () => {
    const file = join(stage.bus.directory, "touched");
    const error = await callAt(`unixexec:path=/usr/bin/touch,argv1=${file}`).catch((error) => error);
    expect(error).toMatchObject({ errorName: "org.freedesktop.DBus.Error.BadAddress" });
    expect(existsSync(file)).toBe(false);
  });

  test("tries one address after the other", async () => {
    expect(await callAt(`unix:path=/nobody,guid=0123;${stage.bus.address}`)).toHaveLength(1);
    expect(await callAt(`unix:path=${stage.bus.directory.replaceAll("/", "%2f")}/bus;unix:path=/nobody`)).toHaveLength(
      1,
    );
  });
});

describe("SessionBus at a socket where no bus is", () => {
  let server: Server, address: string, answer: (socket: Socket) => void;

  beforeAll(async () => {
    const path = join(stage.bus.directory, "impostor");
    server = createServer((socket) => {
      socket.on("error", () => {});
      answer(socket);
    }).listen(path);
    await once(server, "listening");
    address = `unix:path=${path}`;
  });
  afterAll(() => void server.close());

  /** Answers what it reads with these, and hangs up after the last. All of the authentication can come in one piece. */
  const says = (...lines: string[]) => (socket: Socket) =>
    socket.on("data", (piece) => {
      const isAll = piece.includes("BEGIN\r\n") || lines.length <= 1;
      if (isAll) socket.end(lines.splice(0).join(""));
      else socket.write(lines.shift()!);
    });
  const impostors: [name: string, answer: (socket: Socket) => void][] = [
    ["hangs up", (socket) => socket.destroy()],
    ["hangs up when it is greeted", says()],
    ["refuses us", says("REJECTED EXTERNAL\r\n")],
    ["speaks HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["speaks HTTP once it let us in", says(`OK ${"0".repeat(32)}\r\n`, "HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["sends half a message", says(`OK ${"0".repeat(32)}\r\n`, "l\x01\0\x01\0\0\0\0\x01\0\0\0\x40\0\0\0")],
  ];
  test.each(impostors)("fails when it %s", async (_, impostor) => {
    answer = impostor;
    expect(await callAt(address).catch((error) => error)).toBeInstanceOf(DBusError);
  });

  test("gives up when it says nothing", async () => {
    answer = (socket) => socket.resume();
    expect(await callAt(address, 50).catch((error) => error)).toMatchObject({ code: "timed_out" });
  });
});

// libdbus keeps the first socket that it connects to, and drops what it could not write before the end.
const describeSockets = ownRuntimePath().client === "libdbus" ? () => {} : describe;
describeSockets("SessionBus on a socket of the runtime's own", () => {
  test("tries the next address where the first one lets us in and hangs up", async () => {
    const path = join(stage.bus.directory, "stale"), server = createServer((socket) => socket.destroy()).listen(path);
    await once(server, "listening");
    expect(await callAt(`unix:path=${path};${stage.bus.address}`, 5_000)).toHaveLength(1);
    server.close();
  });

  test("reads an authentication that comes byte by byte", async () => {
    const path = join(stage.bus.directory, "slow"), [, target = ""] = /path=([^,;]+)/.exec(stage.bus.address) ?? [];
    const server = createServer((socket) => {
      const bus = createConnection(target);
      socket.on("data", (piece) => bus.write(piece)).on("close", () => bus.destroy());
      let slowly = Promise.resolve();
      bus.on("data", (piece) => {
        slowly = slowly.then(async () => {
          for (const byte of piece) {
            socket.write(Uint8Array.of(byte));
            await new Promise(setImmediate);
          }
        });
      }).on("close", () => socket.destroy());
    }).listen(path);
    await once(server, "listening");
    expect(await callAt(`unix:path=${path}`, 5_000)).toHaveLength(1);
    server.close();
  });

  test.each([["a word", 1], ["more than a socket takes at once", 1_000_000]])(
    "writes %s that was sent right before the end",
    async (_, length) => {
      const observer = await openBus(), heard = Promise.withResolvers<Signal>(), bus = await openBus();
      await observer.subscribe({ interface: ECHO.interface, member: "Late" }, heard.resolve);
      await bus.call(GET_ID);
      const call = bus.call({ ...ECHO, member: "Emit", signature: "ss", body: ["Late", "x".repeat(length)] });
      bus.close();
      expect(await call.catch((error) => error)).toBeInstanceOf(DBusError);
      expect((await heard.promise).body).toEqual(["x".repeat(length)]);
    },
  );
});

describe("SessionBus with peers of all kinds", () => {
  test("refuses their calls", async () => {
    const bus = await openBus();
    expect(await bus.call({ ...ECHO, member: "CallBack" })).toEqual(["org.freedesktop.DBus.Error.UnknownMethod"]);
  });

  test("takes no signal that was not asked for", async () => {
    const bus = await openBus();
    const heard: Signal[] = [];
    await bus.subscribe({ interface: ECHO.interface, member: "Wanted" }, (signal) => heard.push(signal));
    for (const member of ["Unwanted", "Wanted"]) {
      await bus.call({ ...ECHO, member: "EmitToCaller", signature: "s", body: [member] });
    }
    expect(heard.map(({ member }) => member)).toEqual(["Wanted"]);
  });

  test("refuses a reply with a file descriptor, and goes on", async () => {
    const bus = await openBus();
    const error = await bus.call({ ...ECHO, member: "Descriptor" }).catch((error) => error);
    expect(error).toMatchObject({ code: "invalid_response" });
    expect(await bus.call({ ...ECHO, member: "Echo", signature: "s", body: ["well"] })).toEqual(["well"]);
  });

  test("starts a service when it may, and not when it may not", async () => {
    const destination = "com.example.Broken", call = { ...ECHO, destination, member: "Echo" };
    await stage.bus.addService(destination, ["/bin/false"]);
    const bus = await openBus();
    const [started, notStarted] = await Promise.all(
      [{}, { autoStart: false }].map((more) => bus.call({ ...call, ...more }).catch((error) => error)),
    );
    expect(started.errorName).toContain("org.freedesktop.DBus.Error.Spawn.");
    expect(notStarted.errorName).toMatch(/\.(ServiceUnknown|NameHasNoOwner)$/);
  });
});

describe("a program that uses the session bus", () => {
  const [command = "", ...args] = [
    ...ownRuntimePath().program(),
    fileURLToPath(new URL("../../fakes/bus_program.ts", import.meta.url)),
  ];
  const run = async (how: string) => (await promisify(execFile)(command, [...args, how])).stdout;

  test.each([
    ["a call", "answered"],
    ["a subscription", "subscribed"],
    ["a time limit", "timed_out"],
  ])("ends by itself after %s", async (how, outcome) => {
    expect(await run(how.slice(2))).toBe(`${outcome}\n`);
  });

  test.each([["time limit", "timed_out"], ["abort at once", "aborted"]])(
    "ends by itself after a call that ended by %s while the daemon hangs",
    async (how, outcome) => {
      stage.bus.pause();
      try {
        expect(await run(how)).toBe(`${outcome}\n`);
      } finally {
        stage.bus.resume();
      }
    },
  );
});
