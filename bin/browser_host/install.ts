/**
 * Where browsers look for native messaging hosts of one person, and what they read there. Pure.
 *
 * @module
 */
import { findLibdbus } from "../../lib/dbus/libdbus.ts";
import { isFolder, placeFile, readPlacedFile, removePlacedFile } from "../../lib/files/placed_file.ts";
import { configFolder, configHome, dataFolder, homeFolder } from "../../lib/files/user_folders.ts";
import { denoNamespace, operatingSystem, readEnvironment, shellWord } from "../../lib/runtime/host.ts";
import { ownCommand } from "../../lib/runtime/installation.ts";
import { isThere, write } from "../../lib/runtime/program.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { clientIdOf } from "../cli/application.ts";
import { type CommandLine, unknown, UsageError } from "../cli/command_line.ts";

/** Name under which linux-entra-sso asks for its host. */
const HOST_NAME = "linux_entra_sso";

/** The folders that browsers' are below. */
interface PersonFolders {
  /** Home folder. */
  readonly home: string;
  /** Folder of settings, such as `~/.config`. */
  readonly config: string;
}

/** A browser. */
interface Browser {
  /** What `--browser` calls it. */
  readonly name: string;
  /** Whose extensions it has. */
  readonly kind: "mozilla" | "chromium";
  /** Its own folders: one of them is there where it has been started. */
  profileFolders(folders: PersonFolders): readonly string[];
  /** The folder of manifests. */
  manifestFolder(folders: PersonFolders): string;
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

/** The extension linux-entra-sso, as its makers sign it. */
const EXTENSIONS: Readonly<Record<Browser["kind"], readonly string[]>> = {
  mozilla: ["linux-entra-sso@example.com", "@linux-entra-sso.tb"],
  chromium: ["jlnfnnolkbjieggibinobhkjdfbpcohn"],
};

/** What an extension's id looks like. */
const ID: Readonly<Record<Browser["kind"], RegExp>> = {
  mozilla: /^(\{[0-9a-f-]{36}\}|[\w.-]*@[\w.-]+)$/i,
  chromium: /^[a-p]{32}$/,
};

function mozilla(name: string, profileFolders: Browser["profileFolders"], folder = ".mozilla"): Browser {
  const manifestFolder = ({ home }: PersonFolders) => `${home}/${folder}/native-messaging-hosts`;
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

/** Path of a browser's manifest for the host. */
function manifestPath(browser: Browser, folders: PersonFolders): string {
  return `${browser.manifestFolder(folders)}/${HOST_NAME}.json`;
}

/** Whether a text is the id of an extension for a kind of browser. */
function isExtensionId(kind: Browser["kind"], id: string): boolean {
  return ID[kind].test(id);
}

/**
 * A manifest, by which a browser starts the host for the extension.
 *
 * @param kind Whose it is.
 * @param path What is started.
 * @param ids Extensions that may start it beside linux-entra-sso; those of the other kind are left out.
 */
function manifestText(kind: Browser["kind"], path: string, ids: readonly string[]): string {
  const allowed = [...new Set([...EXTENSIONS[kind], ...ids.filter((id) => isExtensionId(kind, id))])];
  const manifest = {
    name: HOST_NAME,
    description: "Entra ID single sign-on by the device's broker (latchkey browser-host)",
    path,
    type: "stdio",
    ...(kind === "mozilla"
      ? { allowed_extensions: allowed }
      : { allowed_origins: allowed.map((id) => `chrome-extension://${id}/`) }),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** The program that a manifest starts; `undefined` when it cannot be made sense of. */
function programOf(manifest: string): string | undefined {
  try {
    const { path } = JSON.parse(manifest) ?? {};
    return typeof path === "string" ? path : undefined;
  } catch {
    return undefined;
  }
}

/** What the host may read of the environment: where the bus is, and which app it is for. */
const VARIABLES = [
  "DBUS_SESSION_BUS_ADDRESS",
  "XDG_RUNTIME_DIR",
  "LATCHKEY_CLIENT_ID",
  "LATCHKEY_PROFILE",
  "LATCHKEY_VERBOSE",
  "HOME",
  "XDG_CONFIG_HOME",
];

/** The script, which runs the latchkey that writes it, for the app that the command line names. */
function launcherText(line: CommandLine): string {
  const command = [...ownCommand({ denoPermissions }), "browser-host", ...appOptions(line)];
  return `#!/bin/sh
# Started by browsers; written by latchkey browser-host --install, which also replaces it.
exec ${command.map(shellWord).join(" ")} "$@"
`;
}

/** A browser need not have what the environment of a shell says. */
function appOptions(line: CommandLine): readonly string[] {
  return ["client-id", "profile"].flatMap((name) =>
    ["command line", "environment"].includes(line.origin(name) ?? "") ? [`--${name}`, line.text(name)!] : []
  );
}

function denoPermissions(): readonly string[] {
  const libdbus = findUsualLibdbus();
  if (libdbus === undefined) return ["--allow-all"]; // by dbus-next, whose socket is another one in each session
  const folder = configFolder();
  return [`--allow-ffi=${libdbus}`, `--allow-env=${VARIABLES}`, `--allow-read=${folder}`, "--allow-sys=uid"];
}

/** The libdbus that is found without `LATCHKEY_LIBDBUS`, which takes more permissions than can be told beforehand. */
function findUsualLibdbus(): string | undefined {
  if (readEnvironment("LATCHKEY_LIBDBUS")) return undefined;
  try {
    return findLibdbus(denoNamespace()!, (path) => {
      if (isThere(path)) return path;
      throw new Error(`${path} is not there`);
    });
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return undefined;
  }
}

/** Permission bits of a program, and of a file that it is named in. */
const PROGRAM_MODE = 0o755, FILE_MODE = 0o644;

/** A manifest, and what is in its place. */
interface Place {
  readonly browser: Browser;
  readonly path: string;
  /** `none`; `ours`: it starts our launcher; `theirs`: another program's. */
  readonly owner: "none" | "ours" | "theirs";
}

/** Tells browsers of the host, and prints where it told them. */
export async function installHost(line: CommandLine): Promise<void> {
  requireLinux();
  clientIdOf(line); // the browser would be the first to see what is wrong with it
  const folders = personFolders(), launcher = launcherPath();
  const browsers = namedBrowsers(line) ?? await startedBrowsers(folders), ids = extensionIds(line, browsers);
  const places = await placesOf(browsers, { folders, launcher });
  const theirs = places.filter(({ owner }) => owner === "theirs");
  if (theirs.length > 0 && !line.isOn("force")) {
    throw new UsageError(
      `${theirs.map(({ path }) => path).join(" and ")} names another program: --force puts latchkey in its place`,
    );
  }
  await placeFile(launcher, launcherText(line), PROGRAM_MODE);
  for (const { path, browser } of places) {
    await placeFile(path, manifestText(browser.kind, launcher, ids), FILE_MODE);
    write("stdout", `${path}\n`);
  }
  write(
    "stderr",
    "Next, install the extension in the browser, https://github.com/siemens/linux-entra-sso, or restart a browser that has it\n",
  );
}

/** Takes back what {@linkcode installHost} told, and prints what was removed. */
export async function uninstallHost(line: CommandLine): Promise<void> {
  requireLinux();
  const folders = personFolders(), launcher = launcherPath();
  const named = namedBrowsers(line) ?? BROWSERS, namedPaths = named.map((browser) => manifestPath(browser, folders));
  const places = await placesOf(BROWSERS, { folders, launcher });
  const [gone, left] = [true, false].map((isNamed) =>
    places.filter(({ path, owner }) => owner === "ours" && namedPaths.includes(path) === isNamed)
  ) as [Place[], Place[]];
  for (const { path } of gone) {
    await removePlacedFile(path);
    write("stdout", `${path}\n`);
  }
  for (const { path } of places.filter(({ path, owner }) => owner === "theirs" && namedPaths.includes(path))) {
    write("stderr", `latchkey: ${path} names another program, and stays\n`);
  }
  if (left.length > 0 || await readPlacedFile(launcher) === undefined) return;
  await removePlacedFile(launcher);
  write("stdout", `${launcher}\n`);
}

function requireLinux(): void {
  if (operatingSystem() === "linux") return;
  throw new LatchkeyError("configuration", "latchkey browser-host is for browsers on Linux", {
    hint: "On Windows and macOS browsers reach the broker by themselves, or by extensions of Microsoft's",
  });
}

function personFolders(): PersonFolders {
  return { home: homeFolder(), config: configHome() };
}

function launcherPath(): string {
  return `${dataFolder()}/browser-host`;
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

async function startedBrowsers(folders: PersonFolders): Promise<readonly Browser[]> {
  const isStarted = async (browser: Browser): Promise<boolean> =>
    (await Promise.all(browser.profileFolders(folders).map(isFolder))).some(Boolean);
  const started = await Promise.all(BROWSERS.map(isStarted)), browsers = BROWSERS.filter((_, index) => started[index]);
  if (browsers.length > 0) return browsers;
  throw new UsageError(
    `No browser has been started by this user yet; name one: --browser ${BROWSERS.map(({ name }) => name).join("|")}`,
  );
}

function extensionIds(line: CommandLine, browsers: readonly Browser[]): readonly string[] {
  const ids = line.list("extension-id");
  for (const id of ids) {
    if (browsers.some(({ kind }) => isExtensionId(kind, id))) continue;
    const names = browsers.map(({ name }) => name).join(", ");
    throw new UsageError(`--extension-id ${JSON.stringify(id)} is no extension of ${names}`);
  }
  return ids;
}

/** Each manifest once: Firefox and Thunderbird share one. */
async function placesOf(
  browsers: readonly Browser[],
  { folders, launcher }: { readonly folders: PersonFolders; readonly launcher: string },
): Promise<readonly Place[]> {
  const byPath = new Map(browsers.map((browser) => [manifestPath(browser, folders), browser]));
  return await Promise.all([...byPath].map(async ([path, browser]): Promise<Place> => {
    const text = await readPlacedFile(path);
    const owner = text === undefined ? "none" : programOf(text) === launcher ? "ours" : "theirs";
    return { browser, path, owner };
  }));
}
