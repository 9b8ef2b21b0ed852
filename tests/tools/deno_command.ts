import { existsSync } from "node:fs";
import { findTool } from "./find_tool.js";

/** Where distributions have libdbus. */
const LIBDBUS = [
  `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  "/usr/lib64",
  "/usr/lib",
].map((folder) => `${folder}/libdbus-1.so.3`);

/** Which environment names tell where the session's bus is. */
const BUS_NAMES = ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"];

/**
 * A program of ours from its sources under Deno, with no more permissions than a broker takes.
 *
 * @throws {Error} when libdbus is not where distributions have it
 */
export function denoCommand(script: string): string[] {
  const libdbus = LIBDBUS.find((path) => existsSync(path));
  if (!libdbus) throw new Error(`libdbus is missing (looked for ${LIBDBUS.join(", ")})`);
  return [
    ...[findTool("deno"), "run", "--no-prompt", "--no-config", "--node-modules-dir=manual"],
    ...["--conditions=latchkey-source", `--allow-ffi=${libdbus}`, `--allow-env=${BUS_NAMES}`, script],
  ];
}
