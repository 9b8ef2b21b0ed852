/** The command `latchkey` for programs that call it by its name, as it is called where it is installed. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { denoRun, LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import type { Home } from "../fixture.ts";
import { latchkeyBy } from "./tested_latchkey.ts";

/**
 * Puts it into a home, to be run on Deno from the sources.
 *
 * @param home The home.
 * @param permissions Deno's.
 * @returns The environment of those who call it.
 */
export function putLatchkeyInPath(
  home: Home,
  permissions: readonly string[] = LEAST_PERMISSIONS,
): Readonly<Record<string, string>> {
  const folder = join(home.path, "bin"), root = fileURLToPath(new URL("../../", import.meta.url));
  const command = latchkeyBy([...denoRun(), ...permissions]).map((word) => `'${word}'`).join(" ");
  mkdirSync(folder);
  writeFileSync(join(folder, "latchkey"), `#!/bin/sh\ncd '${root}' && exec ${command} "$@"\n`, { mode: 0o755 });
  return { ...home.env, PATH: `${folder}:${process.env.PATH}` };
}
