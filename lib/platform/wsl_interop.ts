/**
 * The way from WSL to Windows' programs: a socket that the environment names, and that services, `sudo` and SSH are not told
 * of (microsoft/WSL issue 8846), while tmux keeps the name of one that is gone.
 *
 * @module
 */
import { isProcessGone, mayReadEnvironment, readEnvironment } from "./host.ts";
import type { LocalFiles } from "./local_files.ts";
import { openLocalFiles } from "./open_local_files.ts";

/** Name of the variable. */
const VARIABLE = "WSL_INTEROP";
/** Where WSL's init puts a socket for each session, by its own process's number. */
const FOLDER = "/run/WSL";
const NAME = /^(\d+)_interop$/;

/**
 * What to set for a program of Windows': the newest socket that is in use, where the environment names none that is.
 *
 * @returns Variables; none where the environment is right or names what is not of that folder, nothing better is known, or
 * Deno may not look (`--allow-env=WSL_INTEROP --allow-read=/run/WSL --allow-sys=uid`).
 */
export async function interopEnvironment(): Promise<Readonly<Record<string, string>>> {
  if (!mayReadEnvironment(VARIABLE)) return {};
  const own = readEnvironment(VARIABLE);
  // What is elsewhere is somebody's own doing: Deno need not permit to look there.
  if (own !== undefined && !isOfFolder(own)) return {};
  try {
    const files = await openLocalFiles(FOLDER, "read");
    if (own !== undefined && isInUse(files, own)) return {};
    const newest = findNewest(files);
    return newest === undefined ? {} : { [VARIABLE]: newest };
  } catch {
    // It is a help, and no more, whatever the look at the sockets failed for: whether the program can be run shows when it is.
    return {};
  }
}

/** Whether it is a name in the folder, and no way out of it. */
function isOfFolder(path: string): boolean {
  return path.startsWith(`${FOLDER}/`) && !path.includes("/", FOLDER.length + 1);
}

function isInUse(files: LocalFiles, path: string): boolean {
  if (!files.look(path)) return false;
  const [, pid] = NAME.exec(path.slice(path.lastIndexOf("/") + 1)) ?? [];
  return pid === undefined || isProcessGone(Number(pid)) !== true;
}

/** All who are on the machine can make files in the folder, so it has to be root's socket, or ours. */
function findNewest(files: LocalFiles): string | undefined {
  const sockets = files.list(FOLDER).filter(({ name }) => NAME.test(name)).flatMap(({ name }) => {
    const path = `${FOLDER}/${name}`, facts = files.look(path);
    const isOurs = facts?.kind === "other" && [0, files.ownUser()].includes(facts.owner);
    return isOurs && isInUse(files, path) ? [{ path, changedMs: facts.changedMs }] : [];
  });
  return sockets.toSorted((one, other) => other.changedMs - one.changedMs)[0]?.path;
}
