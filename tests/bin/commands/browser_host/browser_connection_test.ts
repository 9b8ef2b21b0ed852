// What is hard to time on a real bus: a channel in place of the broker's, whose answers come when the test says so.
import { describe, expect, test } from "bun:test";
import { BrowserConnection, frameOf } from "../../../../bin/commands/browser_host/browser_host.ts";
import { type BrokerAnswer, type BrokerChannel, LatchkeyError } from "../../../../mod.ts";

const FOREVER_MS = 1_000_000, GET_ACCOUNTS = { command: "getAccounts" };

/** A connection, and both ends of it. */
function begin({ start = () => Promise.resolve() }: Partial<Pick<BrokerChannel, "start">> = {}) {
  const input = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1000 });
  const asked: PromiseWithResolvers<BrokerAnswer>[] = [],
    written: unknown[] = [],
    messages: unknown[] = [],
    hasWritten = [Promise.withResolvers()];
  let change: ((change: { readonly running: boolean }) => void) | undefined, unread: Promise<void> | undefined;
  const channel: BrokerChannel = {
    start,
    ask: () => {
      asked.push(Promise.withResolvers());
      return asked.at(-1)!.promise;
    },
    onChange: (listener) => {
      change = listener;
      return Promise.resolve({ [Symbol.dispose]: () => {} });
    },
    close: () => {},
    [Symbol.dispose]: () => {},
  };
  const connection = new BrowserConnection({
    channel,
    version: "1.2.3",
    write: async (bytes) => {
      await unread;
      const { command, message } = JSON.parse(new TextDecoder().decode(bytes.subarray(4)));
      messages.push(message);
      written.push(command === "brokerStateChanged" ? message : command);
      hasWritten.at(-1)!.resolve(undefined);
      hasWritten.push(Promise.withResolvers());
    },
    logError: () => {},
  });
  const writer = input.writable.getWriter();
  return {
    run: (lingerMs = FOREVER_MS) => connection.run(input.readable, lingerMs),
    asked,
    written,
    messages,
    send: (message: unknown) => void writer.write(frameOf(message)!),
    end: () => void writer.close(),
    change: (running: boolean) => change!({ running }),
    stopReading: (until: Promise<void>) => void (unread = until),
    async untilWritten(count: number) {
      while (written.length < count) await hasWritten.at(-1)!.promise;
      return written;
    },
    async untilAsked(count: number) {
      while (asked.length < count) await new Promise(setImmediate);
    },
  };
}

describe("BrowserConnection", () => {
  test("does not wait longer than it is told for a broker that stands still", async () => {
    const { run, send, end, written } = begin();
    send(GET_ACCOUNTS);
    end();
    expect(await run(50)).toBe(true);
    expect(written).toEqual(["online"]);
  });

  test("tells of the broker before anything else, also before what is wrong with a message", async () => {
    const starting = Promise.withResolvers<void>();
    const { run, send, end, written } = begin({ start: () => starting.promise });
    send([]);
    send({ command: "unknown" });
    const ended = run();
    end();
    await new Promise(setImmediate);
    starting.resolve();
    await ended;
    expect(written).toEqual(["online", null, "unknown"]);
  });

  test("tells its own version where there is no broker", async () => {
    const none = new LatchkeyError("broker_unavailable", "There is no broker");
    const { run, send, end, asked, untilAsked, messages } = begin({ start: () => Promise.reject(none) });
    const ended = run();
    send({ command: "getVersion" });
    end();
    await untilAsked(1);
    asked[0]!.reject(none);
    await ended;
    expect(messages).toEqual(["offline", { error: "There is no broker", native: "1.2.3" }]);
  });

  // A hint named API calls, which nobody can type at a shell.
  test("gives a hint in the words of the command line", async () => {
    const { run, send, end, asked, untilAsked, messages } = begin(), ended = run();
    send(GET_ACCOUNTS);
    end();
    await untilAsked(1);
    asked[0]!.reject(new LatchkeyError("refused", "No", { remedy: { kind: "require_broker" } }));
    await ended;
    expect(messages).toEqual(["online", { error: "No. Sign in through the device's broker: --broker require" }]);
  });

  test("believes what it saw last of the broker, and not an answer from before", async () => {
    const { run, send, end, change, asked, untilAsked, untilWritten } = begin();
    const ended = run();
    send(GET_ACCOUNTS);
    await untilAsked(1);
    change(false);
    asked[0]!.resolve({});
    await untilWritten(3);
    send(GET_ACCOUNTS);
    await untilAsked(2);
    asked[1]!.resolve({}); // asked after it went: so it is there again
    end();
    expect(await ended).toBe(true);
    const told = ["online", "offline", "getAccounts", "online", "getAccounts"];
    expect((await untilWritten(5)).toSorted()).toEqual(told.toSorted());
    expect((await untilWritten(5)).slice(0, 3)).toEqual(told.slice(0, 3));
  });

  test("believes a change more than a start that failed", async () => {
    const starting = Promise.withResolvers<void>();
    const { run, end, change, untilWritten } = begin({ start: () => starting.promise });
    const ended = run();
    await new Promise(setImmediate);
    change(true);
    starting.reject(new Error("it took too long"));
    end();
    await ended;
    expect(await untilWritten(1)).toEqual(["online"]);
  });

  test("tells a browser that does not read of the last change alone", async () => {
    const { run, end, change, stopReading, untilWritten } = begin(), read = Promise.withResolvers<void>();
    const ended = run();
    await untilWritten(1);
    stopReading(read.promise);
    for (let time = 0; time < 1001; time++) change(time % 2 === 1);
    read.resolve();
    end();
    await ended;
    expect(await untilWritten(2)).toEqual(["online", "offline"]);
  });

  test("reads on only when some of what it was asked is done", async () => {
    const { run, send, end, asked, untilAsked, written } = begin(), ended = run();
    for (let count = 0; count < 100; count++) send(GET_ACCOUNTS);
    await untilAsked(64);
    await new Promise(setImmediate);
    expect(asked).toHaveLength(64);
    for (let index = 0; index < 100; index++) {
      await untilAsked(index + 1);
      asked[index]!.resolve({});
    }
    end();
    expect(await ended).toBe(true);
    expect(written).toHaveLength(101);
  });

  test("fails as the writing does", async () => {
    const { run, stopReading, send } = begin(), gone = new Error("gone");
    stopReading(Promise.reject(gone));
    send({ command: "nonsense" });
    expect(await run().catch((error) => error)).toBe(gone);
  });
});
