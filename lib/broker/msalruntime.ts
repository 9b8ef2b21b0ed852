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
import { startTimer } from "../async.ts";
import { brokerPluginUri, NATIVE_CLIENT_URI, UNSIGNED_APP_URI } from "../authority.ts";
import { escapeControlCharacters, isObject, type JsonObject, readNumber, readText } from "../encoding.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { withMutex } from "../files/lock.ts";
import { RESERVED_SCOPES, type WindowHandle } from "../request.ts";
import { operatingSystem } from "../runtime/host.ts";
import type { AuthenticationResult } from "../token.ts";
import type { Broker, BrokerCall, BrokerInteractiveRequest, BrokerTokenRequest } from "./broker.ts";
import type { JsonBrokerOptions } from "./client.ts";
import { type RefusalContext, refusalError } from "./errors.ts";
import {
  heedlessly,
  type MsalRuntime,
  type NativeAccount,
  type NativeAccounts,
  type NativeCall,
  type NativeParameters,
  type NativeReadAccount,
  type NativeResult,
  type NativeToken,
  openMsalRuntime,
  passLogOn,
  versionOfMsalRuntime,
} from "./msalruntime_addon.ts";
import { readAccount, readTokenResponse, readWindow, windowBits } from "./wire.ts";

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

/** How a call is made. */
export interface NativeCallOptions {
  /** What is asked, for people. */
  readonly name: string;
  /** UUID of the request. */
  readonly correlationId: string;
  /** Lets the caller go, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long it may take, in milliseconds, the wait for its turn included. @default for ever */
  readonly timeoutMs?: number | undefined;
  /**
   * Who goes one after the other: calls of one queue. A call that nobody waits for any more keeps its turn to its end where it
   * cannot be cancelled.
   */
  readonly queue?: string | undefined;
  /** Whether the library lets a call be cancelled without waiting for the broker. */
  readonly isCancellable: boolean;
  /** Told what the library threw instead of cancelling a call. It must not throw. @default nobody is told */
  readonly onNotCancelled?: ((thrown: unknown) => void) | undefined;
  /** How long a call that was cancelled may keep its turn, in milliseconds: its window has to close first. @default 5_000 */
  readonly closingMs?: number | undefined;
}

/**
 * Makes a call.
 *
 * @param start Starts it. It can give its result before it returns.
 * @param options How it is made.
 * @returns The result; one that comes after the caller has gone is dropped.
 * @throws {LatchkeyError} `timed_out`
 */
export async function callNative<T>(
  start: (done: (result: T) => void) => NativeCall,
  options: NativeCallOptions,
): Promise<T> {
  const { signal, timeoutMs, queue, isCancellable, correlationId, closingMs = 5_000 } = options;
  signal?.throwIfAborted();
  const answer = Promise.withResolvers<T>(), gone = Promise.withResolvers<never>();
  let call: NativeCall | undefined, isLeft = false;
  const leave = (reason: unknown) => {
    isLeft = true;
    gone.reject(reason);
    if (isCancellable && call) cancel(call, options);
  };
  const onAbort = () => leave(signal!.reason);
  const timer = timeoutMs === undefined ? undefined : startTimer(() => leave(tooLate(options)), timeoutMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  const work = async (): Promise<T> => {
    if (isLeft) return await gone.promise; // before its turn came
    call = start(answer.resolve);
    // Who was asked before the window opened may have gone then.
    if (isLeft && isCancellable) cancel(call, options);
    if (isCancellable) await Promise.race([answer.promise, gone.promise.catch(() => ended(answer.promise, closingMs))]);
    return await (isLeft && isCancellable ? gone.promise : answer.promise);
  };
  // In a queue the time limit above holds.
  const onTimeout = () => new LatchkeyError("timed_out", "MSALRuntime is busy", { correlationId });
  const worked = queue === undefined ? work() : withMutex(queue, work, { waitMs: Infinity, onTimeout });
  worked.catch(() => {}); // the caller may have gone
  try {
    return await Promise.race([worked, gone.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** A timer and a listener call this: what the library throws would end the program, and the caller has gone. */
function cancel(call: NativeCall, { onNotCancelled }: NativeCallOptions): void {
  try {
    call.CancelAsyncOperation();
  } catch (error) {
    onNotCancelled?.(error);
  }
}

/** Waits until a promise has its value, or the time has passed. */
async function ended(promise: Promise<unknown>, limitMs: number): Promise<void> {
  const limit = Promise.withResolvers<void>(), timer = setTimeout(limit.resolve, limitMs);
  await Promise.race([promise, limit.promise]);
  clearTimeout(timer);
}

function tooLate({ name, correlationId, timeoutMs }: NativeCallOptions): LatchkeyError {
  return new LatchkeyError("timed_out", `The broker did not answer ${name} within ${timeoutMs} ms`, {
    correlationId,
    hint: "Try again; latchkey doctor looks for the cause",
  });
}

/** What the library refuses a request over: it says these itself. */
const OWN_PARAMETERS: ReadonlySet<string> = new Set([
  ...["client_id", "scope", "response_type", "redirect_uri", "nonce", "code_challenge", "client_info"],
  ...["prompt", "domain_hint", "dc"],
]);

/** Prompts that have the person choose or type, whatever account was chosen. */
const ANEW: ReadonlySet<string> = new Set(["login", "select_account", "create"]);

/** A request for a token. What is not there is not set. */
interface NativeRequest {
  readonly clientId: string;
  readonly authority: string;
  readonly redirectUri: string;
  /** Parted by spaces. */
  readonly scopes: string;
  /** JSON text. */
  readonly claims?: string | undefined;
  readonly accessTokenToRenew?: string | undefined;
  /** Method, host, path and nonce of the HTTP request that the token is to be bound to. */
  readonly pop?: readonly [string, string, string, string] | undefined;
  /** More parameters of the authorization request. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Names of those that the library does not take. */
  readonly leftOut: readonly string[];
}

/** A sign-in by a window: for the account that was chosen, or for whoever signs in. */
type WindowWay = { readonly way: "account" } | { readonly way: "anyone"; readonly hint: string };

/**
 * The redirect URI that a broker serves an app for. MSALRuntime is told it on each platform, although Windows' broker takes
 * its own.
 *
 * @param clientId The app.
 * @param system Operating system, in Node's words.
 */
export function redirectUriOf(clientId: string, system: string): string {
  switch (system) {
    case "win32":
      return brokerPluginUri(clientId);
    case "darwin":
      return UNSIGNED_APP_URI;
    default:
      return NATIVE_CLIENT_URI;
  }
}

/** A request in the library's words. */
export function nativeRequest(clientId: string, request: BrokerTokenRequest, system: string): NativeRequest {
  const { authority, claims, accessTokenToRenew, pop } = request;
  const extra = Object.entries(request.extraParameters ?? {});
  return {
    clientId,
    authority: authority.url,
    redirectUri: redirectUriOf(clientId, system),
    scopes: request.scopes.filter((scope) => !RESERVED_SCOPES.includes(scope)).join(" "),
    claims,
    accessTokenToRenew,
    pop: pop && popOf(pop.method, new URL(pop.url), pop.nonce),
    parameters: Object.fromEntries(extra.filter(([name]) => !isOwn(name))),
    // A prompt is said by the function that is called.
    leftOut: extra.map(([name]) => name).filter((name) => isOwn(name) && name !== "prompt"),
  };
}

/** Puts a request into the library's own object. */
export function fillParameters(made: NativeParameters, request: NativeRequest): NativeParameters {
  made.CreateAuthParameters(request.clientId, request.authority);
  made.SetRedirectUri(request.redirectUri);
  made.SetRequestedScopes(request.scopes);
  if (request.claims !== undefined) made.SetDecodedClaims(request.claims);
  if (request.accessTokenToRenew !== undefined) made.SetAccessTokenToRenew(request.accessTokenToRenew);
  if (request.pop) made.SetPopParams(...request.pop);
  for (const [name, value] of Object.entries(request.parameters)) made.SetAdditionalParameter(name, value);
  return made;
}

/** Which window a request is for. */
export function windowWay({ account, loginHint, extraParameters }: BrokerInteractiveRequest): WindowWay {
  const prompt = extraParameters?.prompt ?? "";
  if (account && !ANEW.has(prompt)) return { way: "account" };
  // With a hint, the window that is for choosing asks for that person's password.
  return { way: "anyone", hint: prompt === "select_account" ? "" : loginHint ?? account?.username ?? "" };
}

/**
 * A window as the library reads it from memory: always eight bytes. Zeros stand for the console's window, which the addon
 * finds, or for the desktop where there is no console; on macOS and Linux no window is needed.
 *
 * @throws {TypeError} for a window of Wayland, which it does not know.
 */
export function windowBytes(handle: WindowHandle | undefined): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, windowBits(handle) ?? namedWindow(handle), true);
  return bytes;
}

/** A window by X11's name; none, and the console's, is 0. */
function namedWindow(handle: WindowHandle | undefined): bigint {
  const window = readWindow(handle);
  if ("id" in window) return BigInt(window.id);
  throw new ArgumentError("Cannot acquire a token: MSALRuntime knows no window by the name that Wayland gives it");
}

function isOwn(name: string): boolean {
  return OWN_PARAMETERS.has(name.toLowerCase());
}

function popOf(method: string, { host, pathname }: URL, nonce = ""): [string, string, string, string] {
  return [method, host, pathname, nonce];
}

/** What Linux' broker cannot be reached by. */
const LOST = /^DBUS failed/i;

/** An account. */
export function rawAccountOf(account: NativeAccount): JsonObject {
  const { homeAccountId, localAccountId, environment, realm, username, displayName, clientInfo } = account;
  return { homeAccountId, localAccountId, environment, realm, username, name: displayName, clientInfo };
}

/** A token, and whose it is. One that is bound to a request is in the header that it is sent in. */
export function rawTokenOf(token: NativeToken): JsonObject {
  const { isPopAuthorization, authorizationHeader, account } = token;
  return {
    accessToken: isPopAuthorization ? authorizationHeader?.split(" ")[1] : token.accessToken,
    accessTokenType: isPopAuthorization ? 1 : 0,
    ...(account && { account: rawAccountOf(account) }),
    expiresOn: token.expiresOn,
    grantedScopes: readText(token.grantedScopes),
    idToken: token.rawIdToken,
  };
}

/**
 * Makes sure that a call did not fail.
 *
 * @throws {LatchkeyError} the refusal; `broker_unavailable` when the broker went away.
 */
export function checkResult(result: NativeResult, context: RefusalContext): void {
  try {
    result.CheckError();
  } catch (error) {
    throw nativeError(error, context);
  }
}

/** What the library throws, as an error of ours. */
export function nativeError(thrown: unknown, context: RefusalContext): LatchkeyError {
  const { correlationId } = context;
  if (!isObject(thrown) || readNumber(thrown.errorStatus) === undefined) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new LatchkeyError("unexpected", `MSALRuntime failed: ${escapeControlCharacters(message)}`, {
      correlationId,
    });
  }
  const status = readNumber(thrown.errorStatus)!, said = readText(thrown.errorContext) ?? "";
  if (status === 0 && LOST.test(said)) {
    return new LatchkeyError("broker_unavailable", `The broker went away: ${escapeControlCharacters(said)}`, {
      correlationId,
      errorDescription: escapeControlCharacters(said),
      hint: "Try again; if it stays away, start this program anew",
    });
  }
  return refusalError(
    { status, tag: readNumber(thrown.errorTag), errorCode: readNumber(thrown.errorCode), text: said },
    context,
  );
}
