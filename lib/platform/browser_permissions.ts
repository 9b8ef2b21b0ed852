/**
 * What Deno would have to permit for a browser to be opened.
 *
 * @module
 */
import { browserCommands } from "./browser.ts";
import { denoNamespace, mayReadEnvironment } from "./host.ts";
import { isPermitted } from "./permission.ts";
import { readSurroundings } from "./surroundings.ts";

/**
 * The flags that are missing, for a person to whom no browser was opened.
 *
 * @param url The address that was to be opened.
 * @returns Flags of Deno; none elsewhere, or where the flags are not the reason.
 */
export async function missingBrowserFlags(url: string): Promise<readonly string[]> {
  if (!denoNamespace()) return [];
  const surroundings = await readSurroundings(), isLinux = surroundings.system === "linux";
  const names = ["BROWSER", ...(isLinux ? ["DISPLAY", "WAYLAND_DISPLAY"] : [])]
    .filter((name) => !mayReadEnvironment(name));
  const known = browserCommands(new URL(url), surroundings).map(({ command }) => command[0]!);
  // Where the display may not be looked for, nothing is known.
  const programs = [...new Set([...known, ...(isLinux && names.length > 0 ? ["xdg-open"] : [])])]
    .filter((command) => !isPermitted({ name: "run", command }));
  return [
    ...(names.length > 0 ? [`--allow-env=${names.join(",")}`] : []),
    ...(programs.length > 0 ? [`--allow-run=${programs.join(",")}`] : []),
  ];
}
