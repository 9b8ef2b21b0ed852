/**
 * The broker of Windows and macOS, through Microsoft's library MSALRuntime. On Linux it serves to compare latchkey with that
 * library.
 *
 * Deno needs `--allow-ffi=ADDON --allow-read=PACKAGE`, where PACKAGE is the folder of `@azure/msal-node-runtime` and ADDON the
 * file in it for this machine.
 *
 * An aborted call keeps Node running until the broker answers. A program that must not wait ends with `process.exit()`.
 *
 * @module
 */
import { type AccountInfo, accountKey, idKey } from "../account.ts";
import { Mutex, startTimer, untilAborted, withinTime } from "../async.ts";
import { brokerPluginUri, NATIVE_CLIENT_URI, UNSIGNED_APP_URI } from "../redirect_uris.ts";
import { isObject, type JsonObject, readNumber, readText } from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { CANNOT_BIND_TO_KEY } from "../remedies.ts";
import type { WindowHandle } from "../request.ts";
import { operatingSystem } from "../runtime/host.ts";
import { withoutReserved } from "../scopes.ts";
import type { AuthenticationResult } from "../token.ts";
import type { Broker, BrokerCall, BrokerInteractiveRequest, BrokerTokenRequest } from "./broker.ts";
import { callBroker, type JsonBrokerOptions, knownAccount } from "./client.ts";
import { type RefusalContext, refusalError } from "./errors.ts";
import {
  bestEffortLogger,
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

/** Mutex of all calls, on Linux, where the library makes one call at a time. */
const CALLS = "MSALRuntime";
/** Mutex of windows: there is one at a time everywhere (microsoft-authentication-library-for-dotnet issue 4033). */
const WINDOWS = "MSALRuntime's window";

/** REGDB_E_CLASSNOTREG, 0x80040154. */
const CLASS_NOT_REGISTERED = 0x80040154;

/** Starts a call, which gives its result to `done`, perhaps before it returns. */
type Start<T> = (done: (result: T) => void) => NativeCall;

interface AskOptions extends BrokerCall, Pick<RefusalContext, "isSilent"> {
  readonly timeoutMs?: number;
  readonly scopes?: readonly string[];
  readonly retry?: boolean;
  /** Called when the call has its mutex. */
  readonly onBefore?: (() => void) | undefined;
}

/** Parts that the calls to the library share: how they are made, and the accounts that the library has returned. */
class NativeCalls {
  readonly library: MsalRuntime;
  readonly #options: JsonBrokerOptions;
  readonly #redirectUri: string;
  readonly #closing = new AbortController();
  /** The library's accounts, by {@linkcode accountKey}. */
  readonly #known = new Map<string, NativeAccount>();

  constructor(library: MsalRuntime, options: JsonBrokerOptions) {
    this.library = library;
    this.#options = options;
    this.#redirectUri = redirectUriOf(options.clientId, operatingSystem());
  }

  contextOf({ correlationId }: BrokerCall, scopes: readonly string[] = []): RefusalContext {
    const { clientId } = this.#options;
    return { correlationId, flow: "broker", clientId, redirectUri: this.#redirectUri, scopes };
  }

  async ask<T extends NativeResult>(name: string, start: Start<T>, call: AskOptions): Promise<T> {
    const { correlationId, timeoutMs, retry } = call;
    const { log } = this.#options;
    const context = { ...this.contextOf(call, call.scopes), isSilent: call.isSilent };
    const signal = call.signal ? AbortSignal.any([this.#closing.signal, call.signal]) : this.#closing.signal;
    const onNotCancelled = (thrown: unknown) => {
      const { message } = nativeError(thrown, context);
      bestEffortLogger(log)("debug", `${name} was not cancelled: ${message} (correlation id ${correlationId})`);
    };
    // On Linux the library waits on its only connection: a cancellation would wait for the call's reply.
    const isCancellable = operatingSystem() !== "linux";
    const limits = { name, correlationId, signal, timeoutMs, mutex: mutexOf(call), isCancellable, onNotCancelled };
    const callOnce = async () => {
      const result = await callNative<T>((done) => {
        call.onBefore?.();
        return withLatchkeyErrors(context, () => start(done));
      }, limits);
      withLatchkeyErrors(context, () => result.CheckError());
      return result;
    };
    try {
      return await callBroker(name, callOnce, { correlationId, signal, retry, log });
    } catch (error) {
      throw isClassMissing(error) ? this.#noAccountManager(error, correlationId) : error;
    }
  }

  #noAccountManager(cause: LatchkeyError, correlationId: string): LatchkeyError {
    const message = "Windows has no account manager (0x80040154): Server Core and sessions without a shell lack it";
    this.#options.onUnusable({ reason: message, isInstalled: false });
    return new LatchkeyError("broker_unavailable", message, { correlationId, broker: cause.broker, cause });
  }

  async listAccounts(call: BrokerCall): Promise<readonly NativeAccount[]> {
    const { clientId, timeLimits } = this.#options;
    const start: Start<NativeAccounts> = (done) =>
      this.library.DiscoverAccountsAsync(clientId, call.correlationId, done);
    const limits = { ...call, timeoutMs: timeLimits.accountsMs, retry: true };
    const result = await this.ask("getAccounts", start, limits);
    return withLatchkeyErrors(this.contextOf(call), () => {
      const { accounts } = result;
      this.#known.clear();
      for (const account of accounts) this.#keep(account);
      return accounts;
    });
  }

  #keep(account: NativeAccount): void {
    const { homeAccountId, realm = "", environment = "" } = account;
    if (homeAccountId) this.#known.set(accountKey({ homeAccountId, realm, environment }), account);
  }

  forget(account: AccountInfo): void {
    this.#known.delete(accountKey(account));
  }

  /** The account may come from an earlier run of the program, so the library is asked for it. */
  async findAccount(account: AccountInfo, call: BrokerCall): Promise<NativeAccount> {
    const key = accountKey(account);
    if (!this.#known.has(key)) await this.#readCachedAccount(account, call);
    if (!this.#known.has(key)) await this.listAccounts(call);
    return knownAccount(this.#known, account, call);
  }

  /** The library finds an account that it has cached by its object id. It need not have it. */
  async #readCachedAccount({ homeAccountId }: AccountInfo, call: BrokerCall): Promise<void> {
    const [objectId = ""] = homeAccountId.split(".");
    const start: Start<NativeReadAccount> = (done) =>
      this.library.ReadAccountByIdAsync(objectId, call.correlationId, done);
    try {
      const result = await this.ask("readAccount", start, {
        ...call,
        timeoutMs: this.#options.timeLimits.accountsMs,
      });
      withLatchkeyErrors(this.contextOf(call), () => {
        const { account } = result;
        if (account?.homeAccountId && idKey(account.homeAccountId) === idKey(homeAccountId)) this.#keep(account);
      });
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !error.broker) throw error;
    }
  }

  parametersOf(request: BrokerTokenRequest, call: BrokerCall): NativeParameters {
    const { clientId, log } = this.#options;
    return withLatchkeyErrors(this.contextOf(call), () => {
      const parameters = new this.library.AuthParameters();
      for (const name of fillParameters(parameters, request, { clientId, system: operatingSystem() })) {
        log("debug", `MSALRuntime does not take ${name}: it is not sent (correlation id ${call.correlationId})`);
      }
      return parameters;
    });
  }

  tokenIn(token: NativeToken, request: BrokerTokenRequest, call: BrokerCall): AuthenticationResult {
    const context = { ...this.contextOf(call, request.scopes), request, now: this.#options.now() };
    const raw = withLatchkeyErrors(context, () => {
      if (token.account) this.#keep(token.account);
      return rawTokenOf(token);
    });
    return readTokenResponse(raw, context).result;
  }

  close(): void {
    this.#closing.abort(new LatchkeyError("broker_unavailable", "The connection to the broker was closed"));
  }
}

function isClassMissing(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && (error.broker?.errorCode ?? 0) >>> 0 === CLASS_NOT_REGISTERED;
}

/** Returns the mutex of a call. One without a time limit has a window. */
function mutexOf({ timeoutMs }: AskOptions): string | undefined {
  if (operatingSystem() === "linux") return CALLS;
  return timeoutMs === undefined ? WINDOWS : undefined;
}

/** Opens the library, and returns its broker. */
export async function startMsalRuntimeBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const { library, path } = await openMsalRuntime();
  signal?.throwIfAborted();
  const { clientId, authority, timeLimits: { accountsMs, silentMs }, log } = options;
  const calls = new NativeCalls(library, options);
  const logging = passLogOn(library, log);
  return {
    kind: "msalruntime",
    async getAccounts(call) {
      const accounts = await calls.listAccounts(call);
      const raw = withLatchkeyErrors(calls.contextOf(call), () => accounts.map(rawAccountOf));
      return raw.map((account) => readAccount(account, {}, authority, call.correlationId))
        .sort(byName); // the library's order varies
    },
    async acquireTokenSilently(request, call) {
      refuseKey(request, call);
      const { correlationId } = call;
      const account = request.account && await calls.findAccount(request.account, call);
      const parameters = calls.parametersOf(request, call);
      const start: Start<NativeToken> = account
        ? (done) => library.AcquireTokenSilentlyAsync(parameters, correlationId, account, done)
        : (done) => library.SignInSilentlyAsync(parameters, correlationId, done);
      const limits = { ...call, timeoutMs: silentMs, scopes: request.scopes, retry: true, isSilent: true };
      return calls.tokenIn(await calls.ask("acquireTokenSilently", start, limits), request, call);
    },
    async acquireTokenInteractively(request, call) {
      refuseKey(request, call);
      const { correlationId } = call;
      const window = windowBytes(request.parentWindowHandle);
      const hint = signInHint(request);
      const account = hint === undefined ? await calls.findAccount(request.account!, call) : undefined;
      const parameters = calls.parametersOf(request, call);
      const start: Start<NativeToken> = account
        ? (done) => library.AcquireTokenInteractivelyAsync(window, parameters, correlationId, account, done)
        : (done) => library.SignInInteractivelyAsync(window, parameters, correlationId, hint!, done);
      const limits = { ...call, scopes: request.scopes, onBefore: request.onBeforeWindow };
      return calls.tokenIn(await calls.ask("acquireTokenInteractively", start, limits), request, call);
    },
    async removeAccount(account, call) {
      const known = await calls.findAccount(account, call);
      const { correlationId } = call;
      const start: Start<NativeResult> = (done) => library.SignOutSilentlyAsync(clientId, correlationId, known, done);
      await calls.ask("removeAccount", start, { ...call, timeoutMs: accountsMs });
      calls.forget(account);
    },
    acquireSsoCookies: cannot("give cookies", "On Windows and macOS browsers get them from an extension of their own"),
    signHttpRequest: cannot(
      "sign a request without a token",
      "Ask for a token with an authenticationScheme: it is signed as a whole",
    ),
    // Like MSAL for Python: on Linux it depends on the broker, and shows only when it is tried.
    isPopSupported: () => Promise.resolve(operatingSystem() !== "linux"),
    version: () => versionOfMsalRuntime(path),
    close(): void {
      calls.close();
      logging[Symbol.dispose]();
    },
  };
}

function cannot(what: string, remedy: string): (_request: unknown, call: BrokerCall) => Promise<never> {
  return (_request, { correlationId }) =>
    Promise.reject(new LatchkeyError("refused", `MSALRuntime does not ${what}`, { correlationId, remedy }));
}

function byName(one: AccountInfo, other: AccountInfo): number {
  const [name, otherName] = [one, other].map(({ username, homeAccountId }) => `${username} ${homeAccountId}`);
  return name! < otherName! ? -1 : 1;
}

export interface NativeCallOptions {
  /** Name of the call, for messages. */
  readonly name: string;
  readonly correlationId: string;
  readonly signal?: AbortSignal | undefined;
  /** Time limit in milliseconds, the wait for the mutex included. @default none */
  readonly timeoutMs?: number | undefined;
  /** Mutex of the call. An abandoned call that cannot be cancelled holds it until the broker answers. */
  readonly mutex?: string | undefined;
  /** True if the library cancels a call without waiting for the broker. */
  readonly isCancellable: boolean;
  /** Called with the library's error if a cancellation fails. Must not throw. */
  readonly onNotCancelled?: ((thrown: unknown) => void) | undefined;
  /** Time for which a cancelled call may hold the mutex: its window has to close first. @default 5_000 */
  readonly closingMs?: number | undefined;
}

const exclusiveCalls = new Mutex();

/** Makes a call to the library. A result that comes after the time limit or an abort is dropped. */
export async function callNative<T>(start: Start<T>, options: NativeCallOptions): Promise<T> {
  const { name, signal, timeoutMs, mutex, isCancellable, onNotCancelled, correlationId, closingMs = 5_000 } = options;
  signal?.throwIfAborted();
  const answer = Promise.withResolvers<T>();
  const limit = new AbortController();
  const gone = AbortSignal.any([limit.signal, ...(signal ? [signal] : [])]);
  const timedOut = () =>
    new LatchkeyError("timed_out", `The broker did not answer ${name} within ${timeoutMs} ms`, {
      correlationId,
      remedy: { kind: "try_again", then: { kind: "run_doctor" } },
    });
  const work = async (): Promise<T> => {
    gone.throwIfAborted(); // while it waited for the mutex
    const call = start(answer.resolve);
    if (!isCancellable) return await answer.promise;
    const cancel = () => {
      try {
        call.CancelAsyncOperation();
      } catch (error) {
        onNotCancelled?.(error); // a timer calls this, so an error would end the program
      }
    };
    gone.addEventListener("abort", cancel, { once: true });
    if (gone.aborted) cancel(); // the start may have called back and aborted
    try {
      return await untilAborted(answer.promise, gone);
    } catch (error) {
      await withinTime(answer.promise, closingMs);
      throw error;
    } finally {
      gone.removeEventListener("abort", cancel);
    }
  };
  const timer = timeoutMs === undefined ? undefined : startTimer(() => limit.abort(timedOut()), timeoutMs);
  const worked = mutex === undefined ? work() : exclusiveCalls.run(mutex, work);
  try {
    return await untilAborted(worked, gone);
  } finally {
    clearTimeout(timer);
  }
}

/** Parameters that the library sets itself. It refuses a request that has one of them. */
const OWN_PARAMETERS: ReadonlySet<string> = new Set([
  ...["client_id", "scope", "response_type", "redirect_uri", "nonce", "code_challenge", "client_info"],
  ...["prompt", "domain_hint", "dc"],
]);

/** Prompts by which the user chooses an account or types a password, even if the app chose an account. */
const PROMPTS_WITHOUT_ACCOUNT: ReadonlySet<string> = new Set(["login", "select_account", "create"]);

/** Returns the URI that an app must have registered. MSALRuntime is told it, although Windows' broker sends its own. */
export function redirectUriOf(clientId: string, system: string): string {
  if (system === "win32") return brokerPluginUri(clientId);
  return system === "darwin" ? UNSIGNED_APP_URI : NATIVE_CLIENT_URI;
}

function refuseKey({ pop }: BrokerTokenRequest, { correlationId }: BrokerCall): void {
  if (pop?.kid === undefined) return;
  throw new LatchkeyError("refused", "MSALRuntime binds no token to a key of the caller's", {
    correlationId,
    remedy: CANNOT_BIND_TO_KEY,
  });
}

/**
 * Fills the library's parameters from a request.
 *
 * @returns The names of parameters that the library does not take. The prompt is not among them: the called function says it.
 */
export function fillParameters(
  made: NativeParameters,
  request: BrokerTokenRequest,
  { clientId, system }: { readonly clientId: string; readonly system: string },
): readonly string[] {
  const { authority, claims, accessTokenToRenew, pop } = request;
  made.CreateAuthParameters(clientId, authority.url);
  made.SetRedirectUri(redirectUriOf(clientId, system));
  made.SetRequestedScopes(withoutReserved(request.scopes).join(" "));
  if (claims !== undefined) made.SetDecodedClaims(claims);
  if (accessTokenToRenew !== undefined) made.SetAccessTokenToRenew(accessTokenToRenew);
  if (pop) {
    const { host, pathname } = new URL(pop.url);
    made.SetPopParams(pop.method, host, pathname, pop.nonce ?? "");
  }
  const extra = Object.entries(request.extraParameters ?? {});
  const isOwn = (name: string) => OWN_PARAMETERS.has(name.toLowerCase());
  for (const [name, value] of extra) {
    if (!isOwn(name)) made.SetAdditionalParameter(name, value);
  }
  return extra.map(([name]) => name).filter((name) => isOwn(name) && name !== "prompt");
}

/** Returns the user name for a window that anyone may sign in to; `undefined` if the window is for the chosen account. */
export function signInHint({ account, loginHint, extraParameters }: BrokerInteractiveRequest): string | undefined {
  const prompt = extraParameters?.prompt ?? "";
  if (account && !PROMPTS_WITHOUT_ACCOUNT.has(prompt)) return undefined;
  // With a hint the window asks for that user's password instead of a choice.
  return prompt === "select_account" ? "" : loginHint ?? account?.username ?? "";
}

/**
 * Returns a window as the library reads it from memory: always eight bytes. Zeros mean the console's window, which the addon
 * finds, or the desktop if there is no console. macOS and Linux need no window.
 */
export function windowBytes(handle: WindowHandle | undefined): Uint8Array {
  const bytes = new Uint8Array(8);
  const bits = windowBits(handle);
  const window = bits === undefined ? readWindow(handle) : { id: bits };
  if (!("id" in window)) {
    throw new ArgumentError("Cannot acquire a token: MSALRuntime does not support Wayland windows");
  }
  new DataView(bytes.buffer).setBigUint64(0, BigInt(window.id), true);
  return bytes;
}

export function rawAccountOf(account: NativeAccount): JsonObject {
  const { homeAccountId, localAccountId, environment, realm, username, displayName, clientInfo } = account;
  return { homeAccountId, localAccountId, environment, realm, username, name: displayName, clientInfo };
}

/** Returns a token as a broker's JSON has it. A bound token is in the `Authorization` header that the library returns. */
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

/** Runs code of the library, and translates its errors, which are plain objects. */
export function withLatchkeyErrors<T>(context: RefusalContext, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw nativeError(error, context);
  }
}

export function nativeError(thrown: unknown, context: RefusalContext): LatchkeyError {
  const { correlationId } = context;
  const status = isObject(thrown) ? readNumber(thrown.errorStatus) : undefined;
  if (!isObject(thrown) || status === undefined) {
    const message = escapeControlCharacters(thrown instanceof Error ? thrown.message : String(thrown));
    return new LatchkeyError("unexpected", `MSALRuntime failed: ${message}`, { correlationId });
  }
  const text = readText(thrown.errorContext) ?? "";
  // So it says that it cannot reach the Linux broker.
  if (status === 0 && /^DBUS failed/i.test(text)) {
    const errorDescription = escapeControlCharacters(text);
    return new LatchkeyError("broker_unavailable", `The broker went away: ${errorDescription}`, {
      correlationId,
      errorDescription,
      remedy: "Try again; if it stays away, restart this program",
    });
  }
  const tag = readNumber(thrown.errorTag);
  const errorCode = readNumber(thrown.errorCode);
  return refusalError({ status, tag, errorCode, text }, context);
}
