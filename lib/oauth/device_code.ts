/**
 * Sign-in on another device (RFC 8628): a code that the person types there, and asking until they have.
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
import { isLoopbackHost, isMicrosoftAuthority, isMicrosoftHost } from "../authority.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import type { UserCode } from "../request.ts";
import { redacted } from "../token.ts";
import { refusalOf } from "./errors.ts";
import { clientOf, type HttpOptions, retryAfterMs, sendOptions, shielded, waitByTimer } from "./fetch.ts";
import { isMicrosoft, type Provider, scopesToAsk } from "./provider.ts";
import { requestToken, type TokenContext, type TokenReply } from "./token_endpoint.ts";

/** What a sign-in on another device asks for. */
interface DeviceCodeRequest {
  /** The app. */
  readonly clientId: string;
  /** What is asked for; the reserved scopes are added. */
  readonly scopes: readonly string[];
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
}

/** A code that the person is to type, and the secret that its token is asked for with. */
export interface DeviceCode extends UserCode {
  /** The secret. */
  readonly deviceCode: string;
  /** The secret of PKCE, if the provider demanded it. */
  readonly codeVerifier?: string;
  /** Seconds between two questions. */
  readonly interval: number;
  /** What was asked for. */
  readonly request: DeviceCodeRequest;
  /** UUID of the sign-in. */
  readonly correlationId: string;
}

/** RFC 8628, 3.5: how much longer to wait after being told to slow down, and between questions when nothing was said. */
const STEP_S = 5;
/** A server that names more than this is not waited for any longer. */
const MAX_INTERVAL_S = 60;

/**
 * Asks for a code.
 *
 * @param provider Who is asked.
 * @param request What is asked for.
 * @param http How the provider is reached.
 * @throws {LatchkeyError} `configuration` when the provider has no device codes; `untrusted_authority` if it sends people to
 * Microsoft and is not Microsoft's; its refusal; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`.
 */
export async function startDeviceCode(
  provider: Provider,
  request: DeviceCodeRequest,
  http: HttpOptions = {},
): Promise<DeviceCode> {
  const { now = Date.now, correlationId = crypto.randomUUID() } = http, { clientId } = request;
  const { server, authority } = provider, client = clientOf(clientId, now), step = { ...http, correlationId };
  if (!server.device_authorization_endpoint) {
    throw new LatchkeyError("configuration", `${authority.url} has no device codes`, {
      correlationId,
      hint: "Sign in with the browser or the broker",
    });
  }
  let codeVerifier: string | undefined;
  const answer = await ask().catch(async (error) => {
    // Keycloak can demand PKCE, which RFC 8628 does not have; others may refuse what they do not know.
    const mayWantPkce = error instanceof LatchkeyError && error.error === "invalid_request";
    if (!mayWantPkce || isMicrosoftAuthority(authority)) throw error;
    codeVerifier = generateRandomCodeVerifier();
    return await ask({ code_challenge: await calculatePKCECodeChallenge(codeVerifier), code_challenge_method: "S256" });
  });
  const { userCode, verificationUri, verificationUriComplete } = readAddresses(answer, provider, correlationId);
  const code: DeviceCode = {
    userCode,
    verificationUri,
    ...(verificationUriComplete && { verificationUriComplete }),
    expiresOn: new Date(now() + Math.min(answer.expires_in, 24 * 60 * 60) * 1000),
    message: `To sign in, open ${verificationUri} in a browser and enter the code ${userCode}`,
    deviceCode: answer.device_code,
    ...(codeVerifier !== undefined && { codeVerifier }),
    interval: answer.interval ?? STEP_S,
    request,
    correlationId,
  };
  return redacted(code, () => {
    const { codeVerifier: _, ...shown } = code;
    return { ...shown, deviceCode: "[concealed]" };
  });

  async function ask(pkce: Readonly<Record<string, string>> = {}): Promise<DeviceAuthorizationResponse> {
    const { scopes, claims } = request;
    const parameters = new URLSearchParams({ scope: scopesToAsk(provider, scopes).join(" "), ...pkce });
    if (claims !== undefined && isMicrosoft(provider)) parameters.set("claims", claims);
    const options = sendOptions(authority.url, step, { retry: true });
    const response = await shielded(
      () => deviceAuthorizationRequest(server, client, None(), parameters, options),
      step,
    );
    const { status, headers } = response, body = await response.text();
    if (status !== 200) {
      throw refusalOf({ status, body }, contextOf(request, correlationId), retryAfterMs(response, now()));
    }
    return await shielded(
      () => processDeviceAuthorizationResponse(server, client, new Response(body, { headers })),
      step,
    );
  }
}

/**
 * Asks until the person has signed in, as often as the server lets it.
 *
 * @param provider Who is asked.
 * @param code What {@linkcode startDeviceCode} gave.
 * @param http How the provider is reached.
 * @throws {LatchkeyError} `timed_out` when the code has ended; `user_canceled`; the provider's refusal; `invalid_response`.
 */
export async function pollDeviceCode(
  provider: Provider,
  code: DeviceCode,
  http: HttpOptions = {},
): Promise<TokenReply> {
  const { now = Date.now, wait = waitByTimer, signal } = http, { deviceCode, codeVerifier, request } = code;
  const { correlationId } = code;
  const pkce: Record<string, string> = codeVerifier === undefined ? {} : { code_verifier: codeVerifier };
  const secrets = [deviceCode, codeVerifier ?? ""];
  const context = { ...contextOf(request, correlationId), claims: request.claims, secrets };
  for (let interval = code.interval;;) {
    const left = code.expiresOn.getTime() - now();
    if (left <= 0) throw ended(correlationId);
    await wait(Math.min(interval * 1000, left), signal);
    try {
      return await requestToken(provider, {
        send: (server, client, options) =>
          deviceCodeGrantRequest(server, client, None(), deviceCode, {
            ...options,
            additionalParameters: { ...options.additionalParameters, ...pkce },
          }),
        read: processDeviceCodeResponse,
      }, { context, http });
    } catch (error) {
      interval = nextInterval(interval, error);
    }
  }
}

/** What the next question waits for; throws an error that is the end. */
function nextInterval(interval: number, error: unknown): number {
  if (!(error instanceof LatchkeyError)) throw error;
  if (error.error === "authorization_pending") return interval;
  if (error.error === "slow_down") return interval + STEP_S;
  // RFC 8628, 3.5: a connection that failed is tried again, less and less often.
  const mayPass = ["no_network", "timed_out", "temporarily_unavailable"].includes(error.code) &&
    error.error !== "expired_token";
  if (mayPass) return Math.min(interval * 2, Math.max(interval, MAX_INTERVAL_S));
  throw error;
}

/**
 * A person is sent there, so it has to be an address of the web. A stranger's authority could ask Microsoft for a code, and pass
 * it on: whoever types it there signs the stranger in.
 */
function readAddresses(
  answer: DeviceAuthorizationResponse,
  { authority }: Provider,
  correlationId: string,
): {
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete: string | undefined;
} {
  const addresses = [answer.verification_uri, answer.verification_uri_complete].map((text) => {
    const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
    if (url && isAtMicrosoft(url.hostname) && !isMicrosoftAuthority(authority)) {
      throw new LatchkeyError("untrusted_authority", `${authority.url} sends people to Microsoft with its code`, {
        correlationId,
        hint: "Check --authority (authority). Type no code of it at a page of Microsoft's",
      });
    }
    const isSafe = url?.protocol === "https:" || url?.protocol === "http:" && isLoopbackHost(url.hostname);
    return isSafe ? url?.href : undefined;
  });
  const [verificationUri, verificationUriComplete] = addresses, userCode = escapeControlCharacters(answer.user_code);
  if (verificationUri && userCode) return { userCode, verificationUri, verificationUriComplete };
  throw new LatchkeyError("invalid_response", "The server's answer is not valid: no address to type the code at", {
    correlationId,
  });
}

/** Returns true if a host is one of Microsoft's, or below one. */
function isAtMicrosoft(hostname: string): boolean {
  const labels = hostname.replace(/\.$/, "").split(".");
  return labels.some((_, index) => isMicrosoftHost(labels.slice(index).join(".")));
}

function contextOf({ clientId, scopes }: DeviceCodeRequest, correlationId: string): TokenContext {
  return { flow: "device_code", clientId, scopes, redirectUri: "", correlationId };
}

function ended(correlationId: string): LatchkeyError {
  return new LatchkeyError("timed_out", "Nobody entered the code in time", {
    correlationId,
    hint: "Ask for a new code, and enter it before it ends",
  });
}
