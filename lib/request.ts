/**
 * What a token is asked for with, and the checks of it that need no I/O.
 *
 * @module
 */
import { type AccountInfo, accountKey } from "./account.ts";
import { type Authority, authorityOfAccount, authorityOfTenant } from "./authority.ts";
import { isObject, readBase64Json, readJson } from "./encoding.ts";
import { ArgumentError } from "./errors.ts";

/** What every request can carry. */
export interface RequestOptions {
  /** UUID under which the request can be found in the logs of the broker and the server. @default a new one */
  readonly correlationId?: string | undefined;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Which accounts `PublicClientApplication.getAccounts` lists. */
export interface AccountFilter extends RequestOptions {
  /** Only those of one user name, compared without case. @default all */
  readonly username?: string | undefined;
  /**
   * Also those of the broker's that have signed out of this app: `removeAccount` with `fromBroker` takes them.
   *
   * @default false
   */
  readonly includeSignedOut?: boolean | undefined;
}

/** What is asked for. */
export interface TokenRequest extends RequestOptions {
  /** Such as `["User.Read"]` or `["https://graph.microsoft.com/.default"]`. */
  readonly scopes: readonly string[];
  /** A claims challenge to answer, as JSON text. */
  readonly claims?: string | undefined;
  /** What can be handled of the token, such as `cp1`. Those of others are not used. @default the application's */
  readonly clientCapabilities?: readonly string[] | undefined;
  /** Binds the token to one HTTP request. @default a bearer token */
  readonly authenticationScheme?: PopScheme | undefined;
  /** Tenant to ask instead of the authority's. */
  readonly tenantId?: string | undefined;
}

/** Request of `PublicClientApplication.acquireTokenSilent`. */
export interface SilentRequest extends TokenRequest {
  /** Whose token. */
  readonly account: AccountInfo;
  /**
   * Ask for a new token although a good one is held. A broker renews the token that it is shown: one that this object does not
   * hold is asked for first, so that the first time takes two calls.
   *
   * @default false
   */
  readonly forceRefresh?: boolean | undefined;
}

/** What a sign-in with a window can carry. */
export interface SignInOptions {
  /**
   * The window that the sign-in window belongs to. Needed where a broker is enabled.
   *
   * @default none; with `acquireToken`, that of the console
   */
  readonly parentWindowHandle?: WindowHandle | undefined;
  /** What the person is asked for even so, or that nobody is to be asked (OpenID Connect Core, 3.1.2.1). */
  readonly prompt?: Prompt | undefined;
  /** The account's domain, such as `contoso.com`: saves the person a step. */
  readonly domainHint?: string | undefined;
  /** How many seconds ago the person may have typed a password at most (OpenID Connect Core, 3.1.2.1). */
  readonly maxAge?: number | undefined;
  /** More to consent to in the same step. Brokers do not take it. */
  readonly extraScopesToConsent?: readonly string[] | undefined;
  /** More parameters of the authorization request. They override none of the protocol's own. */
  readonly extraQueryParameters?: Readonly<Record<string, string>> | undefined;
  /** Called just before a window opens; once for equal calls of `acquireToken` under way, which share the window. */
  readonly onBeforeLaunchingUi?: ((event: { readonly ui: "broker" | "browser" }) => void) | undefined;
  /** Port of the browser's way back, where one has to be free for it. @default one that the system chooses */
  readonly port?: number | undefined;
}

/** What the person is asked for. */
export type Prompt = "none" | "login" | "consent" | "create" | "select_account";

/** Request of `PublicClientApplication.acquireTokenInteractive`. */
export interface InteractiveRequest extends TokenRequest, SignInOptions {
  /** User name of the person who is expected; another may sign in even so. */
  readonly loginHint?: string | undefined;
  /** User name of the one who has to sign in: of another nothing is kept. @default anybody may */
  readonly username?: string | undefined;
}

/** Request of `PublicClientApplication.acquireToken`. */
export interface AcquireTokenRequest extends TokenRequest, SignInOptions {
  /** Whose token. @default the account that is signed in to the device */
  readonly account?: AccountInfo | undefined;
  /** Whose token, by user name. */
  readonly username?: string | undefined;
  /**
   * Ask for a new token although a good one is held. A broker renews the token that it is shown: one that this object does not
   * hold is asked for first, so that the first time takes two calls.
   *
   * @default false
   */
  readonly forceRefresh?: boolean | undefined;
  /**
   * Whether a window may be shown. `if-needed`: when there is no token without one. `never`: the call fails then. `always`:
   * at once, whatever could be had without.
   *
   * @default "if-needed"
   */
  readonly interactive?: "if-needed" | "never" | "always" | undefined;
}

/** Request of `PublicClientApplication.acquireTokenByDeviceCode`. */
export interface DeviceCodeSignIn extends TokenRequest {
  /** User name of the one who has to sign in: a code is anybody's who is told it. @default anybody may */
  readonly username?: string | undefined;
  /** Tells the person what to type where. */
  readonly onUserCode: (code: UserCode) => void | Promise<void>;
}

/** What the person is told for a sign-in on another device. */
export interface UserCode {
  /** What the person types. */
  readonly userCode: string;
  /** Where. */
  readonly verificationUri: string;
  /** The same with the code in it, for a link or a picture to scan. */
  readonly verificationUriComplete?: string;
  /** Until when. */
  readonly expiresOn: Date;
  /** A sentence that says all of it. */
  readonly message: string;
}

/** Request of `PublicClientApplication.initiateAuthCodeFlow`. */
export interface AuthCodeFlowRequest
  extends
    Omit<TokenRequest, "authenticationScheme">,
    Pick<SignInOptions, "prompt" | "domainHint" | "maxAge" | "extraScopesToConsent" | "extraQueryParameters"> {
  /**
   * The app's address that the answer goes to, one of those in its registration. At an authority that is not Microsoft's, and does not
   * name itself in its answers (RFC 9207), it has to end in `redirectPath(authority)`.
   */
  readonly redirectUri: string;
  /** User name of the person who is expected. */
  readonly loginHint?: string | undefined;
  /**
   * How the answer comes: as a form that the browser posts, which cookies that are `SameSite=Lax` do not come with, or in the
   * query.
   *
   * @default "form_post" where the provider offers it, else "query"
   */
  readonly responseMode?: "form_post" | "query" | undefined;
}

/** Request of `PublicClientApplication.acquireSsoCookies`. */
export interface SsoCookieRequest extends RequestOptions {
  /** Who is signed in. */
  readonly account: AccountInfo;
  /** Address of the sign-in page, such as `https://login.microsoftonline.com/`; with its `sso_nonce`, if it has one. */
  readonly url: string;
}

/** Request of `PublicClientApplication.signHttpRequest`. */
export interface SignedHttpRequest extends RequestOptions, Omit<PopScheme, "type"> {
  /** Whose token. */
  readonly account: AccountInfo;
}

/** One HTTP request that a token is to be bound to (Microsoft's Signed HTTP Request). */
export interface PopScheme {
  /** The only scheme there is beside bearer tokens. */
  readonly type: "pop";
  /** Such as `GET`. */
  readonly method: string;
  /** The address that is called; host and path are signed. */
  readonly url: string;
  /** What the resource sent to be signed. @default none */
  readonly nonce?: string | undefined;
}

/** Scopes of OpenID Connect that are asked for in every sign-in and never name a resource. */
export const RESERVED_SCOPES: readonly string[] = ["openid", "profile", "offline_access"];

const PROMPTS: readonly Prompt[] = ["none", "login", "consent", "create", "select_account"];
/** What the protocol itself says in an authorization request. */
const OWN_PARAMETERS = /^(client_id|redirect_uri|response_.*|state|nonce|scope|code_challenge.*|request(_uri)?)$/i;

/** Fields of requests that are texts, where they are there. */
const TEXTS = ["username", "loginHint", "domainHint", "tenantId", "claims"];

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Checks that a request is one, and that its texts are texts.
 *
 * @param request As the caller made it.
 * @throws {TypeError} when it is none, or one of those is none.
 */
export function checkRequest(request: object): void {
  if (typeof request !== "object" || request === null) {
    throw new ArgumentError('the request is missing: an object such as { scopes: ["User.Read"] }');
  }
  const fields = request as Readonly<Record<string, unknown>>;
  for (const name of TEXTS) {
    if (fields[name] !== undefined && typeof fields[name] !== "string") {
      throw new ArgumentError(`${name} has to be a string`);
    }
  }
  checkCapabilities(fields.clientCapabilities);
}

/**
 * Checks what an app says that it can handle.
 *
 * @throws {TypeError} when it is no list of strings.
 */
export function checkCapabilities(capabilities: unknown): void {
  if (capabilities === undefined) return;
  if (Array.isArray(capabilities) && capabilities.every((one) => typeof one === "string" && one !== "")) return;
  throw new ArgumentError('clientCapabilities has to be a list of strings, such as ["cp1"]');
}

/**
 * Checks what every request can carry.
 *
 * @returns The request's UUID: the caller's, or a new one.
 * @throws {TypeError} when the request is none, or its correlation id is no UUID.
 */
export function correlationIdOf(request: RequestOptions): string {
  checkRequest(request);
  const { correlationId = crypto.randomUUID() } = request;
  if (typeof correlationId === "string" && UUID.test(correlationId)) return correlationId;
  throw new ArgumentError("correlationId has to be a UUID");
}

/**
 * Checks scopes as a caller gave them.
 *
 * @param scopes Such as `["User.Read"]` or `["https://graph.microsoft.com/.default"]`.
 * @returns The scopes, each once.
 * @throws {TypeError} when there is none that names a resource, or one is not a scope token (RFC 6749, 3.3).
 */
export function checkScopes(scopes: readonly string[]): string[] {
  if (!Array.isArray(scopes) || scopes.length === 0) throw mistake("scopes has to name at least one scope");
  for (const scope of scopes) {
    if (typeof scope !== "string" || !/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(scope)) {
      throw mistake(`${JSON.stringify(scope)} is not a scope`);
    }
  }
  if (scopes.every((scope) => RESERVED_SCOPES.includes(scope))) {
    throw mistake(`scopes has to name more than ${scopes.join(", ")}, as User.Read`);
  }
  return [...new Set(scopes)];
}

/**
 * Checks what a sign-in with a window carries.
 *
 * @throws {TypeError} for a prompt that is none or cannot be meant, or parameters that would override the protocol's own.
 * @throws {RangeError} for a `maxAge` that is no whole number, or below 0, or a port that is none.
 */
export function checkSignIn(
  { prompt, maxAge, extraQueryParameters = {}, interactive, port = 0 }:
    & SignInOptions
    & Pick<AcquireTokenRequest, "interactive">,
): void {
  if (prompt !== undefined && !PROMPTS.includes(prompt)) throw mistake(`prompt has to be one of ${PROMPTS.join(", ")}`);
  if (prompt === "none" && interactive === "always") throw mistake('the prompt "none" forbids interactive: "always"');
  if (maxAge !== undefined && !(Number.isSafeInteger(maxAge) && maxAge >= 0)) {
    throw new RangeError("Cannot acquire a token: maxAge has to be a whole number of seconds, 0 or more");
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError("Cannot acquire a token: port has to be 0 to 65535");
  }
  for (const [name, value] of Object.entries(extraQueryParameters)) {
    if (OWN_PARAMETERS.test(name)) throw mistake(`extraQueryParameters cannot have ${name}`);
    if (typeof value !== "string") throw mistake(`extraQueryParameters.${name} has to be a string`);
  }
}

/**
 * Checks the request that a token is to be bound to.
 *
 * @throws {TypeError} when the method or address is none.
 */
export function checkPop(scheme: PopScheme | undefined): void {
  if (scheme === undefined) return;
  const { type, method, url, nonce } = scheme;
  if (type !== "pop") throw mistake('authenticationScheme.type has to be "pop"');
  // RFC 9110, 5.6.2: what a method can be.
  if (typeof method !== "string" || !/^[\w!#$%&'*+.^`|~-]+$/.test(method)) {
    throw mistake("the method is not one of HTTP's, such as GET");
  }
  if (typeof url !== "string" || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw mistake("the url is not an address such as https://graph.microsoft.com/v1.0/me");
  }
  if (nonce !== undefined && typeof nonce !== "string") throw mistake("the nonce has to be a string");
}

/**
 * Merges what the app can handle with a challenge that a resource or the server made.
 *
 * @param capabilities Client capabilities, such as `cp1` for continuous access evaluation.
 * @param challenge A claims challenge as JSON text (OpenID Connect Core, 5.5).
 * @returns The claims request as JSON text; `undefined` when there is nothing to ask for.
 * @throws {TypeError} when the challenge is not a JSON object.
 */
export function mergeClaims(capabilities: readonly string[], challenge: string | undefined): string | undefined {
  if (capabilities.length === 0) return challenge && JSON.stringify(parseClaims(challenge));
  const claims = challenge ? parseClaims(challenge) : {};
  const accessToken = typeof claims.access_token === "object" ? claims.access_token : {};
  return JSON.stringify({ ...claims, access_token: { ...accessToken, xms_cc: { values: capabilities } } });
}

function parseClaims(challenge: string): Record<string, unknown> {
  let claims: unknown;
  try {
    claims = JSON.parse(challenge);
  } catch {
    // no cause: the parser's message quotes the claims
  }
  if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return claims as Record<string, unknown>;
  throw mistake("claims has to be a JSON object");
}

function mistake(what: string): ArgumentError {
  return new ArgumentError(`Cannot acquire a token: ${what}`);
}

/**
 * Stands for the console's own window: what a program without windows passes.
 *
 * @example A console program signs a person in
 * ```ts
 * import { CONSOLE_WINDOW_HANDLE, type PublicClientApplication } from "@latchkey/latchkey";
 *
 * async function signIn(app: PublicClientApplication): Promise<string> {
 *   const { account } = await app.acquireTokenInteractive({
 *     scopes: ["User.Read"],
 *     parentWindowHandle: CONSOLE_WINDOW_HANDLE,
 *   });
 *   return account.username;
 * }
 * ```
 */
export const CONSOLE_WINDOW_HANDLE: unique symbol = Symbol.for("latchkey.consoleWindow");

/**
 * A window as its system names it: an X11 window's id or a HWND as number or bigint, either one as the bytes that Electron's
 * `getNativeWindowHandle` gives, or a name that Wayland or the desktop portal gave out (`wayland:…`, `x11:…`).
 */
export type WindowHandle = number | bigint | Uint8Array | string | typeof CONSOLE_WINDOW_HANDLE;

/** What a header is made of (RFC 9110, 11.2): quoted strings, which may be cut off, words, and what joins them. */
const PART = /"((?:[^"\\]|\\.)*)(?:"|\\?$)|[^\s",=]+|[,=]/gs;

/**
 * The claims request in a challenge.
 *
 * @param challenge A whole `WWW-Authenticate` header, whose `claims` are JSON or, as a rule, base64 of it; or either by itself.
 * @returns JSON text; `undefined` when there is no challenge.
 * @throws {TypeError} when it has no claims in it. The message does not repeat it.
 */
export function readClaims(challenge: string | undefined): string | undefined {
  if (challenge === undefined || challenge.trim() === "") return undefined;
  const claims = challenge.trimStart().startsWith("{")
    ? readJson(challenge)
    : claimsOfHeader(challenge) ?? readBase64Json(challenge.trim());
  if (claims) return JSON.stringify(claims);
  throw new ArgumentError(
    "Cannot acquire a token: claims has to be a JSON object, or base64 of one, or a WWW-Authenticate header with claims in it",
  );
}

/** A header may have several challenges; the first whose claims can be read counts. */
function claimsOfHeader(header: string): object | undefined {
  const parts = [...header.matchAll(PART)];
  for (const [index, [name]] of parts.entries()) {
    if (name.toLowerCase() !== "claims" || parts[index + 1]?.[0] !== "=") continue;
    const [plain = "", quoted] = parts[index + 2] ?? [], value = quoted?.replaceAll(/\\(.)/gs, "$1") ?? plain;
    const claims = readJson(value) ?? readBase64Json(value);
    if (claims) return claims;
  }
  return undefined;
}

/**
 * The client capabilities that a claims request tells of, such as `cp1`: tokens for it are for who has them.
 *
 * @param claims A claims request as JSON text.
 * @returns The capabilities, in one order; empty when there are none.
 */
export function capabilitiesOf(claims: string | undefined): string {
  const accessToken = claims === undefined ? undefined : readJson(claims)?.access_token;
  const capabilities = isObject(accessToken) && isObject(accessToken.xms_cc) ? accessToken.xms_cc.values : undefined;
  return Array.isArray(capabilities) ? capabilities.map((each) => String(each).toLowerCase()).toSorted().join(" ") : "";
}

/** A request, checked and with its defaults. */
export interface TokenQuery extends SignInOptions {
  /** What is asked for, each once. */
  readonly scopes: readonly string[];
  /** The app's authority, or that of the tenant that was asked for. */
  readonly authority: Authority;
  /** Whose token. */
  readonly account?: AccountInfo | undefined;
  /** Whose token, by user name, when no account was chosen. */
  readonly username?: string | undefined;
  /** User name of the one who has to sign in; `username` alone suggests one. */
  readonly requiredUsername?: string | undefined;
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Whether a token that is held will not do. */
  readonly skipCache: boolean;
  /** Whether what the broker holds will not do either. */
  readonly renew?: boolean | undefined;
  /** The HTTP request that the token is to be bound to. */
  readonly pop?: PopScheme | undefined;
  /** UUID under which the request can be found in the logs of the broker and the server. */
  readonly correlationId: string;
  /** The same where the caller chose it: then the request is like no other. */
  readonly chosenCorrelationId?: string | undefined;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks a request and fills its defaults in.
 *
 * @param request As the caller made it.
 * @param app What the app says of all its requests.
 * @throws {TypeError} for what cannot be meant.
 * @throws {RangeError} for a number out of its range.
 */
export function tokenQuery(
  request: AcquireTokenRequest,
  app: { readonly authority: Authority; readonly clientCapabilities?: readonly string[] | undefined },
): TokenQuery {
  const correlationId = correlationIdOf(request);
  const { account, authenticationScheme: pop, tenantId, claims, forceRefresh = false, maxAge } = request;
  const { clientCapabilities = app.clientCapabilities ?? [] } = request;
  if (account !== undefined) checkAccount(account);
  checkSignIn(request);
  checkPop(pop);
  return {
    ...request,
    correlationId,
    chosenCorrelationId: request.correlationId,
    scopes: checkScopes(request.scopes),
    authority: tenantId ? authorityOfTenant(app.authority, tenantId) : app.authority,
    claims: mergeClaims(clientCapabilities, readClaims(claims)),
    skipCache: forceRefresh || claims !== undefined || maxAge !== undefined || pop !== undefined,
    renew: forceRefresh,
    pop,
  };
}

/**
 * Checks that an account is one.
 *
 * @throws {TypeError} when it has no home account id.
 */
export function checkAccount(account: AccountInfo | undefined): void {
  if (typeof account?.homeAccountId !== "string") {
    throw new ArgumentError("account is missing, or is not one of getAccounts");
  }
}

/** What a token is held under: whose it is, and what it is for. */
export function keyFor({ authority, scopes, username, claims }: TokenQuery, account: AccountInfo | undefined): string {
  const ofAccount = account && [accountKey(account)];
  const holder = ofAccount ?? username?.toLowerCase() ?? null;
  return JSON.stringify([
    holder,
    authorityOfAccount(authority, account).url,
    scopes.toSorted(),
    capabilitiesOf(claims),
  ]);
}

/** What tells a request from all that are not the same. */
export function sharedKey(way: string, query: TokenQuery): string {
  const { claims, skipCache: passHeld, renew, pop, maxAge, chosenCorrelationId } = query;
  const { prompt, domainHint, extraQueryParameters, extraScopesToConsent, port } = query;
  const window = [
    String(query.parentWindowHandle),
    prompt,
    domainHint,
    extraQueryParameters,
    extraScopesToConsent,
    port,
  ];
  return JSON.stringify([
    way,
    keyFor(query, query.account),
    claims,
    passHeld,
    renew,
    pop,
    maxAge,
    chosenCorrelationId,
    window,
  ]);
}
