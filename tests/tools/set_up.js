// What a script needs before it can run: npm's packages, Node 24, and the machine's D-Bus. Plain JavaScript: it runs before Bun is there.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { findChromium } from "./find_chromium.js";
import {
  ARM64_EMULATOR,
  ARM64_FOLDER,
  ARM64_ROOT,
  findRuntime,
  findTool,
  MSAL_NODE_EXTENSIONS,
  MSAL_PYTHON,
  OLDEST_FOLDER,
  PYMSALRUNTIME,
  runtimePackage,
  TOOLS_FOLDER,
  TYPESCRIPT_FOLDER,
} from "./find_tool.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const TESTS = "tests/run_tests.ts";
const PEERS = "tests/peers/run_peers.ts";
const WINDOWS = "tests/windows/run_windows.ts";
const SOAK = "tests/soak/run.ts";
const BENCH = "tests/bench/run.ts";
const ARTIFACTS = "tests/artifacts/run_artifacts.ts";
const ARM64 = "tests/arm64/run_arm64.ts";
const OLDEST = "tests/run_oldest.ts";
/** The scripts that start Node, or run MSAL for Node. */
export const NODE_SCRIPTS = [TESTS, PEERS, WINDOWS, SOAK, BENCH, ARTIFACTS, OLDEST];
/** The scripts that run MSAL for Python. */
export const PYTHON_SCRIPTS = [TESTS, BENCH, ARTIFACTS, OLDEST];
/** The oldest supported version of each runtime. */
export const OLDEST_VERSIONS = { deno: "2.6.0", bun: "1.3.0", node: "22.18.0" };
const NODE_VERSION = "24.x";
/** The versions of TypeScript that the package's types are compiled with. */
const TYPESCRIPT_VERSIONS = { "typescript-5.9": "5.9.3", "typescript-6": "6.0.3", "typescript-7": "7.0.2" };
/** A download that takes longer has stalled. */
const MINUTES = 10;
/**
 * Which of MSAL's packages, and Azure's library over it, the tests run, beside those in package.json. Azure CLI takes the lock of
 * portalocker, too.
 */
const MSAL_NODE_EXTENSIONS_VERSION = "5.6.1";
const PYMSALRUNTIME_VERSION = "0.20.7";
const MSAL_PYTHON_VERSIONS = {
  "msal": "1.39.0",
  "msal-extensions": "1.3.1",
  "portalocker": "3.2.0",
  "azure-identity": "1.27.0",
};

const DEMO = "tests/demo.ts";
const PICTURES = "tests/draw_pictures.ts";
const RELEASE = "build/release.ts";

/** Where a row of the tables has the packages of a system. */
const DEBIAN = 2, FEDORA = 3, ARCH = 4;

const command = (name) => () => hasCommand(name);
const library = (name) => () => hasLibrary(name);
const emulator = command(ARM64_EMULATOR[0]);
const isRedis = command("redis-server");
const isPostgres = () => hasCommand("psql") && (hasCommand("initdb") || existsSync("/usr/lib/postgresql"));
const isPythonDbus = () => existsSync("/usr/lib/python3/dist-packages/dbus/__init__.py");
/** What Microsoft's library takes. */
const MSALRUNTIME_NEEDS = [
  [library("libwebkit2gtk-4.1.so.0"), "libwebkit2gtk-4.1-0", "webkit2gtk4.1", "webkit2gtk-4.1"],
  [library("libgtk-3.so.0"), "libgtk-3-0", "gtk3", "gtk3"],
  [library("libsoup-3.0.so.0"), "libsoup-3.0-0", "libsoup3", "libsoup3"],
  [library("libsecret-1.so.0"), "libsecret-1-0", "libsecret", "libsecret"],
];

/**
 * Programs and libraries of the machine that scripts do not work without: whether each is there, and the packages of Debian,
 * Fedora and Arch that have it.
 */
const machineNeeds = [
  [[DEMO, PICTURES, TESTS, BENCH, SOAK, PEERS, ARM64], command("dbus-daemon"), "dbus", "dbus-daemon", "dbus"],
  [[DEMO, PICTURES, TESTS, BENCH, SOAK, PEERS], library("libdbus-1.so.3"), "libdbus-1-3", "dbus-libs", "dbus"],
  [[TESTS], command("dbus-send"), "dbus", "dbus-tools", "dbus"],
  [[TESTS, PEERS], command("gnome-keyring-daemon"), "gnome-keyring", "gnome-keyring", "gnome-keyring"],
  // The same by another name, since Redis is not free software everywhere.
  [[TESTS], isRedis, "redis-server", "valkey-compat-redis", "valkey"],
  [[TESTS, BENCH, PEERS], command("python3"), "python3", "python3", "python"],
  [[TESTS, BENCH], () => isMsalForPythonInstalled() || hasCommand("pip3"), "python3-pip", "python3-pip", "python-pip"],
  [[TESTS], () => hasLibrary("libgcr-base-3.so.1") || hasLibrary("libgcr-4.so.4"), "gcr", "gcr", "gcr"],
  [[TESTS], () => findChromium() !== undefined, "chromium", "chromium", "chromium"],
  ...["git", "curl", "zsh", "fish", "groff", "mandoc"].map((name) => [[TESTS], command(name), name, name, name]),
  [[TESTS], command("man"), "man-db", "man-db", "man-db"],
  [[TESTS], isPostgres, "postgresql", "postgresql-server", "postgresql"],
  [[TESTS], command("ip"), "iproute2", "iproute", "iproute2"],
  [[PEERS], command("go"), "golang-go", "golang", "go"],
  [[PEERS], command("mvn"), "maven", "maven", "maven"],
  [[PEERS], command("java"), "default-jdk-headless", "java-latest-openjdk-devel", "jdk-openjdk"],
  ...MSALRUNTIME_NEEDS.map((need) => [[PEERS], ...need]),
  // Programs for arm64 start by it.
  [[ARM64], emulator, "qemu-user-static", "qemu-user-static", "qemu-user-static"],
];

/** The same for scripts that tell less, or start less, without it. */
const optionalNeeds = [
  [[BENCH], command("busctl"), "systemd", "systemd", "systemd"],
  [[BENCH], isPythonDbus, "python3-dbus", "python3-dbus", "python-dbus"],
  [[BENCH], command("gnome-keyring-daemon"), "gnome-keyring", "gnome-keyring", "gnome-keyring"],
  ...MSALRUNTIME_NEEDS.map((need) => [[BENCH], ...need]),
  [[ARTIFACTS, RELEASE], emulator, "qemu-user-static", "qemu-user-static", "qemu-user-static"],
];

/**
 * Installs what is missing for a script. Says what to install, and throws, where it must not do so by itself.
 * @param {string | undefined} script its path below the root
 */
export function setUp(script) {
  installNpmPackages();
  // The suites of what was built, and on the oldest runtimes, are among those of the sources.
  const needy = script === ARTIFACTS || script === OLDEST ? TESTS : script;
  if (NODE_SCRIPTS.includes(script ?? "")) installTools();
  if (process.platform === "linux") {
    const isMissing = ([scripts, isThere]) => scripts.some((one) => one === script || one === needy) && !isThere();
    installMachinePackages(machineNeeds.filter(isMissing), optionalNeeds.filter(isMissing));
  }
  if (PYTHON_SCRIPTS.includes(script ?? "")) installMsalForPython();
  if (script === BENCH) installPymsalruntime();
  if (script === ARTIFACTS) installTypeScript();
  if (script === OLDEST) installRuntimes(OLDEST_FOLDER, "oldest", process.arch, OLDEST_VERSIONS);
  if (script === ARM64) {
    if (process.platform !== "linux" || process.arch !== "x64") throw new Error(`${ARM64} takes Linux on x64`);
    installArm64Libraries();
    const [deno, bun] = ["deno", "bun"].map((name) => versionOf(join(root, "node_modules", name)));
    installRuntimes(ARM64_FOLDER, "arm64", "arm64", { deno, bun, node: NODE_VERSION });
  }
  // Where these are missing, executables for arm64 are built and not started.
  if ((script === ARTIFACTS || script === RELEASE) && emulator() && hasCommand("apt-get")) {
    try {
      installArm64Libraries();
    } catch (error) {
      process.stderr.write(
        `Executables for arm64 are not started here: ${error instanceof Error ? error.message : error}\n`,
      );
    }
  }
}

function installNpmPackages() {
  if (isInstalled()) return;
  if (installPackages(root, "ci") === "npm") return;
  // Deno has the package by its own name alone.
  symlinkSync("@jellybrick/dbus-next", join(root, "node_modules/dbus-next"));
  copyFileSync(join(root, "package-lock.json"), denoStamp);
}

/**
 * The Node that suites run on, and MSAL's extensions. Not in package.json, since each package of Node is for one kind of machine
 * alone, and the extensions bring 60 MB of native code that is not used; nor in node_modules, where Deno installs nothing into
 * what is below.
 */
function installTools() {
  if (isToolThere("node") && versionOf(MSAL_NODE_EXTENSIONS) === MSAL_NODE_EXTENSIONS_VERSION) return;
  mkdirSync(TOOLS_FOLDER, { recursive: true });
  const dependencies = {
    [runtimePackage("node")]: NODE_VERSION,
    "@azure/msal-node-extensions": MSAL_NODE_EXTENSIONS_VERSION,
  };
  writeFileSync(join(TOOLS_FOLDER, "package.json"), JSON.stringify({ dependencies }));
  installPackages(TOOLS_FOLDER, "install");
}

function isToolThere(name) {
  try {
    return findTool(name) !== "";
  } catch {
    return false;
  }
}

/** The version of a package of npm's in its folder. */
function versionOf(folder) {
  const file = join(folder, "package.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : undefined;
}

function installTypeScript() {
  const versions = Object.entries(TYPESCRIPT_VERSIONS);
  const isThere = ([name, version]) => versionOf(join(TYPESCRIPT_FOLDER, "node_modules", name)) === version;
  if (versions.every(isThere)) return;
  mkdirSync(TYPESCRIPT_FOLDER, { recursive: true });
  const dependencies = Object.fromEntries(versions.map(([name, version]) => [name, `npm:typescript@${version}`]));
  writeFileSync(join(TYPESCRIPT_FOLDER, "package.json"), JSON.stringify({ dependencies }));
  installPackages(TYPESCRIPT_FOLDER, "install");
}

/** Installs the runtimes that `findRuntime` finds for `tested`. */
function installRuntimes(folder, tested, arch, versions) {
  const dependencies = Object.fromEntries(
    Object.entries(versions).map(([name, version]) => [runtimePackage(name, arch), version]),
  );
  const isThere = ([name, version]) => {
    const installed = versionOf(join(folder, "node_modules", name)) ?? "";
    return installed === version || (version === NODE_VERSION && installed.startsWith("24."));
  };
  if (Object.entries(dependencies).every(isThere)) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ dependencies }));
  // By force, since npm installs no package for another kind of processor.
  run(npmCommand(), ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--force"], folder);
  for (const name of Object.keys(versions)) findRuntime(name, tested);
}

/**
 * Unpacks libdbus for arm64, and what it and the runtimes need, into a folder. With lists and a state of its own apt neither
 * knows what this machine has, nor changes it.
 */
function installArm64Libraries() {
  if (existsSync(ARM64_ROOT)) return;
  if (!hasCommand("apt-get")) throw new Error("apt-get is missing: the libraries for arm64 are Debian's or Ubuntu's");
  const apt = mkdtempSync(join(tmpdir(), "latchkey-apt-")), settings = join(apt, "apt.conf");
  const archives = join(apt, "cache/archives"), unpacked = `${ARM64_ROOT}.part`;
  try {
    for (const folder of [join(apt, "lists/partial"), join(archives, "partial"), unpacked]) {
      mkdirSync(folder, { recursive: true });
    }
    writeFileSync(join(apt, "status"), "");
    writeFileSync(
      settings,
      `APT::Architecture "arm64";
APT::Architectures:: "arm64";
APT::Sandbox::User "root"; // another user does not get into the folder
Debug::NoLocking "true";
Dir::State::Lists "${apt}/lists";
Dir::State::status "${apt}/status";
Dir::Cache "${apt}/cache";
${ubuntuPorts(apt)}`,
    );
    const options = [`--config-file=${settings}`, "--download-only", "--no-install-recommends", "-y"];
    run("apt-get", [...options, "update"], apt);
    run("apt-get", [...options, "install", "libdbus-1-3", "libstdc++6"], apt);
    run("sh", ["-c", 'for file in *.deb; do dpkg-deb --extract "$file" "$0" || exit; done', unpacked], archives);
    // Newer packages have their files in /usr alone, and a machine has this link.
    if (!existsSync(join(unpacked, "lib"))) symlinkSync("usr/lib", join(unpacked, "lib"));
    renameSync(unpacked, ARM64_ROOT);
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
}

/** Returns settings for Ubuntu, which has arm64 on another server than x64. Not run by us yet. */
function ubuntuPorts(folder) {
  const { ID, VERSION_CODENAME } = Object.fromEntries(
    readFileSync("/etc/os-release", "utf8").split("\n").map((line) => line.replaceAll('"', "").split("=")),
  );
  if (ID !== "ubuntu") return "";
  const sources = join(folder, "sources.list"), key = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";
  const server = "http://ports.ubuntu.com/ubuntu-ports";
  writeFileSync(sources, `deb [signed-by=${key}] ${server} ${VERSION_CODENAME} main universe\n`);
  return `Dir::Etc::SourceList "${sources}";\nDir::Etc::SourceParts "-";\n`;
}

/** Into a folder of its own, as systems do not let pip into theirs. */
function installMsalForPython() {
  if (isMsalForPythonInstalled()) return;
  const packages = Object.entries(MSAL_PYTHON_VERSIONS).map(([name, version]) => `${name}==${version}`);
  pipInstall(MSAL_PYTHON, packages);
}

/** It is native, and made for few systems: without it the benchmark tells less. */
function installPymsalruntime() {
  if (existsSync(join(PYMSALRUNTIME, `pymsalruntime-${PYMSALRUNTIME_VERSION}.dist-info`))) return;
  try {
    pipInstall(PYMSALRUNTIME, [`pymsalruntime==${PYMSALRUNTIME_VERSION}`]);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
  }
}

function pipInstall(folder, packages) {
  const options = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--upgrade"];
  run("python3", ["-m", "pip", "install", ...options, "--target", folder, ...packages], root);
}

function isMsalForPythonInstalled() {
  return Object.entries(MSAL_PYTHON_VERSIONS)
    .every(([name, version]) => existsSync(join(MSAL_PYTHON, `${name.replaceAll("-", "_")}-${version}.dist-info`)));
}

/** Installs what the folder's package.json names, and tells by what. */
function installPackages(folder, command) {
  const npm = npmCommand();
  if (hasCommand(npm)) {
    run(npm, [command, "--ignore-scripts"], folder);
    return "npm";
  }
  if (!("Deno" in globalThis)) throw new Error("npm is missing, and without it no package can be installed");
  // Hoisted, as npm does it, since the tools are looked for where npm puts them.
  run(process.execPath, ["install", "--no-lock", "--node-modules-dir=manual", "--node-modules-linker=hoisted"], folder);
  return "Deno";
}

function npmCommand() {
  return process.platform === "win32" ? "npm.cmd" : "npm";
}

const npmStamp = join(root, "node_modules/.package-lock.json");
const denoStamp = join(root, "node_modules/.deno/.package-lock.json");

/** Whether `node_modules` is what package-lock.json says. npm leaves a list of what it installed; after Deno, we do. */
function isInstalled() {
  const stamp = [npmStamp, denoStamp].find((path) => existsSync(path));
  if (!stamp) return false;
  const { "": _root, ...wanted } = packagesIn(join(root, "package-lock.json"));
  const installed = packagesIn(stamp);
  const same = (path) => wanted[path]?.version === installed[path]?.version;
  // Optional ones are there for one platform alone.
  return Object.keys(installed).every((path) => path === "" || same(path)) &&
    Object.keys(wanted).every((path) => wanted[path].optional || same(path));
}

function packagesIn(lockFile) {
  return JSON.parse(readFileSync(lockFile, "utf8")).packages;
}

function installMachinePackages(required, optional) {
  const needs = [...required, ...optional];
  if (needs.length === 0) return;
  const names = (column, wanted = required) => [...new Set(wanted.map((need) => need.at(column)))].join(" ");
  if (process.getuid?.() === 0 && hasCommand("apt-get")) {
    const install = `apt-get install -y --no-install-recommends ${names(DEBIAN, needs)}`;
    // A fresh machine knows no package until it has fetched the list.
    const command = `${install} || { apt-get update && ${install}; }`;
    process.stderr.write(`Setting up: ${install}\n`);
    const { status, stderr } = spawnSync("sh", ["-c", command], {
      encoding: "utf8",
      timeout: MINUTES * 60_000,
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    if (status === 0) return;
    process.stderr.write(stderr);
  }
  if (required.length === 0) return;
  throw new Error(
    `Programs that the tests need are missing. Install them with one of\n` +
      `  sudo apt-get install ${names(DEBIAN)}\n` +
      `  sudo dnf install ${names(FEDORA)}\n` +
      `  sudo pacman -S ${names(ARCH)}`,
  );
}

function run(command, args, folder) {
  process.stderr.write(`Setting up: ${command} ${args.join(" ")}\n`);
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: "utf8",
    shell: process.platform === "win32",
    timeout: MINUTES * 60_000,
  });
  if (error?.code === "ETIMEDOUT") {
    throw new Error(`${command} did not end in ${MINUTES} minutes: run ${command} ${args.join(" ")} yourself`);
  }
  if (status !== 0) {
    throw new Error(`${stdout ?? ""}${stderr ?? ""}${command} failed: ${error?.message ?? `status ${status}`}`);
  }
}

function hasCommand(name) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => folder && existsSync(join(folder, name)));
}

/** Debian has libraries in a folder per architecture, such as /usr/lib/x86_64-linux-gnu. */
function hasLibrary(name) {
  const folders = ["/usr/lib64", "/usr/lib", "/lib64", "/lib"].filter((folder) => existsSync(folder));
  return folders.some((folder) =>
    existsSync(join(folder, name)) ||
    readdirSync(folder).some((below) => below.endsWith("-linux-gnu") && existsSync(join(folder, below, name)))
  );
}
