/**
 * Windows as a broker's JSON has them.
 *
 * @module
 */
import { type AccountInfo, isSameAccount, isSameUsername } from "../account.ts";
import { type Authority, isTenant, NATIVE_CLIENT_URI } from "../authority.ts";
import {
  escapeControlCharacters,
  isObject,
  type JsonObject,
  parseJson,
  readBase64Json,
  readNumber,
  readText,
  readTime,
} from "../encoding.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { CONSOLE_WINDOW_HANDLE, type PopScheme, RESERVED_SCOPES, type WindowHandle } from "../request.ts";
import { operatingSystem } from "../runtime/host.ts";
import { type AuthenticationResult, redacted, redactTokens } from "../token.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest, SsoCookie } from "./broker.ts";
import { type RefusalContext, refusalError, statusOfWire } from "./errors.ts";

/** A window by its number (X11), or by the name that a Wayland compositor exported it under. */
type JsonWindow = { readonly id: number } | { readonly exportedHandle: string };

/**
 * Reads a window handle. A console has no window of its own that a broker on Linux could use.
 *
 * @throws {TypeError} when it cannot be one.
 */
export function readWindow(handle: WindowHandle | undefined): JsonWindow {
  if (handle === undefined || handle === CONSOLE_WINDOW_HANDLE) return { id: 0 };
  if (typeof handle === "string") {
    const [, x11] = /^x11:([0-9a-f]{1,8})$/i.exec(handle) ?? [];
    if (x11) return { id: Number.parseInt(x11, 16) };
    const exportedHandle = handle.replace(/^wayland:/, "");
    if (exportedHandle && !/^x11:/i.test(handle)) return { exportedHandle };
  }
  const id = handle instanceof Uint8Array
    ? numberOfBytes(handle)
    : typeof handle === "bigint"
    ? Number(handle)
    : handle;
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return { id };
  throw new ArgumentError("Cannot acquire a token: parentWindowHandle is not a window's handle");
}

/**
 * A window of Windows': 64 bits, whatever sign a number was given with.
 *
 * @returns `undefined` for what has no number of 64 bits.
 */
export function windowBits(handle: WindowHandle | undefined): bigint | undefined {
  if (handle instanceof Uint8Array && [4, 8].includes(handle.length)) {
    return handle.reduceRight((number, byte) => number * 256n + BigInt(byte), 0n);
  }
  const number = typeof handle === "number" && Number.isSafeInteger(handle) ? BigInt(handle) : handle;
  if (typeof number !== "bigint") return undefined;
  const bits = BigInt.asUintN(64, number);
  return number === bits || number === BigInt.asIntN(64, number) ? bits : undefined;
}

/**
 * Makes sure, before a broker is looked for, that a handle can be a window's: Windows' have all 64 bits.
 *
 * @param handle The handle.
 * @param system Operating system, in Node's words.
 * @throws {TypeError} when it cannot be one.
 */
export function checkWindow(handle: WindowHandle | undefined, system: string = operatingSystem()): void {
  if (system !== "win32" || windowBits(handle) === undefined) readWindow(handle);
}

/** As the machine has it in memory: all that this runs on are little-endian. */
function numberOfBytes(bytes: Uint8Array): number {
  if (bytes.length !== 4 && bytes.length !== 8) return NaN;
  return bytes.reduceRight((number, byte) => number * 256 + byte, 0);
}

/** Ways to a token, by the numbers of `authorizationType`. */
const SILENT = 1, INTERACTIVE = 6, SSO_COOKIE = 8;
/** A cookie is for no resource; the request for one names this, as the browsers' does. */
const SCOPE_OF_COOKIES = "https://graph.microsoft.com/.default";
/** What a broker is told of the asking client: the version of Microsoft's whose requests ours are like. */
const CLIENT_VERSION = "0.20.7";
/** MSALRuntime's status for a sign-in that was cancelled. */
const USER_CANCELED = 7;

/** Request of `getAccounts`. Microsoft's client sends the client id for the redirect URI as well. */
export function accountsRequest(clientId: string): string {
  return JSON.stringify({ clientId, redirectUri: clientId });
}

/** Request of `getLinuxBrokerVersion`. */
export function versionRequest(): string {
  return JSON.stringify({ msalCppVersion: CLIENT_VERSION });
}

/**
 * Request of `acquireTokenSilently`.
 *
 * @param clientId The app.
 * @param request What is asked for.
 * @param account The chosen account as the broker gave it; without it the account that is signed in to the device is meant.
 */
export function silentRequest(clientId: string, request: BrokerTokenRequest, account: JsonObject | undefined): string {
  const authParameters = authParametersOf(clientId, request, account, SILENT);
  // The first himmelblau releases, known by accounts without an environment, look for the account at the root. A null
  // there would hide the one below from later ones.
  return JSON.stringify(account && !account.environment ? { account, authParameters } : { authParameters });
}

/** Request of `acquireTokenInteractively`; `account` as with {@linkcode silentRequest}. */
export function interactiveRequest(
  clientId: string,
  request: BrokerInteractiveRequest,
  account: JsonObject | undefined,
): string {
  const window = readWindow(request.parentWindowHandle);
  const authParameters = {
    ...authParametersOf(clientId, request, account, INTERACTIVE),
    parentWindow: "id" in window ? { handle: window.id } : window,
  };
  return JSON.stringify({
    ...(account && !account.environment && { account }),
    authParameters,
    ...("id" in window ? { parentWindowHandle: window.id } : { parentWindowExportedHandle: window.exportedHandle }),
  });
}

/** Request of `cancelInteractiveFlow`, as Microsoft's client words it. */
export function cancelRequest(): string {
  const context = "The InteractiveRequest was canceled on behalf of the user";
  return JSON.stringify({
    error: { context, status: USER_CANCELED, subStatus: 0, errorCode: 0, tag: 0, diagnostics: null },
  });
}

/** Request of `removeAccount`. */
export function removeAccountRequest(clientId: string, account: JsonObject): string {
  return JSON.stringify({ clientId, account });
}

/** Request of `acquirePrtSsoCookie`: for the host of `url`. */
export function cookieRequest(
  clientId: string,
  request: BrokerTokenRequest & { readonly url: string },
  account: JsonObject,
): string {
  const { url: ssoUrl } = request, cookie = { ...request, scopes: [SCOPE_OF_COOKIES] };
  const authParameters = { ...authParametersOf(clientId, cookie, account, SSO_COOKIE), ssoUrl };
  return JSON.stringify({ account, authParameters, mamEnrollment: false, ssoUrl });
}

/** Request of `generateSignedHttpRequest`. */
export function signedHttpRequestRequest(clientId: string, scheme: PopScheme, homeAccountId: string): string {
  return JSON.stringify({ clientId, popParams: popParameters(scheme, homeAccountId) });
}

/** The same with nothing to sign: a broker that knows the method says what is missing. */
export function emptySignedHttpRequestRequest(clientId: string): string {
  return JSON.stringify({ clientId, popParams: {} });
}

function authParametersOf(
  clientId: string,
  request: BrokerTokenRequest,
  account: JsonObject | undefined,
  authorizationType: number,
): JsonObject {
  const homeAccountId = readText(account?.homeAccountId) ?? request.account?.homeAccountId ?? "";
  return {
    accessTokenToRenew: request.accessTokenToRenew ?? "",
    account: account ?? null,
    additionalQueryParametersForAuthorization: request.extraParameters ?? {},
    authority: request.authority.url,
    authorizationType,
    clientId,
    decodedClaims: request.claims ?? "",
    enrollmentId: "",
    isTestMode: false,
    password: "",
    popParams: request.pop ? popParameters(request.pop, homeAccountId) : null,
    redirectUri: NATIVE_CLIENT_URI, // on every platform of this dialect; others are registered, never sent
    requestedScopes: request.scopes.filter((scope) => !RESERVED_SCOPES.includes(scope)),
    username: readText(isObject(account) ? account.username : undefined) ?? request.loginHint ?? "",
    uxContextHandle: -1,
    ...(!account && { isSignIn: true }),
  };
}

function popParameters({ method, url, nonce = "" }: PopScheme, homeAccountId: string): JsonObject {
  const { host, pathname } = new URL(url);
  return { clientClaims: "", homeAccountId, httpMethod: method, nonce, uriHost: host, uriPath: pathname };
}

/** Replies are a few kilobytes; one beyond this many characters is not worth parsing. */
const MAX_REPLY_LENGTH = 4_000_000;
/** The longest lifetime of a token, 28 hours, were its seconds milliseconds, and a little more. */
const MAX_MIXED_MS = 120_000;
/** RFC 6750, 2.1: what else there were could not be put into a header. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** An account, and what to send when it is meant. */
export interface BrokerAccount {
  /** What latchkey's callers see. */
  readonly info: AccountInfo;
  /** The account as the broker gave it: it wants it back whole. */
  readonly raw: JsonObject;
}

/** What every reply is read with: what its refusal is told with. */
export type ReplyContext = RefusalContext;

/**
 * Reply of `getAccounts`. Windows' broker asks two services, for work and for personal accounts: beside the accounts of one
 * it tells what the other failed with.
 */
export function readAccounts(json: string, authority: Authority, context: ReplyContext): BrokerAccount[] {
  const reply = parseReply(json, context), { correlationId } = context;
  if (!(Array.isArray(reply.accounts) && reply.accounts.length > 0)) throwErrorIn(reply, context);
  if (!Array.isArray(reply.accounts)) throw invalidResponse("it lists no accounts", correlationId);
  return reply.accounts.map((raw: unknown) => {
    if (!isObject(raw)) throw invalidResponse("an account is not an object", correlationId);
    return { raw, info: readAccount(raw, {}, authority, correlationId) };
  });
}

/** Reply of `getLinuxBrokerVersion`. */
export function readVersion(json: string, context: ReplyContext): string | undefined {
  const version = readText(readReply(json, context).linuxBrokerVersion);
  return version && escapeControlCharacters(version);
}

/** Reply of a method that says no more than that it was done. */
export function readDone(json: string, context: ReplyContext): void {
  if (json !== "") readReply(json, context);
}

/** Reply of `acquirePrtSsoCookie`: up to 2.0.1 one cookie at the top, later a list. */
export function readCookies(json: string, context: ReplyContext): SsoCookie[] {
  const reply = readReply(json, context);
  const items: readonly unknown[] = Array.isArray(reply.cookieItems) ? reply.cookieItems : [reply];
  return items.map((item) => {
    const [name, value] = isObject(item) ? [readText(item.cookieName), readText(item.cookieContent)] : [];
    // RFC 6265, 4.1.1: what else there were could not be put into a header.
    if (
      !name || !value || !/^[\w!#$%&'*+.^`|~-]+$/.test(name) ||
      !/^[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]+$/.test(value)
    ) {
      throw invalidResponse("a cookie is missing or malformed", context.correlationId);
    }
    return redacted({ name, value }, () => ({ name, value: "[concealed]" }));
  });
}

/** Reply of `generateSignedHttpRequest`. */
export function readSignedHttpRequest(json: string, context: ReplyContext): string {
  const signed = readText(readReply(json, context).signedHttpRequest);
  if (signed && TOKEN.test(signed)) return signed;
  throw invalidResponse("the signed HTTP request is missing or malformed", context.correlationId);
}

/** What a token's reply is read with. */
interface TokenReplyContext extends ReplyContext {
  /** The request that it answers. */
  readonly request: BrokerTokenRequest;
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** A token, and the account as the broker gave it if it did. */
interface BrokerToken {
  /** What latchkey's callers see. */
  readonly result: AuthenticationResult;
  /** The account as the broker gave it. */
  readonly rawAccount: JsonObject | undefined;
}

/** Reply of `acquireTokenSilently` and `acquireTokenInteractively`. */
export function readToken(json: string, context: TokenReplyContext): BrokerToken {
  const token = readReply(json, context).brokerTokenResponse;
  if (!isObject(token)) throw invalidResponse("it has no token", context.correlationId);
  return readTokenResponse(token, context);
}

/** The part of a reply that has the token. */
export function readTokenResponse(token: JsonObject, context: TokenReplyContext): BrokerToken {
  const { request, correlationId, now } = context;
  const accessToken = readText(token.accessToken) ?? "";
  if (!TOKEN.test(accessToken)) throw invalidResponse("the access token is missing or malformed", correlationId);
  const tokenType = readTokenType(token.accessTokenType, correlationId);
  if (request.pop && tokenType !== "pop") {
    throw new LatchkeyError(
      "invalid_response",
      "The broker gave a bearer token where one bound to a request was asked for",
      {
        correlationId,
        hint: "This broker cannot bind tokens (isPopSupported tells): ask without authenticationScheme (--pop)",
      },
    );
  }
  const idToken = readText(token.idToken), claims = readIdTokenClaims(idToken);
  const rawAccount = isObject(token.account) ? token.account : undefined;
  const account = accountOfToken(token, rawAccount, claims, context);
  const extendedExpiresOn = readTime(token.extendedExpiresOn);
  const result: AuthenticationResult = {
    accessToken,
    tokenType,
    expiresOn: readExpiry(token, claims, context),
    ...(extendedExpiresOn !== undefined && extendedExpiresOn > now &&
      { extendedExpiresOn: new Date(extendedExpiresOn) }),
    scopes: readScopes(token.grantedScopes) ?? request.scopes,
    ...(idToken?.split(".").length === 3 && { idToken }),
    ...(claims && { idTokenClaims: claims }),
    account,
    tenantId: readText(claims?.tid) ?? account.realm,
    source: "broker",
    correlationId,
  };
  return { result: redactTokens(result), rawAccount };
}

/** Brokers from 3.x on and himmelblau leave the account out: it is the one that was sent, unless `clientInfo` names another. */
function accountOfToken(
  token: JsonObject,
  raw: JsonObject | undefined,
  claims: JsonObject | undefined,
  { request, correlationId }: TokenReplyContext,
): AccountInfo {
  if (request.account && !raw && !token.clientInfo && !isOfOther(request.account, claims)) return request.account;
  const account = readAccount(raw ?? { clientInfo: token.clientInfo }, claims ?? {}, request.authority, correlationId);
  // The realm is the token's, and may be another tenant's than the account's.
  if (request.account && !raw && isSameAccount(account, request.account)) return request.account;
  if (account.homeAccountId) return account;
  throw invalidResponse("it does not say whose token it is", correlationId);
}

/**
 * Whether an id token is somebody else's. The tenant at home has the person's own id; a guest's is another one in each
 * tenant, and the user name of a guest can be one that is made of the one at home.
 */
function isOfOther({ homeAccountId, username }: AccountInfo, claims: JsonObject | undefined): boolean {
  const [oid = "", tid = ""] = homeAccountId.toLowerCase().split(".");
  const answered = { oid: readText(claims?.oid)?.toLowerCase(), tid: readText(claims?.tid)?.toLowerCase() };
  if (answered.oid !== undefined && answered.tid === tid) return answered.oid !== oid;
  const name = readText(claims?.preferred_username) ?? "";
  return name !== "" && username !== "" && !name.includes("#EXT#") && !isSameUsername(name, username);
}

/** Any field of an account may be absent or null; what is not there is taken from `clientInfo` and the id token. */
export function readAccount(
  raw: JsonObject,
  claims: JsonObject,
  authority: Authority,
  correlationId: string,
): AccountInfo {
  const username = readText(raw.username) ?? readText(claims.preferred_username) ?? readText(claims.upn) ?? "";
  const identity = readText(raw.homeAccountId) ?? deriveHomeAccountId(raw, claims),
    homeAccountId = identity ?? username.toLowerCase();
  const [oid = "", tid = ""] = identity?.split(".") ?? [];
  const realm = readText(raw.realm) ?? readText(claims.tid) ?? tid;
  if (realm && !isTenant(realm)) throw invalidResponse("an account's tenant is none", correlationId);
  const name = readText(raw.name) ?? readText(claims.name);
  return {
    homeAccountId,
    localAccountId: readText(raw.localAccountId) ?? readText(claims.oid) ?? oid,
    environment: readText(raw.environment) ?? authority.host,
    realm,
    username,
    ...(name && { name }),
    source: "broker",
  };
}

function deriveHomeAccountId(raw: JsonObject, claims: JsonObject): string | undefined {
  const clientInfo = readBase64Json(readText(raw.clientInfo));
  const uid = readText(clientInfo?.uid) ?? readText(claims.oid) ?? readText(raw.localAccountId);
  const utid = readText(clientInfo?.utid) ?? readText(raw.realm) ?? readText(claims.tid);
  return uid && utid ? `${uid}.${utid}` : undefined;
}

/** A number with most brokers, its name with the first himmelblau releases. */
function readTokenType(type: unknown, correlationId: string): AuthenticationResult["tokenType"] {
  const name = typeof type === "string" ? type.toLowerCase() : type;
  if (name === undefined || name === null || name === 0 || name === "bearer") return "Bearer";
  if (name === 1 || name === "pop") return "pop";
  throw invalidResponse("the access token is of an unknown type", correlationId);
}

function readExpiry(token: JsonObject, claims: JsonObject | undefined, context: TokenReplyContext): Date {
  const { correlationId, now } = context, expiresOn = readTime(token.expiresOn);
  if (expiresOn === undefined) throw invalidResponse("it does not say when the token ends", correlationId);
  // himmelblau sends the time in milliseconds plus the lifetime in seconds, so that a token seems to end seconds after it was
  // issued (`iat` is up to five minutes earlier), and, the id token being an older one, seconds from now; the id token knows
  // better. No token lives under ten minutes, but one of Microsoft's brokers can be at its end.
  const issued = readTime(claims?.iat), endOfIdToken = readTime(claims?.exp), left = expiresOn - now;
  const isSecondsAhead = left > 0 && left < MAX_MIXED_MS && isInMilliseconds(token.expiresOn) &&
    !isInMilliseconds(token.extendedExpiresOn);
  const isMixed = isSecondsAhead || issued !== undefined && expiresOn - issued < 400_000;
  return new Date(isMixed && endOfIdToken !== undefined && endOfIdToken > expiresOn ? endOfIdToken : expiresOn);
}

/** Whether a time is as Microsoft's brokers tell it: himmelblau has a token's extended end in seconds. */
function isInMilliseconds(time: unknown): boolean {
  return Number(time) >= 100_000_000_000;
}

function readScopes(value: unknown): readonly string[] | undefined {
  if (typeof value === "string") return value.split(" ").filter(Boolean);
  return Array.isArray(value) && value.every((scope) => typeof scope === "string") ? value : undefined;
}

/** A JWT's payload, or, with the first himmelblau releases, base64 of the payload alone. */
function readIdTokenClaims(idToken: string | undefined): JsonObject | undefined {
  const parts = idToken?.split(".") ?? [];
  return readBase64Json(parts.length === 1 ? parts[0] : parts[1]);
}

/** Parses a reply, and throws the error that it carries. */
function readReply(json: string, context: ReplyContext): JsonObject {
  const reply = parseReply(json, context);
  throwErrorIn(reply, context);
  return reply;
}

/**
 * Any reply, as the broker gave it: its refusals are passed on as well.
 *
 * @throws {LatchkeyError} `invalid_response` when it is no JSON object.
 */
export function parseReply(json: string, { correlationId }: Pick<ReplyContext, "correlationId">): JsonObject {
  let reply: unknown;
  try {
    reply = json.length > MAX_REPLY_LENGTH ? undefined : parseJson(json);
  } catch {
    throw invalidResponse("it is not JSON", correlationId); // no cause: the parser's message quotes the reply
  }
  if (!isObject(reply)) throw invalidResponse("it is not a JSON object", correlationId);
  return reply;
}

function throwErrorIn(reply: JsonObject, context: ReplyContext): void {
  const token = isObject(reply.brokerTokenResponse) ? reply.brokerTokenResponse : {},
    error = token.error ?? reply.error;
  // From 3.x on the suberror stands beside the error.
  if (error !== undefined && error !== null) throw readError(error, token.subError, context);
}

function readError(error: unknown, besideIt: unknown, context: ReplyContext): LatchkeyError {
  const details = isObject(error) ? error : { context: error };
  return refusalError({
    status: statusOfWire(readNumber(details.status) ?? 0),
    subStatus: readNumber(details.subStatus),
    tag: readNumber(details.tag),
    errorCode: readNumber(details.errorCode),
    text: readText(details.context) ?? readText(details.message) ?? "",
    subError: readText(details.subError) ?? readText(besideIt),
    claims: claimsOf(details),
  }, context);
}

/** A claims challenge, where the broker passes one on. */
function claimsOf({ claims }: JsonObject): string | undefined {
  try {
    return typeof claims === "string" && isObject(parseJson(claims)) ? claims : undefined;
  } catch {
    return undefined; // it could not be replayed
  }
}

function invalidResponse(why: string, correlationId: string): LatchkeyError {
  return new LatchkeyError("invalid_response", `Cannot read the broker's reply: ${why}`, { correlationId });
}
