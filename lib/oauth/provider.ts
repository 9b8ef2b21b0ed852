/**
 * Who signs people in.
 *
 * @module
 */
import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from "@panva/oauth4webapi";
import { untilAborted } from "../async.ts";
import {
  type Authority,
  environmentAliases,
  isLoopbackHost,
  isMicrosoftAuthority,
  loopbackRedirectUri,
} from "../authority.ts";
import { readJson, readJwt, readText } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { checkSignIn, RESERVED_SCOPES, type SignInOptions } from "../request.ts";
import { refusalOf } from "./errors.ts";
import { type HttpOptions, retryAfterMs, sendOptions, shielded, waitByTimer } from "./fetch.ts";

export type { Fetch, HttpOptions } from "./fetch.ts";

/** An authority and what is known of it. */
export interface Provider {
  /** The authority. */
  readonly authority: Authority;
  /** Its metadata (RFC 8414). The issuer may be a template with `{tenantid}` in it. */
  readonly server: AuthorizationServer;
}

/** Where Microsoft's servers put the id of the tenant that a person turned out to be of. */
const TENANT_PLACE = "{tenantid}";

/** Returns true if an authority is Microsoft's, which has words of its own beside the standards'. */
export function isMicrosoft({ authority }: Pick<Provider, "authority">): boolean {
  return isMicrosoftAuthority(authority);
}

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
  const tenant = readText(readJwt(idToken)?.tid) ?? "";
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

/** Asymmetric ones: with `none` anybody could have issued the id token, and a public client has no secret to check others with. */
const SIGNING = /^(RS|PS|ES)(256|384|512)$|^Ed(DSA|25519)$/;

/**
 * Asks an authority for its endpoints.
 *
 * @param authority The authority.
 * @param http How it is reached.
 * @throws {LatchkeyError} `configuration` when there is no such authority; `untrusted_authority` when it claims to be
 * another, or has endpoints where none may be; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
async function discoverServer(authority: Authority, http: HttpOptions): Promise<AuthorizationServer> {
  const { correlationId } = http, base = new URL(documentBase(authority));
  const options = sendOptions(authority.url, http, { retry: true });
  let response = await shielded(() => discoveryRequest(base, options), http);
  if (response.status === 404 && authority.kind === "oidc") {
    response = await shielded(() => discoveryRequest(base, { ...options, algorithm: "oauth2" }), http);
  }
  const { status, headers } = response, body = await response.text();
  if (status !== 200) {
    throw notFound({ status, body }, authority, http, retryAfterMs(response, (http.now ?? Date.now)()));
  }
  const issuer = readText(readJson(body)?.issuer);
  if (issuer !== undefined && !isIssuerOf(authority, issuer)) {
    throw untrusted(`${authority.url} says that it is another issuer`, correlationId);
  }
  const expected = new URL(issuer ?? authority.url);
  const server = await shielded(() => processDiscoveryResponse(expected, new Response(body, { headers })), http);
  checkEndpoints(server, authority, correlationId);
  return {
    ...server,
    id_token_signing_alg_values_supported: algorithmsOf(server).filter((name) => SIGNING.test(name)),
  };
}

/** What `.well-known/openid-configuration` is put behind. */
function documentBase({ kind, url, origin, host, tenant }: Authority): string {
  if (kind === "adfs" || kind === "oidc") return url;
  // Entra External ID needs no path: its tenant is called like its host.
  const base = kind === "ciam" && !tenant ? `${origin}/${host.split(".")[0]}.onmicrosoft.com` : url;
  return base.endsWith("/v2.0") ? base : `${base}/v2.0`;
}

/**
 * Microsoft's servers have all endpoints at the authority's host. Elsewhere they may be at others (Google's are), but the
 * sign-in page and the device codes are at the issuer's host, or at the one that takes the code.
 */
function checkEndpoints(server: AuthorizationServer, authority: Authority, correlationId: string | undefined): void {
  const { authorization_endpoint, token_endpoint, device_authorization_endpoint } = server;
  if (authorization_endpoint === undefined || token_endpoint === undefined) {
    throw new LatchkeyError("invalid_response", `${authority.url} does not say where its endpoints are`, {
      correlationId,
    });
  }
  const plain = authority.url.startsWith("http:"); // on loopback alone
  const hosts = [authorization_endpoint, token_endpoint, device_authorization_endpoint ?? token_endpoint].map(
    (each) => {
      const url = typeof each === "string" && URL.canParse(each) ? new URL(each) : undefined;
      const isLoopback = url && isLoopbackHost(url.hostname);
      if (url?.protocol === "https:" || plain && isLoopback && url.protocol === "http:") return url.host;
      throw untrusted(`${authority.url} has an endpoint that does not begin with https://`, correlationId);
    },
  );
  const [, token] = hosts, own = authority.kind === "oidc" ? [authority.host, token] : [authority.host];
  const isOwn = hosts.every((host) => own.includes(host));
  if (!isOwn) throw untrusted(`${authority.url} has endpoints at another host`, correlationId);
}

function algorithmsOf({ id_token_signing_alg_values_supported: names }: AuthorizationServer): readonly string[] {
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : ["RS256"];
}

function notFound(
  response: { readonly status: number; readonly body: string },
  authority: Authority,
  { correlationId = "" }: HttpOptions,
  retryAfter: number | undefined,
): LatchkeyError {
  const nothing = { clientId: "", redirectUri: "", scopes: [] };
  const refusal = refusalOf(response, { flow: "browser", ...nothing, correlationId }, retryAfter);
  if (refusal.code === "temporarily_unavailable") return refusal;
  return failure("configuration", `${authority.url} is no authority (status ${response.status})`, correlationId);
}

function untrusted(why: string, correlationId: string | undefined): LatchkeyError {
  return failure("untrusted_authority", why, correlationId);
}

function failure(code: LatchkeyErrorCode, message: string, correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError(code, message, { correlationId, hint: "Check --authority (authority)" });
}

/** Hosts of Microsoft's whose endpoints are asked for: nobody wrote down who issues their tokens. */
const ASKED_HOSTS: readonly string[] = ["login-us.microsoftonline.com"];
const KEPT_MS = 24 * 60 * 60_000;
const TIMEOUT_MS = 30_000;

/** What was discovered through one way of reaching servers, by authority. */
interface Discovered {
  readonly provider: Promise<Provider>;
  /** Whether it is there, and not under way. */
  isFound: boolean;
  until: number;
}

// By the `fetch`, so that who brings one of their own shares with nobody.
const discoveredBy = new WeakMap<object, Map<string, Discovered>>();

/**
 * Finds an authority's endpoints. Those of the known Entra hosts cost no request; others are discovered (OpenID Connect
 * Discovery, RFC 8414), kept for a day, and asked for once by all who want them at the same time.
 *
 * @param authority The authority.
 * @param http How it is reached.
 * @throws {LatchkeyError} `configuration` when there is no such authority; `untrusted_authority` when it claims to be
 * another; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
export async function findProvider(authority: Authority, http: HttpOptions): Promise<Provider> {
  if (isKnown(authority)) return knownProvider(authority);
  const { fetch = globalThis.fetch, now = Date.now, timeoutMs = TIMEOUT_MS, signal } = http, key = authority.url;
  signal?.throwIfAborted();
  const discovered = discoveredBy.get(fetch) ?? new Map<string, Discovered>();
  discoveredBy.set(fetch, discovered);
  const kept = discovered.get(key);
  if (kept && now() < kept.until) {
    if (kept.isFound) return await kept.provider;
    // A worker's request that is cancelled takes its promises along unsettled: who waits for those asks by itself at last.
    const joined = await withPatience(kept.provider, timeoutMs / 10, signal);
    if (joined) return joined;
  }
  // Without the signal: whoever else waits is not to lose it when the first caller goes. The request's time limit ends it.
  const provider = discover(authority, { ...http, signal: undefined });
  const entry: Discovered = { provider, isFound: false, until: now() + timeoutMs };
  discovered.set(key, entry);
  const keep = () => Object.assign(entry, { isFound: true, until: now() + KEPT_MS });
  const drop = () => discovered.get(key) === entry && discovered.delete(key);
  provider.then(keep, drop);
  return await untilAborted(provider, signal);
}

/** Whether the endpoints of an authority cost no request. */
function isKnown({ kind, host }: Authority): boolean {
  return kind === "entra" && !ASKED_HOSTS.includes(host);
}

function knownProvider(authority: Authority): Provider {
  const base = `${authority.origin}/${authority.tenant}`;
  return {
    authority,
    server: {
      issuer: `https://${environmentAliases(authority.host)[0]}/${TENANT_PLACE}/v2.0`,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
      response_modes_supported: ["query", "fragment", "form_post"],
      id_token_signing_alg_values_supported: ["RS256"],
    },
  };
}

async function discover(authority: Authority, http: HttpOptions): Promise<Provider> {
  return { authority, server: await discoverServer(authority, http) };
}

/** What a promise gives; `undefined` when that takes too long. */
async function withPatience<T>(
  promise: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  const over = new AbortController();
  const limit = waitByTimer(milliseconds, signal ? AbortSignal.any([signal, over.signal]) : over.signal);
  try {
    return await Promise.race([promise, limit.then(() => undefined)]);
  } finally {
    over.abort();
  }
}

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
