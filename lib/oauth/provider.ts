/**
 * Who signs people in.
 *
 * @module
 */
import type { AuthorizationServer } from "@panva/oauth4webapi";
import { type Authority, isMicrosoftAuthority } from "../authority.ts";

export type { Fetch, HttpOptions } from "./bounded_fetch.ts";

/** An authority and what is known of it. */
export interface Provider {
  /** The authority. */
  readonly authority: Authority;
  /** Its metadata (RFC 8414). The issuer may be a template with `{tenantid}` in it. */
  readonly server: AuthorizationServer;
}

/** Where Microsoft's servers put the id of the tenant that a person turned out to be of. */
export const TENANT_PLACE = "{tenantid}";

/** Returns true if an authority is Microsoft's, which has words of its own beside the standards'. */
export function isMicrosoft({ authority }: Pick<Provider, "authority">): boolean {
  return isMicrosoftAuthority(authority);
}
