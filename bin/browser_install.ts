/**
 * `latchkey browser-host --install` and `--uninstall`.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { operatingSystem } from "../lib/platform/host.ts";
import { isFolder, placeFile, readPlacedFile, removePlacedFile } from "../lib/platform/placed_file.ts";
import { write } from "../lib/platform/program.ts";
import { configHome, dataFolder, homeFolder } from "../lib/platform/user_folders.ts";
import { launcherText } from "./browser_launcher.ts";
import {
  type Browser,
  BROWSERS,
  isExtensionId,
  manifestPath,
  manifestText,
  type PersonFolders,
  programOf,
} from "./browser_manifest.ts";
import { clientIdOf } from "./app_options.ts";
import { type CommandLine, unknown, UsageError } from "./command_line.ts";

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
