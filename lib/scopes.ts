/**
 * Scopes: their form, and the resource that they name.
 *
 * @module
 */
import { ArgumentError } from "./errors.ts";

/** Scopes of OpenID Connect that every sign-in requests and that never name a resource. */
export const RESERVED_SCOPES: readonly string[] = ["openid", "profile", "offline_access"];

/** Returns the scope that stands for all that an app may do with a resource. It may be given already. */
export function defaultScope(resource: string): string {
  return `${resourceOf(resource)}/.default`;
}

/** Returns true for the scope that stands for all that an app may do with a resource. Entra takes it only by itself. */
export function isDefaultScope(scope: string): boolean {
  return scope.endsWith("/.default");
}

/** Returns a resource without the `/.default` of its scope. */
export function resourceOf(scope: string): string {
  return scope.replace(/\/\.default\/?$/i, "");
}

/** Returns the resource that a scope of Microsoft's authorities names. */
export function resourceOfScope(scope: string): string {
  return scope.replace(/\/[^/]*$/, "");
}

/** A scope token (RFC 6749, 3.3). */
export const SCOPE_TOKEN: RegExp = /^[\x21\x23-\x5B\x5D-\x7E]+$/;

/** Returns scopes, each once. Throws a `TypeError` if none names a resource, or one is not a scope token. */
export function checkScopes(scopes: readonly string[]): string[] {
  if (!Array.isArray(scopes) || scopes.length === 0) throw mistake('scopes must be a list, such as ["User.Read"]');
  for (const scope of scopes) {
    if (typeof scope !== "string" || !SCOPE_TOKEN.test(scope)) {
      throw mistake(`${JSON.stringify(scope)} is not a scope`);
    }
  }
  if (scopes.every((scope) => RESERVED_SCOPES.includes(scope))) {
    throw mistake(`scopes must name more than ${scopes.join(", ")}, as User.Read`);
  }
  return [...new Set(scopes)];
}

/** Returns scopes without {@linkcode RESERVED_SCOPES}. */
export function withoutReserved(scopes: readonly string[]): string[] {
  return scopes.filter((scope) => !RESERVED_SCOPES.includes(scope));
}

function mistake(reason: string): ArgumentError {
  return new ArgumentError(`Cannot acquire a token: ${reason}`);
}
