/**
 * Endpoints of an authority, as it publishes them (OpenID Connect Discovery; RFC 8414).
 *
 * Who controls the document controls the provider: the bounds here are for what it can do to others. It may name no other
 * issuer than the authority's own, so that its id tokens pass for nobody else's, and no endpoint without TLS. It may not name
 * another's sign-in page or device codes together with a token endpoint of its own. That does not prevent a mix-up (RFC 9700,
 * 4.4), since a sign-in page can redirect to another's: what prevents it is a redirect URI for each authority
 * (`redirect_uris.ts`), and for device codes the check of where people are sent (`device_code.ts`).
 *
 * @module
 */
import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from "@panva/oauth4webapi";
import { type Authority, isLoopbackHost } from "../authority.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { type HttpOptions, retryAfterMs } from "./bounded_fetch.ts";
import { isIssuerOf } from "./issuer.ts";
import { readJson, text } from "../json_values.ts";
import { refusalOf } from "./oauth_error.ts";
import { sendOptions, shielded } from "./protocol.ts";

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
export async function discoverServer(authority: Authority, http: HttpOptions): Promise<AuthorizationServer> {
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
  const issuer = text(readJson(body)?.issuer);
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
