/**
 * A broker that is asked with JSON: a method's name, a correlation id and a JSON request there, a JSON reply back.
 *
 * @module
 */
import { type AccountInfo, accountKey, idKey } from "../account.ts";
import { noteWait } from "../async.ts";
import type { Authority } from "../authority.ts";
import type { JsonObject } from "../encoding.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import type { WindowHandle } from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import type { Broker, BrokerCall, BrokerInteractiveRequest, BrokerKind, BrokerTokenRequest } from "./broker.ts";
import type { BrokerTimeLimits } from "./time_limits.ts";
import type { RefusalContext } from "./errors.ts";
import * as wire from "./wire.ts";

/** Carries requests to a broker. */
export interface JsonTransport {
  readonly kind: BrokerKind;
  /** True if others can read the requests; see {@linkcode Broker.requestsAreVisible}. @default false */
  readonly requestsAreVisible?: boolean;
  /** Limit of the reply to a cancellation, in milliseconds. Nobody waits for that reply. @default 1_000 */
  readonly cancelMs?: number;
  /** Translates the app's window for the broker. @default as it is */
  parentWindow?(handle: WindowHandle | undefined): WindowHandle | undefined;
  /**
   * Sends a request and returns the reply. `method` is its name on D-Bus.
   *
   * @throws {LatchkeyError} `broker_unavailable` if the broker goes away before it answers; `timed_out`; `refused` if it does not
   * know the method.
   */
  send(method: string, json: string, call: BrokerCall & { readonly timeoutMs?: number | undefined }): Promise<string>;
  /** Returns the redirect URI that an app must have registered for this broker. */
  redirectUri(clientId: string): string;
  close(): void;
}

export interface JsonBrokerOptions {
  readonly clientId: string;
  /** The app's authority, for what the broker does not say of an account. */
  readonly authority: Authority;
  readonly timeLimits: BrokerTimeLimits;
  /** Returns the time, in milliseconds since 1970. */
  readonly now: () => number;
  readonly log: Logger;
  /** Called if the broker lacks what every client needs. */
  readonly onUnusable: (
    why: { readonly reason: string; readonly remedy?: Remedy; readonly isInstalled: boolean },
  ) => void;
}

interface CallOptions extends BrokerCall {
  /** Repeats the call if the broker goes away. The repetition starts a broker that was idle or is being upgraded. */
  readonly retry?: boolean | undefined;
  readonly log: Logger;
}

/** Makes a call to a broker, and logs how long it took. */
export async function callBroker<T>(method: string, call: () => Promise<T>, options: CallOptions): Promise<T> {
  const { correlationId, signal, retry, log } = options;
  const begin = performance.now();
  let end = "failed";
  // A window waits for a person, who sees it.
  const wait = /interactive/i.test(method) ? undefined : noteWait(`the device's broker (${method})`);
  try {
    const reply = await call();
    end = "was answered";
    return reply;
  } catch (error) {
    const isGone = error instanceof LatchkeyError && error.code === "broker_unavailable" && !error.broker;
    if (!retry || !isGone) throw error;
  } finally {
    wait?.[Symbol.dispose]();
    const ms = Math.round(performance.now() - begin);
    log("debug", `${method} ${end} after ${ms} ms (correlation id ${correlationId})`);
  }
  signal?.throwIfAborted();
  return await callBroker(method, call, { ...options, retry: false });
}

/** Finds an account, among those by {@linkcode accountKey}, in the form in which its broker wants it back. */
export function knownAccount<T>(known: ReadonlyMap<string, T>, account: AccountInfo, call: BrokerCall): T {
  // A token of another tenant names its account with that tenant, but the broker lists the account with its own.
  const sameId = [...known].filter(([key]) => key.startsWith(`${idKey(account.homeAccountId)}\n`));
  const found = known.get(accountKey(account)) ?? (sameId.length === 1 ? sameId[0]![1] : undefined);
  if (found !== undefined) return found;
  const { correlationId } = call;
  throw new LatchkeyError("account_not_found", "The broker does not know the account", { correlationId });
}

interface SendOptions extends Omit<CallOptions, "log"> {
  readonly timeoutMs?: number;
  /** True for a method that every client needs. @default false */
  readonly required?: boolean;
}

/** Parts that the calls to a broker share: how they are sent, and the accounts that the broker listed. */
class JsonCalls {
  readonly #transport: JsonTransport;
  readonly #options: JsonBrokerOptions;
  /** Accounts as the broker sent them, by {@linkcode accountKey}. */
  readonly #known = new Map<string, JsonObject>();

  constructor(transport: JsonTransport, options: JsonBrokerOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  contextOf({ correlationId }: BrokerCall, scopes: readonly string[] = []): RefusalContext {
    const { clientId } = this.#options;
    const redirectUri = this.#transport.redirectUri(clientId);
    return { correlationId, flow: "broker", clientId, redirectUri, scopes };
  }

  /** A broker that lacks a `required` method is too old to be used at all. */
  async send(method: string, json: string, { required, ...call }: SendOptions): Promise<string> {
    const { log, onUnusable } = this.#options;
    try {
      return await callBroker(method, () => this.#transport.send(method, json, call), { ...call, log });
    } catch (error) {
      if (!required || !(error instanceof LatchkeyError) || error.code !== "refused") throw error;
      const { message, correlationId, remedy, cause } = error;
      onUnusable({ reason: message, remedy: advice("Update the broker"), isInstalled: true });
      throw new LatchkeyError("broker_unavailable", message, { correlationId, remedy, cause });
    }
  }

  async listAccounts(call: BrokerCall): Promise<wire.BrokerAccount[]> {
    const { clientId, authority, timeLimits } = this.#options;
    const sent = { ...call, timeoutMs: timeLimits.accountsMs, retry: true, required: true };
    const json = await this.send("getAccounts", wire.accountsRequest(clientId), sent);
    const accounts = await wire.readAccounts(json, authority, this.contextOf(call));
    this.#known.clear();
    for (const { info, raw } of accounts) this.#known.set(accountKey(info), raw);
    return accounts;
  }

  /** The account may come from an earlier run of the program, so the broker is asked for its accounts. */
  async rawAccount(account: AccountInfo, call: BrokerCall): Promise<JsonObject> {
    if (!this.#known.has(accountKey(account))) await this.listAccounts(call);
    return knownAccount(this.#known, account, call);
  }

  forget(account: AccountInfo): void {
    this.#known.delete(accountKey(account));
  }

  async tokenIn(
    json: string,
    request: BrokerTokenRequest,
    { isSilent, ...call }: BrokerCall & Pick<RefusalContext, "isSilent">,
  ): Promise<AuthenticationResult> {
    const context = { ...this.contextOf(call, request.scopes), isSilent, request, now: this.#options.now() };
    const { result, rawAccount } = await wire.readToken(json, context);
    if (rawAccount) this.#known.set(accountKey(result.account), rawAccount);
    return result;
  }

  /**
   * himmelblau opens its window only for an account that the request names, and it serves one user. Unlike Microsoft's, its
   * accounts have no `clientInfo`. It is reached over the session bus only.
   */
  async accountForWindow({ account }: BrokerTokenRequest, call: BrokerCall): Promise<JsonObject | undefined> {
    if (account) return await this.rawAccount(account, call);
    if (this.#transport.kind !== "linux") return undefined;
    if (this.#known.size === 0) {
      await this.listAccounts(call).catch((error) => {
        // Microsoft's window needs no account, and may fix a broker that cannot list them.
        if (!(error instanceof LatchkeyError)) throw error;
      });
    }
    const [only, ...more] = this.#known.values();
    return only && more.length === 0 && !only.clientInfo ? only : undefined;
  }

  cancelWindow({ correlationId }: BrokerCall): void {
    const { cancelMs: timeoutMs = 1_000 } = this.#transport;
    this.send("cancelInteractiveFlow", wire.cancelRequest(), { correlationId, timeoutMs }).catch((error) => {
      const reason = `${String(error)} (correlation id ${correlationId})`;
      this.#options.log("debug", `The broker did not confirm the cancellation: ${reason}`);
    });
  }

  /** Others must not read a token in the process list. */
  forTransport(request: BrokerInteractiveRequest): BrokerInteractiveRequest {
    const { requestsAreVisible } = this.#transport;
    const hasParentWindow = this.#transport.parentWindow !== undefined;
    return {
      ...request,
      ...(requestsAreVisible && { accessTokenToRenew: undefined }),
      ...(hasParentWindow && { parentWindowHandle: this.#transport.parentWindow?.(request.parentWindowHandle) }),
    };
  }
}

export function jsonBroker(transport: JsonTransport, options: JsonBrokerOptions): Broker {
  const { clientId, timeLimits: { accountsMs, silentMs } } = options;
  const calls = new JsonCalls(transport, options);
  return {
    kind: transport.kind,
    ...(transport.requestsAreVisible && { requestsAreVisible: true }),
    async getAccounts(call) {
      return (await calls.listAccounts(call)).map(({ info }) => info);
    },
    async acquireTokenSilently(request, call) {
      const account = request.account && await calls.rawAccount(request.account, call);
      const json = wire.silentRequest(clientId, calls.forTransport(request), account);
      const sent = { ...call, timeoutMs: silentMs, retry: true, required: true };
      const reply = await calls.send("acquireTokenSilently", json, sent);
      return await calls.tokenIn(reply, request, { ...call, isSilent: true });
    },
    async acquireTokenInteractively(request, call) {
      const account = await calls.accountForWindow(request, call);
      const json = wire.interactiveRequest(clientId, calls.forTransport(request), account);
      call.signal?.throwIfAborted();
      request.onBeforeWindow?.();
      const onAbort = () => calls.cancelWindow(call);
      call.signal?.addEventListener("abort", onAbort, { once: true });
      try {
        return await calls.tokenIn(await calls.send("acquireTokenInteractively", json, call), request, call);
      } finally {
        call.signal?.removeEventListener("abort", onAbort);
      }
    },
    async removeAccount(account, call) {
      const json = JSON.stringify({ clientId, account: await calls.rawAccount(account, call) });
      await wire.readDone(
        await calls.send("removeAccount", json, { ...call, timeoutMs: accountsMs }),
        calls.contextOf(call),
      );
      calls.forget(account);
    },
    async acquireSsoCookies(request, call) {
      const account = await calls.rawAccount(request.account, call);
      const json = wire.cookieRequest(clientId, { ...request, scopes: [] }, account);
      const sent = { ...call, timeoutMs: silentMs, retry: true };
      return await wire.readCookies(await calls.send("acquirePrtSsoCookie", json, sent), calls.contextOf(call));
    },
    async signHttpRequest({ account, scheme }, call) {
      await calls.rawAccount(account, call);
      const json = JSON.stringify({ clientId, popParams: wire.popParameters(scheme, account.homeAccountId) });
      const sent = { ...call, timeoutMs: silentMs, retry: true };
      return await wire.readSignedHttpRequest(
        await calls.send("generateSignedHttpRequest", json, sent),
        calls.contextOf(call),
      );
    },
    async isPopSupported(call) {
      // A broker that knows the method answers that its parameters are missing.
      const json = JSON.stringify({ clientId, popParams: {} });
      const sent = { ...call, timeoutMs: accountsMs };
      try {
        await wire.readDone(await calls.send("generateSignedHttpRequest", json, sent), calls.contextOf(call));
        return true;
      } catch (error) {
        if (!(error instanceof LatchkeyError) || call.signal?.aborted) throw error;
        if (error.broker) return !/not implemented/i.test(error.errorDescription ?? "");
        if (error.code === "refused") return false;
        throw error;
      }
    },
    async version(call) {
      const json = wire.versionRequest();
      const sent = { ...call, timeoutMs: accountsMs };
      try {
        return await wire.readVersion(await calls.send("getLinuxBrokerVersion", json, sent), calls.contextOf(call));
      } catch (error) {
        const isKnown = error instanceof LatchkeyError && error.code !== "broker_unavailable";
        if (isKnown && !call.signal?.aborted) return undefined; // not every broker has the method
        throw error;
      }
    },
    close: () => transport.close(),
  };
}
