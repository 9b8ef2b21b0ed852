/**
 * Windows' and macOS' broker, through Microsoft's library MSALRuntime. On Linux it is how latchkey is held to that library.
 *
 * Deno needs `--allow-ffi=ADDON --allow-read=PACKAGE`, PACKAGE being the folder of `@azure/msal-node-runtime` and ADDON the
 * file in it that is for the machine.
 *
 * A call that was given up while the broker does not answer keeps Node from ending by itself: a program that is not to wait
 * ends with `process.exit()`.
 *
 * @module
 */
import { type AccountInfo, accountKey, idKey } from "../account.ts";
import { LatchkeyError } from "../errors.ts";
import { operatingSystem } from "../platform/host.ts";
import type { AuthenticationResult } from "../token.ts";
import type { Broker, BrokerCall, BrokerInteractiveRequest, BrokerTokenRequest } from "./broker.ts";
import type { RefusalContext } from "./broker_refusal.ts";
import type { JsonBrokerOptions } from "./json_broker.ts";
import { readAccount, readTokenResponse } from "./json_replies.ts";
import { callNative } from "./msalruntime_call.ts";
import {
  type MsalRuntime,
  type NativeAccount,
  type NativeAccounts,
  type NativeCall,
  type NativeParameters,
  type NativeReadAccount,
  type NativeResult,
  type NativeToken,
  openMsalRuntime,
  versionOfMsalRuntime,
} from "./msalruntime_library.ts";
import { heedlessly, passLogOn } from "./msalruntime_log.ts";
import { fillParameters, nativeRequest, redirectUriOf, windowBytes, windowWay } from "./msalruntime_request.ts";
import { checkResult, nativeError, rawAccountOf, rawTokenOf } from "./msalruntime_result.ts";

/** All calls, where one at a time is all that the library does. */
const ALL = "MSALRuntime";
/** There is one window at a time everywhere (microsoft-authentication-library-for-dotnet issue 4033). */
const WINDOWS = "MSALRuntime's window";

/**
 * Starts the library, which looks for the broker.
 *
 * @param options What it is asked with.
 * @param signal Gives the start up, with its reason.
 * @returns The broker.
 * @throws {LatchkeyError} `missing_dependency` when the package `@azure/msal-node-runtime` is not there, cannot be loaded, or
 * Deno does not permit it; `configuration` when `LATCHKEY_MSALRUNTIME` cannot be meant; `broker_unavailable` when there is no
 * broker.
 */
export async function startMsalRuntimeBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const { library, path } = await openMsalRuntime();
  signal?.throwIfAborted();
  return msalRuntimeBroker(library, {
    ...options,
    system: operatingSystem(),
    version: () => versionOfMsalRuntime(path),
  });
}

/** What a broker over the library is made with. */
interface MsalRuntimeBrokerOptions extends JsonBrokerOptions {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** The library's version. */
  readonly version: () => Promise<string | undefined>;
}

function msalRuntimeBroker(library: MsalRuntime, options: MsalRuntimeBrokerOptions): Broker {
  const { clientId, authority, timeLimits, now, log, system } = options;
  const redirectUri = redirectUriOf(clientId, system);
  /** The library's accounts, by {@linkcode accountKey}. */
  const known = new Map<string, NativeAccount>();
  const closing = new AbortController(), logging = passLogOn(library, log);
  // On Linux the library waits on the one connection that it has: to cancel a call waits as well, for the call's answer.
  const isLinux = system === "linux";

  function contextOf({ correlationId }: BrokerCall, scopes: readonly string[] = []): RefusalContext {
    return { correlationId, flow: "broker", clientId, redirectUri, scopes };
  }

  /** Makes a call, and throws what it failed with. */
  async function ask<T extends NativeResult>(
    name: string,
    start: (done: (result: T) => void) => NativeCall,
    call: BrokerCall & {
      readonly timeoutMs?: number;
      readonly scopes?: readonly string[];
      /** Called when the call's turn has come. */
      readonly onBefore?: (() => void) | undefined;
    },
  ): Promise<T> {
    const { correlationId, timeoutMs } = call, context = contextOf(call, call.scopes), begin = performance.now();
    const signal = call.signal ? AbortSignal.any([closing.signal, call.signal]) : closing.signal;
    const queue = isLinux ? ALL : timeoutMs === undefined ? WINDOWS : undefined;
    const tell = (how: string) => {
      const ms = Math.round(performance.now() - begin);
      log("debug", `${name} ${how} after ${ms} ms (correlation id ${correlationId})`);
    };
    try {
      const onNotCancelled = (thrown: unknown) => {
        const { message } = nativeError(thrown, context);
        heedlessly(log)("debug", `${name} was not cancelled: ${message} (correlation id ${correlationId})`);
      };
      const options = { name, correlationId, signal, timeoutMs, queue, isCancellable: !isLinux, onNotCancelled };
      const result = await callNative<T>((done) => {
        call.onBefore?.();
        return asOurs(context, () => start(done));
      }, options);
      checkResult(result, context);
      tell("was answered");
      return result;
    } catch (error) {
      tell("failed");
      throw error;
    }
  }

  /** A broker that stops when idle, or is being upgraded, is started again by the second try. */
  async function askTwice<T extends NativeResult>(...asked: Parameters<typeof ask<T>>): Promise<T> {
    try {
      return await ask<T>(...asked);
    } catch (error) {
      const isGone = error instanceof LatchkeyError && error.code === "broker_unavailable" && !error.broker;
      if (!isGone || closing.signal.aborted) throw error;
      return await ask<T>(...asked);
    }
  }

  async function listAccounts(call: BrokerCall): Promise<readonly NativeAccount[]> {
    const found = await askTwice<NativeAccounts>(
      "getAccounts",
      (done) => library.DiscoverAccountsAsync(clientId, call.correlationId, done),
      { ...call, timeoutMs: timeLimits.accountsMs },
    );
    return asOurs(contextOf(call), () => {
      const { accounts } = found;
      known.clear();
      for (const account of accounts) keep(account);
      return accounts;
    });
  }

  function keep(account: NativeAccount): void {
    const { homeAccountId, realm = "", environment = "" } = account;
    if (homeAccountId) known.set(accountKey({ homeAccountId, realm, environment }), account);
  }

  /** An account may come from an earlier run of the program, which knew what this one has yet to ask for. */
  async function findAccount(wanted: AccountInfo, call: BrokerCall): Promise<NativeAccount> {
    const key = accountKey(wanted);
    if (!known.has(key)) await readOwnAccount(wanted, call);
    if (!known.has(key)) await listAccounts(call);
    const account = known.get(key) ?? onlyOf(wanted.homeAccountId);
    if (account) return account;
    throw new LatchkeyError("account_not_found", "The broker does not know the account", {
      correlationId: call.correlationId,
    });
  }

  /** An account that another tenant's token came with is listed with its own tenant. */
  function onlyOf(homeAccountId: string): NativeAccount | undefined {
    const [account, ...more] = [...known].filter(([key]) => key.startsWith(`${idKey(homeAccountId)}\n`));
    return more.length === 0 ? account?.[1] : undefined;
  }

  /** The library knows an account that it has seen by its object id. It is no failure that it does not. */
  async function readOwnAccount({ homeAccountId }: AccountInfo, call: BrokerCall): Promise<void> {
    const [objectId = ""] = homeAccountId.split(".");
    try {
      const found = await ask<NativeReadAccount>(
        "readAccount",
        (done) => library.ReadAccountByIdAsync(objectId, call.correlationId, done),
        { ...call, timeoutMs: timeLimits.accountsMs },
      );
      asOurs(contextOf(call), () => {
        const { account } = found;
        if (account?.homeAccountId && idKey(account.homeAccountId) === idKey(homeAccountId)) keep(account);
      });
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !error.broker) throw error;
    }
  }

  function parametersOf(request: BrokerTokenRequest, call: BrokerCall): NativeParameters {
    const asked = nativeRequest(clientId, request, system);
    for (const name of asked.leftOut) {
      log("debug", `MSALRuntime does not take ${name}: it is not sent (correlation id ${call.correlationId})`);
    }
    return asOurs(contextOf(call), () => fillParameters(new library.AuthParameters(), asked));
  }

  function resultOf(token: NativeToken, request: BrokerTokenRequest, call: BrokerCall): AuthenticationResult {
    const context = { ...contextOf(call, request.scopes), request, now: now() };
    const raw = asOurs(context, () => {
      if (token.account) keep(token.account);
      return rawTokenOf(token);
    });
    return readTokenResponse(raw, context).result;
  }

  function cannot(what: string, hint: string, { correlationId }: Partial<BrokerCall> = {}): Promise<never> {
    const error = new LatchkeyError("refused", `MSALRuntime does not ${what}`, { correlationId, hint });
    return Promise.reject(error);
  }

  return {
    kind: "msalruntime",
    async getAccounts(call: BrokerCall): Promise<AccountInfo[]> {
      const accounts = await listAccounts(call), raw = asOurs(contextOf(call), () => accounts.map(rawAccountOf));
      return raw.map((account) => readAccount(account, {}, authority, call.correlationId))
        .sort(byName); // the library's own order is another one each time
    },
    async acquireTokenSilently(request: BrokerTokenRequest, call: BrokerCall): Promise<AuthenticationResult> {
      const { correlationId } = call, account = request.account && await findAccount(request.account, call);
      const parameters = parametersOf(request, call);
      const limits = { ...call, timeoutMs: timeLimits.silentMs, scopes: request.scopes };
      const token = account
        ? await askTwice<NativeToken>(
          "acquireTokenSilently",
          (done) => library.AcquireTokenSilentlyAsync(parameters, correlationId, account, done),
          limits,
        )
        : await askTwice<NativeToken>(
          "acquireTokenSilently",
          (done) => library.SignInSilentlyAsync(parameters, correlationId, done),
          limits,
        );
      return resultOf(token, request, call);
    },
    async acquireTokenInteractively(
      request: BrokerInteractiveRequest,
      call: BrokerCall,
    ): Promise<AuthenticationResult> {
      const { correlationId } = call, window = windowBytes(request.parentWindowHandle), chosen = windowWay(request);
      const account = chosen.way === "account" ? await findAccount(request.account!, call) : undefined;
      const parameters = parametersOf(request, call), hint = chosen.way === "anyone" ? chosen.hint : "";
      const limits = { ...call, scopes: request.scopes, onBefore: request.onBeforeWindow };
      const token = account
        ? await ask<NativeToken>(
          "acquireTokenInteractively",
          (done) => library.AcquireTokenInteractivelyAsync(window, parameters, correlationId, account, done),
          limits,
        )
        : await ask<NativeToken>(
          "acquireTokenInteractively",
          (done) => library.SignInInteractivelyAsync(window, parameters, correlationId, hint, done),
          limits,
        );
      return resultOf(token, request, call);
    },
    async removeAccount(account: AccountInfo, call: BrokerCall): Promise<void> {
      const found = await findAccount(account, call);
      await ask(
        "removeAccount",
        (done) => library.SignOutSilentlyAsync(clientId, call.correlationId, found, done),
        { ...call, timeoutMs: timeLimits.accountsMs },
      );
      known.delete(accountKey(account));
    },
    acquireSsoCookies: (_request, call) =>
      cannot("give cookies", "On Windows and macOS browsers have them by an extension of their own", call),
    signHttpRequest: (_request, call) =>
      cannot(
        "sign a request alone",
        "Ask for a token with an authenticationScheme (--pop): it is signed as a whole",
        call,
      ),
    // As MSAL for Python has it: on Linux it depends on the broker, and shows when it is tried.
    isPopSupported: () => Promise.resolve(!isLinux),
    version: () => options.version(),
    watch: () => cannot("tell when the broker comes and goes", "Ask brokerStatus when it matters"),
    close(): void {
      closing.abort(new LatchkeyError("broker_unavailable", "The connection to the broker was closed"));
      logging[Symbol.dispose]();
    },
  };
}

function byName(one: AccountInfo, other: AccountInfo): number {
  const [name, otherName] = [one, other].map(({ username, homeAccountId }) => `${username} ${homeAccountId}`);
  return name! < otherName! ? -1 : 1;
}

/** What the library throws is of no class of ours. */
function asOurs<T>(context: RefusalContext, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw nativeError(error, context);
  }
}
