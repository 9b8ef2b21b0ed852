/**
 * Deno's permissions: asked about, never asked for, so that no prompt comes up in the middle of a sign-in.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, quoteCommand } from "./host.ts";

/** Something that Deno permits or not, by the flag's name, and for what. */
export type Permission =
  | { readonly name: "net"; readonly host: string }
  | { readonly name: "run"; readonly command: string }
  | { readonly name: "read"; readonly path: string }
  | { readonly name: "write"; readonly path: string };

/** Whether it is permitted; outside Deno everything is. */
export function isPermitted(permission: Deno.PermissionDescriptor): boolean {
  const deno = denoNamespace();
  return !deno || deno.permissions.querySync(permission).state === "granted";
}

/**
 * Makes sure that it is permitted.
 *
 * @param permission What is needed.
 * @param grant What to name behind the flag, where more is of use, as a shell takes it. @default what is needed
 * @throws {LatchkeyError} `missing_dependency` with the flag that permits it.
 */
export function requirePermission(permission: Permission, grant?: string): void {
  if (isPermitted(permission)) return;
  const { doing, object } = wordsOf(permission);
  throw new LatchkeyError("missing_dependency", `Deno may not ${doing} ${object}`, {
    hint: `Run deno with ${
      grant === undefined
        ? quoteCommand([`--allow-${permission.name}=${object}`])
        : `--allow-${permission.name}=${grant}`
    }`,
  });
}

function wordsOf(permission: Permission): { readonly doing: string; readonly object: string } {
  switch (permission.name) {
    case "net":
      return { doing: "use the network address", object: permission.host };
    case "run":
      return { doing: "run", object: permission.command };
    case "read":
    case "write":
      return { doing: permission.name, object: permission.path };
  }
}
