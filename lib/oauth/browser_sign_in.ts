/**
 * Sign-in in the system's browser: authorization code and PKCE with a redirect to the loopback interface (RFC 8252).
 *
 * @module
 */
import { startTimer } from "../async.ts";
import { isAtRedirectUri, loopbackRedirectUri, uriToRegister } from "../authority.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { listenOnLoopback, type LoopbackReply, type LoopbackRequest } from "../http/loopback.ts";
import {
  isRemoteSession,
  openBrowser as openSystemBrowser,
  readSessionFacts,
  type SessionFacts,
} from "../runtime/browser.ts";
import {
  type AuthCodeRequest,
  type AuthorizationFlow,
  finishAuthorization,
  isAnswerTo,
  startAuthorization,
} from "./authorization_code.ts";
import { waitByTimer } from "./fetch.ts";
import { type HttpOptions, isMicrosoft, type Provider } from "./provider.ts";
import type { TokenReply } from "./token_endpoint.ts";

/** How an app wants the browser to be used. All that is left out is done the usual way. */
export interface BrowserSignInOptions {
  /** Opens an address; says whether it did. One that takes long is not waited for. @default the system's browser */
  readonly openBrowser?: ((url: string) => boolean | Promise<boolean>) | undefined;
  /** Called with the address that the person has to open, and whether a browser was opened with it. @default none */
  readonly onSignInAddress?: ((address: { readonly url: string; readonly opened: boolean }) => void) | undefined;
  /**
   * Reads the address that the browser was redirected to, as a person pastes it; again after one that is none, until the text
   * is empty. Called where no browser was opened, over SSH and in a container: there the browser may be on another machine.
   *
   * @default none
   */
  readonly readRedirect?: ((signal: AbortSignal) => Promise<string>) | undefined;
  /**
   * Path of the redirect URI at an authority that is not Microsoft's, such as `/signed-in`: what is registered there is
   * `http://127.0.0.1/signed-in`. Use it for one authority alone. Microsoft's have `http://localhost`, without a path.
   *
   * @default the authority's own, which `redirectUris` gives
   */
  readonly redirectPath?: string | undefined;
  /** HTML of the page that ends the sign-in; ours takes its place when it throws. @default a page of ours */
  readonly resultPage?: ((outcome: SignInOutcome) => string) | undefined;
}

/** What else goes with a sign-in. */
interface SignInCall extends HttpOptions {
  readonly port?: number | undefined;
  readonly timeLimitMs: number;
  readonly onBeforeLaunching?: (() => void) | undefined;
  /** What is around the program. @default as it is found */
  readonly surroundings?: SessionFacts | undefined;
  /** How long the address is kept back while the browser is being opened. @default 3 seconds */
  readonly openingLimitMs?: number | undefined;
  /** Throws when the answer is not what is wanted, so that the page says so, too. */
  readonly accept?: ((reply: TokenReply) => void) | undefined;
}

/** A sign-in that waits for its answer. */
interface Started {
  readonly url: string;
  readonly flow: AuthorizationFlow;
}

/** A browser that is opened says so sooner. */
const OPENING_LIMIT_MS = 3_000;
/** How long the browser may take to fetch the page that it was sent to. */
const LAST_PAGE_MS = 2_000;

/**
 * Signs a person in.
 *
 * @param provider Who is asked.
 * @param request What is asked for; the redirect URI is ours.
 * @param options How the browser is used, and how the provider is reached.
 * @returns The provider's answer.
 * @throws {LatchkeyError} the provider's refusal; `timed_out`; `configuration` when the port is taken; `missing_dependency`
 * when no browser opens and nobody is told the address.
 */
export async function signInByBrowser(
  provider: Provider,
  request: Omit<AuthCodeRequest, "redirectUri" | "responseMode" | "now">,
  options: BrowserSignInOptions & SignInCall,
): Promise<TokenReply> {
  const { port = 0, timeLimitMs, signal, now, correlationId, readRedirect } = options;
  const over = new AbortController(), ended = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  const openBrowser = options.openBrowser ?? ((url: string) => openSystemBrowser(url, { signal: ended }));
  const reply = Promise.withResolvers<TokenReply>(), shown = Promise.withResolvers<void>();
  // Where the browser's address is clean of what it was redirected with; nobody else fetches what they cannot guess.
  const resultPath = `/done/${crypto.randomUUID()}`;
  const started: Started[] = [];
  let taken: Started | undefined, announced = false, isPageDue = false, last: LoopbackReply | undefined;

  const loopback = await listenOnLoopback({
    ...{ port, signal: ended, onRequest: answer },
    allowedOrigins: originsOf(provider),
  });
  const { redirectPath } = options;
  const redirectUri = loopbackRedirectUri(provider.authority, { port: loopback.port, redirectPath });
  const limit = startTimer(() => over.abort(tooLong(redirectUri, options)), timeLimitMs);
  ended.addEventListener("abort", () => {
    reply.reject(ended.reason);
    shown.resolve();
  }, { once: true });
  try {
    launch().catch(reply.reject);
    try {
      return await reply.promise;
    } finally {
      if (isPageDue) await untilShown();
    }
  } finally {
    clearTimeout(limit);
    over.abort(new LatchkeyError("unexpected", "The sign-in is over"));
    await loopback.close();
  }

  async function launch(): Promise<void> {
    options.onBeforeLaunching?.();
    // What a browser posts does not show in its address, which is all that a person can paste.
    let canPaste = readRedirect !== undefined && isRemoteSession(options.surroundings ?? await readSessionFacts());
    let { url } = await start(canPaste ? "query" : undefined);
    const opening = (async () => await openBrowser(url))();
    const tooLate = waitByTimer(options.openingLimitMs ?? OPENING_LIMIT_MS, ended).then(() => false);
    const opened = await Promise.race([opening, tooLate]);
    if (opened === false && readRedirect && !canPaste && !taken) {
      ({ url } = await start("query")); // the first address is good still: a browser may have it nevertheless
      canPaste = true;
    }
    announce(url, opened);
    if (readRedirect && canPaste) await paste(readRedirect);
    else if (!options.onSignInAddress && await opening === false) throw noBrowser(correlationId);
  }

  async function start(responseMode: "query" | undefined): Promise<Started> {
    const asked = { ...request, redirectUri, responseMode, now, correlationId };
    const begun = await startAuthorization(provider, asked);
    started.push(begun);
    return begun;
  }

  /** Once: a browser can be back before whatever opened it is done. */
  function announce(url: string, opened: boolean): void {
    if (!announced && !ended.aborted) options.onSignInAddress?.({ url, opened });
    announced = true;
  }

  async function answer({ method, url, form }: LoopbackRequest): Promise<LoopbackReply> {
    if (url.pathname === resultPath && last) {
      shown.resolve();
      return last;
    }
    const parameters = method === "POST" ? form : url.searchParams, signIn = take(url, parameters);
    if (!signIn) return NO_ANSWER;
    isPageDue = true;
    last = await finish(signIn, parameters);
    if (ended.aborted && method === "POST") return last; // nobody listens any more where it would be sent
    return { status: 303, headers: { location: resultPath }, body: "" };
  }

  async function paste(read: (signal: AbortSignal) => Promise<string>): Promise<void> {
    while (!ended.aborted) {
      const text = (await read(ended) ?? "").replaceAll(/\s/g, ""); // a terminal may have broken the line
      if (!text) return;
      const address = new URL(URL.canParse(text) ? text : "about:blank"), parameters = address.searchParams;
      const signIn = take(address, parameters);
      if (signIn) return void await finish(signIn, parameters);
      await new Promise((resolve) => setTimeout(resolve)); // who reads without waiting must not stop the rest
    }
  }

  /**
   * The first answer with a right state is taken, and ends the sign-in, whatever it says. One that came to another address is
   * another authority's, which this one sent the person on to.
   */
  function take(address: URL, parameters: URLSearchParams): Started | undefined {
    if (taken) return undefined;
    return taken = started.find(({ flow }) =>
      isAtRedirectUri(address, flow.redirectUri) && isAnswerTo(flow, parameters)
    );
  }

  async function finish({ url, flow }: Started, parameters: URLSearchParams): Promise<LoopbackReply> {
    try {
      announce(url, true);
      const answer = await finishAuthorization(provider, flow, parameters, { ...options, signal: ended });
      options.accept?.(answer);
      reply.resolve(answer);
      return pageFor({ ok: true, username: answer.result.account.username });
    } catch (error) {
      reply.reject(error);
      const isOurs = error instanceof LatchkeyError;
      return pageFor({ ok: false, error: isOurs ? error : new LatchkeyError("unexpected", "The program gave up") });
    }
  }

  function pageFor(outcome: SignInOutcome): LoopbackReply {
    try {
      return resultPage(outcome, options.resultPage?.(outcome));
    } catch {
      return resultPage(outcome); // the sign-in has ended as it has, whatever the app makes of it
    }
  }

  /** The page is on its way to the browser, which may be gone. */
  async function untilShown(): Promise<void> {
    const timer = setTimeout(shown.resolve, LAST_PAGE_MS);
    await shown.promise;
    clearTimeout(timer);
  }
}

/** Where the form is posted from: personal accounts of Microsoft's sign in at a host of their own. */
function originsOf(provider: Provider): readonly string[] {
  const { authorization_endpoint: page } = provider.server;
  return [...page ? [new URL(page).origin] : [], ...isMicrosoft(provider) ? ["https://login.live.com"] : []];
}

const NO_ANSWER: LoopbackReply = {
  status: 400,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: "This is no answer to a sign-in.\n",
};

function tooLong(redirectUri: string, { timeLimitMs, correlationId }: SignInCall): LatchkeyError {
  return new LatchkeyError("timed_out", `Nobody signed in within ${Math.round(timeLimitMs / 1000)} seconds`, {
    correlationId,
    hint:
      "Try again. Where the page itself showed an error, such as AADSTS530084 or AADSTS53003, the browser does not pass " +
      "your organisation's rules: sign in through the device's broker (--broker require). Where it spoke of the redirect URI, " +
      `the app has to have ${uriToRegister(redirectUri)} registered`,
  });
}

function noBrowser(correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError("missing_dependency", "No browser could be opened", {
    correlationId,
    hint: "Show the person the address (onSignInAddress), and let them paste where it led to (readRedirect)",
  });
}

/** How a sign-in ended. */
export type SignInOutcome =
  | { readonly ok: true; readonly username: string }
  | { readonly ok: false; readonly error: LatchkeyError };

/** A page, as an HTTP response has it. */
interface ResultPage {
  /** Status code: 200 for a sign-in that succeeded, 400 for one that failed. */
  readonly status: number;
  /** Header fields. */
  readonly headers: Readonly<Record<string, string>>;
  /** HTML. */
  readonly body: string;
}

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

const TICK = '<path d="m7.5 12.5 3 3 6-6.5"/>', CROSS = '<path d="m8.5 8.5 7 7m0-7-7 7"/>';

/**
 * Makes the page.
 *
 * @param outcome How the sign-in ended.
 * @param body HTML of the app's own in place of ours.
 */
export function resultPage(outcome: SignInOutcome, body?: string): ResultPage {
  const nonce = crypto.randomUUID();
  return {
    status: outcome.ok ? 200 : 400,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      ...(body === undefined && {
        "content-security-policy":
          `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      }),
    },
    body: body ?? (outcome.ok ? success(outcome.username, nonce) : failure(outcome.error, nonce)),
  };
}

function success(username: string, nonce: string): string {
  const who = username ? ` as <strong><bdi>${escape(username)}</bdi></strong>` : "";
  return page(
    nonce,
    "Signed in",
    icon("good", TICK),
    `<p>You are signed in${who}.</p>
<p>You can close this page and go back to the program.</p>`,
  );
}

function failure(error: LatchkeyError, nonce: string): string {
  const rows = [
    ["Error", error.error ?? error.code],
    ["Details", error.errorDescription || error.message],
    ["Correlation id", error.correlationId],
  ].flatMap(([name, value]) => value ? [`<dt>${name}</dt><dd>${escape(value)}</dd>`] : []);
  return page(
    nonce,
    "Not signed in",
    icon("bad", CROSS),
    `${error.hint ? `<p>${escape(error.hint)}.</p>\n` : ""}<p>You can close this page and go back to the program.</p>
<dl>
${rows.join("\n")}
</dl>`,
  );
}

function page(nonce: string, title: string, icon: string, content: string): string {
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
${icon}
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`;
}

function icon(kind: "good" | "bad", shape: string): string {
  return `<svg class="${kind}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" ` +
    `stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="12" cy="12" r="10"/>${shape}</svg>`;
}

function escape(text: string): string {
  const names: Readonly<Record<string, string>> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39" };
  return escapeControlCharacters(text).replaceAll(/[&<>"']/g, (character) => `&${names[character]};`);
}
