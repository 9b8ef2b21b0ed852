/**
 * A broker's JSON: writes its requests, reads its replies, and knows where brokers differ. Does no I/O.
 *
 * @module
 */
import { type AccountInfo, isSameAccount, isSameUsername } from "../account.ts";
import { type Authority, isTenant } from "../authority.ts";
import { NATIVE_CLIENT_URI } from "../redirect_uris.ts";
import {
  isObject,
  type JsonObject,
  parseJson,
  readBase64Json,
  readJson,
  readJwt,
  readNumber,
  readText,
  readTime,
} from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { advice, CANNOT_BIND, CANNOT_BIND_TO_KEY } from "../remedies.ts";
import { CONSOLE_WINDOW_HANDLE, type PopScheme, type WindowHandle } from "../request.ts";
import { operatingSystem } from "../runtime/host.ts";
import { withoutReserved } from "../scopes.ts";
import { type AuthenticationResult, redacted, redactTokens } from "../token.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest, SsoCookie } from "./broker.ts";
import type { RefusalContext } from "./errors.ts";

/** A window by its X11 number, or by the name under which a Wayland compositor exported it. */
type JsonWindow = { readonly id: number } | { readonly exportedHandle: string };

/** Reads a window handle, as {@linkcode checkWindow} does. A console has no window that a broker on Linux could use. */
export function readWindow(handle: WindowHandle | undefined): JsonWindow {
  if (handle === undefined || handle === CONSOLE_WINDOW_HANDLE) return { id: 0 };
  if (typeof handle === "string") {
    const [, x11] = /^x11:([0-9a-f]{1,8})$/i.exec(handle) ?? [];
    if (x11) return { id: Number.parseInt(x11, 16) };
    const exportedHandle = handle.replace(/^wayland:/, "");
    if (exportedHandle && !/^x11:/i.test(handle)) return { exportedHandle };
  }
  const number = handle instanceof Uint8Array ? numberOfBytes(handle) : handle;
  const id = typeof number === "bigint" ? Number(number) : number;
  if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return { id };
  throw new ArgumentError("Cannot acquire a token: parentWindowHandle is not a window handle");
}

/** Returns the 64 bits of a Windows window handle, of either sign; `undefined` for anything else. */
export function windowBits(handle: WindowHandle | undefined): bigint | undefined {
  if (handle instanceof Uint8Array) return numberOfBytes(handle);
  const number = typeof handle === "number" && Number.isSafeInteger(handle) ? BigInt(handle) : handle;
  if (typeof number !== "bigint") return undefined;
  const bits = BigInt.asUintN(64, number);
  return number === bits || number === BigInt.asIntN(64, number) ? bits : undefined;
}

/** Reads a handle as it is in memory. All supported machines are little-endian. */
function numberOfBytes(bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== 4 && bytes.length !== 8) return undefined;
  return bytes.reduceRight((number, byte) => number * 256n + BigInt(byte), 0n);
}

/**
 * Checks a window handle before any broker is looked for. A handle of Windows may use all 64 bits.
 *
 * @param system Operating system, in Node's words.
 * @throws {TypeError} if the handle is invalid.
 */
export function checkWindow(handle: WindowHandle | undefined, system: string = operatingSystem()): void {
  if (system !== "win32" || windowBits(handle) === undefined) readWindow(handle);
}

/** Values of `authorizationType`. */
const SILENT = 1;
const INTERACTIVE = 6;
const SSO_COOKIE = 8;
/** A cookie is for no resource; the browsers' requests name this scope. */
const SCOPE_OF_COOKIES = "https://graph.microsoft.com/.default";
/** Version of Microsoft's client whose requests these resemble. */
const CLIENT_VERSION = "0.20.7";
/** MSALRuntime's status of a cancelled sign-in. */
const USER_CANCELED = 7;

/** Like Microsoft's client, it sends the client id as the redirect URI. */
export function accountsRequest(clientId: string): string {
  return JSON.stringify({ clientId, redirectUri: clientId });
}

export function versionRequest(): string {
  return JSON.stringify({ msalCppVersion: CLIENT_VERSION });
}

/** @param account The chosen account as the broker sent it. @default the account that is signed in to the device */
export function silentRequest(clientId: string, request: BrokerTokenRequest, account: JsonObject | undefined): string {
  const authParameters = authParametersOf(clientId, request, account, SILENT);
  return JSON.stringify({ ...accountAtRoot(account), authParameters });
}

export function interactiveRequest(
  clientId: string,
  request: BrokerInteractiveRequest,
  account: JsonObject | undefined,
): string {
  const window = readWindow(request.parentWindowHandle);
  const isNumber = "id" in window;
  const authParameters = {
    ...authParametersOf(clientId, request, account, INTERACTIVE),
    parentWindow: isNumber ? { handle: window.id } : window,
  };
  return JSON.stringify({
    ...accountAtRoot(account),
    authParameters,
    ...(isNumber ? { parentWindowHandle: window.id } : { parentWindowExportedHandle: window.exportedHandle }),
  });
}

/**
 * The first himmelblau releases, whose accounts have no environment, look for the account at the root. Later ones would
 * take a null there for the account itself.
 */
function accountAtRoot(account: JsonObject | undefined): JsonObject {
  return account && !account.environment ? { account } : {};
}

/** Sends the words of Microsoft's client. */
export function cancelRequest(): string {
  const context = "The InteractiveRequest was canceled on behalf of the user";
  const error = { context, status: USER_CANCELED, subStatus: 0, errorCode: 0, tag: 0, diagnostics: null };
  return JSON.stringify({ error });
}

/** Writes the request of `acquirePrtSsoCookie`, for the host of `url`. */
export function cookieRequest(
  clientId: string,
  request: BrokerTokenRequest & { readonly url: string },
  account: JsonObject,
): string {
  const { url: ssoUrl } = request;
  const cookie = { ...request, scopes: [SCOPE_OF_COOKIES] };
  const authParameters = { ...authParametersOf(clientId, cookie, account, SSO_COOKIE), ssoUrl };
  return JSON.stringify({ account, authParameters, mamEnrollment: false, ssoUrl });
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
    redirectUri: NATIVE_CLIENT_URI, // on every platform, although an app may have to register another one
    requestedScopes: withoutReserved(request.scopes),
    username: readText(account?.username) ?? request.loginHint ?? "",
    uxContextHandle: -1,
    ...(!account && { isSignIn: true }),
  };
}

/** Returns the parameters of a bound token and of a signed HTTP request. */
export function popParameters({ method, url, nonce = "", kid }: PopScheme, homeAccountId: string): JsonObject {
  const { host, pathname } = new URL(url);
  const ofKey = kid === undefined ? {} : { authenticationScheme: "pop", kid };
  return { clientClaims: "", homeAccountId, httpMethod: method, nonce, uriHost: host, uriPath: pathname, ...ofKey };
}

/** Replies are a few kilobytes; a longer one is not parsed. In characters. */
const MAX_REPLY_LENGTH = 4_000_000;
/** RFC 6750, 2.1: no other characters fit into a header. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
/** RFC 6265, 4.1.1: the same for a cookie. */
const COOKIE_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const COOKIE_VALUE = /^[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]+$/;

/** An account, and the form in which the broker sent it and wants it back. */
export interface BrokerAccount {
  readonly info: AccountInfo;
  readonly raw: JsonObject;
}

/**
 * Reads a reply of `getAccounts`. Windows' broker asks one service for work accounts and one for personal accounts; it sends
 * the accounts of one along with the error of the other.
 */
export async function readAccounts(
  json: string,
  authority: Authority,
  context: RefusalContext,
): Promise<BrokerAccount[]> {
  const reply = parseReply(json, context);
  const { correlationId } = context;
  if (!(Array.isArray(reply.accounts) && reply.accounts.length > 0)) await throwErrorIn(reply, context);
  if (!Array.isArray(reply.accounts)) throw invalidResponse("it lists no accounts", correlationId);
  return reply.accounts.map((raw: unknown) => {
    if (!isObject(raw)) throw invalidResponse("an account is not an object", correlationId);
    return { raw, info: readAccount(raw, {}, authority, correlationId) };
  });
}

export async function readVersion(json: string, context: RefusalContext): Promise<string | undefined> {
  const version = readText((await readReply(json, context)).linuxBrokerVersion);
  return version && escapeControlCharacters(version);
}

/** Reads a reply that has no content but an error. */
export async function readDone(json: string, context: RefusalContext): Promise<void> {
  if (json !== "") await readReply(json, context);
}

/** Reads a reply of `acquirePrtSsoCookie`: up to 2.0.1 one cookie at the root, later a list. */
export async function readCookies(json: string, context: RefusalContext): Promise<SsoCookie[]> {
  const reply = await readReply(json, context);
  const items: readonly unknown[] = Array.isArray(reply.cookieItems) ? reply.cookieItems : [reply];
  return items.map((item) => {
    const [name = "", value = ""] = isObject(item) ? [readText(item.cookieName), readText(item.cookieContent)] : [];
    if (!COOKIE_NAME.test(name) || !COOKIE_VALUE.test(value)) {
      throw invalidResponse("a cookie is missing or malformed", context.correlationId);
    }
    return redacted({ name, value }, () => ({ name, value: "[concealed]" }));
  });
}

export async function readSignedHttpRequest(json: string, context: RefusalContext): Promise<string> {
  const signed = readText((await readReply(json, context)).signedHttpRequest);
  if (signed && TOKEN.test(signed)) return signed;
  throw invalidResponse("the signed HTTP request is missing or malformed", context.correlationId);
}

interface TokenContext extends RefusalContext {
  readonly request: BrokerTokenRequest;
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

interface BrokerToken {
  readonly result: AuthenticationResult;
  /** The account as the broker sent it, if it did. */
  readonly rawAccount: JsonObject | undefined;
}

export async function readToken(json: string, context: TokenContext): Promise<BrokerToken> {
  const token = (await readReply(json, context)).brokerTokenResponse;
  if (!isObject(token)) throw invalidResponse("it has no token", context.correlationId);
  return readTokenResponse(token, context);
}

export function readTokenResponse(token: JsonObject, context: TokenContext): BrokerToken {
  const { request, correlationId, now } = context;
  const accessToken = readText(token.accessToken) ?? "";
  if (!TOKEN.test(accessToken)) throw invalidResponse("the access token is missing or malformed", correlationId);
  const tokenType = readBoundType(accessToken, readTokenType(token.accessTokenType, correlationId), context);
  const idToken = readText(token.idToken);
  const claims = readIdTokenClaims(idToken);
  const rawAccount = isObject(token.account) ? token.account : undefined;
  const account = accountOfToken(token, rawAccount, claims, context);
  const extendedExpiresOn = readTime(token.extendedExpiresOn) ?? 0;
  const result: AuthenticationResult = {
    accessToken,
    tokenType,
    expiresOn: readExpiry(token, claims, context),
    ...(extendedExpiresOn > now && { extendedExpiresOn: new Date(extendedExpiresOn) }),
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

/** Brokers from 3.x on and himmelblau omit the account if it is the requested one, unless `clientInfo` names another. */
function accountOfToken(
  token: JsonObject,
  raw: JsonObject | undefined,
  claims: JsonObject | undefined,
  { request, correlationId }: TokenContext,
): AccountInfo {
  if (request.account && !raw && !token.clientInfo && !isOfOther(request.account, claims)) return request.account;
  const account = readAccount(raw ?? { clientInfo: token.clientInfo }, claims ?? {}, request.authority, correlationId);
  // The realm is the token's, which can be another tenant than the account's.
  if (request.account && !raw && isSameAccount(account, request.account)) return request.account;
  if (account.homeAccountId) return account;
  throw invalidResponse("it does not name the token's account", correlationId);
}

/**
 * Returns true if an id token is for somebody else. Only the home tenant's token has the user's own object id: a guest has
 * another one in each tenant, and perhaps a user name that is derived from the one at home.
 */
function isOfOther({ homeAccountId, username }: AccountInfo, claims: JsonObject | undefined): boolean {
  const [oid = "", tid = ""] = homeAccountId.toLowerCase().split(".");
  const answered = { oid: readText(claims?.oid)?.toLowerCase(), tid: readText(claims?.tid)?.toLowerCase() };
  if (answered.oid !== undefined && answered.tid === tid) return answered.oid !== oid;
  const name = readText(claims?.preferred_username) ?? "";
  return name !== "" && username !== "" && !name.includes("#EXT#") && !isSameUsername(name, username);
}

/** Reads an account. Any field may be absent or null; it is then taken from `clientInfo` or the id token. */
export function readAccount(
  raw: JsonObject,
  claims: JsonObject,
  authority: Authority,
  correlationId: string,
): AccountInfo {
  const username = readText(raw.username) ?? readText(claims.preferred_username) ?? readText(claims.upn) ?? "";
  const identity = readText(raw.homeAccountId) ?? deriveHomeAccountId(raw, claims);
  const [oid = "", tid = ""] = identity?.split(".") ?? [];
  const realm = readText(raw.realm) ?? readText(claims.tid) ?? tid;
  if (realm && !isTenant(realm)) throw invalidResponse("an account's tenant is invalid", correlationId);
  const name = readText(raw.name) ?? readText(claims.name);
  return {
    homeAccountId: identity ?? username.toLowerCase(),
    localAccountId: readText(raw.localAccountId) ?? readText(claims.oid) ?? oid,
    environment: readText(raw.environment) ?? authority.host,
    tenantId: realm,
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

/** Most brokers send a number, the first himmelblau releases a name. */
function readTokenType(type: unknown, correlationId: string): AuthenticationResult["tokenType"] {
  const name = typeof type === "string" ? type.toLowerCase() : type;
  if (name === undefined || name === null || name === 0 || name === "bearer") return "Bearer";
  if (name === 1 || name === "pop") return "pop";
  throw invalidResponse("the access token is of an unknown type", correlationId);
}

/**
 * Returns the type of a token, which must be bound if the request is. A token for a key of the caller's has to name that key:
 * himmelblau says of it that it is a bearer token.
 */
function readBoundType(
  accessToken: string,
  type: AuthenticationResult["tokenType"],
  { request: { pop }, correlationId }: TokenContext,
): AuthenticationResult["tokenType"] {
  if (pop?.kid !== undefined) {
    const { cnf } = readJwt(accessToken) ?? {};
    if (isObject(cnf) && (cnf.kid === pop.kid || cnf.jkt === pop.kid)) return "pop"; // RFC 7800, 3.4; RFC 9449, 6.1
    throw new LatchkeyError("invalid_response", "The broker returned a token that is not bound to the request's key", {
      correlationId,
      remedy: CANNOT_BIND_TO_KEY,
    });
  }
  if (!pop || type === "pop") return type;
  throw new LatchkeyError("invalid_response", "The broker returned a bearer token instead of a bound one", {
    correlationId,
    remedy: CANNOT_BIND,
  });
}

/** The longest lifetime of a token, 28 hours, if its seconds were milliseconds, and some more. */
const MAX_MIXED_MS = 120_000;

/**
 * himmelblau sends the time in milliseconds plus the lifetime in seconds. Such a token seems to expire seconds after it was
 * issued (`iat` is up to five minutes earlier), or seconds from now if the id token is an older one. The id token has the
 * right time then. No token lives for less than ten minutes, but one of Microsoft's brokers can be about to expire.
 */
function readExpiry(token: JsonObject, claims: JsonObject | undefined, context: TokenContext): Date {
  const { correlationId, now } = context;
  const expiresOn = readTime(token.expiresOn);
  if (expiresOn === undefined) throw invalidResponse("it does not say when the token expires", correlationId);
  const issued = readTime(claims?.iat);
  const idTokenExpiresOn = readTime(claims?.exp) ?? 0;
  const left = expiresOn - now;
  const isSecondsAhead = left > 0 && left < MAX_MIXED_MS && isInMilliseconds(token.expiresOn) &&
    !isInMilliseconds(token.extendedExpiresOn);
  const isMixed = isSecondsAhead || issued !== undefined && expiresOn - issued < 400_000;
  return new Date(isMixed ? Math.max(expiresOn, idTokenExpiresOn) : expiresOn);
}

/** Microsoft's brokers send all times in milliseconds, himmelblau the extended expiry in seconds. */
function isInMilliseconds(time: unknown): boolean {
  return Number(time) >= 100_000_000_000;
}

function readScopes(value: unknown): readonly string[] | undefined {
  if (typeof value === "string") return value.split(" ").filter(Boolean);
  return Array.isArray(value) && value.every((scope) => typeof scope === "string") ? value : undefined;
}

/** Reads the payload of a JWT. The first himmelblau releases send only the payload, in base64. */
function readIdTokenClaims(idToken: string | undefined): JsonObject | undefined {
  const parts = idToken?.split(".") ?? [];
  return readBase64Json(parts.length === 1 ? parts[0] : parts[1]);
}

async function readReply(json: string, context: RefusalContext): Promise<JsonObject> {
  const reply = parseReply(json, context);
  await throwErrorIn(reply, context);
  return reply;
}

/** Parses a reply, which may be a refusal. */
export function parseReply(json: string, { correlationId }: Pick<RefusalContext, "correlationId">): JsonObject {
  if (json === "") throw emptyReply(correlationId);
  if (json.length > MAX_REPLY_LENGTH) {
    throw invalidResponse(`it has more than ${MAX_REPLY_LENGTH} characters`, correlationId);
  }
  let reply: unknown;
  try {
    reply = parseJson(json);
  } catch {
    throw invalidResponse("it is not JSON", correlationId); // no cause: the parser's message quotes the reply
  }
  if (!isObject(reply)) throw invalidResponse("it is not a JSON object", correlationId);
  return reply;
}

/** The code of refusals is loaded when there is one: most replies have none. */
async function throwErrorIn(reply: JsonObject, context: RefusalContext): Promise<void> {
  const token = isObject(reply.brokerTokenResponse) ? reply.brokerTokenResponse : {};
  const error = token.error ?? reply.error;
  if (error === undefined || error === null) return;
  const details = isObject(error) ? error : { context: error };
  const claims = readText(details.claims);
  const { refusalError, statusOfWire } = await import("./errors.ts");
  throw refusalError({
    status: statusOfWire(readNumber(details.status) ?? 0),
    subStatus: readNumber(details.subStatus),
    tag: readNumber(details.tag),
    errorCode: readNumber(details.errorCode),
    text: readText(details.context) ?? readText(details.message) ?? "",
    subError: readText(details.subError) ?? readText(token.subError), // from 3.x on beside the error
    claims: claims && readJson(claims) && claims, // else it could not be replayed
  }, context);
}

/** himmelblau's session half answers so if its daemon does not; Microsoft's broker may if it cannot read its keys. */
function emptyReply(correlationId: string): LatchkeyError {
  return new LatchkeyError("broker_unavailable", "The broker sent an empty reply: its daemon could not answer", {
    correlationId,
    remedy: {
      ...advice("Check the daemon (himmelblau: systemctl status himmelblaud) and the login keyring, then try again"),
      then: { kind: "run_doctor" },
    },
  });
}

function invalidResponse(why: string, correlationId: string): LatchkeyError {
  return new LatchkeyError("invalid_response", `Cannot read the broker's reply: ${why}`, { correlationId });
}
