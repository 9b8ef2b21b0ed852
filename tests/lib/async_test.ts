import { expect, spyOn, test } from "bun:test";
import { afterRunning, InFlight, Mutex, SingleFlight, untilAborted } from "../../lib/async.ts";

/** A call that is ended from outside, and what it was started with. */
function manual() {
  const started: (AbortSignal | undefined)[] = [];
  const end = Promise.withResolvers<string>();
  return { started, end, start: (signal?: AbortSignal) => (started.push(signal), end.promise) };
}

test("SharedCalls.run() makes equal calls once, and others by themselves", async () => {
  const calls = new SingleFlight<string>(), one = manual(), other = manual();
  const results = [
    calls.run("a", undefined, one.start),
    calls.run("a", undefined, one.start),
    calls.run("b", undefined, other.start),
  ];
  one.end.resolve("one");
  other.end.resolve("other");
  expect(await Promise.all(results)).toEqual(["one", "one", "other"]);
  expect([one.started.length, other.started.length]).toEqual([1, 1]);
});

test("SharedCalls.run() starts anew after the end, be it a failure", async () => {
  const calls = new SingleFlight<string>(), failing = manual(), next = manual();
  const failed = [calls.run("a", undefined, failing.start), calls.run("a", undefined, failing.start)];
  failing.end.reject(new Error("no"));
  expect((await Promise.allSettled(failed)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  next.end.resolve("yes");
  expect(await calls.run("a", undefined, next.start)).toBe("yes");
});

test("SharedCalls.run() lets one caller go and the others have the result", async () => {
  const calls = new SingleFlight<string>(), call = manual(), leaving = new AbortController();
  const gone = calls.run("a", leaving.signal, call.start), staying = calls.run("a", undefined, call.start);
  leaving.abort(new Error("bye"));
  await expect(gone).rejects.toThrow("bye");
  expect(call.started[0]?.aborted).toBe(false);
  call.end.resolve("here");
  expect(await staying).toBe("here");
});

test("SharedCalls.run() ends the call when the last caller has gone; the next starts anew", async () => {
  const calls = new SingleFlight<string>(), call = manual(), next = manual(), leaving = new AbortController();
  const gone = [calls.run("a", leaving.signal, call.start), calls.run("a", leaving.signal, call.start)];
  leaving.abort(new Error("bye"));
  expect((await Promise.allSettled(gone)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(call.started[0]!.reason.message).toBe("bye");
  const later = calls.run("a", undefined, next.start);
  call.end.resolve("too late");
  next.end.resolve("in time");
  expect(await later).toBe("in time");
});

test("SharedCalls.run() joins a newer call although an older caller aborts late", async () => {
  const calls = new SingleFlight<string>(), failing = manual(), next = manual(), leaving = new AbortController();
  const failed = calls.run("a", leaving.signal, failing.start).catch(() => "failed");
  failing.end.reject(new Error("no"));
  expect(await failed).toBe("failed");
  const newer = calls.run("a", undefined, next.start);
  leaving.abort();
  const joined = calls.run("a", undefined, next.start);
  next.end.resolve("yes");
  expect(await Promise.all([newer, joined])).toEqual(["yes", "yes"]);
  expect(next.started).toHaveLength(1);
});

test("SharedCalls.abort() ends all calls with the reason", async () => {
  const calls = new SingleFlight<string>(), call = manual();
  const running = calls.run("a", undefined, (signal) => untilAborted(call.start(signal), signal));
  calls.abort(new Error("closed"));
  await expect(running).rejects.toThrow("closed");
});

test("SharedCalls.run() starts nothing for a caller that has gone before", async () => {
  const call = manual();
  await expect(new SingleFlight<string>().run("a", AbortSignal.abort(new Error("bye")), call.start)).rejects.toThrow(
    "bye",
  );
  expect(call.started).toEqual([]);
});

test("untilAborted() leaves no listener on the signal", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  signal.addEventListener = new Proxy(signal.addEventListener, {
    apply: (add, self, args) => (listeners++, Reflect.apply(add, self, args)),
  });
  signal.removeEventListener = new Proxy(signal.removeEventListener, {
    apply: (remove, self, args) => (listeners--, Reflect.apply(remove, self, args)),
  });
  await untilAborted(Promise.resolve(), signal);
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  expect(listeners).toBe(0);
});

test("SharedCalls.abort() lets callers go whose call does not listen", async () => {
  const calls = new SingleFlight<string>(), call = manual();
  const running = calls.run("a", undefined, call.start);
  calls.abort(new Error("closed"));
  await expect(running).rejects.toThrow("closed");
  call.end.resolve("too late");
});

// A request was ended when a program that had been stopped went on, although its answer had come meanwhile.
test("afterRunning() does not count the time for which the program stood still", async () => {
  const clock = spyOn(performance, "now").mockReturnValueOnce(0).mockReturnValueOnce(60_000);
  const order: string[] = [], over = Promise.withResolvers<void>();
  try {
    afterRunning(1, () => {
      order.push("limit");
      over.resolve();
    });
    setTimeout(() => order.push("answer"), 20);
    await over.promise;
  } finally {
    clock.mockRestore();
  }
  expect(order).toEqual(["answer", "limit"]);
});

// The last in the queue took the queue with it, so that the next one entered while the holder was at work.
test("Mutex.run() has the next caller wait for the holder after a waiter gave up", async () => {
  const mutex = new Mutex(), end = Promise.withResolvers<void>(), steps: string[] = [];
  const enter = (step: string, options: Parameters<Mutex["run"]>[2], work: Promise<unknown> = Promise.resolve()) =>
    mutex.run("one", async () => {
      await work;
      steps.push(step);
    }, options);
  const holder = enter("holder", {}, end.promise);
  const late = enter("late", { limit: { waitMs: 1, onTimeout: () => new Error("late") } });
  await expect(late).rejects.toThrow("late");
  await expect(enter("aborted", { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  const next = enter("next", {});
  await mutex.run("another", () => Promise.resolve());
  expect(steps).toEqual([]);
  end.resolve();
  await Promise.all([holder, next]);
  expect(steps).toEqual(["holder", "next"]);
});

test("InFlight.drained() waits for all work, and no longer than for its limit", async () => {
  const works = new InFlight(), one = manual(), other = manual();
  await works.drained();
  const first = works.run(() => one.start()), failing = works.run(() => other.start());
  await works.drained(1);
  other.end.reject(new Error("no"));
  await expect(failing).rejects.toThrow("no");
  let isDrained = false;
  const drained = works.drained().then(() => isDrained = true);
  expect(isDrained).toBe(false);
  one.end.resolve("yes");
  await drained;
  expect(await first).toBe("yes");
});

test("InFlight.holdMs is the longest time that a work in flight may take", async () => {
  const works = new InFlight(), one = manual(), other = manual();
  expect(works.holdMs).toBe(0);
  const both = [works.run(() => one.start(), () => 2_000), works.run(() => other.start(), () => 15_000)];
  expect(works.holdMs).toBe(15_000);
  other.end.resolve("done");
  await both[1];
  expect(works.holdMs).toBe(2_000);
  one.end.resolve("done");
  await both[0];
  expect(works.holdMs).toBe(0);
});

// A timer cost Deno 4 ms at the end of each program, and another ticked as long as there was no limit.
test("InFlight.drained() starts no timer if there is nothing to wait for, or no limit", async () => {
  const works = new InFlight(), call = manual(), timer = spyOn(globalThis, "setTimeout");
  try {
    await works.drained(1000);
    const work = works.run(() => call.start()), drained = works.drained();
    call.end.resolve("done");
    await Promise.all([work, drained]);
    expect(timer).not.toHaveBeenCalled();
  } finally {
    timer.mockRestore();
  }
});
