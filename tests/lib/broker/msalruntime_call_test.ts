import { expect, test } from "bun:test";
import { callNative, type NativeCallOptions } from "../../../lib/broker/msalruntime.ts";
import { failure, rejection } from "../../fixture.ts";

const OPTIONS: NativeCallOptions = { name: "SignIn", correlationId: "id", isCancellable: true };

/** A call that a test ends when it likes. */
function makeCall() {
  const begun = Promise.withResolvers<(result: string) => void>();
  let cancelled = 0;
  return {
    start(done: (result: string) => void) {
      begun.resolve(done);
      return { CancelAsyncOperation: () => void cancelled++ };
    },
    begun: begun.promise,
    cancelled: () => cancelled,
  };
}

test("callNative() gives the result of the callback", async () => {
  const call = makeCall(), result = callNative(call.start, OPTIONS);
  (await call.begun)("token");
  expect(await result).toBe("token");
  expect(call.cancelled()).toBe(0);
});

test.each([Infinity, 2 ** 31])("callNative() takes a time limit of %p for a long one", async (timeoutMs) => {
  const call = makeCall(), result = callNative(call.start, { ...OPTIONS, timeoutMs });
  const done = await call.begun;
  await new Promise((resolve) => setTimeout(resolve, 10)); // a timer that goes off at once is before this one
  done("token");
  expect(await result).toBe("token");
});

test("callNative() takes a result that is there before the call returns", async () => {
  const refusedAtOnce = (done: (result: string) => void) => {
    done("refusal");
    return { CancelAsyncOperation() {} };
  };
  expect(await callNative(refusedAtOnce, OPTIONS)).toBe("refusal");
});

test("callNative() throws what the call throws when it is made, and lets the next one have its turn", async () => {
  const broken = () => {
    throw new RangeError("no");
  };
  const queued = { ...OPTIONS, mutex: "broken" };
  expect(await rejection(callNative(broken, queued))).toBeInstanceOf(RangeError);
  const call = makeCall(), result = callNative(call.start, queued);
  (await call.begun)("token");
  expect(await result).toBe("token");
});

test("callNative() makes no call for a signal that has gone off", async () => {
  const reason = new Error("before");
  const never = () => {
    throw new Error("it was called");
  };
  expect<Error>(await rejection(callNative(never, { ...OPTIONS, signal: AbortSignal.abort(reason) }))).toBe(reason);
});

test("callNative() lets the caller go at once with the signal's reason, cancels, and drops the result", async () => {
  const call = makeCall(), controller = new AbortController(), reason = new Error("enough");
  const result = callNative(call.start, { ...OPTIONS, signal: controller.signal });
  const done = await call.begun;
  controller.abort(reason);
  expect<Error>(await rejection(result)).toBe(reason);
  expect(call.cancelled()).toBe(1);
  done("too late");
});

test("callNative() does not cancel where that would wait for the broker", async () => {
  const call = makeCall(), controller = new AbortController();
  const result = callNative(call.start, { ...OPTIONS, signal: controller.signal, isCancellable: false });
  await call.begun;
  controller.abort(new Error("enough"));
  await rejection(result);
  expect(call.cancelled()).toBe(0);
});

test("callNative() has a time limit", async () => {
  const call = makeCall();
  const error = await failure(callNative(call.start, { ...OPTIONS, timeoutMs: 1 }));
  expect(error).toMatchObject({
    code: "timed_out",
    message: "The broker did not answer SignIn within 1 ms",
    correlationId: "id",
  });
  expect(call.cancelled()).toBe(1);
});

test("callNative() makes the calls of a queue one after the other", async () => {
  const first = makeCall(), second = makeCall(), queued = { ...OPTIONS, mutex: "in turn", isCancellable: false };
  const results = [callNative(first.start, queued), callNative(second.start, queued)];
  const isBegun = () => Promise.race([second.begun.then(() => true), Promise.resolve(false)]);
  const done = await first.begun;
  expect(await isBegun()).toBe(false);
  done("one");
  (await second.begun)("two");
  expect(await Promise.all(results)).toEqual(["one", "two"]);
});

test("callNative() leaves a call that cannot be cancelled its turn when nobody waits for it any more", async () => {
  const first = makeCall(), second = makeCall(), controller = new AbortController();
  const queued = { ...OPTIONS, mutex: "abandoned", isCancellable: false };
  const left = callNative(first.start, { ...queued, signal: controller.signal });
  const done = await first.begun;
  controller.abort(new Error("enough"));
  await rejection(left);
  const late = await failure(callNative(second.start, { ...queued, timeoutMs: 1 }));
  expect(late).toMatchObject({ code: "timed_out" });
  const third = makeCall(), result = callNative(third.start, queued);
  done("dropped");
  (await third.begun)("three");
  expect(await result).toBe("three");
  expect(await Promise.race([second.begun.then(() => true), Promise.resolve(false)])).toBe(false);
});

test.each([["has ended", 600_000], ["does not end in its time", 1]])(
  "callNative() gives the turn of a call that was cancelled to the next one when that %s",
  async (how, closingMs) => {
    const first = makeCall(), second = makeCall(), controller = new AbortController();
    const queued = { ...OPTIONS, mutex: `cancelled ${closingMs}`, closingMs };
    const left = callNative(first.start, { ...queued, signal: controller.signal });
    const done = await first.begun;
    const result = callNative(second.start, queued);
    controller.abort(new Error("enough"));
    await rejection(left);
    if (how === "has ended") {
      expect(await Promise.race([second.begun.then(() => true), Promise.resolve(false)])).toBe(false);
      done("dropped");
    }
    (await second.begun)("two");
    expect(await result).toBe("two");
  },
);

test("callNative() lets go although the call cannot be cancelled after all", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  const stubborn = () => ({
    CancelAsyncOperation() {
      throw { errorStatus: 0, errorContext: "no" };
    },
  });
  const left = callNative(stubborn, { ...OPTIONS, signal: controller.signal });
  controller.abort(reason);
  expect<Error>(await rejection(left)).toBe(reason);
});

/** What the library throws is of no class. */
const NATIVE_FAILURE = { errorStatus: 1, errorContext: "no such operation", errorTag: 1, errorCode: 1 };

function makeUncancellable() {
  const begun = Promise.withResolvers<void>();
  const start = () => {
    begun.resolve();
    return {
      CancelAsyncOperation() {
        throw NATIVE_FAILURE;
      },
    };
  };
  return { start, begun: begun.promise };
}

test("callNative() lets the caller go, and tells of it, when a call cannot be cancelled", async () => {
  const controller = new AbortController(), reason = new Error("enough"), thrown: unknown[] = [];
  const { start, begun } = makeUncancellable();
  const options = { ...OPTIONS, onNotCancelled: (error: unknown) => void thrown.push(error) };
  const result = callNative(start, { ...options, signal: controller.signal });
  await begun;
  controller.abort(reason);
  expect<Error>(await rejection(result)).toBe(reason);
  expect(await failure(callNative(makeUncancellable().start, { ...options, timeoutMs: 1 }))).toMatchObject({
    code: "timed_out",
  });
  expect(thrown).toEqual([NATIVE_FAILURE, NATIVE_FAILURE]);
});

test("callNative() cancels a call whose caller goes while it is made", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  let cancelled = 0;
  const start = () => {
    controller.abort(reason);
    return { CancelAsyncOperation: () => void cancelled++ };
  };
  expect<Error>(await rejection(callNative(start, { ...OPTIONS, signal: controller.signal }))).toBe(reason);
  expect(cancelled).toBe(1);
});
