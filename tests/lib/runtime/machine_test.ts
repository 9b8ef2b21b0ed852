// What cannot be arranged on one machine: other systems, and grants that are missing. Deno is played.
import { expect, test } from "bun:test";
import { arch, release } from "node:os";
import { readMachine } from "../../../lib/runtime/machine.ts";

interface Played {
  readonly os?: string;
  readonly arch?: string;
  readonly release?: string;
  readonly osRelease?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Names of the permissions that are granted. */
  readonly grants?: readonly string[];
}

async function readPlayed(machine: Played) {
  const { os = "linux", arch = "x86_64", env = {}, grants = ["read", "sys", "env"], osRelease } = machine;
  const deno = {
    build: { os, arch },
    env: { get: (name: string) => env[name] },
    permissions: {
      querySync: ({ name }: { name: string }) => ({ state: grants.includes(name) ? "granted" : "prompt" }),
    },
    osRelease: () => machine.release ?? "6.1.0-44-amd64",
    readTextFile: () => osRelease === undefined ? Promise.reject(new Error("not there")) : Promise.resolve(osRelease),
  };
  Object.assign(globalThis, { Deno: deno });
  try {
    return await readMachine();
  } finally {
    Reflect.deleteProperty(globalThis, "Deno");
  }
}

test("readMachine() reads this machine", async () => {
  const machine = await readMachine();
  expect(machine).toMatchObject({ system: process.platform, release: release(), missingFlags: [] });
  expect(machine.arch).toBe({ x64: "x86_64", arm64: "aarch64" }[arch() as string] ?? arch());
});

test.each([
  ['NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\n', "Ubuntu 24.04.3 LTS"],
  ["PRETTY_NAME='Alpine Linux v3.22'\n", "Alpine Linux v3.22"],
  ["PRETTY_NAME=Arch\n", "Arch"],
  ["ID=none\n", undefined],
  [undefined, undefined],
])("readMachine() finds the distribution in %p", async (osRelease, distribution) => {
  expect(await readPlayed(osRelease === undefined ? {} : { osRelease })).toMatchObject({
    distribution,
    missingFlags: [],
  });
});

test.each([
  [{ release: "5.15.167.4-microsoft-standard-WSL2" }, true],
  [{ release: "4.4.0-19041-Microsoft" }, true],
  [{ release: "6.8.0-45-generic", env: { WSL_DISTRO_NAME: "Ubuntu" } }, false],
  [{ os: "windows", release: "10.0.26100" }, false],
  [{ grants: ["env"], env: { WSL_DISTRO_NAME: "Ubuntu" } }, true],
  [{ grants: ["env"] }, undefined],
  [{ grants: [], env: { WSL_DISTRO_NAME: "Ubuntu" } }, undefined],
])("readMachine() of %p says whether it is WSL: %p", async (machine, isWsl) => {
  expect((await readPlayed(machine)).isWsl).toBe(isWsl);
});

test("readMachine() names the flags that would let it see more", async () => {
  expect(await readPlayed({ grants: [], arch: "aarch64", osRelease: "PRETTY_NAME=Arch" })).toEqual({
    ...{ system: "linux", arch: "aarch64", release: undefined, distribution: undefined, isWsl: undefined },
    missingFlags: ["--allow-read=/etc/os-release", "--allow-sys=osRelease"],
  });
  expect((await readPlayed({ grants: [], os: "darwin" })).missingFlags).toEqual(["--allow-sys=osRelease"]);
});
