/** Starts executables for other machines than this one. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { ARM64_EMULATOR, ARM64_ROOT } from "../tests/tools/find_tool.js";
import { startInWine } from "../tests/windows/wine.ts";
import { type Target, targetNamed } from "./targets.ts";

/** A way to start an executable. */
export interface Starter {
  /** Words before the executable. */
  readonly command: readonly string[];
  /** ` under qemu` or ` under Wine`, for people. */
  readonly by: string;
}

/** Returns the way to start executables of a target here; `undefined` if there is none. */
export function starterOf(target: Target): Starter | undefined {
  if (target === targetNamed()) return { command: [], by: "" };
  const wine = target.name === "windows-x64" ? startInWine() : undefined;
  if (wine) return { command: wine, by: " under Wine" };
  const hasQemu = target.name === "linux-arm64" && isInPath(ARM64_EMULATOR[0]!) && existsSync(ARM64_ROOT);
  return hasQemu ? { command: ARM64_EMULATOR, by: " under qemu" } : undefined;
}

function isInPath(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => folder && existsSync(join(folder, program)));
}
