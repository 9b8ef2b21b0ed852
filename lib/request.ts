/**
 * Requests: their types, and the validation that turns each into one value which the rest of the library trusts.
 *
 * @module
 */
import { type AccountInfo, accountKey, checkAccount } from "./account.ts";
import { type Authority, authorityOfAccount, authorityOfTenant, isMicrosoftAuthority } from "./authority.ts";
import { capabilitiesOf, checkCapabilities, claimsRequest } from "./claims.ts";
import { isGuid, isObject, nearestName } from "./encoding.ts";
import { ArgumentError } from "./errors.ts";
import { checkScopes } from "./scopes.ts";

/** Options of every request. */
export interface RequestOptions {
  /** UUID of the request in the logs of the broker and the server. @default a new one */
  readonly correlationId?: string | undefined;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Filter of `PublicClientApplication.getAccounts`. */
export interface AccountFilter extends RequestOptions {
  /** User name of the accounts, compared without case. @default all accounts */
  readonly username?: string | undefined;
  /**
   * Lists the broker's accounts that have signed out of this app as well: `removeAccount` with `fromBroker` takes them.
   *
   * @default false
   */
  readonly includeSignedOut?: boolean | undefined;
}

/** A request for a token. */
export interface TokenRequest extends RequestOptions {
  /** Scopes such as `["User.Read"]` or `["https://graph.microsoft.com/.default"]`. */
  readonly scopes: readonly string[];
  /** Claims challenge to answer, as JSON text. */
  readonly claims?: string | undefined;
  /** Capabilities of the caller, such as `cp1`. Cached tokens for other capabilities are not used. @default the application's */
  readonly clientCapabilities?: readonly string[] | undefined;
  /** Binds the token to one HTTP request. @default a bearer token */
  readonly authenticationScheme?: PopScheme | undefined;
  /** Tenant to ask instead of the authority's. */
  readonly tenantId?: string | undefined;
  /**
   * Address of the resource that the token is for (RFC 8707), at an OpenID provider that is not Microsoft's. Microsoft's have it
   * in their scopes.
   *
   * @default none
   */
  readonly resource?: string | undefined;
  /**
   * Id of the agent's session that the token is for, such as the value of `COPILOT_AGENT_SESSION_ID`. Microsoft Entra ID marks
   * the token with it, as for Azure CLI. Cached tokens of another session, or of none, are not used. Other providers do not get it.
   *
   * @default none
   */
  readonly agentSession?: string | undefined;
}

/** Request of `PublicClientApplication.acquireTokenSilent`. */
export interface SilentRequest extends TokenRequest {
  /** Account of the token. */
  readonly account: AccountInfo;
  /**
   * Requests a new token although a good one is cached. A broker renews only a token that it is shown. If this object has none in
   * its memory, it asks for one first, so the first refresh takes two calls.
   *
   * @default false
   */
  readonly forceRefresh?: boolean | undefined;
}

/** Options of a sign-in with a window. */
export interface SignInOptions {
  /** Parent of the sign-in window. Required if a broker is enabled. @default none; with `acquireToken`, the console's window */
  readonly parentWindowHandle?: WindowHandle | undefined;
  /** Prompt of the sign-in (OpenID Connect Core, 3.1.2.1). `none` forbids any. */
  readonly prompt?: Prompt | undefined;
  /** Domain of the account, such as `contoso.com`: saves the person a step. */
  readonly domainHint?: string | undefined;
  /** Greatest age of the person's sign-in, in seconds (OpenID Connect Core, 3.1.2.1). */
  readonly maxAge?: number | undefined;
  /** More scopes to consent to in the same step. Brokers do not support it. */
  readonly extraScopesToConsent?: readonly string[] | undefined;
  /** More parameters of the authorization request. They cannot override the protocol's own. */
  readonly extraQueryParameters?: Readonly<Record<string, string>> | undefined;
  /** Called just before a window opens; once for equal calls of `acquireToken` in flight, which share the window. */
  readonly onBeforeLaunchingUi?: ((event: { readonly ui: "broker" | "browser" }) => void) | undefined;
  /** Port of the browser's redirect URI. @default a free one */
  readonly port?: number | undefined;
}

/** Prompt of a sign-in. */
export type Prompt = "none" | "login" | "consent" | "create" | "select_account";

/**
 * A window as its system names it: an X11 window id or an HWND, as a number, a bigint or the bytes of Electron's
 * `getNativeWindowHandle`; or a name that Wayland or the desktop portal exported (`wayland:…`, `x11:…`).
 */
export type WindowHandle = number | bigint | Uint8Array | string | typeof CONSOLE_WINDOW_HANDLE;

/**
 * Stands for the console's window, for programs without windows.
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

/** Request of `PublicClientApplication.acquireTokenInteractive`. */
export interface InteractiveRequest extends TokenRequest, SignInOptions {
  /** User name that the sign-in suggests; another person may sign in. */
  readonly loginHint?: string | undefined;
  /** User name that must sign in: nothing of another user is stored. @default any user may sign in */
  readonly username?: string | undefined;
}

/** Request of `PublicClientApplication.acquireToken`. */
export interface AcquireTokenRequest extends TokenRequest, SignInOptions, Pick<SilentRequest, "forceRefresh"> {
  /** Account of the token. @default the account that is signed in to the device */
  readonly account?: AccountInfo | undefined;
  /** User name of the account, if no account is chosen. */
  readonly username?: string | undefined;
  /**
   * Permission to show a window. `if-needed`: if there is no silent token. `never`: the call fails instead. `always`: at once,
   * without a silent try.
   *
   * @default "if-needed"
   */
  readonly interactive?: "if-needed" | "never" | "always" | undefined;
}

/** Request of `PublicClientApplication.acquireTokenByDeviceCode`. */
export interface DeviceCodeSignIn extends TokenRequest {
  /** User name that must sign in: every user who is told the code can use it. @default any user may sign in */
  readonly username?: string | undefined;
  /** Shows the code to the person. */
  readonly onUserCode: (code: UserCode) => void | Promise<void>;
}

/** A code for a sign-in on another device. */
export interface UserCode {
  /** The code to type. */
  readonly userCode: string;
  /** The page to type it at. */
  readonly verificationUri: string;
  /** The page's address with the code in it, for a link or a QR code. */
  readonly verificationUriComplete?: string;
  /** Expiry of the code. */
  readonly expiresOn: Date;
  /** The instruction as one sentence. */
  readonly message: string;
}

/** Request of `PublicClientApplication.initiateAuthCodeFlow`. */
export interface AuthCodeFlowRequest
  extends
    Omit<TokenRequest, "authenticationScheme">,
    Pick<SignInOptions, "prompt" | "domainHint" | "maxAge" | "extraScopesToConsent" | "extraQueryParameters"> {
  /**
   * URL of the app that receives the response, as registered. It must end in `redirectPath(authority)` if the authority is not
   * Microsoft's and does not name itself in its responses (RFC 9207).
   */
  readonly redirectUri: string;
  /** User name that the sign-in suggests. */
  readonly loginHint?: string | undefined;
  /**
   * Form of the answer: posted by the browser, without cookies that are `SameSite=Lax`, or in the query.
   *
   * @default "form_post" if the provider supports it, else "query"
   */
  readonly responseMode?: "form_post" | "query" | undefined;
}

/** Request of `PublicClientApplication.acquireSsoCookies`. */
export interface SsoCookieRequest extends RequestOptions {
  /** Account to sign in with. */
  readonly account: AccountInfo;
  /** Address of the sign-in page, such as `https://login.microsoftonline.com/`, with its `sso_nonce` if it has one. */
  readonly url: string;
}

/** Request of `PublicClientApplication.signHttpRequest`. */
export interface SignedHttpRequest extends RequestOptions, Omit<PopScheme, "type" | "kid"> {
  /** Account of the token. */
  readonly account: AccountInfo;
}

/** One HTTP request to bind a token to (Microsoft's Signed HTTP Request). */
export interface PopScheme {
  /** The only scheme besides bearer tokens. */
  readonly type: "pop";
  /** HTTP method, such as `GET`. */
  readonly method: string;
  /** Address of the request; host and path are signed. */
  readonly url: string;
  /** Nonce of the resource, to be signed. @default none */
  readonly nonce?: string | undefined;
  /**
   * Id of a key of yours (RFC 7638, thumbprint): the broker binds the token to it, and you sign the request. Only himmelblau 4.0
   * and later does so. @default the broker signs, with a key of the device
   */
  readonly kid?: string | undefined;
}

/** Options of `PublicClientApplication.removeAccount`. */
export interface RemoveAccountOptions extends RequestOptions {
  /** Removes the account from the broker as well, and so possibly from other apps. @default false */
  readonly fromBroker?: boolean | undefined;
}

/** Options of `PublicClientApplication.brokerStatus`. */
export interface BrokerStatusOptions extends Pick<RequestOptions, "signal"> {
  /** Asks the broker for its version, which is one more call. @default false */
  readonly version?: boolean | undefined;
}

/** The names of all options of a type, each once. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/** The requests of the public calls. */
interface Requests {
  acquireSsoCookies: SsoCookieRequest;
  acquireToken: AcquireTokenRequest;
  acquireTokenByDeviceCode: DeviceCodeSignIn;
  acquireTokenInteractive: InteractiveRequest;
  acquireTokenSilent: SilentRequest;
  brokerStatus: BrokerStatusOptions;
  getAccounts: AccountFilter;
  getAuthorizationRequestUrl: InteractiveRequest;
  initiateAuthCodeFlow: AuthCodeFlowRequest;
  isPopSupported: RequestOptions;
  removeAccount: RemoveAccountOptions;
  signHttpRequest: SignedHttpRequest;
}

const POP: OptionNames<PopScheme> = { type: true, method: true, url: true, nonce: true, kid: true };

/** The options of each call's request. Made on first use: bundlers keep spreads at a module's top. */
let optionsOfCalls: { readonly [Call in keyof Requests]: OptionNames<Requests[Call]> } | undefined;

function listOptions(): NonNullable<typeof optionsOfCalls> {
  const all: OptionNames<RequestOptions> = { correlationId: true, signal: true };
  const token: OptionNames<TokenRequest> = {
    ...all,
    ...{ scopes: true, claims: true, clientCapabilities: true, authenticationScheme: true, tenantId: true },
    ...{ resource: true, agentSession: true },
  };
  const signIn: OptionNames<SignInOptions> = {
    ...{ parentWindowHandle: true, prompt: true, domainHint: true, maxAge: true, extraScopesToConsent: true },
    ...{ extraQueryParameters: true, onBeforeLaunchingUi: true, port: true },
  };
  const interactive: OptionNames<InteractiveRequest> = { ...token, ...signIn, loginHint: true, username: true };
  return {
    acquireSsoCookies: { ...all, account: true, url: true },
    acquireToken: { ...token, ...signIn, forceRefresh: true, account: true, username: true, interactive: true },
    acquireTokenByDeviceCode: { ...token, username: true, onUserCode: true },
    acquireTokenInteractive: interactive,
    acquireTokenSilent: { ...token, account: true, forceRefresh: true },
    brokerStatus: { signal: true, version: true },
    getAccounts: { ...all, username: true, includeSignedOut: true },
    getAuthorizationRequestUrl: interactive,
    initiateAuthCodeFlow: {
      ...{ correlationId: true, signal: true, scopes: true, claims: true, clientCapabilities: true, tenantId: true },
      ...{ resource: true, agentSession: true, prompt: true, domainHint: true, maxAge: true },
      ...{
        extraScopesToConsent: true,
        extraQueryParameters: true,
        redirectUri: true,
        loginHint: true,
        responseMode: true,
      },
    },
    isPopSupported: all,
    removeAccount: { ...all, fromBroker: true },
    signHttpRequest: { ...all, account: true, method: true, url: true, nonce: true },
  };
}

/**
 * Checks the names of a request's options, which TypeScript checks, and JavaScript does not.
 *
 * @throws {TypeError} if an option does not exist.
 */
export function checkRequest(call: keyof Requests, request: unknown): void {
  optionsOfCalls ??= listOptions();
  checkOptions(call, request, optionsOfCalls[call]);
}

/**
 * Checks the names of options. One that is misspelled would be ignored otherwise.
 *
 * @param owner Name of the class or function that has the options.
 * @throws {TypeError} if an option does not exist.
 */
export function checkOptions(owner: string, options: unknown, known: Readonly<Record<string, true>>): void {
  if (!isObject(options)) return; // what is missing is refused later
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    throw new ArgumentError(`${owner} has no option ${JSON.stringify(name)}${suggestion(name, Object.keys(known))}`);
  }
}

/** `enableBroker` stands for no single option, so all that it begins are named. */
function suggestion(name: string, names: readonly string[]): string {
  const longer = names.filter((each) => each.startsWith(name));
  const nearest = nearestName(name, names);
  const likely = longer.length > 0 || nearest === undefined ? longer : [nearest];
  if (likely.length === 0) return "";
  return `: did you mean ${likely.length > 1 ? "one of " : ""}${likely.join(", ")}?`;
}

/** A validated request with its defaults. */
export interface TokenQuery
  extends SignInOptions, Pick<AcquireTokenRequest, "scopes" | "account" | "username" | "resource" | "signal"> {
  /** The app's authority, or that of the requested tenant. */
  readonly authority: Authority;
  /** User name that must sign in; `username` only suggests one. */
  readonly requiredUsername?: string | undefined;
  /** Claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  readonly clientCapabilities: readonly string[];
  /** Capabilities that the claims request names, and the resource; see {@linkcode capabilitiesOf}. */
  readonly capabilities: string;
  /** Id of the agent's session; none if the authority is not Microsoft's. */
  readonly agentSession?: string | undefined;
  /** True if a cached token will not do. */
  readonly skipCache: boolean;
  /** True if the broker's cached token will not do either. */
  readonly renew: boolean;
  readonly pop?: PopScheme | undefined;
  readonly correlationId: string;
  /** The same UUID if the caller chose it: then the request is not shared with others. */
  readonly chosenCorrelationId?: string | undefined;
  /** Key of the token in the memory cache: its account or user name, and its purpose. */
  readonly cacheKey: string;
}

/**
 * Validates a request and fills in the application's defaults.
 *
 * @param names User names that replace the request's.
 * @throws {TypeError} if an argument is invalid.
 * @throws {RangeError} if a number is out of range.
 */
export function tokenQuery(
  request: AcquireTokenRequest,
  app: Pick<TokenQuery, "authority"> & Pick<TokenRequest, "clientCapabilities">,
  names: Pick<TokenQuery, "username" | "requiredUsername"> = {},
): TokenQuery {
  const { correlationId } = checkCall(request);
  const { authenticationScheme: pop, tenantId, claims: challenge, forceRefresh = false, maxAge } = request;
  const { clientCapabilities = app.clientCapabilities ?? [] } = request;
  const account = request.account === undefined ? undefined : checkAccount(request.account);
  checkSignIn(request);
  checkPop(pop);
  checkResource(request.resource, app.authority);
  const scopes = checkScopes(request.scopes);
  const claims = claimsRequest(challenge, clientCapabilities);
  return withCacheKey({
    ...request,
    ...names,
    account,
    correlationId,
    chosenCorrelationId: request.correlationId,
    scopes,
    authority: tenantId ? authorityOfTenant(app.authority, tenantId) : app.authority,
    agentSession: isMicrosoftAuthority(app.authority) ? request.agentSession : undefined,
    claims,
    clientCapabilities,
    capabilities: capabilitiesOf(claims, request.resource),
    skipCache: forceRefresh || challenge !== undefined || maxAge !== undefined || pop !== undefined,
    renew: forceRefresh,
    pop,
  });
}

/** Returns the same query with a claims challenge to answer. */
export function withChallenge(query: TokenQuery, challenge: string): TokenQuery {
  const claims = claimsRequest(challenge, query.clientCapabilities);
  return withCacheKey({ ...query, claims, capabilities: capabilitiesOf(claims, query.resource), skipCache: true });
}

/** Returns the same query for another account or user name. */
export function withAccount(query: TokenQuery, holder: Pick<TokenQuery, "account" | "username">): TokenQuery {
  return withCacheKey({ ...query, account: holder.account, username: holder.username });
}

function withCacheKey(query: Omit<TokenQuery, "cacheKey">): TokenQuery {
  return { ...query, cacheKey: cacheKeyOf(query, query) };
}

/** Returns the key under which the token of a query is cached for an account or user name. */
export function cacheKeyOf(
  { authority, scopes, capabilities, agentSession }: Omit<TokenQuery, "cacheKey">,
  { account, username }: Pick<TokenQuery, "account" | "username">,
): string {
  const holder = account ? [accountKey(account)] : username?.toLowerCase() ?? null;
  const { url } = authorityOfAccount(authority, account);
  return JSON.stringify([holder, url, scopes.toSorted(), capabilities, agentSession]);
}

/** Returns a key that only equal requests have. */
export function singleFlightKey(way: "silent" | "window", query: TokenQuery): string {
  const { cacheKey, claims, skipCache, renew, pop, maxAge, chosenCorrelationId, parentWindowHandle } = query;
  const { prompt, domainHint, extraQueryParameters, extraScopesToConsent, port } = query;
  return JSON.stringify([
    ...[way, cacheKey, claims, skipCache, renew, pop, maxAge, chosenCorrelationId, String(parentWindowHandle)],
    ...[prompt, domainHint, extraQueryParameters, extraScopesToConsent, port],
  ]);
}

const STRING_FIELDS = ["username", "loginHint", "domainHint", "tenantId", "claims", "resource", "agentSession"];

/** Validates the fields that all requests can have. Returns the signal, and the caller's correlation id or a new one. */
export function checkCall(request: RequestOptions): RequestOptions & { readonly correlationId: string } {
  if (typeof request !== "object" || request === null) {
    throw new ArgumentError('the request is missing: an object such as { scopes: ["User.Read"] }');
  }
  const fields = request as Readonly<Record<string, unknown>>;
  for (const name of STRING_FIELDS) {
    if (fields[name] !== undefined && typeof fields[name] !== "string") {
      throw new ArgumentError(`${name} must be a string`);
    }
  }
  checkCapabilities(fields.clientCapabilities);
  const { correlationId = crypto.randomUUID(), signal } = request;
  if (typeof correlationId !== "string" || !isGuid(correlationId)) {
    throw new ArgumentError("correlationId must be a UUID");
  }
  return { correlationId, signal };
}

const PROMPTS: readonly Prompt[] = ["none", "login", "consent", "create", "select_account"];
/** Parameters of an authorization request that the protocol sets. */
const OWN_PARAMETERS =
  /^(client_id|redirect_uri|response_.*|state|nonce|scope|code_challenge.*|request(_uri)?|resource)$/i;

/** Throws a `TypeError` or `RangeError` if an option of a sign-in is invalid, or a parameter would override the protocol's. */
export function checkSignIn(
  { prompt, maxAge, extraQueryParameters = {}, interactive, port = 0 }: Omit<AcquireTokenRequest, "scopes">,
): void {
  if (prompt !== undefined && !PROMPTS.includes(prompt)) throw mistake(`prompt must be one of ${PROMPTS.join(", ")}`);
  if (prompt === "none" && interactive === "always") throw mistake('the prompt "none" forbids interactive: "always"');
  if (maxAge !== undefined && !(Number.isSafeInteger(maxAge) && maxAge >= 0)) {
    throw new RangeError("Cannot acquire a token: maxAge must be a whole number of seconds, 0 or more");
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError("Cannot acquire a token: port must be 0 to 65535");
  }
  for (const [name, value] of Object.entries(extraQueryParameters)) {
    if (OWN_PARAMETERS.test(name)) throw mistake(`extraQueryParameters cannot have ${name}`);
    if (typeof value !== "string") throw mistake(`extraQueryParameters.${name} must be a string`);
  }
}

/** Checks a scheme of proof of possession. Throws a `TypeError` if it is invalid. */
export function checkPop(scheme: PopScheme | undefined): void {
  if (scheme === undefined) return;
  checkOptions("authenticationScheme", scheme, POP);
  const { type, method, url, nonce, kid } = scheme;
  if (type !== "pop") throw mistake('authenticationScheme.type must be "pop"');
  // RFC 9110, 5.6.2: the characters of a method.
  if (typeof method !== "string" || !/^[\w!#$%&'*+.^`|~-]+$/.test(method)) {
    throw mistake("the method is not one of HTTP's, such as GET");
  }
  if (typeof url !== "string" || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw mistake("the url is not a URL such as https://graph.microsoft.com/v1.0/me");
  }
  if (nonce !== undefined && typeof nonce !== "string") throw mistake("the nonce must be a string");
  if (kid !== undefined && !(typeof kid === "string" && /^[\w-]{1,256}$/.test(kid))) {
    throw mistake("the kid must be the id of a key, in base64url");
  }
}

/** RFC 8707, 2: an absolute URI without a fragment. */
function checkResource(resource: string | undefined, { kind, url }: Authority): void {
  if (resource === undefined) return;
  if (kind !== "oidc") throw mistake(`resource is not for ${url}: there a scope such as api://contoso/.default has it`);
  if (URL.canParse(resource) && !resource.includes("#")) return;
  throw mistake("resource must be a URL without a fragment, such as https://mcp.contoso.com/mcp");
}

function mistake(reason: string): ArgumentError {
  return new ArgumentError(`Cannot acquire a token: ${reason}`);
}
