/**
 * What Deno has to permit for a Unix socket.
 *
 * @module
 */
import { isPermitted } from "./permission.ts";

/**
 * The flags that are missing for a Unix socket.
 *
 * @param path The socket's path.
 * @returns The flags; none where all is permitted.
 */
export function missingSocketFlags(path: string): readonly string[] {
  return [
    ...(isPermitted({ name: "read", path }) ? [] : [`--allow-read=${path}`]),
    ...(isPermitted({ name: "write", path }) ? [] : [`--allow-write=${path}`]),
    ...(mayConnect(path) ? [] : [`--allow-net=unix:${path}`]),
  ];
}

/** Before 2.9 a socket is a file and no host, and cannot even be asked for. */
function mayConnect(path: string): boolean {
  try {
    return isPermitted({ name: "net", host: `unix:${path}` });
  } catch {
    return true;
  }
}
