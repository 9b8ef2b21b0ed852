/**
 * Installs the native messaging host for the browsers of one user: a launcher, and manifests that name it.
 *
 * @module
 */
import { cookiePauseFolder } from "../../../lib/broker/cookie_pause.ts";
import { findUsualLibdbus } from "../../../lib/dbus/libdbus.ts";
import {
  isFolder,
  placeFile,
  readPlacedFile,
  removePlacedFile,
  requireClosedPlace,
} from "../../../lib/files/placed_file.ts";
import { readJson } from "../../../lib/encoding.ts";
import { configFolder, configHome, dataFolder, homeFolder } from "../../../lib/files/user_folders.ts";
import { denoNamespace, operatingSystem, readEnvironment, shellWord } from "../../../lib/runtime/host.ts";
import { isThere } from "../../../lib/runtime/path.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { clientIdOf } from "../../cli/application.ts";
import { type CommandLine, unknown, UsageError } from "../../cli/command_line.ts";
import { BROWSER_CLIENT_ID, PROFILE } from "../../cli/options.ts";
import { print, say, sayLine } from "../../cli/output.ts";
import { storedCommand } from "../../cli/stored_command.ts";

/** Name by which linux-entra-sso connects to its host. */
const HOST_NAME = "linux_entra_sso";
const PROGRAM_MODE = 0o755;
const MANIFEST_MODE = 0o644;

/** Installs the host for browsers, and prints the paths of its manifests. */
export async function installHost(line: CommandLine): Promise<void> {
  requireLinux();
  clientIdOf(line); // an error now is better than one in the browser
  const browsers = namedBrowsers(line) ?? await startedBrowsers();
  const ids = extensionIds(line, browsers);
  const manifests = await readManifests(browsers);
  const foreign = manifests.filter(({ owner }) => owner === "foreign");
  if (foreign.length > 0 && !line.isOn("force")) {
    throw new UsageError(
      `${foreign.map(({ path }) => path).join(" and ")} names another program: --force replaces it`,
    );
  }
  for (const path of [launcherPath(), ...manifests.map(({ path }) => path)]) await requireClosedPlace(path);
  await placeFile(launcherPath(), launcherText(line), PROGRAM_MODE);
  for (const { path, browser } of manifests) {
    await placeFile(path, manifestText(browser.kind, ids), MANIFEST_MODE);
    print(`${path}\n`);
  }
  sayLine(
    "Next: install the extension (https://github.com/siemens/linux-entra-sso), or restart the browser if it has it",
  );
}

/** Removes what {@linkcode installHost} installed, and prints the paths. */
export async function uninstallHost(line: CommandLine): Promise<void> {
  requireLinux();
  const named = (namedBrowsers(line) ?? BROWSERS).map(manifestPath);
  const manifests = await readManifests(BROWSERS);
  for (const { path, owner } of manifests.filter(({ path }) => named.includes(path))) {
    if (owner === "own") {
      await removePlacedFile(path);
      print(`${path}\n`);
    } else if (owner === "foreign") say(`${path} names another program and is kept`);
  }
  const isInUse = manifests.some(({ path, owner }) => owner === "own" && !named.includes(path));
  const launcher = launcherPath();
  if (isInUse || await readPlacedFile(launcher) === undefined) return;
  await removePlacedFile(launcher);
  print(`${launcher}\n`);
}

function requireLinux(): void {
  if (operatingSystem() === "linux") return;
  throw new LatchkeyError("configuration", "latchkey browser-host is for browsers on Linux", {
    remedy:
      "Go without it: on Windows and macOS browsers use the broker by themselves, or by an extension from Microsoft",
  });
}

interface Browser {
  /** Value of `--browser`. */
  readonly name: string;
  readonly kind: "mozilla" | "chromium";
  /** Returns the browser's own folders, one of which exists once it has been started. */
  profileFolders(): readonly string[];
  manifestFolder(): string;
}

/** The browsers, in the order of the help. */
const BROWSERS: readonly Browser[] = [
  // Firefox 147 and later may have their profiles below the settings, but look for hosts in ~/.mozilla even so.
  mozilla("firefox", () => [`${homeFolder()}/.mozilla`, `${configHome()}/mozilla`]),
  mozilla("thunderbird", () => [`${homeFolder()}/.thunderbird`]),
  mozilla("librewolf", () => [`${homeFolder()}/.librewolf`], ".librewolf"),
  chromium("chromium", "chromium"),
  chromium("chrome", "google-chrome"),
  chromium("edge", "microsoft-edge"),
  chromium("brave", "BraveSoftware/Brave-Browser"),
  chromium("vivaldi", "vivaldi"),
];

function mozilla(name: string, profileFolders: Browser["profileFolders"], folder = ".mozilla"): Browser {
  const manifestFolder = () => `${homeFolder()}/${folder}/native-messaging-hosts`;
  return { name, kind: "mozilla", profileFolders, manifestFolder };
}

function chromium(name: string, folder: string): Browser {
  const path = () => `${configHome()}/${folder}`;
  const manifestFolder = () => `${path()}/NativeMessagingHosts`;
  return { name, kind: "chromium", profileFolders: () => [path()], manifestFolder };
}

function namedBrowsers(line: CommandLine): readonly Browser[] | undefined {
  const names = line.list("browser");
  if (names.length === 0) return undefined;
  return [...new Set(names)].map((name) => {
    const browser = BROWSERS.find((each) => each.name === name);
    if (browser) return browser;
    const known = BROWSERS.map(({ name }) => name);
    throw unknown(`browser ${JSON.stringify(name)}: --browser takes ${known.join(", ")}`, name, known);
  });
}

async function startedBrowsers(): Promise<readonly Browser[]> {
  const started = await Promise.all(BROWSERS.map(async (browser) => {
    const found = await Promise.all(browser.profileFolders().map(isFolder));
    return found.includes(true) ? [browser] : [];
  }));
  if (started.flat().length > 0) return started.flat();
  throw new UsageError(
    `This user has not started a browser yet; name one: --browser ${BROWSERS.map(({ name }) => name).join("|")}`,
  );
}

/** Ids of extensions, and those of linux-entra-sso, as its authors sign it. */
const EXTENSIONS: Readonly<Record<Browser["kind"], { readonly id: RegExp; readonly own: readonly string[] }>> = {
  mozilla: {
    id: /^(\{[0-9a-f-]{36}\}|[\w.-]*@[\w.-]+)$/i,
    own: ["linux-entra-sso@example.com", "@linux-entra-sso.tb"],
  },
  chromium: { id: /^[a-p]{32}$/, own: ["jlnfnnolkbjieggibinobhkjdfbpcohn"] },
};

function extensionIds(line: CommandLine, browsers: readonly Browser[]): readonly string[] {
  const ids = line.list("extension-id");
  const invalid = ids.find((id) => !browsers.some(({ kind }) => EXTENSIONS[kind].id.test(id)));
  if (invalid === undefined) return ids;
  const names = browsers.map(({ name }) => name).join(", ");
  throw new UsageError(`--extension-id ${JSON.stringify(invalid)} is not an extension of ${names}`);
}

interface Manifest {
  readonly browser: Browser;
  readonly path: string;
  /** `own`: it starts our launcher; `foreign`: it starts another program; `none`: it does not exist. */
  readonly owner: "none" | "own" | "foreign";
}

/** Reads each manifest once: Firefox and Thunderbird share one. */
async function readManifests(browsers: readonly Browser[]): Promise<readonly Manifest[]> {
  const byPath = new Map(browsers.map((browser) => [manifestPath(browser), browser]));
  const launcher = launcherPath();
  return await Promise.all([...byPath].map(async ([path, browser]): Promise<Manifest> => {
    const text = await readPlacedFile(path);
    if (text === undefined) return { browser, path, owner: "none" };
    return { browser, path, owner: readJson(text)?.path === launcher ? "own" : "foreign" };
  }));
}

function manifestPath(browser: Browser): string {
  return `${browser.manifestFolder()}/${HOST_NAME}.json`;
}

/** Returns a manifest that lets linux-entra-sso, and extensions with these ids, start the launcher. */
function manifestText(kind: Browser["kind"], ids: readonly string[]): string {
  const { id: pattern, own } = EXTENSIONS[kind];
  const allowed = [...new Set([...own, ...ids.filter((id) => pattern.test(id))])];
  const manifest = {
    name: HOST_NAME,
    description: "Entra ID single sign-on by the device's broker (latchkey browser-host)",
    path: launcherPath(),
    type: "stdio",
    ...(kind === "mozilla"
      ? { allowed_extensions: allowed }
      : { allowed_origins: allowed.map((id) => `chrome-extension://${id}/`) }),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function launcherPath(): string {
  return `${dataFolder()}/browser-host`;
}

/** Returns a script that runs this latchkey for the app of the command line. */
function launcherText(line: CommandLine): string {
  // A browser may not have the environment of the shell.
  const launch = { denoPermissions, includesEnvironment: true };
  const command = storedCommand(line, "browser-host", [BROWSER_CLIENT_ID, PROFILE], launch);
  return `#!/bin/sh
# Started by browsers. Written by latchkey browser-host --install, which replaces it.
exec ${command.map(shellWord).join(" ")} "$@"
`;
}

/** Variables with the address of the bus, and of the app. */
const VARIABLES = "DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,LATCHKEY_CLIENT_ID,LATCHKEY_PROFILE,LATCHKEY_VERBOSE," +
  "HOME,XDG_CONFIG_HOME,XDG_STATE_HOME";

function denoPermissions(): readonly string[] {
  const libdbus = usualLibdbus();
  if (libdbus === undefined) return ["--allow-all"]; // dbus-next needs the bus socket, which differs between sessions
  const state = cookiePauseFolder();
  return [
    `--allow-ffi=${libdbus}`,
    `--allow-env=${VARIABLES}`,
    `--allow-read=${configFolder()},${state}`,
    `--allow-write=${state}`,
    "--allow-sys=uid",
  ];
}

/** Returns the libdbus in a usual place. `LATCHKEY_LIBDBUS` needs permissions that are not known beforehand. */
function usualLibdbus(): string | undefined {
  if (readEnvironment("LATCHKEY_LIBDBUS")) return undefined;
  try {
    return findUsualLibdbus(denoNamespace()!, (path) => {
      if (isThere(path)) return path;
      throw new Error(`${path} does not exist`);
    });
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return undefined;
  }
}
