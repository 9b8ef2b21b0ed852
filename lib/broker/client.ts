/**
 * A broker over anything that carries the method's name, a correlation id and JSON there, and JSON back.
 *
 * @module
 */
import { type AccountInfo, accountKey, idKey } from "../account.ts";
import type { Authority } from "../authority.ts";
import type { JsonObject } from "../encoding.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import type { WindowHandle } from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import type {
  Broker,
  BrokerCall,
  BrokerChange,
  BrokerInteractiveRequest,
  BrokerKind,
  BrokerTokenRequest,
  TimeLimits,
} from "./broker.ts";
import {
  accountsRequest,
  type BrokerAccount,
  cancelRequest,
  cookieRequest,
  emptySignedHttpRequestRequest,
  interactiveRequest,
  readAccounts,
  readCookies,
  readDone,
  readSignedHttpRequest,
  readToken,
  readVersion,
  removeAccountRequest,
  type ReplyContext,
  signedHttpRequestRequest,
  silentRequest,
  versionRequest,
} from "./wire.ts";

/** How long a cancelled window's broker may take to say that it heard of it, if its way there is no slow one. */
const CANCEL_MS = 1_000;

/** One way to a broker. */
export interface JsonTransport {
  /** How the broker is reached. */
  readonly kind: BrokerKind;
  /** Whether others can read what is sent; see {@linkcode Broker.requestsAreVisible}. @default false */
  readonly isOverheard?: boolean;
  /**
   * How long a cancelled window's broker may take to say that it heard of it, in milliseconds: nobody waits for that.
   * @default 1,000
   */
  readonly cancelMs?: number;
  /** The window that the broker is told of an app's. @default that one */
  parentWindow?(handle: WindowHandle | undefined): WindowHandle | undefined;
  /**
   * Sends a request.
   *
   * @param method D-Bus name of the method.
   * @param json The request.
   * @returns The reply.
   * @throws {LatchkeyError} `broker_unavailable` when the broker went away before it answered, `timed_out`, `refused` when it
   * does not know the method.
   */
  send(method: string, json: string, call: BrokerCall & { readonly timeoutMs?: number | undefined }): Promise<string>;
  /** The redirect URI that an app has to have registered to be served here. */
  redirectUri(clientId: string): string;
  /** Tells when the broker comes and goes; see {@linkcode Broker.watch}. */
  watch(listener: (change: BrokerChange) => void): Promise<Disposable>;
  /** Frees what it holds. */
  close(): void;
}

/** What a broker is told and asked with in every call. */
export interface JsonBrokerOptions {
  /** The app. */
  readonly clientId: string;
  /** The app's authority: what it does not say of an account, this does. */
  readonly authority: Authority;
  /** Time limits in milliseconds. */
  readonly timeLimits: TimeLimits;
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** Takes log lines. */
  readonly log: Logger;
  /** Called when the broker lacks a method without which it is of no use. */
  readonly onTooOld: (reason: string) => void;
}

/** Sends requests, and says so in the log. */
interface BrokerSender {
  /** Sends a request; see {@linkcode JsonTransport.send}. */
  send(...request: Parameters<JsonTransport["send"]>): Promise<string>;
  /** The same for a request that may come twice: a broker that stops when idle, or is being upgraded, is started again by the second try. */
  sendRepeatable(...request: Parameters<JsonTransport["send"]>): Promise<string>;
}

/** Makes what sends requests, of a way to a broker. */
export function brokerSender(transport: Pick<JsonTransport, "send">, log: Logger): BrokerSender {
  async function send(...request: Parameters<JsonTransport["send"]>): Promise<string> {
    const [method, , { correlationId }] = request, begin = performance.now();
    const tell = (how: string) =>
      log(
        "debug",
        `${method} ${how} after ${Math.round(performance.now() - begin)} ms (correlation id ${correlationId})`,
      );
    try {
      const reply = await transport.send(...request);
      tell("was answered");
      return reply;
    } catch (error) {
      tell("failed");
      throw error;
    }
  }

  return {
    send,
    async sendRepeatable(...request) {
      try {
        return await send(...request);
      } catch (error) {
        if (!(error instanceof LatchkeyError) || error.code !== "broker_unavailable") throw error;
        request[2].signal?.throwIfAborted();
        return await send(...request);
      }
    },
  };
}

/** Makes a broker of a way to it. */
export function jsonBroker(transport: JsonTransport, options: JsonBrokerOptions): Broker {
  const { clientId, authority, timeLimits, now, log, onTooOld } = options;
  /** Accounts as the broker gave them, by {@linkcode accountKey}. */
  const known = new Map<string, JsonObject>();
  const redirectUri = transport.redirectUri(clientId), { send, sendRepeatable } = brokerSender(transport, log);

  function contextOf({ correlationId }: BrokerCall, scopes: readonly string[] = []): ReplyContext {
    return { correlationId, flow: "broker", clientId, redirectUri, scopes };
  }

  async function listAccounts(call: BrokerCall): Promise<BrokerAccount[]> {
    const json = await sendNeeded("getAccounts", accountsRequest(clientId), {
      ...call,
      timeoutMs: timeLimits.accountsMs,
    });
    const accounts = readAccounts(json, authority, contextOf(call));
    known.clear();
    for (const { info, raw } of accounts) known.set(accountKey(info), raw);
    return accounts;
  }

  /** An account may come from an earlier run of the program, which knew what this one has yet to ask for. */
  async function rawAccount(account: AccountInfo, call: BrokerCall): Promise<JsonObject> {
    if (!known.has(accountKey(account))) await listAccounts(call);
    const raw = known.get(accountKey(account)) ?? onlyOf(account.homeAccountId);
    if (raw) return raw;
    throw new LatchkeyError("account_not_found", "The broker does not know the account", {
      correlationId: call.correlationId,
    });
  }

  /** A token of another tenant names its account with that tenant, under which the broker does not list it. */
  function onlyOf(homeAccountId: string): JsonObject | undefined {
    const [raw, ...more] = [...known].filter(([key]) => key.startsWith(`${idKey(homeAccountId)}\n`)).map((
      [, raw],
    ) => raw);
    return more.length === 0 ? raw : undefined;
  }

  function readAndKeepAccount(json: string, request: BrokerTokenRequest, call: BrokerCall): AuthenticationResult {
    const { result, rawAccount } = readToken(json, { ...contextOf(call, request.scopes), request, now: now() });
    if (rawAccount) known.set(accountKey(result.account), rawAccount);
    return result;
  }

  /**
   * himmelblau's window is for an account that it is told, and it serves one person. Its accounts, unlike Microsoft's, have
   * no `clientInfo`. It is on the session bus alone.
   */
  async function accountForWindow(
    request: BrokerInteractiveRequest,
    call: BrokerCall,
  ): Promise<JsonObject | undefined> {
    if (request.account) return await rawAccount(request.account, call);
    if (transport.kind !== "linux") return undefined;
    if (known.size === 0) {
      await listAccounts(call).catch((error) => {
        // Microsoft's window needs none, and may be what mends a broker that cannot list them.
        if (!(error instanceof LatchkeyError)) throw error;
      });
    }
    const [only, ...more] = known.values();
    return only && more.length === 0 && !only.clientInfo ? only : undefined;
  }

  /** The person's window is closed at once, or nobody would know what it is still there for. */
  function cancel(call: BrokerCall): void {
    const { correlationId } = call, { cancelMs: timeoutMs = CANCEL_MS } = transport;
    send("cancelInteractiveFlow", cancelRequest(), { correlationId, timeoutMs }).catch((error) =>
      log(
        "debug",
        `The broker did not say that it ended its window: ${String(error)} (correlation id ${correlationId})`,
      )
    );
  }

  /** Without this method a broker is of no use. */
  async function sendNeeded(...request: Parameters<JsonTransport["send"]>): Promise<string> {
    try {
      return await sendRepeatable(...request);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code !== "refused") throw error;
      const { message, correlationId, hint, cause } = error;
      onTooOld(message);
      throw new LatchkeyError("broker_unavailable", message, { correlationId, hint, cause });
    }
  }

  /** A token has no place where others read it. */
  function shown<T extends BrokerTokenRequest>(request: T): T {
    return transport.isOverheard ? { ...request, accessTokenToRenew: undefined } : request;
  }

  function withItsWindow(request: BrokerInteractiveRequest): BrokerInteractiveRequest {
    const { parentWindowHandle } = request, { parentWindow } = transport;
    return parentWindow ? { ...request, parentWindowHandle: parentWindow(parentWindowHandle) } : request;
  }

  return {
    kind: transport.kind,
    ...(transport.isOverheard && { requestsAreVisible: true }),
    async getAccounts(call: BrokerCall): Promise<AccountInfo[]> {
      return (await listAccounts(call)).map(({ info }) => info);
    },
    async acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult> {
      const account = request.account && await rawAccount(request.account, call);
      const sent = silentRequest(clientId, shown(request), account);
      const json = await sendNeeded("acquireTokenSilently", sent, { ...call, timeoutMs: timeLimits.silentMs });
      return readAndKeepAccount(json, request, call);
    },
    async acquireTokenInteractively(
      request: BrokerInteractiveRequest,
      call: BrokerCall,
    ): Promise<AuthenticationResult> {
      const account = await accountForWindow(request, call);
      const sent = interactiveRequest(clientId, withItsWindow(shown(request)), account);
      call.signal?.throwIfAborted();
      request.onBeforeWindow?.();
      const onAbort = () => cancel(call);
      call.signal?.addEventListener("abort", onAbort, { once: true });
      try {
        return readAndKeepAccount(await send("acquireTokenInteractively", sent, call), request, call);
      } finally {
        call.signal?.removeEventListener("abort", onAbort);
      }
    },
    async removeAccount(account: AccountInfo, call: BrokerCall): Promise<void> {
      const sent = removeAccountRequest(clientId, await rawAccount(account, call));
      readDone(await send("removeAccount", sent, { ...call, timeoutMs: timeLimits.accountsMs }), contextOf(call));
      known.delete(accountKey(account));
    },
    async acquireSsoCookies(request, call) {
      const account = await rawAccount(request.account, call);
      const sent = cookieRequest(clientId, { ...request, scopes: [] }, account);
      const json = await sendRepeatable("acquirePrtSsoCookie", sent, { ...call, timeoutMs: timeLimits.silentMs });
      return readCookies(json, contextOf(call));
    },
    async signHttpRequest({ account, scheme }, call): Promise<string> {
      await rawAccount(account, call);
      const sent = signedHttpRequestRequest(clientId, scheme, account.homeAccountId);
      const json = await sendRepeatable("generateSignedHttpRequest", sent, { ...call, timeoutMs: timeLimits.silentMs });
      return readSignedHttpRequest(json, contextOf(call));
    },
    async isPopSupported(call: BrokerCall): Promise<boolean> {
      const limits = { ...call, timeoutMs: timeLimits.accountsMs };
      try {
        readDone(
          await send("generateSignedHttpRequest", emptySignedHttpRequestRequest(clientId), limits),
          contextOf(call),
        );
        return true;
      } catch (error) {
        if (!(error instanceof LatchkeyError) || call.signal?.aborted) throw error;
        if (error.broker) return !/not implemented/i.test(error.errorDescription ?? ""); // it missed what to sign
        if (error.code === "refused") return false;
        throw error;
      }
    },
    async version(call: BrokerCall): Promise<string | undefined> {
      const limits = { ...call, timeoutMs: timeLimits.accountsMs };
      try {
        return readVersion(
          await send("getLinuxBrokerVersion", versionRequest(), limits),
          contextOf(call),
        );
      } catch (error) {
        if (!(error instanceof LatchkeyError) || error.code === "broker_unavailable" || call.signal?.aborted) {
          throw error;
        }
        return undefined; // not every broker has the method
      }
    },
    watch: (listener) => transport.watch(listener),
    close: () => transport.close(),
  };
}
