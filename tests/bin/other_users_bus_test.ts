// Another user's bus, as after sudo: that "the connection to the session bus ended" did not say why.
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLIENT_ID } from "../fixture.ts";
import { runProgram } from "./run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS } from "./tested_latchkey.ts";

test.each(TESTED_PATHS)("latchkey says on $name that a bus refuses other users", async ({ program }) => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bus-")), path = join(folder, "bus");
  // Stands in for a bus of another user: it refuses EXTERNAL, and goes.
  const server = createServer((socket) => {
    socket.on("error", () => {}).on("data", () => socket.end("REJECTED EXTERNAL\r\n"));
  });
  const listening = Promise.withResolvers<void>();
  server.listen(path, listening.resolve);
  await listening.promise;
  try {
    const words = ["accounts", "--client-id", CLIENT_ID, "--broker", "require"];
    const { code, stderr } = await runProgram([...latchkeyBy(program()), ...words], {
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${path}`,
    });
    expect(code).toBe(5);
    expect(stderr).toMatch(/^error_description: .*: a bus refuses all users but its own$/m);
    expect(stderr).toMatch(
      /^hint: If the bus is another user's, as after sudo or su, run this program as the user of /m,
    );
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
