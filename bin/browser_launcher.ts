/**
 * The script by which a browser starts `latchkey browser-host`: a manifest names a program, without arguments.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { findLibdbus } from "../lib/platform/find_libdbus.ts";
import { denoNamespace, readEnvironment, shellWord } from "../lib/platform/host.ts";
import { ownCommand } from "../lib/platform/own_command.ts";
import { isThere } from "../lib/platform/program.ts";
import { configFolder } from "../lib/platform/user_folders.ts";
import type { CommandLine } from "./command_line.ts";

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
export function launcherText(line: CommandLine): string {
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
