/**
 * Sign-in in the system's browser: authorization code and PKCE with a redirect to the loopback interface (RFC 8252).
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { openBrowser as openSystemBrowser } from "../platform/browser.ts";
import { listenOnLoopback, type LoopbackReply, type LoopbackRequest } from "../platform/loopback.ts";
import { isRemoteSession, readSurroundings } from "../platform/surroundings.ts";
import {
  type AuthCodeRequest,
  type AuthorizationFlow,
  finishAuthorization,
  isAnswerTo,
  startAuthorization,
} from "./authorization_code.ts";
import type { HttpOptions, Provider } from "./provider.ts";
import { resultPage, type SignInOutcome } from "./result_page.ts";
import type { TokenReply } from "./token_reply.ts";

/** How an app wants the browser to be used. All that is left out is done the usual way. */
export interface BrowserSignInOptions {
  /** Opens an address; says whether it did. @default the system's browser */
  readonly openBrowser?: ((url: string) => boolean | Promise<boolean>) | undefined;
  /** Called with the address that the person has to open, and whether a browser was opened with it. @default none */
  readonly onSignInAddress?: ((address: { readonly url: string; readonly opened: boolean }) => void) | undefined;
  /**
   * Reads the address that the browser was redirected to, as a person pastes it. Called where no browser was opened, over SSH
   * and in a container: there the browser may be on another machine.
   *
   * @default none
   */
  readonly readRedirect?: ((signal: AbortSignal) => Promise<string>) | undefined;
  /** HTML of the page that ends the sign-in. @default a page of ours */
  readonly resultPage?: ((outcome: SignInOutcome) => string) | undefined;
}

/** What else goes with a sign-in. */
interface Limits {
  readonly port?: number | undefined;
  readonly timeLimitMs: number;
  readonly onBeforeLaunching?: (() => void) | undefined;
}

/** Where the browser's address is clean of what it was redirected with. */
const RESULT_PATH = "/done";
/** How long the browser may take to fetch the page that it was sent to. */
const LAST_PAGE_MS = 2_000;

/**
 * Signs a person in.
 *
 * @param provider Who is asked.
 * @param request What is asked for; the redirect URI is ours.
 * @param options How the browser is used, and how the provider is reached.
 * @returns The provider's answer.
 * @throws {LatchkeyError} the provider's refusal; `timed_out`; `configuration` when the port is taken.
 */
export async function signInByBrowser(
  provider: Provider,
  request: Omit<AuthCodeRequest, "redirectUri">,
  options: BrowserSignInOptions & Limits & HttpOptions,
): Promise<TokenReply> {
  const { port = 0, timeLimitMs, openBrowser = openSystemBrowser, signal } = options;
  const limit = AbortSignal.timeout(timeLimitMs), over = new AbortController();
  const ended = AbortSignal.any([limit, over.signal, ...(signal ? [signal] : [])]);
  const reply = Promise.withResolvers<TokenReply>(), shown = Promise.withResolvers<void>();
  reply.promise.catch(() => {}); // it may end before it is waited for
  ended.addEventListener("abort", () => reply.reject(ended.reason), { once: true });

  let flow: AuthorizationFlow | undefined, taken = false, last: LoopbackReply | undefined;

  /** The first answer with the right state ends the sign-in, whatever it says. */
  async function take(parameters: URLSearchParams): Promise<boolean> {
    if (!flow || taken || !isAnswerTo(flow, parameters)) return false;
    taken = true;
    let outcome: SignInOutcome;
    try {
      const answer = await finishAuthorization(provider, flow, parameters, { ...options, signal: ended });
      outcome = { ok: true, username: answer.result.account.username };
      reply.resolve(answer);
    } catch (error) {
      reply.reject(error);
      const shown = error instanceof LatchkeyError
        ? error
        : new LatchkeyError("unexpected", "The sign-in was given up");
      outcome = { ok: false, error: shown };
    }
    last = resultPage(outcome, options.resultPage?.(outcome));
    return true;
  }

  async function answer({ method, url, form }: LoopbackRequest): Promise<LoopbackReply> {
    if (url.pathname === RESULT_PATH && last) {
      shown.resolve();
      return last;
    }
    if (url.pathname === "/" && await take(method === "POST" ? form : url.searchParams)) {
      return { status: 303, headers: { location: RESULT_PATH, "cache-control": "no-store" }, body: "" };
    }
    return {
      status: 400,
      headers: { "content-type": "text/plain; charset=utf-8" },
      body: "This is no answer to a sign-in.\n",
    };
  }

  const allowedOrigins = [new URL(provider.server.authorization_endpoint!).origin];
  await using loopback = await listenOnLoopback({ port, allowedOrigins, onRequest: answer, signal: ended });
  const redirectUri = `http://localhost:${loopback.port}`, { readRedirect } = options;
  const start = async (responseMode?: "query"): Promise<string> => {
    const started = await startAuthorization(provider, { ...request, redirectUri, responseMode });
    flow = started.flow;
    return started.url;
  };
  try {
    options.onBeforeLaunching?.();
    // What a browser posts does not show in its address, which is all that a person can paste.
    let canPaste = readRedirect !== undefined && isRemoteSession(await readSurroundings());
    let url = await start(canPaste ? "query" : undefined);
    const opened = await openBrowser(url);
    if (!opened && readRedirect && !canPaste) {
      url = await start("query"); // nobody has seen the first one
      canPaste = true;
    }
    options.onSignInAddress?.({ url, opened });
    if (readRedirect && canPaste) void paste(readRedirect);
    const result = await reply.promise;
    // The page is on its way to the browser, which may be gone.
    await Promise.race([shown.promise, new Promise((resolve) => setTimeout(resolve, LAST_PAGE_MS))]);
    return result;
  } catch (error) {
    if (limit.aborted && error === limit.reason) throw tooLong(timeLimitMs);
    throw error;
  } finally {
    over.abort(new LatchkeyError("unexpected", "The sign-in is over"));
  }

  async function paste(read: (signal: AbortSignal) => Promise<string>): Promise<void> {
    try {
      for (;;) {
        const text = (await read(ended)).trim();
        if (URL.canParse(text) && await take(new URL(text).searchParams)) return;
      }
    } catch (error) {
      if (!ended.aborted) reply.reject(error);
    }
  }
}

function tooLong(timeLimitMs: number): LatchkeyError {
  return new LatchkeyError("timed_out", `Nobody signed in within ${Math.round(timeLimitMs / 1000)} seconds`, {
    hint:
      "Try again. Where the page itself showed an error, such as AADSTS530084 or AADSTS53003, the browser does not pass " +
      "your organisation's rules: sign in through the device's broker (--broker require)",
  });
}
