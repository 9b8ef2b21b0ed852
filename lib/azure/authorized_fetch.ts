/**
 * `fetch` with a token.
 *
 * @module
 */
import { isLoopbackHost } from "../authority.ts";
import { ArgumentError } from "../errors.ts";
import { readClaims } from "../request.ts";
import type { GetTokenOptions, TokenCredential } from "./credential.ts";

/** What `fetch` does, with a token. */
export type AuthorizedFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Which requests get a token, and which one. */
export interface AuthorizedFetchOptions {
  /** What the token is for, such as `https://graph.microsoft.com/.default`. */
  readonly scopes: string | readonly string[];
  /** Who gets it, such as `https://graph.microsoft.com`: `https:`, or loopback. Nobody else ever does. */
  readonly origins: readonly string[];
  /** Sends requests. @default globalThis.fetch */
  readonly fetch?: AuthorizedFetch | undefined;
}

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** As many as `fetch` follows by itself (Fetch, 4.4). */
const MAX_REDIRECTS = 20;
/** What a `Request` can say of how it is sent. */
const SETTINGS = ["cache", "credentials", "integrity", "keepalive", "mode", "referrer", "referrerPolicy"] as const;
/** What is for the origin that it was given for, and goes to no other. */
const PRIVATE_HEADERS: readonly string[] = ["authorization", "cookie", "proxy-authorization"];
/** What tells of a body that is left out. */
const BODY_HEADERS: readonly string[] = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-type",
];

/**
 * A `fetch` that sends a token to the origins that are named, renews it, and answers a claims challenge (continuous access
 * evaluation, a step-up) by one more request with a token for it. Redirects are followed, with a token as long as they stay
 * among those origins: what went to another one gets none any more, wherever that sends it. What begins at another origin,
 * and what has an `Authorization` of its own, is sent as it is, and gets no token on its way either.
 *
 * A request whose body is a stream is sent once: the answer to a challenge of it is the challenge.
 *
 * @param credential Where tokens come from.
 * @param options Which requests get a token, and which one.
 * @returns The function.
 * @throws {TypeError} when `origins` names none, or what is no origin of `https:` or loopback.
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
  const scopes = typeof options.scopes === "string" ? [options.scopes] : [...options.scopes];
  const origins = new Set(options.origins.map(checkOrigin));
  if (origins.size === 0) throw new ArgumentError("Cannot send a token: origins has to name at least one origin");
  const send: AuthorizedFetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));

  /** Sends one request to one address; a challenge is answered once for the whole call. */
  async function sendOnce({ url, init, canRepeat }: Step, call: Call): Promise<Response> {
    const headers = new Headers(init.headers);
    // Another server chooses what is asked for when it redirects: that must not be done in this caller's name.
    call.getsToken &&= origins.has(url.origin);
    const attempt = async (more: GetTokenOptions): Promise<Response> => {
      const { signal: abortSignal } = init;
      const token = await credential.getToken(scopes, {
        enableCae: true,
        ...(abortSignal && { abortSignal }),
        ...more,
      });
      if (token) headers.set("authorization", `${token.tokenType ?? "Bearer"} ${token.token}`);
      return await send(url.href, { ...init, headers });
    };
    if (!call.getsToken) return await send(url.href, init);
    const response = await attempt({});
    const claims = canRepeat && !call.isAnswered ? challengeOf(response) : undefined;
    if (claims === undefined) return response;
    call.isAnswered = true;
    await response.body?.cancel();
    return await attempt({ claims });
  }

  return async (input, init = {}) => {
    const mode = init.redirect ?? (input instanceof Request ? input.redirect : "follow");
    let step = firstStep(input, init);
    const call = { isAnswered: false, getsToken: !step.init.headers.has("authorization") };
    for (let redirects = 0;; redirects++) {
      const response = await sendOnce(step, call), location = response.headers.get("location");
      if (mode === "manual" || location === null || !REDIRECTS.includes(response.status)) return response;
      await response.body?.cancel();
      if (mode === "error") throw new TypeError("The server redirects, and the request does not want that");
      if (redirects === MAX_REDIRECTS) throw new TypeError(`The server redirects more than ${MAX_REDIRECTS} times`);
      step = nextStep(step, response.status, location);
    }
  };
}

interface Call {
  /** Whether a challenge was answered already. */
  isAnswered: boolean;
  /** Whether a token may be added: the caller brought none, and no other origin was asked. */
  getsToken: boolean;
}

/** One address of a call, and what is sent there. */
interface Step {
  readonly url: URL;
  readonly init: RequestInit & { readonly headers: Headers };
  /** Whether the body can be sent again. */
  readonly canRepeat: boolean;
}

/** The runtime must not follow redirects: it would take the token, and what is private, where it likes. */
function firstStep(input: string | URL | Request, init: RequestInit): Step {
  const request = input instanceof Request ? input : undefined;
  const { method = request?.method ?? "GET", body = request?.body, signal = request?.signal } = init;
  // A runtime's own streams, and what Node takes beside: all that can be read once.
  const isStream = typeof body === "object" && body !== null && Symbol.asyncIterator in body;
  return {
    url: new URL(request?.url ?? String(input)),
    canRepeat: !isStream,
    init: {
      ...(request && settingsOf(request)),
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

/** What a request says beside address, method, headers and body, as far as the runtime knows of it. */
function settingsOf(request: Request): RequestInit {
  const set = SETTINGS.map((name) => [name, request[name]]).filter(([, value]) =>
    ![undefined, "", false].includes(value)
  );
  return Object.fromEntries(set);
}

/** What a browser does with a redirect (Fetch, 4.4). */
function nextStep({ url, init, canRepeat }: Step, status: number, location: string): Step {
  const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
  if (!next || !/^https?:$/.test(next.protocol)) throw new TypeError("The server redirects to what is no address");
  const { body, ...bare } = init, method = init.method?.toUpperCase() ?? "GET", headers = new Headers(init.headers);
  const becomesGet = status === 303 ? !["GET", "HEAD"].includes(method) : status < 303 && method === "POST";
  if (becomesGet) { for (const name of BODY_HEADERS) headers.delete(name); }
  else if (body && !canRepeat) throw new TypeError("The server redirects a request whose body can be sent once");
  if (next.origin !== url.origin) { for (const name of PRIVATE_HEADERS) headers.delete(name); }
  return {
    url: next,
    canRepeat: becomesGet || canRepeat,
    init: { ...bare, headers, method: becomesGet ? "GET" : method, ...(body && !becomesGet && { body }) },
  };
}

/** The claims of a challenge, as JSON text. A challenge that cannot be read is the caller's to look at. */
function challengeOf({ status, headers }: Response): string | undefined {
  const header = headers.get("www-authenticate");
  if (!header || ![401, 403].includes(status)) return undefined;
  try {
    return readClaims(header);
  } catch {
    return undefined; // it has no claims
  }
}

function checkOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = url?.protocol === "https:" || url?.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url && isSafe && !url.hostname.includes("*") && text.replace(/\/$/, "").toLowerCase() === url.origin) {
    return url.origin;
  }
  throw new ArgumentError(
    `Cannot send a token to ${JSON.stringify(text)}: origins takes such as https://graph.microsoft.com, without a path`,
  );
}
