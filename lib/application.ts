/**
 * The application: in which order a token is looked for.
 *
 * @module
 */
import { type AccountInfo, accountKey, isSameUsername } from "./account.ts";
import {
  type Authority,
  authorityOfAccount,
  authorityOfTenant,
  DEFAULT_AUTHORITY,
  parseAuthority,
} from "./authority.ts";
import {
  type Broker,
  type BrokerStatus,
  type BrokerTokenRequest,
  DEFAULT_TIME_LIMITS,
  type TimeLimits,
} from "./broker/broker.ts";
import { type BrokerFinding, type BrokerFlags, findBroker, noBroker } from "./broker/find_broker.ts";
import { refuseOther } from "./broker/refuse_other.ts";
import { HeldTokens } from "./cache/held_tokens.ts";
import { SharedCalls } from "./cache/shared_calls.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "./errors.ts";
import type { Logger, LogLevel } from "./logger.ts";
import { authorizationUrl } from "./oauth/authorization_request.ts";
import {
  type AcquireTokenRequest,
  type AuthenticationResult,
  checkScopes,
  concealTokens,
  mergeClaims,
  type RequestOptions,
  type SilentRequest,
  type TokenRequest,
} from "./token.ts";

/** What an application is made of. */
export interface PublicClientApplicationOptions extends BrokerFlags {
  /** Application (client) id of the app registration. */
  readonly clientId: string;
  /** Who issues the tokens. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** Fail with `broker_unavailable` rather than go on without a broker. @default false */
  readonly requireBroker?: boolean;
  /** What the app can handle, such as `cp1` for continuous access evaluation. @default [] */
  readonly clientCapabilities?: readonly string[];
  /** Time limits in milliseconds. */
  readonly timeLimits?: Partial<TimeLimits>;
  /** Takes log lines. @default none */
  readonly logger?: Logger;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

/** Refusals after which an interactive sign-in is the way on. */
const PERSON_NEEDED: ReadonlySet<LatchkeyErrorCode> = new Set([
  "interaction_required",
  "account_unusable",
  "account_not_found",
]);

/**
 * An app that signs people in: a public client, without a secret of its own. Make one and keep it: it holds tokens and
 * shares calls under way.
 *
 * @example A token from the device's broker
 * ```ts
 * import { PublicClientApplication } from "@latchkey/latchkey";
 *
 * const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", enableBrokerOnLinux: true });
 * const { accessToken } = await app.acquireToken({ scopes: ["User.Read"], interactive: "never" });
 * await fetch("https://graph.microsoft.com/v1.0/me", { headers: { authorization: `Bearer ${accessToken}` } });
 * app.close();
 * ```
 */
export class PublicClientApplication implements AsyncDisposable {
  readonly #options: PublicClientApplicationOptions;
  readonly #authority: Authority;
  readonly #capabilities: readonly string[];
  readonly #timeLimits: TimeLimits;
  readonly #now: () => number;
  readonly #held = new HeldTokens();
  readonly #tokenCalls = new SharedCalls<AuthenticationResult>();
  readonly #findCalls = new SharedCalls<BrokerFinding>();
  #finding: BrokerFinding | undefined;

  /**
   * Makes an application.
   *
   * @param options What it is made of. Nothing is opened or asked before the first call.
   * @throws {TypeError} when the client id is missing or the authority is not one.
   * @throws {RangeError} when a time limit is not above 0.
   */
  constructor(options: PublicClientApplicationOptions) {
    const { clientId, authority = DEFAULT_AUTHORITY, clientCapabilities = [], timeLimits, now = Date.now } = options ??
      {};
    if (typeof clientId !== "string" || !clientId.trim()) {
      throw new TypeError("Cannot make an application: clientId is missing");
    }
    this.#options = options;
    this.#authority = parseAuthority(authority);
    this.#capabilities = clientCapabilities;
    this.#timeLimits = { ...DEFAULT_TIME_LIMITS, ...timeLimits };
    for (const [name, limit] of Object.entries(this.#timeLimits)) {
      if (!(typeof limit === "number" && limit > 0)) {
        throw new RangeError(`Cannot make an application: timeLimits.${name} has to be a number above 0`);
      }
    }
    this.#now = now;
  }

  /**
   * The accounts that tokens can be had for: the broker's (`getAccounts`).
   *
   * @param filter Only the accounts of one user name, compared without case.
   * @returns The accounts; none when there is no broker.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`, `missing_dependency`, `invalid_response`, or the broker's refusal.
   */
  async getAccounts(filter: RequestOptions & { readonly username?: string | undefined } = {}): Promise<AccountInfo[]> {
    const { username, correlationId = crypto.randomUUID(), signal } = filter;
    const finding = await this.#find(signal);
    if (finding.state !== "active") {
      if (this.#options.requireBroker) throw noBroker(finding);
      return [];
    }
    const accounts = await finding.broker.getAccounts({ correlationId, signal });
    return username === undefined ? accounts : accounts.filter((account) => isSameUsername(account.username, username));
  }

  /**
   * A token for an account without any window: one that is held already, else the broker's (`acquireTokenSilently`).
   *
   * @param request What is asked for.
   * @returns The token; `null` when a person is needed, so that an interactive request is the way on.
   * @throws {LatchkeyError} any code but `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    if (typeof request.account?.homeAccountId !== "string") {
      throw new TypeError("Cannot acquire a token silently: account is missing");
    }
    try {
      return await this.#acquireSilently(request);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !PERSON_NEEDED.has(error.code)) throw error;
      this.#log("info", `No silent token: ${error.code} (correlation id ${error.correlationId})`);
      return null;
    }
  }

  /**
   * A token in one call: for the account or user name that is given, else for the account that is signed in to the device.
   *
   * @param request What is asked for.
   * @returns The token.
   * @throws {LatchkeyError} what the silent step was refused with, `claims` and `subError` included.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireToken(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    if (request.interactive !== "never") throw new TypeError('Cannot acquire a token: interactive has to be "never"');
    return await this.#acquireSilently(request);
  }

  /**
   * The address that a person, or an administrator, opens to consent to what the app asks for (RFC 6749, 4.1.1).
   *
   * @param request The scopes that consent is missing for.
   * @returns The address.
   * @throws {LatchkeyError} `configuration` when the authority is not one of Microsoft Entra ID's.
   * @throws {TypeError} when the scopes are none.
   */
  // deno-lint-ignore require-await -- other authorities are asked where their endpoint is
  async getAuthorizationRequestUrl({ scopes }: { readonly scopes: readonly string[] }): Promise<string> {
    const { clientId } = this.#options;
    if (this.#authority.kind !== "entra") {
      throw new LatchkeyError("configuration", `The endpoints of ${this.#authority.url} are not known`);
    }
    return authorizationUrl({ clientId, authority: this.#authority, scopes: checkScopes(scopes) });
  }

  /** What is known of the broker, which is started when it is to be used. Never throws. */
  async brokerStatus({ signal }: Pick<RequestOptions, "signal"> = {}): Promise<BrokerStatus> {
    try {
      const finding = await this.#find(signal);
      if (finding.state !== "active") {
        return { state: finding.state, kind: null, version: null, reason: finding.reason };
      }
      const { kind } = finding.broker, call = { correlationId: crypto.randomUUID(), signal };
      return { state: "active", kind, version: await finding.broker.version(call) ?? null, reason: null };
    } catch (error) {
      return {
        state: "unavailable",
        kind: null,
        version: null,
        reason: error instanceof Error ? error.message : String(error),
      };
    }
  }

  /**
   * Frees the connection to the broker; calls under way fail with `broker_unavailable`. A program that is done ends without
   * it, too; a later call connects anew.
   */
  close(): void {
    const finding = this.#finding, reason = new LatchkeyError("broker_unavailable", "The application was closed");
    this.#finding = undefined;
    this.#findCalls.abort(reason);
    this.#tokenCalls.abort(reason);
    if (finding?.state === "active") finding.broker.close();
  }

  /** The same as {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** A token that is held, or one call for all who ask for the same. */
  async #acquireSilently(
    request: TokenRequest & { account?: AccountInfo; username?: string | undefined },
  ): Promise<AuthenticationResult> {
    const scopes = checkScopes(request.scopes);
    const claims = mergeClaims(this.#capabilities, request.claims);
    const authority = request.tenantId ? authorityOfTenant(this.#authority, request.tenantId) : this.#authority;
    const keyFor = (account: AccountInfo | undefined) => {
      const holder = account ? accountKey(account) : request.username?.toLowerCase() ?? null;
      return JSON.stringify([holder, authorityOfAccount(authority, account).url, scopes.toSorted()]);
    };
    const key = keyFor(request.account), correlationId = request.correlationId ?? crypto.randomUUID();
    const held = request.forceRefresh || request.claims !== undefined ? undefined : this.#held.find(key, this.#now());
    if (held) return concealTokens({ ...held, source: "cache", correlationId });

    const asked = JSON.stringify([key, claims, request.forceRefresh, request.correlationId]);
    return await this.#tokenCalls.run(asked, request.signal, async (signal) => {
      const broker = await this.#requireBroker(signal);
      const call = { correlationId, signal };
      const account = request.account ?? await this.#chosenAccount(broker, request.username, call);
      const wanted: BrokerTokenRequest = { scopes, authority, account, loginHint: request.username, claims };
      // A broker renews the token that it is shown, so one that this object does not hold is asked for first.
      const old = request.forceRefresh
        ? this.#held.findOld(key) ?? await broker.acquireTokenSilently(wanted, call)
        : undefined;
      const result = await broker.acquireTokenSilently({ ...wanted, accessTokenToRenew: old?.accessToken }, call);
      const until = result.expiresOn.toISOString();
      this.#log("info", `Token from the broker until ${until} (correlation id ${correlationId})`);
      refuseOther(result, account, request.username);
      this.#held.hold([key, keyFor(result.account)], result, this.#now());
      return result;
    });
  }

  /** The one account that the user name, or the lack of one, leaves no doubt about. */
  async #chosenAccount(
    broker: Broker,
    username: string | undefined,
    call: { correlationId: string; signal: AbortSignal },
  ): Promise<AccountInfo | undefined> {
    const accounts = await broker.getAccounts(call);
    const named = username === undefined
      ? accounts
      : accounts.filter((account) => isSameUsername(account.username, username));
    return named.length === 1 ? named[0] : undefined;
  }

  async #requireBroker(signal: AbortSignal): Promise<Broker> {
    const finding = await this.#find(signal);
    if (finding.state === "active") return finding.broker;
    throw noBroker(finding);
  }

  /** Looks for the broker once; a broker that cannot be started stays off for this object. */
  async #find(signal: AbortSignal | undefined): Promise<BrokerFinding> {
    return this.#finding ?? await this.#findCalls.run("broker", signal, async (signal) => {
      const finding = await findBroker(this.#options, {
        clientId: this.#options.clientId,
        authority: this.#authority,
        timeLimits: this.#timeLimits,
        now: this.#now,
        log: (level, message) => this.#log(level, message),
      }, signal);
      if (signal.aborted && finding.state === "active") finding.broker.close(); // it came too late for anyone
      signal.throwIfAborted();
      if (finding.state === "active") this.#log("info", `The broker (${finding.broker.kind}) is active`);
      else this.#log(finding.state === "off" ? "info" : "warn", `Going on without a broker: ${finding.reason}`);
      return this.#finding = finding;
    });
  }

  #log(level: LogLevel, message: string): void {
    this.#options.logger?.(level, message);
  }
}
