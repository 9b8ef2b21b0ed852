/**
 * Authorization requests (RFC 6749, 4.1.1).
 *
 * @module
 */
import type { Authority } from "../authority.ts";
import { RESERVED_SCOPES } from "../request.ts";

/** Where the browser comes back to when there is no broker. */
export const BROWSER_REDIRECT_URI = "http://localhost";

/** What an authorization request asks for. */
export interface AuthorizationRequest {
  /** The app. */
  readonly clientId: string;
  /** An Entra authority: its endpoints are known without asking. */
  readonly authority: Authority;
  /** What is asked for; the reserved scopes are added. */
  readonly scopes: readonly string[];
}

/** The address that a person opens to sign in or consent. */
export function authorizationUrl({ clientId, authority, scopes }: AuthorizationRequest): string {
  const parameters = new URLSearchParams({
    client_id: clientId,
    response_type: "code",
    redirect_uri: BROWSER_REDIRECT_URI,
    scope: [...new Set([...scopes, ...RESERVED_SCOPES])].join(" "),
  });
  return `${authority.url}/oauth2/v2.0/authorize?${parameters}`;
}
