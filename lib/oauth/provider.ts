/**
 * OpenID providers: their metadata, the issuers that they may name, and their authorization URL.
 *
 * @module
 */
import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from "@panva/oauth4webapi";
import { untilAborted, withinTime } from "../async.ts";
import {
  type Authority,
  CIAM_SUFFIX,
  environmentAliases,
  isHttpsOrLoopback,
  isMicrosoftAuthority,
} from "../authority.ts";
import { isGuid, readJson, readJwt, readText } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import type { AuthCodeFlowRequest } from "../request.ts";
import { RESERVED_SCOPES } from "../scopes.ts";
import { invalidResponse, refusalOf } from "./errors.ts";
import { type HttpOptions, retryAfterMs, sendOptions, TIMEOUT_MS, translateErrors } from "./bounded_fetch.ts";

/** An authority and its metadata. */
export interface Provider {
  readonly authority: Authority;
  /** Metadata of the authority (RFC 8414). The issuer may be a template with `{tenantid}` in it. */
  readonly server: AuthorizationServer;
}

/** The id of the person's tenant, in the issuer of an authority for many tenants. */
const TENANT_PLACEHOLDER = "{tenantid}";
/** Tenant of all personal accounts. */
const CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad";

interface CachedProvider {
  readonly provider: Promise<Provider>;
  isFound: boolean;
  until: number;
}

/** Entra's hosts that are discovered like other providers: the issuer of their tokens is not documented. */
const DISCOVERED_ENTRA_HOSTS: readonly string[] = ["login-us.microsoftonline.com"];
const CACHED_MS = 24 * 60 * 60_000;

// One cache for each `fetch`, so that callers with a `fetch` of their own share nothing.
const cachesByFetch = new WeakMap<object, Map<string, CachedProvider>>();

/**
 * Returns an authority's metadata. That of the known Entra hosts costs no request. For others it is discovered (OpenID Connect
 * Discovery, RFC 8414), once for all concurrent callers, and cached for a day.
 *
 * @throws {LatchkeyError} `configuration` if there is no such authority; `untrusted_authority` if it claims to be another,
 * or has endpoints at another host; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
export async function findProvider(authority: Authority, http: HttpOptions): Promise<Provider> {
  const { kind, host, url } = authority;
  if (kind === "entra" && !DISCOVERED_ENTRA_HOSTS.includes(host)) return knownProvider(authority);
  const { fetch = globalThis.fetch, now = Date.now, timeoutMs = TIMEOUT_MS, signal } = http;
  signal?.throwIfAborted();
  const cache = cachesByFetch.get(fetch) ?? new Map<string, CachedProvider>();
  cachesByFetch.set(fetch, cache);
  const cached = cache.get(url);
  if (cached && now() < cached.until) {
    if (cached.isFound) return await cached.provider;
    // If a worker's request is cancelled its promises never settle. So those who wait for them ask again in the end.
    const joined = await withinTime(cached.provider, timeoutMs / 10, signal);
    if (joined) return joined;
  }
  // Without the signal: if the first caller aborts, the others still get the answer. The request's time limit ends it.
  const provider = discover(authority, { ...http, signal: undefined });
  const entry: CachedProvider = { provider, isFound: false, until: now() + timeoutMs };
  cache.set(url, entry);
  const keep = () => Object.assign(entry, { isFound: true, until: now() + CACHED_MS });
  const drop = () => cache.get(url) === entry && cache.delete(url);
  provider.then(keep, drop);
  return await untilAborted(provider, signal);
}

function knownProvider(authority: Authority): Provider {
  const base = `${authority.origin}/${authority.tenant}`;
  return {
    authority,
    server: {
      issuer: `https://${environmentAliases(authority.host)[0]}/${TENANT_PLACEHOLDER}/v2.0`,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
      response_modes_supported: ["query", "fragment", "form_post"],
      id_token_signing_alg_values_supported: ["RS256"],
    },
  };
}

/** Asymmetric algorithms. With `none` anybody could issue an id token; a public client has no secret for the symmetric ones. */
const SIGNING_ALGORITHM = /^(RS|PS|ES)(256|384|512)$|^Ed(DSA|25519)$/;

async function discover(authority: Authority, http: HttpOptions): Promise<Provider> {
  const { correlationId } = http;
  const base = new URL(discoveryBase(authority));
  const options = sendOptions(authority.url, http, { retry: true });
  let response = await translateErrors(() => discoveryRequest(base, options), http);
  if (response.status === 404 && authority.kind === "oidc") {
    response = await translateErrors(() => discoveryRequest(base, { ...options, algorithm: "oauth2" }), http);
  }
  const { status, headers } = response;
  const body = await response.text();
  if (status !== 200) {
    const app = { clientId: "", redirectUri: "", scopes: [] };
    const { now = Date.now } = http;
    const context = { flow: "browser", ...app, correlationId: correlationId ?? "" } as const;
    const refusal = refusalOf({ status, body }, context, retryAfterMs(response, now()));
    if (refusal.code === "temporarily_unavailable") throw refusal;
    throw failure("configuration", `${authority.url} is not an authority (status ${status})`, correlationId);
  }
  const issuer = readText(readJson(body)?.issuer);
  if (issuer !== undefined && !isIssuerOf(authority, issuer)) {
    throw failure("untrusted_authority", `${authority.url} says that it is another issuer`, correlationId);
  }
  const expected = new URL(issuer ?? authority.url);
  const server = await translateErrors(() => processDiscoveryResponse(expected, new Response(body, { headers })), http);
  checkEndpoints(server, authority, correlationId);
  const { id_token_signing_alg_values_supported: names } = server;
  const algorithms = Array.isArray(names) ? names.filter((name) => typeof name === "string") : ["RS256"];
  const id_token_signing_alg_values_supported = algorithms.filter((name) => SIGNING_ALGORITHM.test(name));
  return { authority, server: { ...server, id_token_signing_alg_values_supported } };
}

/** Returns the URL that `.well-known/openid-configuration` is appended to. */
function discoveryBase({ kind, url, origin, host, tenant }: Authority): string {
  if (kind === "adfs" || kind === "oidc") return url;
  // Entra External ID needs no path: its tenant has the name of its host.
  const base = kind === "ciam" && !tenant ? `${origin}/${host.split(".")[0]}.onmicrosoft.com` : url;
  return base.endsWith("/v2.0") ? base : `${base}/v2.0`;
}

/**
 * Checks the endpoints' hosts. Microsoft's servers have all endpoints at the authority's host. Elsewhere they may be at others
 * (Google's are), but the sign-in page and the device codes must be at the issuer's host or at the token endpoint's.
 */
function checkEndpoints(server: AuthorizationServer, authority: Authority, correlationId: string | undefined): void {
  const { authorization_endpoint: page, token_endpoint: token, device_authorization_endpoint: device = token } = server;
  const { url, host, kind } = authority;
  if (page === undefined || token === undefined) {
    throw new LatchkeyError("invalid_response", `${url} does not name its endpoints`, { correlationId });
  }
  const isPlain = url.startsWith("http:"); // only on loopback
  const hosts = [page, token, device].map((text) => {
    const endpoint = typeof text === "string" && URL.canParse(text) ? new URL(text) : undefined;
    if (endpoint && isHttpsOrLoopback(endpoint) && (isPlain || endpoint.protocol === "https:")) return endpoint.host;
    throw failure("untrusted_authority", `${url} has an endpoint that does not begin with https://`, correlationId);
  });
  const [, tokenHost] = hosts;
  const allowed = kind === "oidc" ? [host, tokenHost] : [host];
  if (!hosts.every((each) => allowed.includes(each))) {
    throw failure("untrusted_authority", `${url} has endpoints at another host`, correlationId);
  }
}

function failure(code: LatchkeyErrorCode, message: string, correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError(code, message, { correlationId, remedy: "Check the authority" });
}

/**
 * Returns true if a discovered issuer is the authority's.
 *
 * - Any OpenID provider: the authority's own URL, as OpenID Connect Discovery requires (4.3), except for a slash at the end. A
 *   custom domain of Entra External ID has its tenant's issuer.
 * - ADFS: its own server.
 * - B2C: a tenant at its own host, or at Entra's if that host is Microsoft's.
 * - External ID (CIAM): a tenant at the host named for it, or at its own.
 * - Entra: a tenant, or the template, at its own host or the main host of a cloud.
 */
export function isIssuerOf(authority: Authority, issuer: string): boolean {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
  if (!url || url.search || url.hash || url.username || url.password) return false;
  if (url.protocol !== new URL(authority.url).protocol) return false;
  const path = url.pathname.split("/").filter(Boolean);
  const first = path[0] ?? "";
  const isAtOwnHost = url.host === authority.host;
  const isV2 = path.at(-1) === "v2.0";
  const isOfTenant = isGuid(first) && isRequestedTenant(authority, first) && path.length === 2 && isV2;
  const isOfExternalId = isOfTenant && url.host === `${first.toLowerCase()}${CIAM_SUFFIX}`;
  switch (authority.kind) {
    case "oidc":
      return issuer.replace(/\/$/, "") === authority.url || isOfExternalId && isGuid(authority.tenant);
    case "adfs":
      return isAtOwnHost && first.toLowerCase() === "adfs";
    case "ciam":
      return isOfExternalId || isAtOwnHost && isV2;
    case "b2c":
      return isV2 && path.some(isGuid) &&
        (isAtOwnHost || isMicrosoftAuthority(authority) && url.host === "login.microsoftonline.com");
    case "entra": {
      const isTemplate = first === encodeURI(TENANT_PLACEHOLDER) && path.length === 2 && isV2;
      return (isOfTenant || isTemplate) &&
        (isAtOwnHost || ["login.microsoftonline.com", "login.microsoftonline.us"].includes(url.host));
    }
  }
}

/**
 * Returns the provider's metadata with the issuer that a token must have.
 *
 * @param provider The provider. If its issuer is a template, the id token's `tid` fills it. That must be a GUID, and equal the
 * requested tenant if its id was requested. The claim is not proven yet: validation checks it against the issuer.
 * @param idToken The id token, not yet validated.
 * @throws {LatchkeyError} `invalid_response` if the tenant is missing, or is not the requested one.
 */
export function serverOfToken(
  { authority, server }: Provider,
  idToken: string | undefined,
  correlationId: string | undefined,
): AuthorizationServer {
  if (idToken === undefined || !server.issuer.includes(TENANT_PLACEHOLDER)) return server;
  const tenant = readText(readJwt(idToken)?.tid) ?? "";
  if (!isGuid(tenant)) throw invalidResponse("the id token names no tenant", correlationId);
  if (!isRequestedTenant(authority, tenant)) throw invalidResponse("the id token is of another tenant", correlationId);
  return { ...server, issuer: server.issuer.replace(TENANT_PLACEHOLDER, tenant) };
}

/**
 * Returns the provider's metadata with the issuer that an authorization response must name, if it names one (RFC 9207).
 *
 * @param provider The provider. If its issuer is a template, any issuer of that form is accepted until the id token decides.
 */
export function serverOfResponse({ authority, server }: Provider, issuer: string | null): AuthorizationServer {
  const [before, after] = server.issuer.split(TENANT_PLACEHOLDER);
  if (issuer === null || after === undefined) return server;
  const tenant = issuer.slice(before!.length, issuer.length - after.length);
  const isPossible = issuer === `${before}${tenant}${after}` && isGuid(tenant) && isRequestedTenant(authority, tenant);
  return isPossible ? { ...server, issuer } : server;
}

/** `common` and `organizations` stand for many tenants, and the id of a domain is not known: these accept any tenant. */
function isRequestedTenant({ tenant }: Authority, answered: string): boolean {
  const requested = tenant.toLowerCase() === "consumers" ? CONSUMERS : tenant.toLowerCase();
  return !isGuid(requested) || requested === answered.toLowerCase();
}

/** A validated authorization request. The reserved scopes are added; `claims` includes the client capabilities. */
export interface AuthorizationRequest extends Omit<AuthCodeFlowRequest, "clientCapabilities" | "tenantId"> {
  readonly clientId: string;
}

/**
 * Returns the URL at which a person signs in or consents.
 *
 * @param more Parameters that tie the response to the request, such as `state`.
 * @throws {LatchkeyError} `configuration` if the provider has no authorization endpoint.
 */
export function authorizationUrl(
  provider: Provider,
  request: AuthorizationRequest,
  more: Readonly<Record<string, string>> = {},
): string {
  const { clientId, scopes, redirectUri, loginHint, domainHint, maxAge, claims, resource } = request;
  const { authorization_endpoint } = provider.server;
  if (!authorization_endpoint) throw new LatchkeyError("configuration", "The provider has no authorization endpoint");
  const allScopes = scopesToAsk(provider, [...scopes, ...request.extraScopesToConsent ?? []]);
  const prompt = request.prompt ?? defaultPrompt(provider, allScopes);
  const url = new URL(authorization_endpoint); // B2C's may have a query already
  const parameters: Readonly<Record<string, string>> = {
    ...request.extraQueryParameters,
    client_id: clientId,
    response_type: "code",
    redirect_uri: redirectUri,
    scope: allScopes.join(" "),
    ...(prompt !== undefined && { prompt }),
    // A hint would choose the account for the person.
    ...(loginHint !== undefined && prompt !== "select_account" && { login_hint: loginHint }),
    ...(domainHint !== undefined && { domain_hint: domainHint }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
    ...(claims !== undefined && { claims }),
    ...(resource !== undefined && { resource }),
    ...more,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/** Returns scopes with the reserved ones added, except those that the provider says it does not support. */
export function scopesToAsk({ server }: Provider, scopes: readonly string[]): string[] {
  const supported = Array.isArray(server.scopes_supported) ? server.scopes_supported : undefined;
  // Google refuses offline_access, and says so in its metadata.
  const reserved = RESERVED_SCOPES.filter((scope) => scope === "openid" || !supported || supported.includes(scope));
  return [...new Set([...scopes, ...reserved])];
}

/** OpenID Connect Core, 11: `offline_access` is ignored without `prompt=consent`. Entra does not ignore it. */
function defaultPrompt({ server, authority }: Provider, scopes: readonly string[]): string | undefined {
  const { prompt_values_supported: supported } = server;
  const isSupported = !Array.isArray(supported) || supported.includes("consent");
  return authority.kind === "oidc" && isSupported && scopes.includes("offline_access") ? "consent" : undefined;
}
