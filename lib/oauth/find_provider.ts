/**
 * An authority's endpoints. Those of Microsoft Entra ID are known; other authorities are asked for theirs.
 *
 * @module
 */
import { type Authority, environmentAliases } from "../authority.ts";
import { untilAborted } from "../until_aborted.ts";
import { waitByTimer } from "./bounded_fetch.ts";
import { type HttpOptions, type Provider, TENANT_PLACE } from "./provider.ts";

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
  const { discoverServer } = await import("./discovery.ts");
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
