/**
 * Where browsers look for native messaging hosts of one person, and what they read there. Pure.
 *
 * @module
 */

/** Name under which linux-entra-sso asks for its host. */
const HOST_NAME = "linux_entra_sso";

/** The folders that browsers' are below. */
export interface PersonFolders {
  /** Home folder. */
  readonly home: string;
  /** Folder of settings, such as `~/.config`. */
  readonly config: string;
}

/** A browser. */
export interface Browser {
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
export const BROWSERS: readonly Browser[] = [
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
export function manifestPath(browser: Browser, folders: PersonFolders): string {
  return `${browser.manifestFolder(folders)}/${HOST_NAME}.json`;
}

/** Whether a text is the id of an extension for a kind of browser. */
export function isExtensionId(kind: Browser["kind"], id: string): boolean {
  return ID[kind].test(id);
}

/**
 * A manifest, by which a browser starts the host for the extension.
 *
 * @param kind Whose it is.
 * @param path What is started.
 * @param ids Extensions that may start it beside linux-entra-sso; those of the other kind are left out.
 */
export function manifestText(kind: Browser["kind"], path: string, ids: readonly string[]): string {
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
export function programOf(manifest: string): string | undefined {
  try {
    const { path } = JSON.parse(manifest) ?? {};
    return typeof path === "string" ? path : undefined;
  } catch {
    return undefined;
  }
}
