// A request that is passed on, by itself: to a server that stands still.
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forward } from "../../bin/forward.ts";

test("forward() answers for a server that does not, when its time is over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "forward-")), path = join(folder, "identity");
  const asked = Promise.withResolvers<Socket>(), server = createServer((socket) => asked.resolve(socket));
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const reply = await forward(path, "/msi/token", { signal: new AbortController().signal, limitMs: 50 });
    expect(reply.status).toBe(504);
    expect(JSON.parse(String(reply.body))).toMatchObject({ statusCode: 504, message: expect.stringContaining(path) });
    (await asked.promise).destroy();
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
