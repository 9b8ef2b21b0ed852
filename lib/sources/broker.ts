/**
 * Broker tokens that this program holds. They live in memory alone: the broker keeps them for the next run.
 *
 * @module
 */
import { type AccountInfo, idKey, isSameUsername } from "../account.ts";
import { SingleFlight } from "../async.ts";
import { authorityOfAccount } from "../authority.ts";
import {
  type Broker,
  type BrokerCall,
  type BrokerChange,
  type BrokerFinding,
  type BrokerStatus,
  type BrokerTokenRequest,
  noBroker,
} from "../broker/broker.ts";
import { type JsonBrokerOptions, refuseOther } from "../broker/client.ts";
import { type BrokerFlags, type BrokerSearch, findBroker } from "../broker/detect.ts";
import { readJwt } from "../encoding.ts";
import { INTERACTION_REQUIRED_CODES, LatchkeyError, withCorrelationId, withDetails } from "../errors.ts";
import { keyFor, type Prompt, type RequestOptions, sharedKey, type TokenQuery } from "../request.ts";
import { type AuthenticationResult, EXPIRY_MARGIN_MS, Lifetimes, redactTokens, refuseOld } from "../token.ts";

/** Tokens by what they were asked for with. */
export class MemoryCache {
  readonly #tokens = new Map<string, AuthenticationResult>();
  readonly #lifetimes = new Lifetimes();

  /**
   * The token that was held for a request.
   *
   * @param key What is asked for.
   * @param now The time, in milliseconds since 1970.
   * @returns A token that is good for five more minutes.
   */
  find(key: string, now: number): AuthenticationResult | undefined {
    const held = this.#tokens.get(key), token = held && this.#lifetimes.bounded(held, now);
    return token && token.expiresOn.getTime() - now > EXPIRY_MARGIN_MS ? token : undefined;
  }

  /** The token that was held for a request, good or not: what a broker is shown to renew it. */
  findOld(key: string): AuthenticationResult | undefined {
    return this.#tokens.get(key);
  }

  /** Holds a token for requests like the ones that it answers. What has ended is dropped. */
  hold(keys: readonly string[], token: AuthenticationResult, now: number): void {
    this.#lifetimes.note(token, now);
    for (const key of keys) this.#tokens.set(key, token);
    for (const [key, old] of this.#tokens) {
      if (this.#lifetimes.bounded(old, now).expiresOn.getTime() <= now) this.#tokens.delete(key);
    }
  }

  /** Drops the tokens that are meant. */
  forget(isMeant: (token: AuthenticationResult) => boolean): void {
    for (const [key, token] of this.#tokens) {
      if (isMeant(token)) this.#tokens.delete(key);
    }
  }
}

/** What decides over the way to a token. */
export interface SignIn {
  /** What the person is asked for. */
  readonly prompt?: Prompt | undefined;
  /** User name of the person who is expected. */
  readonly loginHint?: string | undefined;
}

/** The steps that a sign-in is made of. */
interface SignInSteps {
  /** The accounts that the broker knows. */
  accounts(): Promise<readonly AccountInfo[]>;
  /** A token without a window: for an account, else for the one that is signed in to the device. */
  silently(account: AccountInfo | undefined): Promise<AuthenticationResult>;
  /** A token by a window. */
  byWindow(): Promise<AuthenticationResult>;
}

/** The broker's own words for "a person has to sign in": interaction required, account unusable. */
const WINDOW_HELPS: readonly number[] = [2, 13];

/**
 * Signs in as MSAL Python does: a window only where the prompt asks for one, or nothing else gave a token.
 *
 * @param signIn What decides over the way.
 * @param steps The steps.
 * @param signal Ends it with its reason.
 * @returns The token.
 * @throws {LatchkeyError} any refusal that a window would not mend; with the prompt `none`, every one.
 */
export async function signIn(
  { prompt, loginHint }: SignIn,
  steps: SignInSteps,
  signal: AbortSignal,
): Promise<AuthenticationResult> {
  if (prompt !== undefined && prompt !== "none") return await steps.byWindow();
  if (loginHint !== undefined) {
    try {
      const [account, ...more] = (await steps.accounts()).filter(({ username }) => isSameUsername(username, loginHint));
      if (account && more.length === 0) return await steps.silently(account);
    } catch (error) {
      if (signal.aborted || !(error instanceof LatchkeyError)) throw error;
    }
  }
  try {
    const result = await steps.silently(undefined);
    refuseOther(result, undefined, loginHint);
    return result;
  } catch (error) {
    if (prompt === "none" || signal.aborted || !isMendedByWindow(error)) throw error;
  }
  return await steps.byWindow();
}

/** Refusals of our own, without a status, say that the answer was another's, or not to be used. */
function isMendedByWindow(error: unknown): boolean {
  if (!(error instanceof LatchkeyError)) return false;
  return error.broker ? WINDOW_HELPS.includes(error.broker.status) : INTERACTION_REQUIRED_CODES.has(error.code);
}

const MAYBE_SIGN_IN =
  "The broker does not say what helps; a sign-in may: latchkey login --prompt login, token --interactive " +
  "always, or acquireTokenInteractive with a prompt";

/** A query under way. */
type Asked = TokenQuery & { readonly signal: AbortSignal };

/** What the broker is asked with. */
interface BrokerSourceOptions extends Omit<JsonBrokerOptions, "onTooOld"> {
  /** Whether an account signed out of this app in an earlier run. */
  readonly isSignedOut: (account: AccountInfo, signal: AbortSignal | undefined) => Promise<boolean>;
  /** How it is looked for. */
  readonly search?: BrokerSearch | undefined;
}

/** The broker as an application uses it. */
export class BrokerSource {
  readonly #flags: BrokerFlags;
  readonly #options: BrokerSourceOptions;
  readonly #held = new MemoryCache();
  readonly #tokenCalls = new SingleFlight<AuthenticationResult>();
  readonly #findCalls = new SingleFlight<BrokerFinding>();
  /** Home account ids of the accounts that signed out of this app. */
  readonly #signedOut = new Set<string>();
  readonly #listeners = new Set<(change: BrokerChange) => void>();
  #finding: BrokerFinding | undefined;
  #tooOld = false;
  #watching: Disposable | undefined;
  #starting: Promise<void> | undefined;

  /**
   * @param flags Where the app wants a broker.
   * @param options What the broker is asked with.
   */
  constructor(flags: BrokerFlags, options: BrokerSourceOptions) {
    this.#flags = flags;
    this.#options = options;
  }

  /** Looks for the broker once; a broker that cannot be started stays off for this object. */
  async find({ signal, correlationId }: RequestOptions): Promise<BrokerFinding> {
    try {
      return this.#finding ?? await this.#look(signal);
    } catch (error) {
      throw withCorrelationId(error, correlationId);
    }
  }

  async #look(signal: AbortSignal | undefined): Promise<BrokerFinding> {
    return await this.#findCalls.run("broker", signal, async (signal) => {
      const onTooOld = (reason: string) => this.#turnOff(reason);
      const finding = await findBroker(this.#flags, { ...this.#options, onTooOld }, {
        ...this.#options.search,
        signal,
      });
      if (signal.aborted && finding.state === "active") finding.broker.close(); // it came too late for anyone
      signal.throwIfAborted();
      const { log } = this.#options;
      if (finding.state === "active") {
        const passedOver = finding.reason ? `; ${finding.reason}` : "";
        log("info", `The broker (${finding.broker.kind}) is active${passedOver}`);
      } else log(finding.state === "off" ? "info" : "warn", `Going on without a broker: ${finding.reason}`);
      return this.#finding = finding;
    });
  }

  /** Whether a broker was found, and then lacked what every client needs. */
  isTooOld(): boolean {
    return this.#tooOld;
  }

  /** The broker, or the error of a call that needs it. */
  async broker(call: RequestOptions): Promise<Broker> {
    const finding = await this.find(call);
    if (finding.state === "active") return finding.broker;
    throw noBroker(finding, call.correlationId);
  }

  /** The broker, to be used for an account that has not signed out of this app. */
  async brokerFor(account: AccountInfo, call: BrokerCall): Promise<Broker> {
    if (await this.#isSignedOut(account, call.signal)) throw signedOut(call.correlationId);
    return await this.broker(call);
  }

  /** The accounts of a broker, but those that signed out of this app. */
  async accounts(broker: Broker, call: BrokerCall): Promise<AccountInfo[]> {
    const accounts = await broker.getAccounts(call);
    const signedOut = await Promise.all(accounts.map((account) => this.#isSignedOut(account, call.signal)));
    return accounts.filter((_, index) => !signedOut[index]);
  }

  /** A token that is held, or one call for all who ask for the same. */
  async acquireSilently(query: TokenQuery): Promise<AuthenticationResult> {
    const key = keyFor(query, query.account), { correlationId } = query;
    const held = query.skipCache ? undefined : this.#held.find(key, this.#options.now());
    if (held) return redactTokens({ ...held, source: "cache", correlationId });
    return await this.#tokenCalls.run(
      query.pop ? crypto.randomUUID() : sharedKey("silent", query), // a signed request is sent once
      query.signal,
      (signal) => this.#askSilently({ ...query, signal }, key),
    );
  }

  /**
   * A token by the person's sign-in: silently first, or at once by the window.
   *
   * @param how `silent-first` as `acquireTokenInteractive` does it; `window` for what the silent step was refused.
   */
  async signIn(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    // A call of its own has a key of its own: who calls `acquireTokenInteractive` twice means two windows.
    const key = how === "window" ? sharedKey("window", query) : crypto.randomUUID();
    return await this.#tokenCalls.run(key, query.signal, async (signal) => {
      const asked = { ...query, signal };
      if (how === "window") {
        const isNamed = query.prompt !== "select_account"; // else the person is to choose
        return await this.#askByWindow(asked, isNamed ? query.username : undefined);
      }
      const { prompt, username: loginHint } = query;
      const result = await signIn({ prompt, loginHint }, {
        accounts: async () => await this.accounts(await this.broker(asked), asked),
        silently: (account) => this.acquireSilently({ ...asked, account, username: undefined }),
        byWindow: () => this.#askByWindow(asked, query.requiredUsername),
      }, signal);
      refuseOther(result, undefined, query.requiredUsername);
      return result;
    });
  }

  /** Forgets an account for this app: it is not used silently until it signs in again. */
  forget({ homeAccountId }: AccountInfo): void {
    this.#signedOut.add(idKey(homeAccountId));
    this.#held.forget(({ account }) => this.#signedOut.has(idKey(account.homeAccountId)));
  }

  /** What is known of the broker, which is started when it is to be used. Never throws. */
  async status(signal: AbortSignal | undefined): Promise<BrokerStatus> {
    const without = (state: "off" | "unavailable", reason: string): BrokerStatus => ({
      ...{ state, kind: null, version: null, reason },
    });
    try {
      const finding = await this.find({ signal });
      if (finding.state !== "active") return without(finding.state, finding.reason);
      const { kind } = finding.broker, call = { correlationId: crypto.randomUUID(), signal };
      return {
        state: "active",
        kind,
        version: await finding.broker.version(call) ?? null,
        reason: finding.reason ?? null,
      };
    } catch (error) {
      return without("unavailable", error instanceof Error ? error.message : String(error));
    }
  }

  /** Tells when the broker comes and goes, once it was found. */
  watch(listener: (change: BrokerChange) => void): Disposable {
    const own = (change: BrokerChange) => listener(change); // the same function may listen twice
    this.#listeners.add(own);
    this.#startWatching().catch((error) => {
      if (!this.#listeners.has(own)) return; // nobody misses it
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.log("warn", `The broker cannot be watched: ${reason}`);
    });
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(own);
        if (this.#listeners.size === 0) this.#stopWatching();
      },
    };
  }

  /** Frees the connection; calls under way fail. A later call connects anew. */
  close(): void {
    const finding = this.#finding, reason = new LatchkeyError("broker_unavailable", "The application was closed");
    this.#finding = undefined;
    this.#tooOld = false;
    this.#findCalls.abort(reason);
    this.#tokenCalls.abort(reason);
    this.#listeners.clear();
    this.#stopWatching();
    if (finding?.state === "active") finding.broker.close();
  }

  /** A broker that lacks what every client needs stays off for this object. */
  #turnOff(reason: string): void {
    const finding = this.#finding;
    if (finding?.state !== "active") return;
    this.#options.log("warn", `Going on without a broker: ${reason}`);
    this.#finding = { state: "unavailable", reason, hint: "Update the broker" };
    this.#tooOld = true;
    finding.broker.close();
  }

  /** Once for all listeners: two subscriptions would tell each of them twice. */
  async #startWatching(): Promise<void> {
    const starting = this.#starting ??= this.#beginWatching();
    try {
      await starting;
    } finally {
      if (this.#starting === starting) this.#starting = undefined;
    }
  }

  async #beginWatching(): Promise<void> {
    const broker = await this.broker({});
    if (this.#watching || this.#listeners.size === 0) return;
    const watching = await broker.watch((change) => {
      // What a listener throws is the program's to see, and must not keep it from the others.
      for (const listener of this.#listeners) {
        queueMicrotask(() => this.#listeners.has(listener) && listener(change));
      }
    });
    if (this.#watching || this.#listeners.size === 0) watching[Symbol.dispose]();
    else this.#watching = watching;
  }

  #stopWatching(): void {
    this.#starting = undefined;
    this.#watching?.[Symbol.dispose]();
    this.#watching = undefined;
  }

  async #askSilently(query: Asked, key: string): Promise<AuthenticationResult> {
    const { correlationId, signal, username, maxAge } = query, call = { correlationId, signal };
    if (query.account && await this.#isSignedOut(query.account, signal)) throw signedOut(correlationId);
    const broker = await this.broker(call);
    const account = query.account ?? await this.#chosenAccount(broker, username, call);
    if (account && !query.account && await this.#isSignedOut(account, signal)) throw signedOut(correlationId);
    // The only account there is was not chosen: it is sent, but its tenant is not asked instead of /common.
    const isChosen = query.account !== undefined || username !== undefined;
    const wanted = brokerRequest({ ...query, account }, isChosen ? account : undefined);
    // A broker renews the token that it is shown, so one that this object does not hold is asked for first.
    const old = query.renew && !query.pop && !broker.requestsAreVisible
      ? this.#held.findOld(key) ?? await silentToken(broker, wanted, call)
      : undefined;
    const result = await silentToken(broker, { ...wanted, accessTokenToRenew: old?.accessToken }, call);
    this.#logToken(result);
    refuseOther(result, account, username);
    if (await this.#isSignedOut(result.account, signal)) throw signedOut(correlationId);
    if (maxAge !== undefined) refuseOld(result, maxAge, this.#options.now());
    this.#hold(query, [key], result);
    return result;
  }

  async #askByWindow(query: Asked, username?: string): Promise<AuthenticationResult> {
    const { correlationId, signal, account, prompt, parentWindowHandle, onBeforeLaunchingUi } = query;
    const broker = await this.broker(query), request = brokerRequest(query, account);
    if (query.extraScopesToConsent?.length) this.#options.log("warn", "The broker does not take extraScopesToConsent");
    const result = await broker.acquireTokenInteractively({
      ...request,
      ...(prompt === "select_account" && { loginHint: undefined }), // the person is to choose
      extraParameters: { ...request.extraParameters, ...(prompt !== undefined && { prompt }) },
      parentWindowHandle,
      onBeforeWindow: () => onBeforeLaunchingUi?.({ ui: "broker" }),
    }, { correlationId, signal });
    this.#logToken(result);
    refuseOther(result, account, username);
    this.#signedOut.delete(idKey(result.account.homeAccountId));
    this.#hold(query, account ? [keyFor(query, account)] : [], result);
    return result;
  }

  /** The one account that the user name, or the lack of one, leaves no doubt about. */
  async #chosenAccount(
    broker: Broker,
    username: string | undefined,
    call: BrokerCall,
  ): Promise<AccountInfo | undefined> {
    const accounts = await broker.getAccounts(call);
    const named = username === undefined
      ? accounts
      : accounts.filter((account) => isSameUsername(account.username, username));
    return named.length === 1 ? named[0] : undefined;
  }

  /** A token that is bound to one request is of no use to the next. */
  #hold(query: TokenQuery, keys: readonly string[], result: AuthenticationResult): void {
    if (query.pop) return;
    // Who asked for no account in particular asks for the one they got by its name from then on.
    const { username, realm } = result.account, isOwnTenant = result.tenantId === realm;
    const byName = !query.account && username && isOwnTenant ? [keyFor({ ...query, username }, undefined)] : [];
    this.#held.hold([...keys, ...byName, keyFor(query, result.account)], result, this.#options.now());
  }

  async #isSignedOut(account: AccountInfo, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#signedOut.has(idKey(account.homeAccountId)) || await this.#options.isSignedOut(account, signal);
  }

  #logToken({ accessToken, tokenType, expiresOn, correlationId }: AuthenticationResult): void {
    const until = expiresOn.toISOString(), id = `(correlation id ${correlationId})`, { log } = this.#options;
    log("info", `Token from the broker until ${until} ${id}`);
    // Windows' broker is known to do so now and then (microsoft/vscode issue 319673).
    if (tokenType !== "Bearer" || readJwt(accessToken)?.cnf === undefined) return;
    log("debug", `The bearer token is bound to a key (cnf), for which a resource may refuse it (401) ${id}`);
  }
}

/** himmelblau's refusals have no status: whether a person can help, nobody knows who does not try. */
async function silentToken(
  broker: Broker,
  request: BrokerTokenRequest,
  call: BrokerCall,
): Promise<AuthenticationResult> {
  try {
    return await broker.acquireTokenSilently(request, call);
  } catch (error) {
    if (!(error instanceof LatchkeyError) || error.broker?.status !== 0 || error.hint !== undefined) throw error;
    throw withDetails(error, { hint: MAYBE_SIGN_IN });
  }
}

function brokerRequest(query: TokenQuery, chosen: AccountInfo | undefined): BrokerTokenRequest {
  const { scopes, account, username: loginHint, claims, pop, domainHint, maxAge } = query;
  const extraParameters = {
    ...query.extraQueryParameters,
    ...(domainHint !== undefined && { domain_hint: domainHint }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
  };
  const authority = authorityOfAccount(query.authority, chosen);
  return { scopes, authority, account, loginHint, claims, pop, extraParameters };
}

function signedOut(correlationId: string): LatchkeyError {
  return new LatchkeyError("interaction_required", "The account has signed out of this app", {
    correlationId,
    hint: "Sign in again: latchkey login, or acquireTokenInteractive",
  });
}
