/**
 * A broker over anything that carries the method's name, a correlation id and JSON there, and JSON back.
 *
 * @module
 */
import { type AccountInfo, accountKey } from "../account.ts";
import type { Authority } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { AuthenticationResult } from "../token.ts";
import type { Broker, BrokerCall, BrokerKind, BrokerTokenRequest, TimeLimits } from "./broker.ts";
import {
  accountsRequest,
  type BrokerAccount,
  readAccounts,
  readToken,
  readVersion,
  silentRequest,
  versionRequest,
} from "./json_messages.ts";
import type { JsonObject } from "./json_values.ts";

/** What `getLinuxBrokerVersion` is told of the asking client: the version of Microsoft's whose requests ours are like. */
const CLIENT_VERSION = "0.20.7";

/** One way to a broker. */
export interface JsonTransport {
  /** How the broker is reached. */
  readonly kind: BrokerKind;
  /**
   * Sends a request.
   *
   * @param method D-Bus name of the method.
   * @param json The request.
   * @returns The reply.
   * @throws {LatchkeyError} `broker_unavailable` when the broker went away before it answered, `timed_out`.
   */
  send(method: string, json: string, call: BrokerCall & { readonly timeoutMs?: number | undefined }): Promise<string>;
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
}

/** Makes a broker of a way to it. */
export function jsonBroker(transport: JsonTransport, options: JsonBrokerOptions): Broker {
  const { clientId, authority, timeLimits, now, log } = options;
  /** Accounts as the broker gave them, by {@linkcode accountKey}. */
  const known = new Map<string, JsonObject>();

  async function listAccounts(call: BrokerCall): Promise<BrokerAccount[]> {
    const json = await sendRepeatable("getAccounts", accountsRequest(clientId), {
      ...call,
      timeoutMs: timeLimits.accountsMs,
    });
    const accounts = readAccounts(json, authority, call.correlationId);
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
    const [raw, ...more] = [...known].filter(([key]) => key.startsWith(`${homeAccountId.toLowerCase()} `)).map((
      [, raw],
    ) => raw);
    return more.length === 0 ? raw : undefined;
  }

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

  /** A broker that stops when idle, or is being upgraded, is started again by the second try. */
  async function sendRepeatable(...request: Parameters<JsonTransport["send"]>): Promise<string> {
    try {
      return await send(...request);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code !== "broker_unavailable") throw error;
      request[2].signal?.throwIfAborted();
      return await send(...request);
    }
  }

  return {
    kind: transport.kind,
    async getAccounts(call: BrokerCall): Promise<AccountInfo[]> {
      return (await listAccounts(call)).map(({ info }) => info);
    },
    async acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult> {
      const account = request.account && await rawAccount(request.account, call);
      const sent = silentRequest(clientId, request, account);
      const json = await sendRepeatable("acquireTokenSilently", sent, { ...call, timeoutMs: timeLimits.silentMs });
      const { result, rawAccount: used } = readToken(json, { request, correlationId: call.correlationId, now: now() });
      if (used) known.set(accountKey(result.account), used);
      return result;
    },
    async version(call: BrokerCall): Promise<string | undefined> {
      const limits = { ...call, timeoutMs: timeLimits.accountsMs };
      try {
        return readVersion(
          await send("getLinuxBrokerVersion", versionRequest(CLIENT_VERSION), limits),
          call.correlationId,
        );
      } catch (error) {
        if (!(error instanceof LatchkeyError) || error.code === "broker_unavailable" || call.signal?.aborted) {
          throw error;
        }
        return undefined; // not every broker has the method
      }
    },
    close: () => transport.close(),
  };
}
