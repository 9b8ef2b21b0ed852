/**
 * Sign-in in the system's browser: authorization code and PKCE with a redirect to the loopback interface (RFC 8252), and the
 * page that the browser shows in the end.
 *
 * @module
 */
import { startTimer, untilAborted, withinTime } from "../async.ts";
import { isMicrosoftAuthority, PERSONAL_ACCOUNTS_HOST } from "../authority.ts";
import { isAtRedirectUri, loopbackRedirectUri, uriToRegister } from "../redirect_uris.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { descriptionOf, LatchkeyError, shortNameOf } from "../errors.ts";
import { listenOnLoopback, type LoopbackRequest } from "../http/loopback.ts";
import type { HttpReply } from "../http/server.ts";
import {
  isRemoteSession,
  openBrowser as openSystemBrowser,
  readSessionFacts,
  type SessionFacts,
} from "../runtime/browser.ts";
import { type AuthCodeFlow, finishAuthorization, isAnswerTo, startAuthorization } from "./authorization_code.ts";
import type { HttpOptions } from "./bounded_fetch.ts";
import type { AuthorizationRequest, Provider } from "./provider.ts";
import type { TokenReply } from "./token_endpoint.ts";

/** Options for the use of the browser. */
export interface BrowserSignInOptions {
  /** Opens an address, and returns true if it did. After a few seconds it is not waited for. @default the system's browser */
  readonly openBrowser?: ((url: string) => boolean | Promise<boolean>) | undefined;
  /** Called with the address that the person has to open, and whether a browser was opened with it. @default none */
  readonly onSignInAddress?: ((address: { readonly url: string; readonly opened: boolean }) => void) | undefined;
  /**
   * Reads the address that the browser was redirected to, as a person pastes it. Called again after an invalid one, until the
   * text is empty. Called if no browser was opened, over SSH and in a container: there the browser may be on another machine.
   *
   * @default none
   */
  readonly readRedirect?: ((signal: AbortSignal) => Promise<string>) | undefined;
  /**
   * Path of the redirect URI at an authority that is not Microsoft's, such as `/signed-in` if `http://127.0.0.1/signed-in` is
   * registered. Use it for one authority only. Microsoft's have `http://localhost`, without a path.
   *
   * @default the authority's own, which `redirectUris` gives
   */
  readonly redirectPath?: string | undefined;
  /** HTML of the page that ends the sign-in; if it throws, the default page is shown. @default latchkey's page */
  readonly resultPage?: ((outcome: SignInOutcome) => string) | undefined;
}

interface SignInCall extends HttpOptions {
  readonly port?: number | undefined;
  /** @default {@linkcode SIGN_IN_LIMIT_MS} */
  readonly timeLimitMs?: number | undefined;
  readonly onBeforeLaunching?: (() => void) | undefined;
  /** Facts about the session. @default those of this process */
  readonly session?: SessionFacts | undefined;
  /** Time after which the address is announced although the browser is still being opened. @default 3 seconds */
  readonly openingLimitMs?: number | undefined;
  /** Throws if the reply is not acceptable, so that the page says so, too. */
  readonly accept?: ((reply: TokenReply) => void) | undefined;
}

type SignInRequest = Omit<AuthorizationRequest, "redirectUri" | "responseMode">;

/** Time for the person to sign in. */
export const SIGN_IN_LIMIT_MS = 300_000;
const OPENING_LIMIT_MS = 3_000;
/** Time for the browser to fetch the result page. */
const RESULT_PAGE_LIMIT_MS = 2_000;

/**
 * Signs a person in.
 *
 * @throws {LatchkeyError} the provider's refusal; `timed_out`; `configuration` if the port is taken; `missing_dependency` if no
 * browser opens and nobody is told the address.
 */
export async function signInByBrowser(
  provider: Provider,
  request: SignInRequest,
  options: BrowserSignInOptions & SignInCall,
): Promise<TokenReply> {
  const { port = 0, timeLimitMs = SIGN_IN_LIMIT_MS, signal, correlationId, redirectPath } = options;
  const over = new AbortController();
  const ended = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  const signIn = new LoopbackSignIn(provider, request, { ...options, signal: ended });
  const onRequest = (browser: LoopbackRequest): Promise<HttpReply> => signIn.respond(browser);
  const allowedOrigins = originsOf(provider);
  const loopback = await listenOnLoopback({ port, signal: ended, onRequest, allowedOrigins });
  const redirectUri = loopbackRedirectUri(provider.authority, { port: loopback.port, redirectPath });
  const limit = startTimer(() => over.abort(timedOut(redirectUri, timeLimitMs, correlationId)), timeLimitMs);
  try {
    return await untilAborted(signIn.run(redirectUri), ended);
  } finally {
    await signIn.showPage();
    clearTimeout(limit);
    over.abort(new LatchkeyError("unexpected", "The sign-in is over"));
    await loopback.close();
  }
}

/** A sign-in from the browser's start to the page that it ends with. */
class LoopbackSignIn {
  readonly #provider: Provider;
  readonly #request: SignInRequest;
  readonly #options: BrowserSignInOptions & SignInCall;
  /** Aborts when the sign-in is over. */
  readonly #ended: AbortSignal;
  readonly #reply = Promise.withResolvers<TokenReply>();
  readonly #pageShown = Promise.withResolvers<void>();
  // At this address the browser no longer shows the response's parameters. Others cannot guess it.
  readonly #resultPath = `/done/${crypto.randomUUID()}`;
  readonly #started: AuthCodeFlow[] = [];
  /** The flow whose response has come. */
  #answered: AuthCodeFlow | undefined;
  #isAnnounced = false;
  /** `due` once the browser has brought the response. */
  #page: HttpReply | "due" | undefined;

  constructor(
    provider: Provider,
    request: SignInRequest,
    options: BrowserSignInOptions & SignInCall & { readonly signal: AbortSignal },
  ) {
    this.#provider = provider;
    this.#request = request;
    this.#options = options;
    this.#ended = options.signal;
  }

  /** Opens the browser, and waits for the tokens. */
  async run(redirectUri: string): Promise<TokenReply> {
    this.#launch(redirectUri).catch(this.#reply.reject);
    return await this.#reply.promise;
  }

  /** Waits until the browser has fetched the result page, if one is due. */
  async showPage(): Promise<void> {
    if (this.#page === undefined) return;
    await withinTime(this.#pageShown.promise, RESULT_PAGE_LIMIT_MS, this.#ended).catch(() => {}); // the browser may be gone
  }

  /** Responds to the browser. */
  async respond({ method, url, form }: LoopbackRequest): Promise<HttpReply> {
    if (url.pathname === this.#resultPath && typeof this.#page === "object") {
      this.#pageShown.resolve();
      return this.#page;
    }
    const parameters = method === "POST" ? form : url.searchParams;
    const flow = this.#take(url, parameters);
    if (!flow) return NOT_A_RESPONSE;
    this.#page = "due";
    const page = await this.#finish(flow, parameters);
    this.#page = page;
    if (this.#ended.aborted && method === "POST") return page; // the listener is closed: a redirect would lead nowhere
    return { status: 303, headers: { location: this.#resultPath }, body: "" };
  }

  async #launch(redirectUri: string): Promise<void> {
    const { readRedirect, session, openingLimitMs = OPENING_LIMIT_MS, correlationId } = this.#options;
    const openBrowser = this.#options.openBrowser ?? ((url) => openSystemBrowser(url, { signal: this.#ended }));
    this.#options.onBeforeLaunching?.();
    // A person can paste the address only, which does not contain what a browser posts.
    let canPaste = readRedirect !== undefined && isRemoteSession(session ?? await readSessionFacts());
    let { authUri } = await this.#start(redirectUri, canPaste ? "query" : undefined);
    const opening = (async () => await openBrowser(authUri))();
    const opened = await withinTime(opening, openingLimitMs, this.#ended) ?? false;
    if (opened === false && readRedirect && !canPaste && !this.#answered) {
      ({ authUri } = await this.#start(redirectUri, "query")); // the first address remains valid: a browser may have it
      canPaste = true;
    }
    this.#announce({ url: authUri, opened });
    if (readRedirect && canPaste) await this.#paste(readRedirect);
    else if (await opening === false && !this.#options.onSignInAddress) {
      throw new LatchkeyError("missing_dependency", "No browser could be opened", {
        correlationId,
        remedy: { kind: "sign_in_elsewhere" },
      });
    }
  }

  async #start(redirectUri: string, responseMode?: "query"): Promise<AuthCodeFlow> {
    const { now, correlationId } = this.#options;
    const request = { ...this.#request, redirectUri, responseMode, now, correlationId };
    const flow = await startAuthorization(this.#provider, request);
    this.#started.push(flow);
    return flow;
  }

  /** Announces once: the browser can come back before `openBrowser` returns. */
  #announce(address: { readonly url: string; readonly opened: boolean }): void {
    if (!this.#isAnnounced && !this.#ended.aborted) this.#options.onSignInAddress?.(address);
    this.#isAnnounced = true;
  }

  async #paste(read: (signal: AbortSignal) => Promise<string>): Promise<void> {
    while (!this.#ended.aborted) {
      const text = (await read(this.#ended) ?? "").replaceAll(/\s/g, ""); // a terminal may have broken the line
      if (!text) return;
      const address = new URL(URL.canParse(text) ? text : "about:blank");
      const parameters = address.searchParams;
      const flow = this.#take(address, parameters);
      if (flow) return void await this.#finish(flow, parameters);
      await new Promise((resolve) => setTimeout(resolve)); // a `read` that does not wait must not block the event loop
    }
  }

  /**
   * Takes the first response whose state matches; it ends the sign-in, whatever it says. One that arrived at another address
   * belongs to another authority, to which this authority has redirected the person.
   */
  #take(address: URL, parameters: URLSearchParams): AuthCodeFlow | undefined {
    if (this.#answered) return undefined;
    const isAnswered = (flow: AuthCodeFlow): boolean =>
      isAtRedirectUri(address, flow.redirectUri) && isAnswerTo(flow, parameters);
    this.#answered = this.#started.find(isAnswered);
    return this.#answered;
  }

  async #finish(flow: AuthCodeFlow, parameters: URLSearchParams): Promise<HttpReply> {
    try {
      this.#announce({ url: flow.authUri, opened: true });
      const answer = await finishAuthorization(this.#provider, flow, parameters, this.#options);
      this.#options.accept?.(answer);
      this.#reply.resolve(answer);
      return this.#pageFor({ ok: true, username: answer.result.account.username });
    } catch (error) {
      this.#reply.reject(error);
      const isOurs = error instanceof LatchkeyError;
      return this.#pageFor({
        ok: false,
        error: isOurs ? error : new LatchkeyError("unexpected", "The program gave up"),
      });
    }
  }

  #pageFor(outcome: SignInOutcome): HttpReply {
    try {
      return resultPage(outcome, this.#options.resultPage?.(outcome));
    } catch {
      return resultPage(outcome); // an error in the app's page does not change the outcome
    }
  }
}

/** Returns the origins that post the form: Microsoft's personal accounts sign in at a host of their own. */
function originsOf({ server, authority }: Provider): readonly string[] {
  const { authorization_endpoint: page } = server;
  const personal = `https://${PERSONAL_ACCOUNTS_HOST}`;
  return [...page ? [new URL(page).origin] : [], ...isMicrosoftAuthority(authority) ? [personal] : []];
}

const NOT_A_RESPONSE: HttpReply = {
  status: 400,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: "This is not a response to a sign-in.\n",
};

function timedOut(redirectUri: string, timeLimitMs: number, correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError("timed_out", `Nobody signed in within ${Math.round(timeLimitMs / 1000)} seconds`, {
    correlationId,
    remedy: {
      kind: "try_again",
      then: {
        kind: "require_broker",
        because:
          "If the page itself showed an error such as AADSTS530084 or AADSTS53003, the browser does not meet your " +
          "organization's policies",
        then: {
          kind: "advice",
          text: `Register ${uriToRegister(redirectUri)} for the app`,
          when: "If the page mentioned the redirect URI",
        },
      },
    },
  });
}

/** Outcome of a sign-in. */
export type SignInOutcome =
  | { readonly ok: true; readonly username: string }
  | { readonly ok: false; readonly error: LatchkeyError };

const STYLE = `:root{color-scheme:light dark;--back:#f5f6f8;--card:#fff;--text:#1b1f24;--soft:#57606a;--line:#d8dee4;\
--good:#1a7f37;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--card:#161b22;--text:#e6edf3;--soft:#9ba4ae;--line:#30363d;\
--good:#4ac26b;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100dvh;display:grid;place-items:center;padding:1.5rem;background:var(--back);\
color:var(--text);font:1rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:30rem;padding:clamp(1.25rem,6vw,2rem);background:var(--card);border:1px solid var(--line);border-radius:.75rem;\
overflow-wrap:anywhere}
svg{display:block;width:3rem;height:3rem;margin-bottom:1rem}
.good{color:var(--good)}.bad{color:var(--bad)}
h1{margin:0;font-size:1.5rem;line-height:1.25}
p{margin:.5rem 0 0;text-wrap:pretty}
dl{margin:1.25rem 0 0;padding-top:1rem;border-top:1px solid var(--line);font-size:.875rem;color:var(--soft)}
dt{font-weight:600}dd{margin:0}dd+dt{margin-top:.5rem}`;

const CHECK_MARK = '<path d="m7.5 12.5 3 3 6-6.5"/>';
const CROSS = '<path d="m8.5 8.5 7 7m0-7-7 7"/>';

/** An `HttpReply`, whose module names `node:net`: the declarations of the npm package must not. */
interface ResultPage {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Returns the page that ends a sign-in: latchkey's, or the app's own HTML. */
export function resultPage(outcome: SignInOutcome, html?: string): ResultPage {
  const nonce = crypto.randomUUID();
  return {
    status: outcome.ok ? 200 : 400,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      ...(html === undefined && {
        "content-security-policy":
          `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      }),
    },
    body: html ?? page(nonce, outcome),
  };
}

const CLOSE = "<p>You can close this page and go back to the program.</p>";

function successText(username: string): string {
  const who = username ? ` as <strong><bdi>${escape(username)}</bdi></strong>` : "";
  return `<p>You are signed in${who}.</p>\n${CLOSE}`;
}

function failureText(error: LatchkeyError): string {
  const { correlationId, hint } = error;
  const rows = [["Error", shortNameOf(error)], ["Details", descriptionOf(error)], ["Correlation id", correlationId]]
    .flatMap(([name, value]) => value ? [`<dt>${name}</dt><dd>${escape(value)}</dd>`] : []);
  const advice = hint ? `<p>${escape(hint)}.</p>\n` : "";
  return `${advice}${CLOSE}\n<dl>\n${rows.join("\n")}\n</dl>`;
}

function page(nonce: string, outcome: SignInOutcome): string {
  const [kind, icon, title] = outcome.ok ? ["good", CHECK_MARK, "Signed in"] : ["bad", CROSS, "Not signed in"];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${STYLE}</style>
</head>
<body>
<main>
<svg class="${kind}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" \
stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="12" cy="12" r="10"/>${icon}</svg>
<h1>${title}</h1>
${outcome.ok ? successText(outcome.username) : failureText(outcome.error)}
</main>
</body>
</html>
`;
}

function escape(text: string): string {
  const names: Readonly<Record<string, string>> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39" };
  return escapeControlCharacters(text).replaceAll(/[&<>"']/g, (character) => `&${names[character]};`);
}
