/**
 * Tokens from the identity provider itself: kept in a cache, renewed, and had by the person's sign-in in the browser or on
 * another device.
 *
 * @module
 */
import { type AccountInfo, isExpectedAccount, isSameUsername } from "../account.ts";
import { InFlight, renewalsInFlight, SingleFlight, untilAborted } from "../async.ts";
import {
  type Authority,
  authorityOfAccount,
  authorityOfTenant,
  isMicrosoftAuthority,
  isMultiTenant,
  parseAuthority,
} from "../authority.ts";
import type { ReplyToSave } from "../cache/changes.ts";
import type { CachedAccount, CachedToken } from "../cache/lookup.ts";
import { isNotWritable, type TokenCache } from "../cache/token_cache.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { ArgumentError, LatchkeyError, type LatchkeyErrorCode, type Logger } from "../errors.ts";
import type { AuthCodeFlow, AuthorizationFlow } from "../oauth/authorization_code.ts";
import type { HttpOptions } from "../oauth/fetch.ts";
import type { Provider } from "../oauth/provider.ts";
import type { TokenReply } from "../oauth/token_endpoint.ts";
import { type AuthCodeFlowRequest, capabilitiesOf, sharedKey, type TokenQuery } from "../request.ts";
import { type AuthenticationResult, redacted, refuseOld } from "../token.ts";

/** What the source is made of. */
interface ProviderSourceOptions {
  /** The app. */
  readonly clientId: string;
  /** The app's authority. */
  readonly authority: Authority;
  /** Where tokens are kept. */
  readonly cache: TokenCache;
  /** How servers are reached; asked for when it is first needed. */
  readonly fetch: () => Promise<HttpOptions["fetch"]>;
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** Takes log lines. */
  readonly log: Logger;
}

/** A person's sign-in. */
interface SignIn {
  /** Signs the person in. `accept` throws when it was somebody else. */
  readonly sign: (
    provider: Provider,
    call: HttpOptions & { readonly signal: AbortSignal; readonly accept: (reply: TokenReply) => void },
  ) => Promise<TokenReply>;
  /** Name of the grant, as MSAL's cache has it. */
  readonly accountSource: "authorization_code" | "urn:ietf:params:oauth:grant-type:device_code";
  /** User name of the one who has to sign in, when the query has no account. @default anybody may */
  readonly username?: string | undefined;
  /** Under which the sign-in is shared with others under way that are equal. @default it is one of its own */
  readonly key?: string | undefined;
}

/** What goes with the end of a sign-in that was started earlier. */
export interface FinishOptions {
  /** The tenant that the sign-in was started at, when it was another than the app's. */
  readonly tenantId?: string | undefined;
  /**
   * The address that the answer came to, as the person's browser had it, with or without its query: it has to be the flow's
   * redirect URI. An authority that is not Microsoft's, and does not name itself in its answers (RFC 9207), needs it.
   *
   * @default not checked
   */
  readonly redirectUri?: string | undefined;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Failures in which a token that has nearly ended is better than none. */
const OUTAGES: ReadonlySet<LatchkeyErrorCode> = new Set(["no_network", "temporarily_unavailable", "timed_out"]);

/** How long a renewal is waited for while the token at hand is still good, in milliseconds. */
const RENEWAL_MS = 5_000;

/** How many accounts a message names. */
const MAX_NAMES = 5;

/** The identity provider as an application uses it. */
export class ProviderSource {
  readonly #options: ProviderSourceOptions;
  readonly #cache: TokenCache;
  readonly #calls = new SingleFlight<AuthenticationResult>();
  readonly #renewals = new InFlight();

  /** @param options What it is made of. Nothing is read or asked before the first call. */
  constructor(options: ProviderSourceOptions) {
    this.#options = options;
    this.#cache = options.cache;
  }

  /** A token that is kept, else one for a refresh token that is kept. */
  async acquireSilently(query: TokenQuery): Promise<AuthenticationResult> {
    refusePop(query);
    return await this.#calls.run(sharedKey("silent", query), query.signal, async (signal) => {
      const { correlationId } = query;
      const account = query.account ?? await this.#onlyAccount(query, { correlationId, signal });
      const call = { account, correlationId, signal };
      const kept = query.skipCache ? undefined : await this.#kept(query, call);
      if (kept?.state === "use") return kept.result;
      const isStillGood = kept !== undefined && kept.result.expiresOn.getTime() > this.#options.now();
      try {
        return await (isStillGood ? this.#renewSoon(query, call) : this.#renewAlone(query, call));
      } catch (error) {
        if (!kept || signal.aborted || !(error instanceof LatchkeyError)) throw error;
        const isEnough = OUTAGES.has(error.code) || isStillGood && isNotWritable(error);
        if (kept.state === "outage" && !isEnough) throw error;
        this.#options.log("warn", `The token could not be renewed (${error.code}): the one that is kept is used`);
        return kept.result;
      }
    });
  }

  /** Gives a renewal up after a short time; one that was sent is finished even so. */
  async #renewSoon(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const limit = new AbortController(), { correlationId } = call;
    const tooLate = () =>
      new LatchkeyError("timed_out", `No answer within ${RENEWAL_MS / 1000} seconds`, { correlationId });
    const timer = setTimeout(() => limit.abort(tooLate()), RENEWAL_MS);
    try {
      const signal = AbortSignal.any([call.signal, limit.signal]);
      return await untilAborted(this.#renewAlone(query, { ...call, signal }), limit.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #renewAlone(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const { authority } = query, isReusable = authority.kind === "adfs" || isMicrosoftAuthority(authority);
    return await this.#cache.withLock(call.account, async () => {
      // Whoever had to wait finds what was renewed meanwhile.
      const renewed = query.skipCache ? undefined : await this.#kept(query, call);
      return renewed?.state === "use" ? renewed.result : await this.#renew(query, call);
    }, { signal: call.signal, mayGoUnsaved: isReusable });
  }

  /**
   * A token by the person's sign-in.
   *
   * @param query What is asked for.
   * @param signIn How, and whose it has to be.
   */
  async signIn(query: TokenQuery, { key, sign, username, accountSource }: SignIn): Promise<AuthenticationResult> {
    refusePop(query);
    return await this.#calls.run(key ?? crypto.randomUUID(), query.signal, async (signal) => {
      const { correlationId } = query;
      const authority = authorityOfAccount(query.authority, query.account);
      const { provider, http } = await this.find(authority, { correlationId, signal });
      const accept = ({ result }: TokenReply) => refuseOther(result, query.account, username);
      const reply = await sign(provider, { ...http, correlationId, signal, accept });
      accept(reply);
      await this.#save(query, reply, accountSource);
      return reply.result;
    });
  }

  /**
   * Begins a sign-in whose answer comes in another request.
   *
   * @param query What is asked for.
   * @param request Where the answer goes, and how.
   */
  async startFlow(
    query: TokenQuery,
    { redirectUri, responseMode }: Pick<AuthCodeFlowRequest, "redirectUri" | "responseMode">,
  ): Promise<AuthCodeFlow> {
    if (!URL.canParse(redirectUri)) throw new ArgumentError("Cannot sign in: redirectUri is missing, or is no address");
    const { clientId, now } = this.#options, { provider } = await this.find(query.authority, query);
    const { checkRedirectUri, startAuthorization } = await import("../oauth/authorization_code.ts");
    checkRedirectUri(provider, redirectUri, query);
    const request = { ...query, clientId, loginHint: query.username, redirectUri, responseMode, now };
    const { url: authUri, flow } = await startAuthorization(provider, request);
    return redacted({ ...flow, authUri }, () => ({ authority: flow.authority, correlationId: flow.correlationId }));
  }

  /** Ends a sign-in that {@linkcode startFlow} began. */
  async finishFlow(
    flow: AuthorizationFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    { signal, tenantId, redirectUri: address }: FinishOptions = {},
  ): Promise<AuthenticationResult> {
    if (typeof flow?.authority !== "string") {
      throw new ArgumentError("Cannot finish a sign-in: the flow is not one that was started");
    }
    const authority = parseAuthority(flow.authority), { correlationId } = flow;
    if (flow.clientId !== this.#options.clientId || !isOwn(authority, this.#options.authority, tenantId)) {
      throw new ArgumentError("Cannot finish a sign-in: it was started by another app, or at another authority");
    }
    const { provider, http } = await this.find(authority, { correlationId, signal });
    const { checkRedirectUri, finishAuthorization } = await import("../oauth/authorization_code.ts");
    checkRedirectUri(provider, flow.redirectUri, { correlationId, answered: { address } });
    const reply = await finishAuthorization(provider, flow, new URLSearchParams(response), http);
    await this.#save({ authority, claims: flow.claims }, reply, "authorization_code");
    return reply.result;
  }

  /** The endpoints of an authority, and how it is reached. */
  async find(
    authority: Authority,
    call: Pick<HttpOptions, "correlationId" | "signal"> = {},
  ): Promise<{ readonly provider: Provider; readonly http: HttpOptions }> {
    const { signal, correlationId } = call;
    const http = { fetch: await this.#options.fetch(), now: this.#options.now, signal, correlationId };
    const { findProvider } = await import("../oauth/provider.ts"); // who has a token that is kept does without
    return { provider: await findProvider(authority, http), http };
  }

  /** Notes that an account signed in with a broker, which renews its tokens from now on. None of them is stored. */
  async noteBrokerSignIn(result: AuthenticationResult): Promise<void> {
    await this.#save(this.#options, { result }, "broker");
  }

  /** Ends all calls under way, with a reason. Resolves when the renewals that were sent are finished and stored. */
  async close(reason: unknown): Promise<void> {
    this.#calls.abort(reason);
    await this.#renewals.drained();
    await this.#cache.saveUnsaved();
  }

  async #onlyAccount(query: TokenQuery, { correlationId, signal }: Omit<Call, "account">): Promise<AccountInfo> {
    const [only, ...more] = await this.#cache.findAccounts({ username: query.username, signal });
    if (only && more.length === 0) return only.account;
    throw only ? several([only, ...more], correlationId) : nobody(query, correlationId);
  }

  async #kept(query: TokenQuery, call: Call): Promise<CachedToken | undefined> {
    const { scopes, claims } = query, realm = realmOf(query.authority), capabilities = capabilitiesOf(claims);
    return await this.#cache.findAccessToken({ ...call, scopes, realm, capabilities });
  }

  /** Finds out what a renewal takes. Once it is sent, it is finished and stored, although everybody gave it up. */
  async #renew(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const { account, correlationId, signal } = call;
    const { provider } = await this.find(authorityOfAccount(query.authority, account), { correlationId, signal });
    const { refreshTokens } = await import("../oauth/token_endpoint.ts");
    // Tokens of its family can be there even so.
    if (await this.#cache.isSignedOut(account, { signal })) throw nobody(query, correlationId);
    const { clientId, fetch, now } = this.#options, { scopes, claims } = query;
    const http = { fetch: await fetch(), now, correlationId };
    const redeem = (refreshToken: string) =>
      refreshTokens(provider, { clientId, refreshToken, scopes, claims, account }, http);
    return await this.#renewals.run(() => renewalsInFlight.run(() => this.#redeemEach(redeem, query, call)));
  }

  /** Each refresh token is tried until one is taken: the app's own, then those of its family. */
  async #redeemEach(
    redeem: (refreshToken: string) => Promise<TokenReply>,
    query: TokenQuery,
    call: Call,
  ): Promise<AuthenticationResult> {
    const { account, correlationId, signal } = call, { maxAge, skipCache: passHeld } = query;
    const tried = new Set<string>();
    let refusal: LatchkeyError | undefined;
    let isOfFamily = true;
    for (let look = 1; look <= 2; look++) {
      for (const { refreshToken, holder } of await this.#cache.findRefreshTokens(account, { signal })) {
        if (tried.has(refreshToken) || holder === "perhaps" && !isOfFamily) continue;
        signal.throwIfAborted();
        tried.add(refreshToken);
        let reply: TokenReply;
        try {
          reply = await redeem(refreshToken);
        } catch (error) {
          if (!(error instanceof LatchkeyError) || error.code !== "interaction_required") throw error;
          refusal ??= error;
          isOfFamily = error.subError !== "client_mismatch"; // this app is of no family: no use in trying others' tokens
          continue;
        }
        // First of all, as the old refresh token may be good no more.
        await this.#save(query, { ...reply, replaces: [...tried] });
        if (maxAge !== undefined) refuseOld(reply.result, maxAge, this.#options.now());
        return reply.result;
      }
      if (refusal?.error !== "invalid_grant") break;
      // Another process may have renewed meanwhile: one that stands still for long loses its lock.
      const renewed = passHeld ? undefined : await this.#kept(query, call);
      if (renewed?.state === "use") return renewed.result;
    }
    throw refusal ?? nobody(query, correlationId);
  }

  /** A token that cannot be stored is good even so. */
  async #save(
    { authority, claims }: Pick<TokenQuery, "authority" | "claims">,
    reply: TokenReply & Pick<ReplyToSave, "replaces">,
    accountSource?: SignIn["accountSource"] | "broker",
  ): Promise<void> {
    const realm = realmOf(authority), kind = authority.kind === "adfs" ? { authorityType: "ADFS" } as const : {};
    try {
      await this.#cache.save({ ...reply, accountSource, realm, capabilities: capabilitiesOf(claims), ...kind });
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      const stake = reply.refreshToken === undefined
        ? ""
        : "until it can be, the refresh token is held in memory, and if the program ends before, the account may have to " +
          "sign in again: ";
      this.#options.log("warn", `The token could not be stored: ${stake}${error.message}`);
    }
  }
}

interface Call {
  readonly account: AccountInfo;
  readonly correlationId: string;
  readonly signal: AbortSignal;
}

/**
 * Whether an app starts sign-ins at an authority: a flow may have been in the hands of the person, who must not choose whose
 * word is taken for who they are. Where the app is for one tenant, another is taken only when
 * the app names it again.
 */
function isOwn(authority: Authority, own: Authority, tenantId: string | undefined): boolean {
  const asked = tenantId === undefined ? own : authorityOfTenant(own, tenantId);
  const isAnyTenant = isMultiTenant(asked) && authority.kind === own.kind && authority.origin === own.origin;
  return authority.url === asked.url || isAnyTenant;
}

/** The tenant that an authority stands for, if it is one. */
function realmOf(authority: Authority): string | undefined {
  const isTenant = authority.kind === "entra" && !isMultiTenant(authority) && authority.tenant !== "consumers";
  return isTenant ? authority.tenant : undefined;
}

function refusePop({ pop }: TokenQuery): void {
  if (!pop) return;
  throw new LatchkeyError("broker_unavailable", "Only a broker binds tokens to requests, and there is none", {
    hint: "Ask without authenticationScheme (--pop)",
  });
}

/** Providers may leave the user name out of id tokens (OpenID Connect Core, 5.4). */
const NAMELESS = "The identity provider did not say who signed in: choose an account, or name nobody";

/** The person chooses who signs in, and may choose somebody else than the program goes on for. */
function refuseOther(
  { account, correlationId }: AuthenticationResult,
  expected: AccountInfo | undefined,
  username: string | undefined,
): void {
  if (isExpectedAccount(account, { account: expected, username })) return;
  const [answered, wanted] = [account.username, expected?.username ?? username ?? ""].map(escapeControlCharacters);
  const signInAs = `Sign in as ${wanted || "that account"}`;
  throw new LatchkeyError(
    "interaction_required",
    `${answered || "Somebody else"} signed in, and not ${wanted || "the account that was asked for"}`,
    { correlationId, hint: answered ? signInAs : `${signInAs}. ${NAMELESS}` },
  );
}

function nobody({ account, username }: TokenQuery, correlationId: string): LatchkeyError {
  const who = account?.username || username;
  return new LatchkeyError(
    "interaction_required",
    who ? `${who} has to sign in` : "Nobody is signed in",
    { correlationId, hint: "Sign in: latchkey login, token --interactive always, or acquireTokenInteractive" },
  );
}

function several(accounts: readonly CachedAccount[], correlationId: string): LatchkeyError {
  const names = accounts.slice(0, MAX_NAMES).map(({ account: { username, homeAccountId } }) => {
    const isOneOfMany = accounts.filter(({ account }) => isSameUsername(account.username, username)).length > 1;
    return escapeControlCharacters(
      username && isOneOfMany ? `${username} (${homeAccountId})` : username || homeAccountId,
    );
  });
  const more = accounts.length > MAX_NAMES ? ` and ${accounts.length - MAX_NAMES} more` : "";
  return new LatchkeyError("interaction_required", `Several accounts are signed in: ${names.join(", ")}${more}`, {
    correlationId,
    hint: "Choose one: --account, or account in the request",
  });
}
