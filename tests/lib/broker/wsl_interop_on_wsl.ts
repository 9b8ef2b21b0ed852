// The way to Windows' programs, where the environment does not know it, or knows one that is gone.
import { afterEach, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import process from "node:process";
import { interopEnvironment } from "../../../lib/broker/wsl.ts";
import { INTEROP_FOLDER, usePlayedWsl } from "../../fakes/play_wsl.ts";

const { play } = usePlayedWsl();
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A socket of a session, as WSL's init has it: by a process's number. */
async function makeSocket(pid: number, changed: number): Promise<string> {
  const path = `${INTEROP_FOLDER}/${pid}_interop`, server = createServer();
  servers.push(server.listen(path));
  await once(server, "listening");
  utimesSync(path, changed, changed);
  return path;
}

/** The number of a process that has ended. */
async function endedProcess(): Promise<number> {
  const child = spawn("true");
  await once(child, "exit");
  return child.pid!;
}

describe("interopEnvironment()", () => {
  test("sets nothing where there is no socket", async () => {
    expect(await interopEnvironment()).toEqual({});
    play({ interop: `${INTEROP_FOLDER}/1_interop` });
    expect(await interopEnvironment()).toEqual({});
  });

  test("takes the newest socket of a process that lives", async () => {
    await makeSocket(process.ppid, 1000);
    const newest = await makeSocket(process.pid, 2000);
    await makeSocket(await endedProcess(), 3000);
    expect(await interopEnvironment()).toEqual({ WSL_INTEROP: newest });
  });

  test("takes the place of a socket that is gone, or whose process is", async () => {
    const path = await makeSocket(process.pid, 1000);
    play({ interop: `${INTEROP_FOLDER}/4194300_interop` });
    expect(await interopEnvironment()).toEqual({ WSL_INTEROP: path });
    play({ interop: await makeSocket(await endedProcess(), 2000) });
    expect(await interopEnvironment()).toEqual({ WSL_INTEROP: path });
  });

  test("leaves what the environment has, when that is in use", async () => {
    const own = await makeSocket(process.ppid, 1000);
    await makeSocket(process.pid, 2000);
    play({ interop: own });
    expect(await interopEnvironment()).toEqual({});
    const link = `${INTEROP_FOLDER}/1_interop`; // systemd's, to that of init
    symlinkSync(own, link);
    play({ interop: link });
    expect(await interopEnvironment()).toEqual({});
  });

  test.each([
    "/etc/passwd/x",
    "/tmp/1_interop",
    `${INTEROP_FOLDER}/../../etc/passwd/1_interop`,
    "interop",
  ])("leaves what is not of WSL's folder as it is, and does not look at it: %s", async (interop) => {
    await makeSocket(process.pid, 1000);
    play({ interop });
    expect(await interopEnvironment()).toEqual({});
  });

  test("is no help, and no harm, where the look at the sockets fails", async () => {
    play({ interop: `${INTEROP_FOLDER}/${"x".repeat(300)}` }); // ENAMETOOLONG
    expect(await interopEnvironment()).toEqual({});
  });

  test("takes no file for a socket", async () => {
    writeFileSync(`${INTEROP_FOLDER}/${process.pid}_interop`, "");
    expect(await interopEnvironment()).toEqual({});
  });

  // A namespace of a user's own has no other users.
  if (readFileSync("/proc/self/uid_map", "utf8").includes("4294967295")) {
    test("takes nothing that another one put there", async () => {
      chownSync(await makeSocket(process.ppid, 1000), 12345, 12345);
      expect(await interopEnvironment()).toEqual({});
    });
  }
});
