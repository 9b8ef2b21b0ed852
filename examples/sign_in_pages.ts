// The pages of a web app that signs people in, with only Web APIs. web_app.ts serves them with Deno, web_app_on_machines.ts with
// Bun, worker.ts on the edge.
import { type AccountInfo, type AuthorizationFlow, LatchkeyError, type WebApplication } from "@latchkey/latchkey/web";
import { type SealedCookie, sealedCookie } from "./sealed_cookie.ts";

/** Options of {@linkcode signInPages}. */
export interface SignInPagesOptions {
  /** The application that signs people in. */
  readonly app: WebApplication;
  /** Scopes of the tokens. */
  readonly scopes: readonly string[];
  /** At least 32 random bytes, as text. It encrypts the cookies. */
  readonly secret: string;
  /** Public origin of the app, if a proxy is in front of it. @default the origin of the request */
  readonly origin?: string | undefined;
}

interface Pages extends Pick<SignInPagesOptions, "app" | "scopes"> {
  /** Address to which the provider returns the person. It must be in the app registration. */
  readonly redirectUri: string;
  /** The state of a sign-in, between its two requests. */
  readonly flow: SealedCookie;
  /** The account that signed in with this browser. The browser may use only the tokens of this account. */
  readonly session: SealedCookie;
}

/** Answers a request for a page. */
export async function signInPages(request: Request, options: SignInPagesOptions): Promise<Response> {
  const { app, scopes, secret, origin = new URL(request.url).origin } = options;
  const isSecure = origin.startsWith("https:");
  const pages: Pages = {
    app,
    scopes,
    redirectUri: `${origin}/signed-in`,
    flow: sealedCookie({ name: "sign-in", secret, maxAge: 60 * 60, isSecure }),
    session: sealedCookie({ name: "session", secret, maxAge: 12 * 60 * 60, isSecure }),
  };
  try {
    switch (`${request.method} ${new URL(request.url).pathname}`) {
      case "GET /":
        return await showAccount(request, pages);
      case "GET /sign-in":
        return await beginSignIn(pages);
      case "GET /signed-in":
        return await endSignIn(request, pages);
      case "POST /sign-out":
        return await signOut(request, pages);
      default:
        return page("There is no such page.", 404);
    }
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return page(`${escaped(error.message)}. <a href="/sign-in">Sign in again</a>`, 400);
  }
}

async function showAccount(request: Request, { app, scopes, session }: Pages): Promise<Response> {
  const account = await session.read(request) as AccountInfo | undefined;
  const token = account && await app.acquireTokenSilent({ scopes, account });
  if (!token) return page(`Nobody is signed in. <a href="/sign-in">Sign in</a>`);
  // Here an app calls its API: headers: { authorization: `Bearer ${token.accessToken}` }
  const signOutForm = '<form method="post" action="/sign-out"><button>Sign out</button></form>';
  return page(`${escaped(account.username)} is signed in. ${signOutForm}`);
}

async function beginSignIn({ app, scopes, redirectUri, flow }: Pages): Promise<Response> {
  // The cookie is SameSite=Lax: a browser does not send it with a form that the provider's page posts. So use the query.
  const begun = await app.initiateAuthCodeFlow({ scopes, redirectUri, responseMode: "query" });
  const { authUri, ...kept } = begun;
  return redirect(authUri, [await flow.write(kept)]);
}

async function endSignIn(request: Request, { app, redirectUri, flow, session }: Pages): Promise<Response> {
  const begun = await flow.read(request) as AuthorizationFlow | undefined;
  if (!begun) return page(`This sign-in was not begun here. <a href="/sign-in">Sign in</a>`, 400);
  // With the authority /common anybody can sign in. An app for one organisation names the organisation in its authority.
  const { pathname, searchParams } = new URL(request.url);
  const came = new URL(pathname, redirectUri).href;
  const { account } = await app.acquireTokenByAuthCodeFlow(begun, searchParams, { redirectUri: came });
  return redirect("/", [flow.clear, await session.write(account)]);
}

async function signOut(request: Request, { app, session }: Pages): Promise<Response> {
  const account = await session.read(request) as AccountInfo | undefined;
  if (account) await app.removeAccount(account);
  return redirect("/", [session.clear]);
}

function redirect(location: string, cookies: readonly string[]): Response {
  const headers = new Headers({ location, "cache-control": "no-store", "referrer-policy": "no-referrer" });
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return new Response(null, { status: 303, headers });
}

function page(html: string, status = 200): Response {
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
  };
  return new Response(`<!doctype html><title>Sign-in</title><p>${html}`, { status, headers });
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
