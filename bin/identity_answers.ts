/**
 * What a managed-identity endpoint answers: a token of the person's, for what was allowed and nothing else.
 *
 * @module
 */
import {
  type AcquireTokenRequest,
  ArgumentError,
  type AuthenticationResult,
  LatchkeyError,
  type LatchkeyErrorCode,
} from "../mod.ts";
import type { HttpReply } from "../lib/platform/http_connections.ts";
import { quoteCommand } from "../lib/platform/host.ts";
import {
  type Admitted,
  type IdentityRequest,
  readIdentityQuery,
  type Refusal,
  refusalReply,
} from "./identity_request.ts";
import { visibleJson } from "./visible.ts";

/** What is handed out, and to whom. */
export interface IdentityAnswersOptions {
  /** Client id of the app. */
  readonly clientId: string;
  /** The scopes that are handed out; for all else there is none. */
  readonly scopes: ReadonlySet<string>;
  /** Ids of managed identities that may be asked for, beside the client id; in lower case. */
  readonly identities: ReadonlySet<string>;
  /** Gets a token. */
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "forceRefresh" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Told of a scope that was refused, and of what with; then, without an error, that it is to be had again. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
}

/** The status that tells a client whether to try again: Azure's do so for those from 500 on. */
const STATUS: Readonly<Record<LatchkeyErrorCode, number>> = {
  interaction_required: 400,
  account_unusable: 400,
  account_not_found: 400,
  user_canceled: 400,
  configuration: 400,
  untrusted_authority: 400,
  refused: 400,
  missing_dependency: 400,
  unexpected: 500,
  invalid_response: 502,
  no_network: 503,
  temporarily_unavailable: 503,
  broker_unavailable: 503,
  timed_out: 504,
};

/**
 * Makes what answers.
 *
 * @param options What is handed out.
 * @returns Answers a request; it throws the signal's reason when that aborts.
 */
export function identityAnswers(
  options: IdentityAnswersOptions,
): (admitted: Admitted, signal: AbortSignal) => Promise<HttpReply> {
  return async ({ query }, signal) => {
    const request = readIdentityQuery(query);
    if ("statusCode" in request) return refusalReply(request);
    const scope = scopeOf(request, options);
    if (typeof scope !== "string") return refusalReply(scope);
    try {
      const result = await acquire(request, { scope, signal }, options);
      options.onOutcome(scope, undefined);
      return tokenReply(result, request, options);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ArgumentError) return refusalReply({ statusCode: 400, message: error.message });
      if (!(error instanceof LatchkeyError)) throw error;
      options.onOutcome(scope, error);
      return refusalReply({ statusCode: STATUS[error.code], message: messageOf(error) }, error.correlationId);
    }
  };
}

/** The scope of a resource, or one that was asked for by itself, if that is handed out. Written exactly so: nothing is implied. */
function scopeOf(
  { resource, identity }: IdentityRequest,
  { scopes, identities, clientId }: IdentityAnswersOptions,
): string | Refusal {
  if (identity !== undefined && ![clientId.toLowerCase(), ...identities].includes(identity.toLowerCase())) {
    return {
      statusCode: 400,
      message: "No Managed Identity found for the specified client, object or resource id: name it to latchkey serve " +
        "with --identity, if it is to be one that this endpoint stands in for",
    };
  }
  return [`${resource}/.default`, resource].find((scope) => scopes.has(scope)) ?? {
    statusCode: 403,
    message: `${resource} is not among what is handed out here: latchkey serve has to be given ${
      quoteCommand([["--resource", resource]])
    }`,
  };
}

async function acquire(
  { tokenToRefresh }: IdentityRequest,
  { scope, signal }: { readonly scope: string; readonly signal: AbortSignal },
  { acquire }: IdentityAnswersOptions,
): Promise<AuthenticationResult> {
  const result = await acquire({ scopes: [scope], signal });
  // The client was refused with this very token, by a claims challenge; another one than that may be good.
  if (tokenToRefresh === undefined || await sha256(result.accessToken) !== tokenToRefresh) return result;
  return await acquire({ scopes: [scope], forceRefresh: true, signal });
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tokenReply(
  { accessToken, expiresOn, tokenType }: AuthenticationResult,
  { resource }: IdentityRequest,
  { clientId }: IdentityAnswersOptions,
): HttpReply {
  return {
    status: 200,
    body: visibleJson({
      access_token: accessToken,
      expires_on: `${Math.floor(expiresOn.getTime() / 1000)}`,
      resource,
      token_type: tokenType,
      client_id: clientId,
    }),
  };
}

function messageOf({ code, error, errorDescription, message, hint }: LatchkeyError): string {
  return [`${error ?? code}: ${errorDescription || message}`, hint].filter(Boolean).join(". ");
}
