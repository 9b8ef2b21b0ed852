/**
 * `fetch` with a token.
 *
 * @module
 */
import { isHttpsOrLoopback } from "../authority.ts";
import { ArgumentError } from "../errors.ts";
import { challengedFetch } from "../oauth/challenged_fetch.ts";
import { checkOptions, type OptionNames } from "../request.ts";
import { checkScopes } from "../scopes.ts";
import type { GetTokenOptions, TokenCredential } from "./credential.ts";

/** A function like `fetch` that adds a token. */
export type AuthorizedFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Options of {@linkcode authorizedFetch}. */
export interface AuthorizedFetchOptions {
  /** Scopes of the token, such as `https://graph.microsoft.com/.default`. */
  readonly scopes: string | readonly string[];
  /** Origins that get the token, such as `https://graph.microsoft.com`: `https:`, or loopback. No other origin gets it. */
  readonly origins: readonly string[];
  /** Function that sends the requests. @default globalThis.fetch */
  readonly fetch?: AuthorizedFetch | undefined;
}

const AUTHORIZED_FETCH: OptionNames<AuthorizedFetchOptions> = { scopes: true, origins: true, fetch: true };

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** Fetch, 4.4: the limit of `fetch` itself. */
const MAX_REDIRECTS = 20;
/** Properties of a `Request` that configure how it is sent. */
const SETTINGS = ["cache", "credentials", "integrity", "keepalive", "mode", "referrer", "referrerPolicy"] as const;
/** Header fields that are not sent to another origin. */
const PRIVATE_HEADERS: readonly string[] = ["authorization", "cookie", "proxy-authorization"];
/** Header fields that describe the body. */
const BODY_HEADERS: readonly string[] = ["encoding", "language", "length", "location", "type"].map((part) =>
  `content-${part}`
);

/**
 * Returns a `fetch` that sends a token to the given origins, renews it, and answers a claims challenge (continuous access
 * evaluation, a step-up) with one more request. It follows redirects, with a token as long as they stay among those origins: a
 * request that went to another one gets no token any more, wherever it is redirected next. A request to another origin, or with
 * an `Authorization` of its own, is sent unchanged and gets no token after a redirect either.
 *
 * A request whose body is a stream is sent once: if it is challenged, the challenge is returned.
 *
 * @param credential Source of the tokens.
 * @param options Scopes and origins.
 * @returns The function.
 * @throws {TypeError} if an option does not exist, `scopes` is missing or invalid, or `origins` is empty, or has an origin that is
 * neither `https:` nor loopback.
 *
 * @example Microsoft Graph
 * ```ts
 * import { authorizedFetch, LatchkeyCredential } from "@latchkey/latchkey/azure";
 *
 * const credential = new LatchkeyCredential({
 *   clientId: "11111111-2222-4333-8444-555555555555",
 *   enableBrokerOnLinux: true,
 * });
 * const graph = authorizedFetch(credential, { scopes: "User.Read", origins: ["https://graph.microsoft.com"] });
 * const response = await graph("https://graph.microsoft.com/v1.0/me");
 * console.log(await response.json());
 * credential.close();
 * ```
 */
export function authorizedFetch(credential: TokenCredential, options: AuthorizedFetchOptions): AuthorizedFetch {
  checkOptions("authorizedFetch", options, AUTHORIZED_FETCH);
  if (typeof credential?.getToken !== "function") {
    throw new ArgumentError("Cannot send a token: credential must have getToken, such as a LatchkeyCredential");
  }
  const scopes = checkScopes(typeof options?.scopes === "string" ? [options.scopes] : options?.scopes);
  if (!Array.isArray(options.origins) || options.origins.length === 0) {
    throw new ArgumentError('Cannot send a token: origins must be a list, such as ["https://graph.microsoft.com"]');
  }
  const origins = new Set(options.origins.map(checkOrigin));
  const send: AuthorizedFetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));

  async function sendOnce({ url, init, canRepeat }: Step, call: Call): Promise<Response> {
    const headers = new Headers(init.headers);
    // A server chooses the next request when it redirects: that must not be sent in the caller's name.
    call.getsToken &&= origins.has(url.origin);
    if (!call.getsToken) return await send(url.href, init);
    const acquire = async (more: GetTokenOptions) => {
      const abort = init.signal ? { abortSignal: init.signal } : {};
      return await credential.getToken(scopes, { enableCae: true, ...abort, ...more });
    };
    return await challengedFetch(await acquire({}), {
      send: async (token) => {
        if (token) headers.set("authorization", `${token.tokenType ?? "Bearer"} ${token.token}`);
        return await send(url.href, { ...init, headers });
      },
      answer: ({ claims }) => {
        if (claims === undefined || !canRepeat || call.isAnswered) return undefined;
        call.isAnswered = true;
        return acquire({ claims });
      },
    });
  }

  return async (input, init = {}) => {
    const mode = init.redirect ?? (input instanceof Request ? input.redirect : "follow");
    let step = firstStep(input, init);
    const call = { isAnswered: false, getsToken: !step.init.headers.has("authorization") };
    for (let redirects = 0;; redirects++) {
      const response = await sendOnce(step, call);
      const location = response.headers.get("location");
      if (mode === "manual" || location === null || !REDIRECTS.includes(response.status)) return response;
      await response.body?.cancel();
      if (mode === "error") throw new TypeError("The server redirects, which the request does not allow");
      if (redirects === MAX_REDIRECTS) throw new TypeError(`The server redirects more than ${MAX_REDIRECTS} times`);
      step = nextStep(step, response.status, location);
    }
  };
}

/** State of a call across its redirects. */
interface Call {
  /** True after a challenge was answered: one for each call. */
  isAnswered: boolean;
  /** True if a token may be added: the caller passed none, and no other origin was asked. */
  getsToken: boolean;
}

/** One request of a call. */
interface Step {
  readonly url: URL;
  readonly init: RequestInit & { readonly headers: Headers };
  /** True if the body can be sent again. */
  readonly canRepeat: boolean;
}

/** The runtime must not follow redirects itself: it would send the token and private headers to any origin. */
function firstStep(input: string | URL | Request, init: RequestInit): Step {
  const request = input instanceof Request ? input : undefined;
  const { method = request?.method ?? "GET", body = request?.body, signal = request?.signal } = init;
  // Streams of the runtime, and other iterables that Node accepts: they can be read once.
  const isStream = typeof body === "object" && body !== null && Symbol.asyncIterator in body;
  // Properties that the runtime does not know are left out.
  const settings = SETTINGS.map((name) => [name, request?.[name]]).filter(([, value]) =>
    ![undefined, "", false].includes(value as string)
  );
  return {
    url: new URL(request?.url ?? String(input)),
    canRepeat: !isStream,
    init: {
      ...Object.fromEntries(settings),
      ...init,
      method,
      headers: new Headers(init.headers ?? request?.headers),
      redirect: "manual",
      ...(signal && { signal }),
      ...(body && { body }),
      ...(isStream && { duplex: "half" }),
    },
  };
}

/** Returns the request that follows a redirect (Fetch, 4.4). */
function nextStep({ url, init, canRepeat }: Step, status: number, location: string): Step {
  const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
  if (!next || !/^https?:$/.test(next.protocol)) throw new TypeError("The server redirects to an invalid address");
  const { body, ...bare } = init;
  const method = init.method?.toUpperCase() ?? "GET";
  const headers = new Headers(init.headers);
  const becomesGet = status === 303 ? !["GET", "HEAD"].includes(method) : status < 303 && method === "POST";
  if (!becomesGet && body && !canRepeat) {
    throw new TypeError("The server redirects a request whose body can be sent once");
  }
  const dropped = [...becomesGet ? BODY_HEADERS : [], ...next.origin === url.origin ? [] : PRIVATE_HEADERS];
  for (const name of dropped) headers.delete(name);
  return {
    url: next,
    canRepeat: becomesGet || canRepeat,
    init: { ...bare, headers, method: becomesGet ? "GET" : method, ...(body && !becomesGet && { body }) },
  };
}

function checkOrigin(text: unknown): string {
  const url = typeof text === "string" && URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin = String(text).replace(/\/$/, "").toLowerCase() === url?.origin;
  if (url && isOrigin && isHttpsOrLoopback(url) && !url.hostname.includes("*")) return url.origin;
  throw new ArgumentError(
    `Cannot send a token to ${JSON.stringify(text)}: origins are such as https://graph.microsoft.com, without a path`,
  );
}
