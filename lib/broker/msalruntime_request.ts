/**
 * Requests as MSALRuntime takes them. Pure.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import { brokerPluginUri, NATIVE_CLIENT_URI, UNSIGNED_APP_URI } from "../redirect_uris.ts";
import { RESERVED_SCOPES } from "../request.ts";
import type { WindowHandle } from "../window_handle.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest } from "./broker.ts";
import { readWindow, windowBits } from "./json_window.ts";
import type { NativeParameters } from "./msalruntime_library.ts";

/** What the library refuses a request over: it says these itself. */
const OWN_PARAMETERS: ReadonlySet<string> = new Set([
  ...["client_id", "scope", "response_type", "redirect_uri", "nonce", "code_challenge", "client_info"],
  ...["prompt", "domain_hint", "dc"],
]);

/** Prompts that have the person choose or type, whatever account was chosen. */
const ANEW: ReadonlySet<string> = new Set(["login", "select_account", "create"]);

/** A request for a token. What is not there is not set. */
export interface NativeRequest {
  readonly clientId: string;
  readonly authority: string;
  readonly redirectUri: string;
  /** Parted by spaces. */
  readonly scopes: string;
  /** JSON text. */
  readonly claims?: string | undefined;
  readonly accessTokenToRenew?: string | undefined;
  /** Method, host, path and nonce of the HTTP request that the token is to be bound to. */
  readonly pop?: readonly [string, string, string, string] | undefined;
  /** More parameters of the authorization request. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Names of those that the library does not take. */
  readonly leftOut: readonly string[];
}

/** A sign-in by a window: for the account that was chosen, or for whoever signs in. */
export type WindowWay = { readonly way: "account" } | { readonly way: "anyone"; readonly hint: string };

/**
 * The redirect URI that a broker serves an app for. MSALRuntime is told it on each platform, although Windows' broker takes
 * its own.
 *
 * @param clientId The app.
 * @param system Operating system, in Node's words.
 */
export function redirectUriOf(clientId: string, system: string): string {
  switch (system) {
    case "win32":
      return brokerPluginUri(clientId);
    case "darwin":
      return UNSIGNED_APP_URI;
    default:
      return NATIVE_CLIENT_URI;
  }
}

/** A request in the library's words. */
export function nativeRequest(clientId: string, request: BrokerTokenRequest, system: string): NativeRequest {
  const { authority, claims, accessTokenToRenew, pop } = request;
  const extra = Object.entries(request.extraParameters ?? {});
  return {
    clientId,
    authority: authority.url,
    redirectUri: redirectUriOf(clientId, system),
    scopes: request.scopes.filter((scope) => !RESERVED_SCOPES.includes(scope)).join(" "),
    claims,
    accessTokenToRenew,
    pop: pop && popOf(pop.method, new URL(pop.url), pop.nonce),
    parameters: Object.fromEntries(extra.filter(([name]) => !isOwn(name))),
    // A prompt is said by the function that is called.
    leftOut: extra.map(([name]) => name).filter((name) => isOwn(name) && name !== "prompt"),
  };
}

/** Puts a request into the library's own object. */
export function fillParameters(made: NativeParameters, request: NativeRequest): NativeParameters {
  made.CreateAuthParameters(request.clientId, request.authority);
  made.SetRedirectUri(request.redirectUri);
  made.SetRequestedScopes(request.scopes);
  if (request.claims !== undefined) made.SetDecodedClaims(request.claims);
  if (request.accessTokenToRenew !== undefined) made.SetAccessTokenToRenew(request.accessTokenToRenew);
  if (request.pop) made.SetPopParams(...request.pop);
  for (const [name, value] of Object.entries(request.parameters)) made.SetAdditionalParameter(name, value);
  return made;
}

/** Which window a request is for. */
export function windowWay({ account, loginHint, extraParameters }: BrokerInteractiveRequest): WindowWay {
  const prompt = extraParameters?.prompt ?? "";
  if (account && !ANEW.has(prompt)) return { way: "account" };
  // With a hint, the window that is for choosing asks for that person's password.
  return { way: "anyone", hint: prompt === "select_account" ? "" : loginHint ?? account?.username ?? "" };
}

/**
 * A window as the library reads it from memory: always eight bytes. Zeros stand for the console's window, which the addon
 * finds, or for the desktop where there is no console; on macOS and Linux no window is needed.
 *
 * @throws {TypeError} for a window of Wayland, which it does not know.
 */
export function windowBytes(handle: WindowHandle | undefined): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, windowBits(handle) ?? namedWindow(handle), true);
  return bytes;
}

/** A window by X11's name; none, and the console's, is 0. */
function namedWindow(handle: WindowHandle | undefined): bigint {
  const window = readWindow(handle);
  if ("id" in window) return BigInt(window.id);
  throw new ArgumentError("Cannot acquire a token: MSALRuntime knows no window by the name that Wayland gives it");
}

function isOwn(name: string): boolean {
  return OWN_PARAMETERS.has(name.toLowerCase());
}

function popOf(method: string, { host, pathname }: URL, nonce = ""): [string, string, string, string] {
  return [method, host, pathname, nonce];
}
