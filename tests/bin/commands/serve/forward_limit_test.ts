// A request that is passed on, by itself: to a server that stands still.
import { expect, spyOn, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forward } from "../../../../bin/commands/serve/serve.ts";

test("forward() answers for a server that does not, when its time is over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "forward-")), path = join(folder, "identity");
  const timeout = spyOn(AbortSignal, "timeout").mockReturnValue(AbortSignal.timeout(50));
  const asked = Promise.withResolvers<Socket>(), server = createServer((socket) => asked.resolve(socket));
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const reply = await forward(path, { query: "" }, new AbortController().signal);
    expect(reply.status).toBe(504);
    expect(JSON.parse(String(reply.body))).toMatchObject({ statusCode: 504, message: expect.stringContaining(path) });
    (await asked.promise).destroy();
  } finally {
    timeout.mockRestore();
    server.close();
    rmSync(folder, { recursive: true });
  }
});

// A server was asked whoever it belonged to. Only root can give a file away, to play that.
if (process.getuid?.() === 0) {
  test.each<[string, number, boolean]>([
    ["asks no socket of another user", 0o1777, false],
    ["asks one that root put there, as a container's mount is", 0o755, true],
  ])("forward() %s", async (_, mode, isAsked) => {
    const top = mkdtempSync(join(tmpdir(), "forward-")), folder = join(top, "theirs"), path = join(folder, "identity");
    const server = createServer((socket) => {
      socket.end("HTTP/1.1 200 \r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    try {
      mkdirSync(folder, { mode: 0o700 });
      chmodSync(top, mode);
      await new Promise<void>((resolve) => server.listen(path, resolve));
      for (const each of [path, folder]) chownSync(each, 12_345, 12_345);
      const { status, body } = await forward(path, { query: "" }, new AbortController().signal);
      expect(status).toBe(isAsked ? 200 : 502);
      if (!isAsked) expect(JSON.parse(body).message).toContain("belongs to user 12345");
    } finally {
      server.close();
      rmSync(top, { recursive: true });
    }
  });
}
