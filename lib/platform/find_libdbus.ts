/**
 * Where libdbus is on this machine: always an absolute path, since a bare name fails in Deno's `dlopen` when FFI was
 * granted for a path (denoland/deno issue 29246), and since the search path could be someone else's.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { quoteCommand, readEnvironment } from "./host.ts";

const FILE = "libdbus-1.so.3";
const LINKER_CACHE = "/etc/ld.so.cache";

/**
 * Opens the first libdbus that can be opened: the one that `LATCHKEY_LIBDBUS` names, else in the usual directories,
 * else as the dynamic linker's cache has it.
 *
 * @param deno Deno's namespace.
 * @param open Opens the library at a path, or throws.
 * @returns What `open` returned.
 * @throws {LatchkeyError} `missing_dependency`, with what to install or permit; `configuration` when `LATCHKEY_LIBDBUS` cannot be trusted.
 */
export function findLibdbus<T>(deno: typeof Deno, open: (path: string) => T): T {
  const override = readEnvironment("LATCHKEY_LIBDBUS");
  if (override) return openOverride(deno, override, open);
  let permitted = false, failure: unknown;
  for (const path of candidates(deno)) {
    if (!isGranted(deno, { name: "ffi", path })) continue;
    permitted = true;
    try {
      return open(path);
    } catch (error) {
      failure ??= error;
    }
  }
  if (!permitted) {
    throw new LatchkeyError("missing_dependency", "Cannot reach the session bus: Deno may not open libdbus", {
      hint: `Run deno with --allow-ffi=${probablePath(deno)}`,
    });
  }
  throw new LatchkeyError("missing_dependency", `Cannot reach the session bus: ${FILE} was not found`, {
    cause: failure,
    hint:
      "Install libdbus (Debian, Ubuntu: apt install libdbus-1-3; Fedora: dnf install dbus-libs; Arch: pacman -S dbus; " +
      "Alpine: apk add dbus-libs), or set LATCHKEY_LIBDBUS to its absolute path",
  });
}

function* candidates(deno: typeof Deno): Generator<string> {
  for (const directory of usualDirectories(deno)) yield `${directory}/${FILE}`;
  if (!isGranted(deno, { name: "read", path: LINKER_CACHE })) return;
  let cache;
  try {
    cache = deno.readFileSync(LINKER_CACHE);
  } catch {
    return; // musl has no such cache
  }
  for (const [, path] of new TextDecoder("latin1").decode(cache).matchAll(/\0(\/[^\0]+\/libdbus-1\.so\.3)(?=\0)/g)) {
    yield path!;
  }
}

function usualDirectories(deno: typeof Deno): string[] {
  const multiarch = `${deno.build.arch}-linux-gnu`;
  return [
    `/usr/lib/${multiarch}`, // Debian, Ubuntu
    "/usr/lib64", // Fedora, RHEL, openSUSE
    "/usr/lib", // Arch, Alpine
    "/run/current-system/sw/lib", // NixOS
    `/lib/${multiarch}`,
    "/lib64",
    "/lib",
    "/usr/local/lib",
  ];
}

/** The path to name in a hint: one that exists, as far as may be looked. */
function probablePath(deno: typeof Deno): string {
  const paths = usualDirectories(deno).map((directory) => `${directory}/${FILE}`);
  const exists = (path: string) => isGranted(deno, { name: "read", path }) && fileInfo(deno, path) !== undefined;
  return paths.find(exists) ?? paths[0]!;
}

/** FFI is full trust, so a library that someone else could have put there is not opened. */
function openOverride<T>(deno: typeof Deno, path: string, open: (path: string) => T): T {
  const refuse = (why: string, hint: string) =>
    new LatchkeyError("configuration", `Cannot use LATCHKEY_LIBDBUS: ${why}`, { hint });
  if (!path.startsWith("/")) throw refuse("it is not an absolute path", `Set it to the absolute path of ${FILE}`);
  if (
    !isGranted(deno, { name: "ffi", path }) || !isGranted(deno, { name: "read" }) ||
    !isGranted(deno, { name: "sys", kind: "uid" })
  ) {
    throw new LatchkeyError("missing_dependency", "Cannot use LATCHKEY_LIBDBUS: Deno may not check and open it", {
      hint: `Run deno with ${
        quoteCommand([`--allow-ffi=${path}`, "--allow-read", "--allow-sys=uid"])
      }, or unset LATCHKEY_LIBDBUS`,
    });
  }
  if (!fileInfo(deno, path)?.isFile) throw refuse(`${path} is not a file`, `Set it to the absolute path of ${FILE}`);
  const exposed = placeOpenToOthers(path, denoLooks(deno));
  if (exposed) {
    throw refuse(
      `others can write to ${exposed}`,
      `Put the library where only root or you can write, or run ${quoteCommand(["chmod", "go-w", exposed])}`,
    );
  }
  try {
    return open(path);
  } catch (cause) {
    throw new LatchkeyError("missing_dependency", `Cannot use LATCHKEY_LIBDBUS: ${path} cannot be opened`, {
      cause,
      hint: `Set it to the absolute path of ${FILE}, built for ${deno.build.arch}`,
    });
  }
}

/** What {@linkcode placeOpenToOthers} asks of a file system. */
export interface PlaceLooks {
  /** User id of this process. */
  readonly ownUser: number;
  /** Owner, mode bits and kind; a link is not followed. Throws if nothing is there. */
  look(path: string): { readonly uid: number | null; readonly mode: number | null; readonly kind: PlaceKind };
  /** Where a link leads. */
  readLink(path: string): string;
}

/** What a place on the way to a file is. */
export type PlaceKind = "folder" | "link" | "other";

/**
 * Returns the first place on the way to a file, over every link, that someone else than root and us can change. Code of
 * such a file is not to be run. POSIX only.
 *
 * @param path Absolute path of the file.
 * @param looks The file system.
 * @returns The place's path; `undefined` if only root and we can change what is there.
 * @throws {Error} the file system's own, if a place is missing or cannot be looked at.
 */
export function placeOpenToOthers(path: string, looks: PlaceLooks): string | undefined {
  const ahead = path.split("/");
  let at = "", links = 0;
  while (ahead.length > 0) {
    const name = ahead.shift()!;
    if (name === "." || (name === "" && at !== "")) continue;
    if (name === "..") {
      at = at.slice(0, at.lastIndexOf("/"));
      continue;
    }
    const place = name === "" ? "/" : `${at}/${name}`, { mode, uid, kind } = looks.look(place);
    const sticky = kind === "folder" && (mode! & 0o1000) !== 0;
    const writable = kind !== "link" && (mode! & 0o022) !== 0 && !sticky;
    if ((uid !== 0 && uid !== looks.ownUser) || writable || links > 40) return place;
    if (kind === "link") {
      const target = looks.readLink(place);
      ahead.unshift(...target.split("/"));
      links++;
      if (target.startsWith("/")) at = "";
    } else if (name !== "") at = place;
  }
  return undefined;
}

/** The file system as Deno shows it. */
export function denoLooks(deno: typeof Deno): PlaceLooks {
  return {
    ownUser: deno.uid()!,
    look(path) {
      const { isDirectory, isSymlink, mode, uid } = deno.lstatSync(path);
      return { mode, uid, kind: isSymlink ? "link" : isDirectory ? "folder" : "other" };
    },
    readLink: (path) => deno.readLinkSync(path),
  };
}

function fileInfo(deno: typeof Deno, path: string): Deno.FileInfo | undefined {
  try {
    return deno.statSync(path);
  } catch {
    return undefined;
  }
}

function isGranted(deno: typeof Deno, permission: Deno.PermissionDescriptor): boolean {
  return deno.permissions.querySync(permission).state === "granted";
}
