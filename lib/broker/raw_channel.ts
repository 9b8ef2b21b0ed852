/**
 * The broker on the session bus for another program, which wants its replies as it gives them.
 *
 * @module
 */
import { authorityOfAccount, authorityOfEnvironment, isTenant } from "../authority.ts";
import type { SessionBus } from "../dbus/bus.ts";
import { isObject, isTooDeep, readText } from "../encoding.ts";
import { ArgumentError, type Logger } from "../errors.ts";
import { checkCall, checkScopes, type RequestOptions } from "../request.ts";
import { redacted } from "../token.ts";
import { type BrokerTokenRequest, DEFAULT_TIME_LIMITS, type TimeLimits } from "./broker.ts";
import { brokerSender } from "./client.ts";
import { asUnavailable, linuxTransport, openBrokerBus, pingBroker } from "./linux.ts";
import { accountsRequest, cookieRequest, parseReply, silentRequest, versionRequest } from "./wire.ts";

/** A JSON object as a broker gave it. */
export type BrokerAnswer = { readonly [key: string]: unknown };

/** What another program asks the broker, by the name of the broker's method. `account` is one as the broker gave it. */
export type BrokerQuestion =
  | { readonly method: "getAccounts" | "getLinuxBrokerVersion" }
  | { readonly method: "acquireTokenSilently"; readonly account: BrokerAnswer; readonly scopes: readonly string[] }
  | {
    readonly method: "acquirePrtSsoCookie";
    readonly account: BrokerAnswer;
    /** Address of the sign-in page that the cookie is for. */
    readonly url: string;
  };

/** How a channel is opened. */
export interface BrokerChannelOptions {
  /** Application (client) id that the broker is asked with. */
  readonly clientId: string;
  /** Time limits in milliseconds. */
  readonly timeLimits?: Partial<Omit<TimeLimits, "browserMs">>;
  /** Takes log lines. @default none */
  readonly logger?: Logger;
}

/** A channel to the broker. Nothing is held, and no sign-out of an app is heeded: what the broker says is passed on. */
export interface BrokerChannel extends Disposable {
  /**
   * Starts the broker, if the bus can, and waits for a sign of life from it.
   *
   * @throws {LatchkeyError} `broker_unavailable` when there is none; `missing_dependency`, `configuration` when there is no D-Bus
   * client to reach it by.
   */
  start(options?: Pick<RequestOptions, "signal">): Promise<void>;
  /**
   * Asks the broker.
   *
   * @returns Its reply as it gave it, which can be a refusal: an object with `error`, or `brokerTokenResponse` with `error` in it.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`; `refused` when it does not know the method; `invalid_response`
   * when it gave no JSON object; what {@linkcode BrokerChannel.start} throws.
   * @throws {TypeError} when the account is no object, the scopes are none, or the address does not begin with `https://`.
   */
  ask(question: BrokerQuestion, options?: RequestOptions): Promise<BrokerAnswer>;
  /**
   * Tells when the broker comes and goes, until the returned object is disposed of. Does not start the broker, nor keep the
   * program alive.
   *
   * @throws {LatchkeyError} `broker_unavailable` when there is no bus; `missing_dependency`, `configuration` as above.
   */
  onChange(listener: (change: { readonly running: boolean }) => void): Promise<Disposable>;
  /** Frees the connection; calls under way fail. */
  close(): void;
}

/** Makes a channel. */
export function brokerChannel(options: BrokerChannelOptions): BrokerChannel {
  const { clientId, logger } = options, limits = { ...DEFAULT_TIME_LIMITS, ...options.timeLimits };
  let opening: Promise<SessionBus> | undefined, isClosed = false, isStarted = false;

  /** A bus that cannot be opened now may be there later. */
  function openBus(): Promise<SessionBus> {
    return opening ??= openBrokerBus().then((bus) => {
      if (isClosed) bus.close();
      return bus;
    }, (error) => {
      opening = undefined;
      throw error;
    });
  }

  async function start({ signal }: Pick<RequestOptions, "signal"> = {}): Promise<void> {
    await pingBroker(await openBus(), limits, signal);
    isStarted = true;
  }

  function close(): void {
    isClosed = true;
    opening?.then((bus) => bus.close(), () => {});
  }

  return {
    start,
    async ask(question, options = {}) {
      const json = requestOf(question, clientId), { correlationId, signal } = checkCall(options);
      const timeoutMs = "account" in question ? limits.silentMs : limits.accountsMs;
      if (!isStarted) await start({ signal }); // its failure says more than that of a call
      const transport = linuxTransport(await openBus(), limits);
      const { sendRepeatable } = brokerSender(transport, (level, message) => logger?.(level, message));
      const reply = await sendRepeatable(question.method, json, { correlationId, timeoutMs, signal });
      return redacted(parseReply(reply, { correlationId }), () => "[an answer of the broker's, concealed]");
    },
    async onChange(listener) {
      const bus = await openBus();
      return await linuxTransport(bus, limits).watch(listener).catch((error) => {
        throw asUnavailable(error);
      });
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
      throw new ArgumentError("Cannot ask the broker: there is no such question");
  }
}

/** The request for an account, whose own cloud and tenant are asked. */
function tokenRequest(account: BrokerAnswer, scopes: readonly string[]): BrokerTokenRequest {
  if (!isObject(account) || isTooDeep(account)) {
    throw new ArgumentError("Cannot ask the broker: account has to be an object as the broker gave it");
  }
  const realm = readText(account.realm) ?? "", cloud = authorityOfEnvironment(readText(account.environment) ?? "");
  return { scopes, authority: isTenant(realm) ? authorityOfAccount(cloud, { realm }) : cloud };
}
