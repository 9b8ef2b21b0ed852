/**
 * The broker on the session bus for another program, such as a browser, that wants the broker's own replies.
 *
 * @module
 */
import { authorityOfAccount, authorityOfEnvironment, isTenant } from "../authority.ts";
import type { SessionBus } from "../dbus/bus.ts";
import { isObject, isTooDeep, readText } from "../encoding.ts";
import { ArgumentError, type Logger } from "../errors.ts";
import { checkCall, type RequestOptions } from "../request.ts";
import { checkScopes } from "../scopes.ts";
import { redacted } from "../token.ts";
import type { BrokerTokenRequest } from "./broker.ts";
import { DEFAULT_TIME_LIMITS, type TimeLimits } from "./time_limits.ts";
import { callBroker } from "./client.ts";
import { linuxTransport, openBrokerBus, pingBroker, watchBroker } from "./linux.ts";
import { accountsRequest, cookieRequest, parseReply, silentRequest, versionRequest } from "./wire.ts";

/** A JSON object as the broker sent it. */
export type BrokerAnswer = { readonly [key: string]: unknown };

/** A request of another program, by the name of the broker's method. `account` is an account as the broker sent it. */
export type BrokerQuestion =
  | { readonly method: "getAccounts" | "getLinuxBrokerVersion" }
  | { readonly method: "acquireTokenSilently"; readonly account: BrokerAnswer; readonly scopes: readonly string[] }
  | {
    readonly method: "acquirePrtSsoCookie";
    readonly account: BrokerAnswer;
    /** URL of the sign-in page that the cookie is for. */
    readonly url: string;
  };

/** Options of a channel. */
export interface BrokerChannelOptions {
  /** Application (client) id of the requests. */
  readonly clientId: string;
  /** Time limits in milliseconds. */
  readonly timeLimits?: Partial<Omit<TimeLimits, "browserMs">>;
  /** Logger. @default none */
  readonly logger?: Logger;
}

/** A channel to the broker. It passes the broker's replies on: it caches nothing, and ignores sign-outs of an app. */
export interface BrokerChannel extends Disposable {
  /**
   * Starts the broker, and waits for its first reply.
   *
   * @throws {LatchkeyError} `broker_unavailable` if it cannot be started.
   * @throws {LatchkeyError} `missing_dependency`, `configuration` if there is no usable D-Bus client.
   */
  start(options?: Pick<RequestOptions, "signal">): Promise<void>;
  /**
   * Sends a request to the broker.
   *
   * @returns The broker's reply, which can be a refusal: an object with `error`, or `brokerTokenResponse` with `error` in it.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`.
   * @throws {LatchkeyError} `refused` if the broker does not know the method.
   * @throws {LatchkeyError} `invalid_response` if the reply is not a JSON object.
   * @throws {LatchkeyError} the errors of {@linkcode BrokerChannel.start}.
   * @throws {TypeError} if `account` or `scopes` is invalid, or `url` does not begin with `https://`.
   */
  ask(question: BrokerQuestion, options?: RequestOptions): Promise<BrokerAnswer>;
  /**
   * Reports when the broker starts and stops, until the returned object is disposed of. Does not start the broker, nor keep
   * the program alive. A broker that stopped because it was idle is started by the next call.
   *
   * @throws {LatchkeyError} `broker_unavailable` if there is no bus.
   * @throws {LatchkeyError} `missing_dependency`, `configuration` if there is no usable D-Bus client.
   */
  onChange(listener: (change: { readonly running: boolean }) => void): Promise<Disposable>;
  /** Closes the connection. Pending calls fail. */
  close(): void;
}

/** Returns a channel, which opens the bus on first use. */
export function brokerChannel(options: BrokerChannelOptions): BrokerChannel {
  const { clientId, logger } = options;
  const timeLimits = { ...DEFAULT_TIME_LIMITS, ...options.timeLimits };
  let opening: Promise<SessionBus> | undefined;
  let isClosed = false;
  let isStarted = false;

  /** If the bus cannot be opened, the next call tries again. */
  function openBus(): Promise<SessionBus> {
    opening ??= openBrokerBus().then((bus) => {
      if (isClosed) bus.close();
      return bus;
    }, (error) => {
      opening = undefined;
      throw error;
    });
    return opening;
  }

  async function start({ signal }: Pick<RequestOptions, "signal"> = {}): Promise<void> {
    await pingBroker(await openBus(), timeLimits, signal);
    isStarted = true;
  }

  function close(): void {
    isClosed = true;
    opening?.then((bus) => bus.close(), () => {});
  }

  return {
    start,
    async ask(question, options = {}) {
      const { method } = question;
      const json = requestOf(question, clientId);
      const { correlationId, signal } = checkCall(options);
      if (!isStarted) await start({ signal }); // its error says more than that of a call
      const timeoutMs = "account" in question ? timeLimits.silentMs : timeLimits.accountsMs;
      const transport = linuxTransport(await openBus(), timeLimits);
      const send = () => transport.send(method, json, { correlationId, timeoutMs, signal });
      const log: Logger = (level, message) => logger?.(level, message);
      const reply = await callBroker(method, send, { correlationId, signal, retry: true, log });
      return redacted(parseReply(reply, { correlationId }), () => "[concealed reply of the broker]");
    },
    async onChange(listener) {
      return await watchBroker(await openBus(), listener);
    },
    close,
    [Symbol.dispose]: close,
  };
}

function requestOf(question: BrokerQuestion, clientId: string): string {
  switch (question.method) {
    case "getAccounts":
      return accountsRequest(clientId);
    case "getLinuxBrokerVersion":
      return versionRequest();
    case "acquireTokenSilently": {
      const { account } = question;
      return silentRequest(clientId, tokenRequest(account, checkScopes(question.scopes)), account);
    }
    case "acquirePrtSsoCookie": {
      const { account, url } = question;
      if (typeof url !== "string" || !URL.canParse(url) || new URL(url).protocol !== "https:") {
        throw new ArgumentError("Cannot acquire cookies: url has to begin with https://");
      }
      return cookieRequest(clientId, { ...tokenRequest(account, []), url }, account);
    }
    default:
      throw new ArgumentError("Cannot ask the broker: the method is unknown");
  }
}

/** Returns a request to the account's own cloud and tenant. */
function tokenRequest(account: BrokerAnswer, scopes: readonly string[]): BrokerTokenRequest {
  if (!isObject(account) || isTooDeep(account)) {
    throw new ArgumentError("Cannot ask the broker: account has to be an object as the broker sent it");
  }
  const realm = readText(account.realm) ?? "";
  const cloud = authorityOfEnvironment(readText(account.environment) ?? "");
  return { scopes, authority: isTenant(realm) ? authorityOfAccount(cloud, { realm }) : cloud };
}
