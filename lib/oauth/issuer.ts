/**
 * Whose tokens an authority's are. Entra's issuers are as many as its tenants, and which of them signed a person in is known
 * from the id token alone.
 *
 * @module
 */
import type { AuthorizationServer } from "@panva/oauth4webapi";
import { type Authority, isMicrosoftAuthority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import { readJwt, text } from "../json_values.ts";
import { type Provider, TENANT_PLACE } from "./provider.ts";

/** A tenant's id. */
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** The tenant of all personal accounts. */
const CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad";

/**
 * The provider's metadata with the issuer that a token has to be of.
 *
 * @param provider The provider. Where its issuer is a template, the id token's `tid` fills it: a GUID, and that of the tenant
 * that was asked, if an id was asked. The claim is not proven by then; that it and the issuer agree is for the validation.
 * @param idToken The id token that came; nothing of it is trusted yet.
 * @throws {LatchkeyError} `invalid_response` when the tenant is none, or another than was asked.
 */
export function serverOfToken(
  { authority, server }: Provider,
  idToken: string | undefined,
  correlationId: string | undefined,
): AuthorizationServer {
  if (idToken === undefined || !server.issuer.includes(TENANT_PLACE)) return server;
  const tenant = text(readJwt(idToken)?.tid) ?? "";
  if (!GUID.test(tenant)) throw refused("the id token names no tenant", correlationId);
  if (!isAskedTenant(authority, tenant)) throw refused("the id token is of another tenant", correlationId);
  return { ...server, issuer: server.issuer.replace(TENANT_PLACE, tenant) };
}

/**
 * The provider's metadata with the issuer that an authorization response has to name, if it names one (RFC 9207).
 *
 * @param provider The provider. Where its issuer is a template, any issuer that it can become will do until the id token
 * tells which one it is.
 * @param issuer What the response says.
 */
export function serverOfResponse({ authority, server }: Provider, issuer: string | null): AuthorizationServer {
  const [before, after] = server.issuer.split(TENANT_PLACE);
  if (issuer === null || after === undefined) return server;
  const tenant = issuer.slice(before!.length, issuer.length - after.length);
  const isPossible = issuer === `${before}${tenant}${after}` && GUID.test(tenant) && isAskedTenant(authority, tenant);
  return isPossible ? { ...server, issuer } : server;
}

/** A domain's id is not known, and `common` and `organizations` are for many. */
function isAskedTenant({ tenant }: Authority, answered: string): boolean {
  const asked = tenant.toLowerCase() === "consumers" ? CONSUMERS : tenant.toLowerCase();
  return !GUID.test(asked) || asked === answered.toLowerCase();
}

/**
 * Whether a discovered issuer is the authority's.
 *
 * - Any OpenID provider: the authority's own URL, as OpenID Connect Discovery wants it (4.3), but for a slash at the end. A
 *   custom domain of Entra External ID has its tenant's issuer.
 * - ADFS: its own server.
 * - B2C: a tenant at its own host, or at Entra's if that host is Microsoft's. External ID (CIAM): a tenant at the host named
 *   for it, or at its own.
 * - Entra: a tenant, or the template, at its own host or one that a cloud goes by.
 */
export function isIssuerOf(authority: Authority, issuer: string): boolean {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
  if (!url || url.search || url.hash || url.username || url.password) return false;
  if (url.protocol !== new URL(authority.url).protocol) return false;
  const path = url.pathname.split("/").filter(Boolean);
  const atOwnHost = url.host === authority.host, version = path.at(-1), first = path[0] ?? "";
  const ofExternalId = url.host === `${first.toLowerCase()}.ciamlogin.com` && GUID.test(first) && path.length === 2 &&
    version === "v2.0" && isAskedTenant(authority, first);
  switch (authority.kind) {
    case "oidc":
      return issuer.replace(/\/$/, "") === authority.url || ofExternalId && GUID.test(authority.tenant);
    case "adfs":
      return atOwnHost && first.toLowerCase() === "adfs";
    case "ciam":
      return ofExternalId || atOwnHost && version === "v2.0";
    case "b2c":
      return version === "v2.0" && path.some((segment) => GUID.test(segment)) &&
        (atOwnHost || isMicrosoftAuthority(authority) && url.host === "login.microsoftonline.com");
    case "entra": {
      const isTenant = first === encodeURI(TENANT_PLACE) || GUID.test(first) && isAskedTenant(authority, first);
      return isTenant && path.length === 2 && version === "v2.0" &&
        (atOwnHost || ["login.microsoftonline.com", "login.microsoftonline.us"].includes(url.host));
    }
  }
}

function refused(why: string, correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError("invalid_response", `The server's answer is not valid: ${why}`, { correlationId });
}
