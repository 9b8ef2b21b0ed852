/**
 * Tokens for a command line: from one application a run, for its account and tenant, with prompts if it allows any.
 *
 * @module
 */
import { isUsername } from "../../lib/account.ts";
import type { PublicClientApplication, PublicClientApplicationOptions } from "../../lib/application.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import { readEnvironment } from "../../lib/runtime/host.ts";
import { canAsk, isTerminal } from "../../lib/runtime/terminal.ts";
import { type AuthenticationResult, LEFT_TO_CALLER_MS } from "../../lib/token.ts";
import { HeldNotices, makeApplication } from "./application.ts";
import type { CommandLine } from "./command_line.ts";
import { INTERACTIVE } from "./options.ts";
import { say } from "./output.ts";
import type { Prompter } from "./prompter.ts";

/** The prompts that a command allows. */
export type Interactive = NonNullable<AcquireTokenRequest["interactive"]>;

/** Options of {@linkcode openTokens}. */
export interface TokensOptions {
  /** The prompts that requests may open. A request can allow fewer. */
  readonly interactive: Interactive;
  /** Aborts the look at the token cache, and requests without a signal of their own. */
  readonly signal?: AbortSignal | undefined;
  /**
   * `true`: the tokens are for clients of the command. No user is asked to choose an account, each request has an id of its own,
   * and the command goes on without a token cache that cannot be read. @default false
   */
  readonly isService?: boolean;
  /** `true`: the hint of a failure has the sign-in for the request's scopes, which the command line does not name. @default false */
  readonly namesSignIn?: boolean;
  /** Options of the application that take precedence over those of the command line. @default none */
  readonly options?: Partial<PublicClientApplicationOptions>;
  /** The application of a sign-in that has just ended. @default a new one */
  readonly app?: PublicClientApplication;
}

/** A request for a token. The account is the command line's unless it is given; the tenant, too. */
export type TokenAsk = Omit<AcquireTokenRequest, "agentSession">;

/**
 * Opens the source of a command's tokens. A command that ends need not close its application.
 *
 * @throws {UsageError} if an option is invalid.
 * @throws {ArgumentError} if the authority or the redirect path is invalid.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the requested token cache cannot be used.
 */
export async function openTokens(line: CommandLine, options: TokensOptions): Promise<TokenSource> {
  const { interactive, signal, isService = false } = options;
  const prompter = interactive === "never" ? undefined : (await import("./prompter.ts")).prompterFor(line);
  const notices = new HeldNotices();
  // Without a user to prompt, a cache that cannot be read is the reason for the failure.
  const hold = prompter || isService ? undefined : notices.hold;
  const mayPrompt = prompter !== undefined;
  const app = options.app ??
    await makeApplication(line, { ...prompter?.browser, mayPrompt, hold, signal, ...options.options });
  return new TokenSource(line, { ...options, isService, app, prompter, notices });
}

interface SourceParts extends TokensOptions {
  readonly app: PublicClientApplication;
  readonly prompter: Prompter | undefined;
  readonly notices: HeldNotices;
}

/** The tokens of a command. */
export class TokenSource {
  readonly app: PublicClientApplication;
  readonly #line: CommandLine;
  readonly #parts: SourceParts;
  #isWarned = false;

  /** Use {@linkcode openTokens}. */
  constructor(line: CommandLine, parts: SourceParts) {
    this.app = parts.app;
    this.#line = line;
    this.#parts = parts;
  }

  /**
   * Acquires a token.
   *
   * @throws {UsageError} if there are several accounts, and the user chooses none.
   * @throws {LatchkeyError} as `PublicClientApplication.acquireToken` does, and the token cache. A missing consent has the URL for
   * it as its hint.
   */
  async acquire(ask: TokenAsk): Promise<AuthenticationResult> {
    const { isService, namesSignIn, notices } = this.#parts;
    let result;
    try {
      result = await notices.during(() => this.#acquire(ask));
    } catch (error) {
      throw namesSignIn ? (await import("./failures.ts")).withLogin(error, this.#line, ask.scopes) : error;
    }
    if (result.source === "identity_provider" && !isService && !this.#isWarned) {
      this.#isWarned = true;
      (await import("./token_cache.ts")).warnIfNotStored(this.#line);
    }
    return result;
  }

  async #acquire(ask: TokenAsk): Promise<AuthenticationResult> {
    const line = this.#line;
    const { isService, signal } = this.#parts;
    const request = {
      ...{ interactive: this.#parts.interactive, signal, ...(!isService && { correlationId: line.correlationId }) },
      ...ask,
      tenantId: ask.tenantId ?? line.text("tenant"),
      agentSession: agentSession(),
    };
    const whole = { ...request, ...await this.#accountFor(request) };
    const result = await this.#send(whole);
    const minTtl = line.seconds("min-ttl") ?? 0;
    // A client of the command knows better what is left, or has a clock that is right.
    return !isService && secondsLeft(result) < minTtl ? await this.#renew(whole, result, minTtl) : result;
  }

  /** Returns the account of a request. The code that chooses is loaded only if there is a choice. */
  async #accountFor(request: AcquireTokenRequest): Promise<Pick<AcquireTokenRequest, "account" | "username">> {
    const { account, username, tenantId, interactive, signal } = request;
    if (account !== undefined || username !== undefined) return { account, username };
    const nameOrId = this.#line.text("account");
    // A prompt that is always opened has a choice of its own.
    const mayAsk = interactive === "if-needed" && !this.#parts.isService && canAsk();
    if (!mayAsk && (nameOrId === undefined || isUsername(nameOrId))) return { username: nameOrId };
    const { accountMeant } = await import("./accounts.ts");
    return await accountMeant(this.app, { nameOrId, tenant: tenantId, signal, mayAsk });
  }

  async #send(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    const { app } = this;
    const { prompter } = this.#parts;
    try {
      if (!prompter || request.interactive === "never") return await app.acquireToken(request);
      return await prompter.ask(request, (request) => app.acquireToken(request));
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.remedy?.kind !== "consent") throw error;
      throw await (await import("./failures.ts")).withConsentUrl(error, app, request);
    }
  }

  /** Renews a token that expires sooner than wanted. If that fails, returns the token that it was given. */
  async #renew(
    request: AcquireTokenRequest,
    first: AuthenticationResult,
    minTtl: number,
  ): Promise<AuthenticationResult> {
    const { signal } = request;
    // A user who has just signed in is not prompted again.
    const interactive = request.interactive === "always" ? "never" : request.interactive;
    // A user who is prompted may take longer.
    const limit = interactive === "never" ? lastMoment(first) : undefined;
    const limited = limit && signal ? AbortSignal.any([limit, signal]) : limit ?? signal;
    let renewed = first;
    try {
      renewed = await this.#send({ ...request, forceRefresh: true, interactive, signal: limited });
    } catch (error) {
      // A token that expires soon is better than none, unless the caller or the user gave up.
      if (signal?.aborted) throw error;
      if (limit?.aborted) say("the token could not be renewed in time");
      else say(`the token could not be renewed: ${reasonOf(error)}`);
    }
    const left = secondsLeft(renewed);
    if (left < minTtl) say(`the token expires in ${left} s, sooner than --min-ttl asks for`);
    return renewed;
  }
}

/** Returns the reason why a token could not be renewed. Rethrows the user's cancellation, and a bug. */
function reasonOf(error: unknown): string {
  if (!(error instanceof LatchkeyError) || error.code === "user_canceled") throw error;
  const { code, message, correlationId } = error;
  return `${code}: ${message}${correlationId ? ` (correlation id ${correlationId})` : ""}`;
}

/**
 * Returns what --interactive allows. Stdout does not matter: a user can pipe the token from a terminal.
 *
 * @param options.terminal The terminals that show that there is a user: `stderr` if standard input is another program's.
 */
export function interactiveOf(
  line: CommandLine,
  { terminal = "both" }: { readonly terminal?: "both" | "stderr" } = {},
): Interactive {
  const option = line.get(INTERACTIVE);
  if (option !== "auto") return option;
  const isAtTerminal = terminal === "both" ? canAsk() : isTerminal("stderr");
  return isAtTerminal ? "if-needed" : "never";
}

/** Returns the id of the agent's session that runs the command. Its tokens are marked with it, as Azure CLI's are. */
function agentSession(): string | undefined {
  return readEnvironment("COPILOT_AGENT_SESSION_ID");
}

/** Milliseconds that a renewal gets in any case: a token that is about to expire is of little use to the caller. */
const MIN_RENEWAL_MS = 2_000;
/** Lifetime in seconds of a token that a renewal can outlast: a provider is waited for twice 30 s. */
const OUTLASTED_S = 70;

/** Returns a signal that aborts when a token is about to expire; `undefined` if no renewal takes that long. */
function lastMoment(token: AuthenticationResult): AbortSignal | undefined {
  const limitMs = renewalLimitMs(secondsLeft(token));
  return limitMs === undefined ? undefined : AbortSignal.timeout(limitMs);
}

/** Returns the time for the renewal of a token that is still good, in milliseconds; `undefined` if it needs no limit. */
export function renewalLimitMs(secondsLeft: number): number | undefined {
  return secondsLeft < OUTLASTED_S ? Math.max(MIN_RENEWAL_MS, secondsLeft * 1000 - LEFT_TO_CALLER_MS) : undefined;
}

function secondsLeft({ expiresOn }: AuthenticationResult): number {
  return Math.floor((expiresOn.getTime() - Date.now()) / 1000);
}
