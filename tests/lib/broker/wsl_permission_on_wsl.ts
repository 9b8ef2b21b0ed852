// Windows' broker from WSL where Deno permits little: the flags are named, nobody is asked, and those flags are enough.
import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { INTEROP_FOLDER, usePlayedWsl } from "../../fakes/play_wsl.ts";
import { useStage } from "../../fixture.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { MSAL_PROXY } from "../../tools/wsl_machine.ts";

const PROGRAM = fileURLToPath(new URL("../../fakes/broker_status_program.ts", import.meta.url));
const stage = useStage({ broker: {} });
const { play, started } = usePlayedWsl();

interface Said {
  readonly status: { readonly state: string; readonly kind: string | null; readonly reason: string | null };
  readonly failure: { readonly code: string; readonly message: string; readonly hint?: string } | null;
}

/** What a program says of its broker. */
async function ask(command: readonly string[], ...flags: readonly string[]): Promise<Said> {
  const [program = "", ...args] = [...command, PROGRAM, ...flags];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const [output, complaint] = await Promise.all([child.stdout, child.stderr].map((stream) => stream.toArray()));
  expect(complaint!.join("")).toBe("");
  return JSON.parse(output!.join(""));
}

const onDeno = (permissions: readonly string[], ...flags: readonly string[]) =>
  ask([...denoRun(), ...permissions], ...flags);
const RELEASE = "--allow-sys=osRelease", RUN = `--allow-run=/usr/bin/wslinfo,${MSAL_PROXY}`;

if (ownRuntimePath().name === "WSL, Deno") {
  describe("findBroker() on Deno in WSL", () => {
    test("needs to know the system, and to run wslinfo and the program that it names", async () => {
      const { status, failure } = await onDeno([RELEASE, RUN], "enableBrokerOnWsl");
      expect({ status, failure }).toMatchObject({ status: { state: "active", kind: "wsl" }, failure: null });
    });

    test.each([
      [[RELEASE], "/usr/bin/wslinfo", "/mnt/c/Program Files/WSL/msal.wsl.proxy.exe"],
      [[RELEASE, "--allow-run=/usr/bin/wslinfo"], MSAL_PROXY, MSAL_PROXY],
    ])("names what else it needs with %j", async (permissions, program, proxy) => {
      expect(await onDeno(permissions, "enableBrokerOnWsl")).toMatchObject({
        status: { state: "unavailable" },
        failure: {
          ...{ code: "missing_dependency", message: `Deno may not run ${program}` },
          hint: `Run deno with --allow-run="/usr/bin/wslinfo,${proxy}"`,
        },
      });
    });

    test("takes the session bus where it is not told the system", async () => {
      expect(await onDeno(LEAST_PERMISSIONS, "enableBrokerOnLinux")).toMatchObject({
        status: { state: "active", kind: "linux" },
        failure: null,
      });
      expect(started()).toEqual([]);
      await stage.broker.kill();
      const { status } = await onDeno(LEAST_PERMISSIONS, "enableBrokerOnLinux");
      expect(status).toMatchObject({ state: "unavailable" });
      await stage.broker.start();
    });

    test("is off with the flag for WSL alone where it is not told the system, and says what to permit", async () => {
      const { status, failure } = await onDeno([RUN], "enableBrokerOnWsl");
      expect({ state: status.state, failure }).toEqual({ state: "off", failure: null });
      expect(status.reason).toContain(RELEASE);
    });

    test("knows WSL by its name in the environment as well", async () => {
      process.env.WSL_DISTRO_NAME = "Ubuntu";
      const { status } = await onDeno(["--allow-env=WSL_DISTRO_NAME", RUN], "enableBrokerOnWsl");
      delete process.env.WSL_DISTRO_NAME;
      expect(status).toMatchObject({ state: "active", kind: "wsl" });
    });

    test("goes on to the session bus where it may not run wslinfo, and says why", async () => {
      const { status, failure } = await onDeno([RELEASE, ...LEAST_PERMISSIONS], "enableBrokerOnLinux");
      expect({ status, failure }).toMatchObject({
        status: { state: "active", kind: "linux", reason: "Deno may not run /usr/bin/wslinfo" },
        failure: null,
      });
    });

    test("names both flags where neither way is permitted", async () => {
      const { failure } = await onDeno([RELEASE], "enableBrokerOnLinux");
      expect(failure).toMatchObject({ code: "missing_dependency", message: expect.stringContaining("wslinfo; ") });
      expect(failure!.hint).toMatch(/^Run deno with --allow-run=.*; or run deno with --allow-env=.*--allow-ffi=/);
    });

    test("looks for no socket without the permissions for it, and does for it with them", async () => {
      play({ interop: `${INTEROP_FOLDER}/4194300_interop` });
      const more = ["--allow-env=WSL_INTEROP", `--allow-read=${INTEROP_FOLDER}`, "--allow-sys=osRelease,uid"];
      for (const permissions of [[RELEASE, RUN], [RUN, ...more]]) {
        expect((await onDeno(permissions, "enableBrokerOnWsl")).status.state).toBe("active");
      }
    });
  });
}

describe("findBroker() in WSL", () => {
  test("says so where there is no wslinfo, as in a container", async () => {
    // What was laid over the folder is taken off again, for this program alone.
    const without = ["unshare", "--mount", "sh", "-c", 'umount --lazy /usr/bin && exec "$@"', "sh"];
    const { status, failure } = await ask([...without, ...ownRuntimePath().program()], "enableBrokerOnWsl");
    expect(status).toMatchObject({
      state: "unavailable",
      reason: "Cannot reach Windows' broker: there is no /usr/bin/wslinfo",
    });
    expect(failure).toBe(null); // it goes on without a broker
  });

  test("leaves nothing behind that keeps the program running", async () => {
    expect((await ask(ownRuntimePath().program(), "enableBrokerOnWsl")).status).toMatchObject({ kind: "wsl" });
  });
});
