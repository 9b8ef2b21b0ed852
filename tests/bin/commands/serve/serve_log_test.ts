// What serve says on standard error, where nobody reads it, on each runtime.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { askEndpoint } from "../../ask_endpoint.ts";
import { openHome } from "../../../fixture.ts";

let folder: string, count = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "serve-log-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Both ends of a pipe. The end that writes waits for the other one, as that of a shell does. */
function makePipe(): { readonly near: number; readonly far: number } {
  const path = join(folder, `pipe-${++count}`);
  Bun.spawnSync(["mkfifo", path]);
  const far = openSync(path, constants.O_RDWR);
  return { near: openSync(path, constants.O_WRONLY), far };
}

/** Fills a pipe that nobody reads. */
function fill(pipe: number): void {
  const fd = openSync(`/proc/self/fd/${pipe}`, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(fd, "x".repeat(1024));
  } catch (error) {
    expect(error).toMatchObject({ code: "EAGAIN" });
  } finally {
    closeSync(fd);
  }
}

// A line that could not be written ended the server, and one that nobody read held it up for good.
describe.each(RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))(
  "latchkey serve on $name",
  ({ program }) => {
    test.each<[string, () => readonly number[]]>([
      ["on a full disk", () => [openSync("/dev/full", "w")]],
      ["on a pipe that is closed", () => {
        const { near, far } = makePipe();
        closeSync(far);
        return [near];
      }],
      ["on a pipe that nobody reads", () => {
        const { near, far } = makePipe();
        fill(near);
        return [near, far];
      }],
    ])("serves with its standard error %s", async (_, open) => {
      const socketPath = join(folder, `socket-${++count}`), [stderr, ...others] = open();
      const words = ["--client-id", "11111111-2222-4333-8444-555555555555", "--resource", "https://vault.azure.net"];
      using home = openHome();
      const child = Bun.spawn([...program(), "bin/latchkey.ts", "serve", "--socket", socketPath, ...words], {
        cwd: fileURLToPath(new URL("../../../../", import.meta.url)),
        env: { NO_COLOR: "1", PATH: process.env.PATH, ...home.env },
        stdio: ["ignore", "ignore", stderr!],
      });
      const ask = () => askEndpoint({ socketPath }, "https://graph.microsoft.com");
      while (child.exitCode === null && !await ask().catch(() => undefined)) await Bun.sleep(5);
      for (let times = 0; times < 3; times++) expect((await ask()).status).toBe(403);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      for (const fd of [stderr!, ...others]) closeSync(fd);
    });
  },
);
