/**
 * Authorization requests (RFC 6749, 4.1.1; OpenID Connect Core, 3.1.2.1). Pure.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { loopbackRedirectUri } from "../redirect_uris.ts";
import { checkSignIn, RESERVED_SCOPES, type SignInOptions } from "../request.ts";
import { isMicrosoft, type Provider } from "./provider.ts";

/** What an authorization request asks for. */
export interface AuthorizationRequest
  extends Pick<SignInOptions, "prompt" | "domainHint" | "maxAge" | "extraScopesToConsent" | "extraQueryParameters"> {
  /** The app. */
  readonly clientId: string;
  /** What is asked for; the reserved scopes are added. */
  readonly scopes: readonly string[];
  /** Where the browser comes back to. @default the authority's on loopback, without a port */
  readonly redirectUri?: string | undefined;
  /** User name of the person who is expected. */
  readonly loginHint?: string | undefined;
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
}

/**
 * The address that a person opens to sign in or consent.
 *
 * @param provider Who is asked.
 * @param request What is asked for.
 * @param own Parameters that tie the answer to the request, such as `state`.
 * @throws {TypeError} when `extraQueryParameters` would override what the protocol itself says, or a prompt is none.
 * @throws {RangeError} for a `maxAge` below 0.
 * @throws {LatchkeyError} `configuration` when the provider has no sign-in page.
 */
export function authorizationUrl(
  provider: Provider,
  request: AuthorizationRequest,
  own: Readonly<Record<string, string>> = {},
): string {
  const { clientId, scopes, loginHint, domainHint, maxAge, claims } = request;
  const { redirectUri = loopbackRedirectUri(provider.authority) } = request;
  checkSignIn(request);
  const { authorization_endpoint } = provider.server;
  if (!authorization_endpoint) throw new LatchkeyError("configuration", "The provider has no authorization endpoint");
  const asked = scopesToAsk(provider, [...scopes, ...request.extraScopesToConsent ?? []]);
  const prompt = request.prompt ?? defaultPrompt(provider, asked);
  const url = new URL(authorization_endpoint); // B2C's may have a query already
  const parameters: Readonly<Record<string, string | undefined>> = {
    ...request.extraQueryParameters,
    client_id: clientId,
    response_type: "code",
    redirect_uri: redirectUri,
    scope: asked.join(" "),
    ...(prompt !== undefined && { prompt }),
    // Where the person is to choose, a hint would choose for them.
    ...(loginHint !== undefined && prompt !== "select_account" && { login_hint: loginHint }),
    ...(domainHint !== undefined && { domain_hint: domainHint }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
    ...(claims !== undefined && { claims }),
    ...own,
  };
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

/**
 * Scopes as they are sent: with the reserved ones, but those that a provider says it does not have.
 *
 * @param provider Who is asked.
 * @param scopes What is asked for.
 */
export function scopesToAsk({ server }: Provider, scopes: readonly string[]): string[] {
  const supported = Array.isArray(server.scopes_supported) ? server.scopes_supported : undefined;
  // Google refuses offline_access, and says so in its metadata.
  const reserved = RESERVED_SCOPES.filter((scope) => scope === "openid" || !supported || supported.includes(scope));
  return [...new Set([...scopes, ...reserved])];
}

/** OpenID Connect Core, 11: without a prompt for consent the request for a refresh token is not heard. Entra hears it. */
function defaultPrompt(provider: Provider, scopes: readonly string[]): string | undefined {
  const { prompt_values_supported: supported } = provider.server;
  const canAsk = !Array.isArray(supported) || supported.includes("consent");
  return !isMicrosoft(provider) && provider.authority.kind === "oidc" && canAsk && scopes.includes("offline_access")
    ? "consent"
    : undefined;
}
