import { afterEach, describe, expect, jest, test } from "bun:test";
import { openRequestLog } from "../../../../bin/commands/serve/request_log.ts";
import { replaceProgramIo } from "../../../../lib/runtime/host.ts";

let replaced: Disposable | undefined;

/** Everything that was written, one entry a write. */
function captureWrites(): readonly string[] {
  const writes: string[] = [];
  replaced = replaceProgramIo({
    environment: {},
    input: new Blob([]).stream(),
    terminals: [],
    write: (_, bytes) => writes.push(new TextDecoder().decode(bytes)),
    onSignals: () => ({ [Symbol.dispose]() {} }),
  });
  return writes;
}

afterEach(() => {
  replaced?.[Symbol.dispose]();
  jest.useRealTimers();
});

// A write for each request took almost half of the proxy's time.
describe("openRequestLog()", () => {
  test("writes lines in groups, in their order, and the last ones by flush()", () => {
    jest.useFakeTimers();
    const writes = captureWrites(), log = openRequestLog({ isLogged: true });
    for (let number = 0; number < 1000; number++) log.add(200, () => `GET /${number}`, performance.now());
    expect(writes.length).toBeLessThan(20);
    log.flush();
    const paths = [...writes.join("").matchAll(/ 200 GET \/(\d+) \d+ ms\n/g)].map(([, path]) => Number(path));
    expect(paths).toEqual(Array.from({ length: 1000 }, (_, number) => number));
    log.flush();
    expect(writes.join("").split("\n").length).toBe(1001);
  });

  test("writes a line soon, even if no other one comes", () => {
    jest.useFakeTimers();
    const writes = captureWrites();
    openRequestLog({ isLogged: true }).add(200, () => "GET /", performance.now());
    expect(writes).toEqual([]);
    jest.advanceTimersByTime(1000);
    expect(writes).toEqual([expect.stringMatching(/^\d{4}-\S+Z 200 GET \/ \d+ ms\n$/)]);
  });

  test("shortens long requests, and has no control characters", () => {
    const writes = captureWrites(), log = openRequestLog({ isLogged: true });
    log.add(400, () => `\x1b[2J\n${"x".repeat(500)}`, performance.now());
    log.flush();
    expect(writes.join("")).toMatch(/^\S+ 400 \ufffd\[2J\ufffdx{195} \d+ ms\n$/);
  });

  test("describes and writes nothing if it is off", () => {
    const writes = captureWrites(), log = openRequestLog({ isLogged: false });
    log.add(200, () => expect.unreachable(), 0);
    log.flush();
    expect(writes).toEqual([]);
  });
});
