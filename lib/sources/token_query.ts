/**
 * Requests for tokens, checked before anything is opened or asked.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import { type AccountInfo, accountKey } from "../account.ts";
import { type Authority, authorityOfAccount, authorityOfTenant } from "../authority.ts";
import { capabilitiesOf, readClaims } from "../claims.ts";
import {
  type AcquireTokenRequest,
  checkPop,
  checkScopes,
  checkSignIn,
  correlationIdOf,
  mergeClaims,
  type PopScheme,
  type SignInOptions,
} from "../request.ts";

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
  readonly passHeld: boolean;
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
    passHeld: forceRefresh || claims !== undefined || maxAge !== undefined || pop !== undefined,
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
  const { claims, passHeld, renew, pop, maxAge, chosenCorrelationId } = query;
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
