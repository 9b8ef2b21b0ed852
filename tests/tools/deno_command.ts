import { existsSync } from "node:fs";
import process from "node:process";
import { findRuntime, TESTED_RUNTIMES } from "./find_tool.js";

/** Where distributions have libdbus. */
const PLACES = [
  `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  "/usr/lib64",
  "/usr/lib",
].map((folder) => `${folder}/libdbus-1.so.3`);

/** Where libdbus is on this machine: what a person writes behind `--allow-ffi=`. Empty when it is nowhere. */
export const LIBDBUS: string = PLACES.find((path) => existsSync(path)) ?? "";

/** What is enough for a silent token. */
export const LEAST_PERMISSIONS: readonly string[] = [
  `--allow-ffi=${LIBDBUS}`,
  "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR",
];

/** Flags for a socket. Before Deno 2.9 a socket is a file only, and a host such as `unix:/socket` is an error. */
export function socketFlags(path: string, folder: string = path): string[] {
  const isHost = process.env[TESTED_RUNTIMES] !== "oldest";
  return [`--allow-read=${folder}`, `--allow-write=${folder}`, ...(isHost ? [`--allow-net=unix:${path}`] : [])];
}

/** Joins flags of one kind: Deno 2.6 takes each only once. */
export function joinFlags(flags: readonly string[]): string[] {
  const kinds = Map.groupBy(flags, (flag) => flag.split("=")[0]!);
  return [...kinds].map(([kind, same]) => {
    const values = same.map((flag) => flag.slice(kind.length + 1));
    return values.every(Boolean) ? `${kind}=${values.join(",")}` : kind;
  });
}

/** Deno, running what follows as the project's programs are run where only npm can be reached. */
export function denoRun(): string[] {
  return [
    ...[...findRuntime("deno"), "run", "--no-prompt", "--no-config", "--node-modules-dir=manual"],
    "--conditions=latchkey-source",
  ];
}

/**
 * A program of ours from its sources under Deno, with no more permissions than a broker takes.
 *
 * @throws {Error} when libdbus is not where distributions have it
 */
export function denoCommand(script: string): string[] {
  if (!LIBDBUS) throw new Error(`libdbus is missing (looked for ${PLACES.join(", ")})`);
  return [...denoRun(), ...LEAST_PERMISSIONS, script];
}
