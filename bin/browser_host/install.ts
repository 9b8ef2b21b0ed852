/**
 * Installs the native messaging host for the browsers of one user: a launcher, and manifests that name it.
 *
 * @module
 */
import { findUsualLibdbus } from "../../lib/dbus/libdbus.ts";
import { isFolder, placeFile, readPlacedFile, removePlacedFile } from "../../lib/files/placed_file.ts";
import { readJson } from "../../lib/encoding.ts";
import { configFolder, configHome, dataFolder, homeFolder } from "../../lib/files/user_folders.ts";
import { denoNamespace, operatingSystem, readEnvironment, shellWord } from "../../lib/runtime/host.ts";
import { ownCommand } from "../../lib/runtime/installation.ts";
import { isThere, write } from "../../lib/runtime/program.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { clientIdOf } from "../cli/application.ts";
import { type CommandLine, unknown, UsageError } from "../cli/command_line.ts";

/** Name by which linux-entra-sso connects to its host. */
const HOST_NAME = "linux_entra_sso";
const PROGRAM_MODE = 0o755, MANIFEST_MODE = 0o644;

/** Installs the host for browsers, and prints the paths of its manifests. */
export async function installHost(line: CommandLine): Promise<void> {
  requireLinux();
  clientIdOf(line); // an error now is better than one in the browser
  const folders = userFolders(), launcher = launcherPath();
  const browsers = namedBrowsers(line) ?? await startedBrowsers(folders), ids = extensionIds(line, browsers);
  const manifests = await readManifests(browsers, { folders, launcher });
  const foreign = manifests.filter(({ owner }) => owner === "foreign");
  if (foreign.length > 0 && !line.isOn("force")) {
    throw new UsageError(
      `${foreign.map(({ path }) => path).join(" and ")} names another program: --force replaces it`,
    );
  }
  await placeFile(launcher, launcherText(line), PROGRAM_MODE);
  for (const { path, browser } of manifests) {
    await placeFile(path, manifestText(browser.kind, launcher, ids), MANIFEST_MODE);
    write("stdout", `${path}\n`);
  }
  write(
    "stderr",
    "Next: install the extension (https://github.com/siemens/linux-entra-sso), or restart the browser if it has it\n",
  );
}

/** Removes what {@linkcode installHost} installed, and prints the paths. */
export async function uninstallHost(line: CommandLine): Promise<void> {
  requireLinux();
  const folders = userFolders(), launcher = launcherPath(), browsers = namedBrowsers(line) ?? BROWSERS;
  const named = browsers.map((browser) => manifestPath(browser, folders));
  const manifests = await readManifests(BROWSERS, { folders, launcher });
  for (const { path, owner } of manifests.filter(({ path }) => named.includes(path))) {
    if (owner === "own") {
      await removePlacedFile(path);
      write("stdout", `${path}\n`);
    } else if (owner === "foreign") write("stderr", `latchkey: ${path} names another program and is kept\n`);
  }
  const isInUse = manifests.some(({ path, owner }) => owner === "own" && !named.includes(path));
  if (isInUse || await readPlacedFile(launcher) === undefined) return;
  await removePlacedFile(launcher);
  write("stdout", `${launcher}\n`);
}

function requireLinux(): void {
  if (operatingSystem() === "linux") return;
  throw new LatchkeyError("configuration", "latchkey browser-host is for browsers on Linux", {
    hint: "On Windows and macOS browsers use the broker without it, or with an extension from Microsoft",
  });
}

/** Parent folders of the browsers' folders. */
interface UserFolders {
  readonly home: string;
  /** Folder of settings, such as `~/.config`. */
  readonly config: string;
}

function userFolders(): UserFolders {
  return { home: homeFolder(), config: configHome() };
}

interface Browser {
  /** Value of `--browser`. */
  readonly name: string;
  readonly kind: "mozilla" | "chromium";
  /** Returns the browser's own folders, one of which exists once it has been started. */
  profileFolders(folders: UserFolders): readonly string[];
  manifestFolder(folders: UserFolders): string;
}

/** The browsers, in the order of the help. */
const BROWSERS: readonly Browser[] = [
  // Firefox 147 and later may have their profiles below the settings, but look for hosts in ~/.mozilla even so.
  mozilla("firefox", ({ home, config }) => [`${home}/.mozilla`, `${config}/mozilla`]),
  mozilla("thunderbird", ({ home }) => [`${home}/.thunderbird`]),
  mozilla("librewolf", ({ home }) => [`${home}/.librewolf`], ".librewolf"),
  chromium("chromium", "chromium"),
  chromium("chrome", "google-chrome"),
  chromium("edge", "microsoft-edge"),
  chromium("brave", "BraveSoftware/Brave-Browser"),
  chromium("vivaldi", "vivaldi"),
];

function mozilla(name: string, profileFolders: Browser["profileFolders"], folder = ".mozilla"): Browser {
  const manifestFolder = ({ home }: UserFolders) => `${home}/${folder}/native-messaging-hosts`;
  return { name, kind: "mozilla", profileFolders, manifestFolder };
}

function chromium(name: string, folder: string): Browser {
  return {
    name,
    kind: "chromium",
    profileFolders: ({ config }) => [`${config}/${folder}`],
    manifestFolder: ({ config }) => `${config}/${folder}/NativeMessagingHosts`,
  };
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

async function startedBrowsers(folders: UserFolders): Promise<readonly Browser[]> {
  const started = await Promise.all(BROWSERS.map(async (browser) => {
    const found = await Promise.all(browser.profileFolders(folders).map(isFolder));
    return found.includes(true) ? [browser] : [];
  }));
  if (started.flat().length > 0) return started.flat();
  throw new UsageError(
    `This user has not started a browser yet; name one: --browser ${BROWSERS.map(({ name }) => name).join("|")}`,
  );
}

/** Ids of the extension linux-entra-sso, as its authors sign it. */
const EXTENSIONS: Readonly<Record<Browser["kind"], readonly string[]>> = {
  mozilla: ["linux-entra-sso@example.com", "@linux-entra-sso.tb"],
  chromium: ["jlnfnnolkbjieggibinobhkjdfbpcohn"],
};

const EXTENSION_ID: Readonly<Record<Browser["kind"], RegExp>> = {
  mozilla: /^(\{[0-9a-f-]{36}\}|[\w.-]*@[\w.-]+)$/i,
  chromium: /^[a-p]{32}$/,
};

function extensionIds(line: CommandLine, browsers: readonly Browser[]): readonly string[] {
  const ids = line.list("extension-id");
  const invalid = ids.find((id) => !browsers.some(({ kind }) => EXTENSION_ID[kind].test(id)));
  if (invalid === undefined) return ids;
  const names = browsers.map(({ name }) => name).join(", ");
  throw new UsageError(`--extension-id ${JSON.stringify(invalid)} is not an extension of ${names}`);
}

/** The manifest of a browser. */
interface Manifest {
  readonly browser: Browser;
  readonly path: string;
  /** `own`: it starts our launcher; `foreign`: it starts another program; `none`: it does not exist. */
  readonly owner: "none" | "own" | "foreign";
}

/** Reads each manifest once: Firefox and Thunderbird share one. */
async function readManifests(
  browsers: readonly Browser[],
  { folders, launcher }: { readonly folders: UserFolders; readonly launcher: string },
): Promise<readonly Manifest[]> {
  const byPath = new Map(browsers.map((browser) => [manifestPath(browser, folders), browser]));
  return await Promise.all([...byPath].map(async ([path, browser]): Promise<Manifest> => {
    const text = await readPlacedFile(path);
    const owner = text === undefined ? "none" : readJson(text)?.path === launcher ? "own" : "foreign";
    return { browser, path, owner };
  }));
}

function manifestPath(browser: Browser, folders: UserFolders): string {
  return `${browser.manifestFolder(folders)}/${HOST_NAME}.json`;
}

/** Returns a manifest that lets linux-entra-sso, and extensions with these ids, start the launcher. */
function manifestText(kind: Browser["kind"], launcher: string, ids: readonly string[]): string {
  const allowed = [...new Set([...EXTENSIONS[kind], ...ids.filter((id) => EXTENSION_ID[kind].test(id))])];
  const manifest = {
    name: HOST_NAME,
    description: "Entra ID single sign-on by the device's broker (latchkey browser-host)",
    path: launcher,
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
  const command = [...ownCommand(denoPermissions), "browser-host", ...appOptions(line)];
  return `#!/bin/sh
# Started by browsers. Written by latchkey browser-host --install, which replaces it.
exec ${command.map(shellWord).join(" ")} "$@"
`;
}

/** A browser may not have the environment of the shell. */
function appOptions(line: CommandLine): readonly string[] {
  return ["client-id", "profile"].flatMap((name) =>
    ["command line", "environment"].includes(line.origin(name) ?? "") ? [`--${name}`, line.text(name)!] : []
  );
}

/** Variables with the address of the bus, and of the app. */
const VARIABLES = [
  "DBUS_SESSION_BUS_ADDRESS",
  "XDG_RUNTIME_DIR",
  "LATCHKEY_CLIENT_ID",
  "LATCHKEY_PROFILE",
  "LATCHKEY_VERBOSE",
  "HOME",
  "XDG_CONFIG_HOME",
];

function denoPermissions(): readonly string[] {
  const libdbus = usualLibdbus();
  if (libdbus === undefined) return ["--allow-all"]; // dbus-next needs the bus socket, which differs between sessions
  const folder = configFolder();
  return [`--allow-ffi=${libdbus}`, `--allow-env=${VARIABLES}`, `--allow-read=${folder}`, "--allow-sys=uid"];
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
