/**
 * Device authorization grant (RFC 8628): a code that the person enters on another device, and polling for the token.
 *
 * @module
 */
import {
  calculatePKCECodeChallenge,
  deviceAuthorizationRequest,
  type DeviceAuthorizationResponse,
  deviceCodeGrantRequest,
  generateRandomCodeVerifier,
  None,
  processDeviceAuthorizationResponse,
  processDeviceCodeResponse,
} from "@panva/oauth4webapi";
import { delay } from "../async.ts";
import { isHttpsOrLoopback, isMicrosoftAuthority, isMicrosoftHost } from "../authority.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError } from "../errors.ts";
import type { UserCode } from "../request.ts";
import { redacted } from "../token.ts";
import { invalidResponse, refusalOf } from "./errors.ts";
import { clientOf, type HttpOptions, retryAfterMs, sendOptions, translateErrors } from "./bounded_fetch.ts";
import { type Provider, scopesToAsk } from "./provider.ts";
import { requestToken, type TokenContext, type TokenReply } from "./token_endpoint.ts";

/** Parameters of a sign-in on another device. The reserved scopes are added. */
type DeviceCodeRequest = Pick<TokenContext, "clientId" | "scopes" | "claims" | "resource" | "agentSession">;

/** A code for the person, and the secrets with which its token is requested. */
export interface DeviceCode extends UserCode {
  readonly deviceCode: string;
  /** Secret of PKCE, if the provider required it. */
  readonly codeVerifier?: string;
  /** Seconds between two requests. */
  readonly interval: number;
  readonly request: DeviceCodeRequest;
  readonly correlationId: string;
}

/** RFC 8628, 3.5: the default interval, and what `slow_down` adds to it. */
const STEP_S = 5;
/** The interval stops growing here, unless the server names a longer one. */
const MAX_INTERVAL_S = 60;
/** A code to type: short groups of letters and digits (RFC 8628, 6.1). */
const USER_CODE = /^(?=.{1,32}$)[\p{L}\p{N}]+(?:-[\p{L}\p{N}]+)*$/u;
/** Longest lifetime of a code that is believed. */
const MAX_LIFETIME_S = 24 * 60 * 60;

/**
 * Requests a code.
 *
 * @throws {LatchkeyError} `configuration` if the provider has no device codes; `untrusted_authority` if it sends people to
 * Microsoft and is not Microsoft's; its refusal; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
export async function startDeviceCode(
  provider: Provider,
  request: DeviceCodeRequest,
  http: HttpOptions = {},
): Promise<DeviceCode> {
  const { now = Date.now, correlationId = crypto.randomUUID() } = http;
  const { clientId, scopes, claims } = request;
  const { server, authority } = provider;
  const client = clientOf(clientId, now);
  const step = { ...http, correlationId };
  if (!server.device_authorization_endpoint) {
    throw new LatchkeyError("configuration", `${authority.url} has no device codes`, {
      correlationId,
      remedy: "Sign in with the browser or the broker",
    });
  }
  let codeVerifier: string | undefined;
  const reply = await send().catch(async (error) => {
    // Keycloak can require PKCE, which RFC 8628 does not have. Others may refuse parameters that they do not know.
    const mayNeedPkce = error instanceof LatchkeyError && error.error === "invalid_request";
    if (!mayNeedPkce || isMicrosoftAuthority(authority)) throw error;
    codeVerifier = generateRandomCodeVerifier();
    const challenge = await calculatePKCECodeChallenge(codeVerifier);
    return await send({ code_challenge: challenge, code_challenge_method: "S256" });
  });
  const userCode = escapeControlCharacters(reply.user_code);
  const [verificationUri, verificationUriComplete] = [reply.verification_uri, reply.verification_uri_complete]
    .map((text) => checkAddress(text, provider, correlationId));
  if (!verificationUri || !userCode) {
    throw invalidResponse("it has no address at which to enter the code", correlationId);
  }
  // Any other text could send the person to a page of another authority.
  if (!USER_CODE.test(userCode)) throw invalidResponse("its user code is not a code", correlationId);
  const shown = {
    userCode,
    verificationUri,
    ...(verificationUriComplete && { verificationUriComplete }),
    expiresOn: new Date(now() + Math.min(reply.expires_in, MAX_LIFETIME_S) * 1000),
    message: `To sign in, open ${verificationUri} in a browser and enter the code ${userCode}`,
    interval: reply.interval ?? STEP_S,
    request,
    correlationId,
  };
  const secrets = { deviceCode: reply.device_code, ...(codeVerifier !== undefined && { codeVerifier }) };
  return redacted({ ...shown, ...secrets }, () => ({ ...shown, deviceCode: "[concealed]" }));

  async function send(pkce: Readonly<Record<string, string>> = {}): Promise<DeviceAuthorizationResponse> {
    const parameters = new URLSearchParams({ scope: scopesToAsk(provider, scopes).join(" "), ...pkce });
    if (claims !== undefined && isMicrosoftAuthority(authority)) parameters.set("claims", claims);
    if (request.resource !== undefined) parameters.set("resource", request.resource);
    const options = sendOptions(authority.url, step, { retry: true });
    const ask = () => deviceAuthorizationRequest(server, client, None(), parameters, options);
    const response = await translateErrors(ask, step);
    const { status, headers } = response;
    const body = await response.text();
    if (status !== 200) {
      throw refusalOf({ status, body }, contextOf(provider, request, correlationId), retryAfterMs(response, now()));
    }
    const read = () => processDeviceAuthorizationResponse(server, client, new Response(body, { headers }));
    return await translateErrors(read, step);
  }
}

/**
 * Polls until the person has signed in.
 *
 * @throws {LatchkeyError} `timed_out` if the code has expired; `user_canceled`; the provider's refusal; `invalid_response`.
 */
export async function pollDeviceCode(
  provider: Provider,
  code: DeviceCode,
  http: HttpOptions = {},
): Promise<TokenReply> {
  const { now = Date.now, wait = delay, signal } = http;
  const { deviceCode, codeVerifier, request, correlationId, expiresOn } = code;
  const context = { ...contextOf(provider, request, correlationId), secrets: [deviceCode, codeVerifier ?? ""] };
  for (let interval = code.interval;;) {
    const leftMs = expiresOn.getTime() - now();
    if (leftMs <= 0) {
      throw new LatchkeyError("timed_out", "Nobody entered the code in time", {
        correlationId,
        remedy: "Request a new code, and enter it before it expires",
      });
    }
    await wait(Math.min(interval * 1000, leftMs), signal);
    try {
      return await requestToken(provider, {
        parameters: codeVerifier === undefined ? {} : { code_verifier: codeVerifier },
        send: (server, client, options) => deviceCodeGrantRequest(server, client, None(), deviceCode, options),
        read: processDeviceCodeResponse,
      }, { context, http });
    } catch (error) {
      interval = nextInterval(interval, error);
    }
  }
}

/** Returns the seconds until the next request, or rethrows an error that ends the polling. */
function nextInterval(interval: number, error: unknown): number {
  if (!(error instanceof LatchkeyError)) throw error;
  if (error.error === "authorization_pending") return interval;
  if (error.error === "slow_down") return interval + STEP_S;
  // RFC 8628, 3.5: exponential backoff after a failed connection.
  const isTransient = ["no_network", "timed_out", "temporarily_unavailable"].includes(error.code) &&
    error.error !== "expired_token";
  if (isTransient) return Math.min(interval * 2, Math.max(interval, MAX_INTERVAL_S));
  throw error;
}

/**
 * Returns the address that a person is sent to, or `undefined` if it is not one of the web. An untrusted authority could
 * request a code from Microsoft and pass it on: who enters it there signs that authority in.
 */
function checkAddress(text: string | undefined, { authority }: Provider, correlationId: string): string | undefined {
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
  const labels = url?.hostname.replace(/\.$/, "").split(".") ?? [];
  const isMicrosofts = labels.some((_, index) => isMicrosoftHost(labels.slice(index).join(".")));
  if (isMicrosofts && !isMicrosoftAuthority(authority)) {
    throw new LatchkeyError("untrusted_authority", `${authority.url} sends people to Microsoft with its code`, {
      correlationId,
      remedy: "Check the authority. Do not enter its code at a page of Microsoft's",
    });
  }
  return url && isHttpsOrLoopback(url) ? url.href : undefined;
}

function contextOf(provider: Provider, request: DeviceCodeRequest, correlationId: string): TokenContext {
  const sentScopes = scopesToAsk(provider, request.scopes);
  return { flow: "device_code", ...request, redirectUri: "", correlationId, sentScopes };
}
