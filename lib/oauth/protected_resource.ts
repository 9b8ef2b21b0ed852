/**
 * Protected resources, such as MCP servers, that say which tokens they need (RFC 9728).
 *
 * @module
 */
import {
  type Authority,
  environmentAliases,
  isHttpsOrLoopback,
  isPublicHost,
  isTenant,
  parseAuthority,
} from "../authority.ts";
import { challengeParameters } from "../claims.ts";
import { isGuid, readJson, readText } from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import { defaultScope, isDefaultScope, RESERVED_SCOPES, resourceOfScope, SCOPE_TOKEN } from "../scopes.ts";
import { boundedFetch, type HttpOptions } from "./bounded_fetch.ts";
import { isOrganizationScope } from "./microsoft_apps.ts";
import { isIssuerOf } from "./provider.ts";

/** The tokens that a protected resource needs. */
interface ProtectedResource {
  /** Scopes to request. */
  readonly scopes: readonly string[];
  /**
   * Those of them that the user must have agreed to for this resource: all at providers other than Microsoft, where any scope can
   * be of any service. A token for `email` alone can be good at all of them as well.
   */
  readonly proposed: readonly string[];
  /** Resource indicator to send (RFC 8707); `undefined` for Microsoft's authorities: there the scopes name the resource. */
  readonly resource: string | undefined;
  /** Tenant whose tokens it accepts, if the authority is for many tenants and the resource accepts those of one. */
  readonly tenantId: string | undefined;
}

/** Options of {@linkcode findProtectedResource}. */
interface ProtectedResourceOptions extends HttpOptions {
  /** Authority that issues the tokens. */
  readonly authority: Authority;
  /** `WWW-Authenticate` of a response of the resource. @default the resource is asked, without a token */
  readonly challenge?: string | undefined;
  /** Resource that its metadata must name, at a provider other than Microsoft. @default the URL itself */
  readonly resource?: string | undefined;
}

/** Request to a server whose challenge is not known yet: all MCP servers have this method, and it changes nothing. */
const PING: RequestInit = {
  method: "POST",
  headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
};
const WELL_KNOWN = "/.well-known/oauth-protected-resource";
/** Scopes of OpenID Connect: they name no resource. */
const IDENTITY_SCOPES: readonly string[] = [...RESERVED_SCOPES, "email"];

/**
 * Finds out which tokens a protected resource needs:
 *
 * 1. the scopes of its challenge;
 * 2. otherwise the scopes of its metadata, which is at the URL that the challenge names, or at a well-known one;
 * 3. otherwise all that it has (`/.default`); at providers other than Microsoft `email`, since a request must have a scope.
 *
 * A resource cannot get tokens for another one: its metadata must name exactly its URL (RFC 9728, 3.3). At Microsoft's
 * authorities, which take any scope, the scopes must be of that resource, or of an app of an organization (`api://…`). At other
 * providers the user must agree to the scopes, which are {@linkcode ProtectedResource.proposed}.
 *
 * @param url URL of the resource: `https:`, or `http:` on loopback.
 * @throws {TypeError} if the URL is invalid.
 * @throws {LatchkeyError} `configuration` if it does not say which tokens it needs; `untrusted_authority` if it needs those of
 * another authority, or for another resource; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
export async function findProtectedResource(
  url: string,
  { authority, challenge, resource, ...http }: ProtectedResourceOptions,
): Promise<ProtectedResource> {
  const address = readServerAddress(url);
  const { host } = address;
  const { kind } = authority;
  const parameters = challengeOf(challenge ?? await askForChallenge(address, http));
  const wanted = kind === "oidc" && resource !== undefined ? [resource] : identifiersOf(address);
  const metadata = await findMetadata(address, { named: parameters.metadata, wanted, kind }, http);
  const named = scopesIn(parameters.scope);
  if (!metadata && named.length === 0) {
    throw new LatchkeyError("configuration", `${host} does not say which scopes its tokens need`, {
      remedy: { kind: "name_scopes" },
    });
  }
  const servers = metadata?.servers ?? [];
  const server = servers.find((server) => isServerOf(authority, server));
  if (servers.length > 0 && !server) {
    throw new LatchkeyError("untrusted_authority", `${host} takes no tokens of ${authority.url}`, {
      remedy: `Use an authority that it takes tokens of, only if you trust it: ${shown(servers.join(", "))}`,
    });
  }
  const identifier = metadata?.resource ?? wanted[0]!;
  const supported = metadata?.scopes ?? [];
  if (kind === "oidc") {
    const scopes = [named, supported, ["email"]].find(({ length }) => length > 0)!;
    return { scopes, proposed: scopes, resource: identifier, tenantId: undefined };
  }
  const scopes = ownScopes(named, supported, address);
  return {
    scopes: scopes.length > 0 ? scopes : [defaultScope(identifier)],
    proposed: [],
    resource: undefined,
    tenantId: kind === "entra" && server ? onlyTenant(authority, server) : undefined,
  };
}

/** Returns the identifiers of the resource at a URL (RFC 9728, 1.2): the URL; at an origin's root, also without the slash. */
function identifiersOf({ origin, pathname, search }: URL): readonly string[] {
  return pathname === "/" && search === "" ? [origin, `${origin}/`] : [`${origin}${pathname}${search}`];
}

/** Returns the identifier of the resource at a URL. */
export function resourceIdentifier(url: string): string {
  return identifiersOf(readServerAddress(url))[0]!;
}

/** Reads the address of a server: `https:`, or `http:` on loopback. Throws a `TypeError` if it is invalid. */
export function readServerAddress(url: string): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (!address) throw new ArgumentError(`Cannot use the server ${JSON.stringify(url)}: it is not a URL`);
  if (address.username || address.password) {
    throw new ArgumentError("Cannot use the server: its address has a user name or password");
  }
  if (!isHttpsOrLoopback(address)) {
    throw new ArgumentError(`Cannot use the server ${JSON.stringify(url)}: it has to begin with https://`);
  }
  return address;
}

async function askForChallenge(address: URL, http: HttpOptions): Promise<string> {
  const { fetch = globalThis.fetch } = http;
  /** Leaves the body unread: a server that needs no token can answer with a stream that stays open. */
  const fetchHead: HttpOptions["fetch"] = async (url, init) => {
    const { status, headers, body } = await fetch(url, init);
    void body?.cancel().catch(() => {});
    return new Response(null, { status, headers });
  };
  try {
    const response = await boundedFetch({ ...http, fetch: fetchHead })(address.href, PING);
    return response.headers.get("www-authenticate") ?? "";
  } catch (error) {
    // It redirects: its metadata can still be read.
    if (error instanceof LatchkeyError && error.code === "invalid_response") return "";
    throw error;
  }
}

function challengeOf(header: string): { readonly metadata?: string; readonly scope?: string } {
  let metadata: string | undefined;
  let scope: string | undefined;
  for (const { name, value } of challengeParameters(header)) {
    if (name === "resource_metadata") metadata ??= value;
    if (name === "scope") scope ??= value;
  }
  return { ...(metadata && { metadata }), ...(scope && { scope }) };
}

interface Metadata {
  readonly resource: string;
  readonly servers: readonly string[];
  readonly scopes: readonly string[];
}

interface WantedMetadata {
  /** URL that the challenge names. */
  readonly named: string | undefined;
  /** The identifiers, one of which it must have. */
  readonly wanted: readonly string[];
  readonly kind: Authority["kind"];
}

/** Reads the metadata from the URL that the server names, otherwise from the well-known ones (RFC 9728, 3.1). */
async function findMetadata(
  address: URL,
  { named, wanted, kind }: WantedMetadata,
  http: HttpOptions,
): Promise<Metadata | undefined> {
  const send = boundedFetch(http, { retry: true });
  const path = address.pathname.replace(/\/$/, "");
  const wellKnown = [...new Set([path, ""])].map((path) => `${address.origin}${WELL_KNOWN}${path}`);
  const first = named === undefined ? undefined : checkPlace(named, address);
  let failure: unknown;
  for (const place of first === undefined ? wellKnown : [first, ...wellKnown]) {
    try {
      const response = await send(place, { headers: { accept: "application/json" } });
      if (response.status >= 500) {
        throw new LatchkeyError("temporarily_unavailable", `${new URL(place).host} answered ${response.status}`);
      }
      if (response.status === 200) {
        return readMetadata(await response.text(), place, { wanted, host: address.host, kind });
      }
    } catch (error) {
      // Another document may be the right one: a server can have several resources.
      if (!(error instanceof LatchkeyError) || place === first) throw error;
      if (!["invalid_response", "untrusted_authority"].includes(error.code)) throw error;
      failure ??= error;
    }
  }
  if (failure) throw failure;
  return undefined;
}

/** A server must not have this machine ask programs on its own loopback, or in its private network. */
function checkPlace(named: string, { host, hostname, origin }: URL): string {
  const place = URL.canParse(named) ? new URL(named) : undefined;
  const isPublic = place?.protocol === "https:" && isPublicHost(place.hostname) && isPublicHost(hostname);
  if (place && (place.origin === origin || isPublic) && !place.username && !place.password) return place.href;
  throw new LatchkeyError("invalid_response", `${host} names a URL of its metadata that is not its own, nor public`);
}

/** RFC 9728, 3.3: the resource must be identical to the URL. */
function readMetadata(
  json: string,
  place: string,
  { wanted, host, kind }: Omit<WantedMetadata, "named"> & Pick<URL, "host">,
): Metadata {
  const document = readJson(json);
  const resource = readText(document?.resource) ?? "";
  if (!document || !URL.canParse(resource) || !SCOPE_TOKEN.test(resource)) { // it becomes part of a scope
    throw new LatchkeyError("invalid_response", `${new URL(place).host} has no metadata of a protected resource`);
  }
  if (!wanted.includes(resource)) {
    throw new LatchkeyError("untrusted_authority", `${host} needs tokens for another resource: ${shown(resource)}`, {
      remedy: {
        ...advice("Use the server's own URL"),
        then: {
          kind: kind === "oidc" ? "name_resource" : "name_scopes",
          when: "Only if you trust it with tokens for that resource",
        },
      },
    });
  }
  const texts = (value: unknown) => Array.isArray(value) ? value.filter((each) => readText(each) !== undefined) : [];
  return {
    resource,
    servers: texts(document.authorization_servers),
    scopes: scopesIn(...texts(document.scopes_supported)),
  };
}

function scopesIn(...texts: readonly (string | undefined)[]): readonly string[] {
  const scopes = texts.flatMap((text) => text?.split(" ") ?? []);
  return [...new Set(scopes)].filter((scope) => SCOPE_TOKEN.test(scope) && !IDENTITY_SCOPES.includes(scope));
}

/** Returns text of the server as it is fit for a message. */
function shown(foreign: string): string {
  return escapeControlCharacters(foreign.slice(0, 200));
}

/**
 * Returns the scopes of a challenge, all of which are needed, or those of the metadata that are the server's own. Entra issues
 * a token for any scope, so a server could get tokens for Microsoft Graph, which scopes without a resource and GUIDs can mean.
 */
function ownScopes(named: readonly string[], supported: readonly string[], address: URL): readonly string[] {
  const identifiers = identifiersOf(address);
  const isOwn = (scope: string) => identifiers.includes(resourceOfScope(scope)) || isOrganizationScope(scope);
  const own = supported.filter(isOwn);
  const resources = new Set(own.map(resourceOfScope));
  // Tokens have scopes without their resource, and servers ask for them as tokens have them.
  const full = named.map((scope) =>
    /[/:]/.test(scope) || resources.size !== 1 ? scope : `${[...resources][0]}/${scope}`
  );
  const fallback = own.length > 0 ? own : supported;
  const scopes = named.length > 0 ? full : fallback;
  const foreign = scopes.find((scope) => !isOwn(scope));
  if (foreign !== undefined) throw foreignScope(address.host, foreign);
  const all = scopes.filter(isDefaultScope);
  return all.length > 0 ? all : scopes;
}

/** Returns the error of a server that asks for another service's token. */
export function foreignScope(host: string, scope: string, correlationId?: string): LatchkeyError {
  const message = `${host} asks for a token for another service: ${shown(scope)}`;
  const remedy: Remedy = { kind: "name_scopes", when: "Only if you trust it with that token" };
  return new LatchkeyError("untrusted_authority", message, { correlationId, remedy });
}

/** Returns true if an authorization server that metadata names is the authority. Metadata leaves `/v2.0` out, or has it. */
function isServerOf(authority: Authority, server: string): boolean {
  if (authority.kind !== "entra") {
    return isIssuerOf(authority, server) || server.replace(/\/$/, "") === authority.url;
  }
  const named = readAuthority(server);
  if (named?.kind !== "entra" || !isTenant(named.tenant)) return false;
  if (!environmentAliases(authority.host).includes(named.host)) return false;
  const [wanted, has] = [authority.tenant, named.tenant].map((tenant) => tenant.toLowerCase());
  return wanted === has || !isGuid(wanted!) || !isGuid(has!);
}

function readAuthority(url: string): Authority | undefined {
  try {
    return parseAuthority(url);
  } catch {
    return undefined; // another authorization server
  }
}

function onlyTenant(authority: Authority, server: string): string | undefined {
  const tenant = parseAuthority(server).tenant.toLowerCase();
  const isAny = ["common", "organizations"];
  return isAny.includes(authority.tenant.toLowerCase()) && !isAny.includes(tenant) ? tenant : undefined;
}
