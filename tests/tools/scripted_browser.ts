// A person with a browser, as far as sign-in pages need one: follows redirects, keeps cookies, fills the first form and sends it.

/** Where a sign-in ended: the redirect to the app, with its parameters. */
export interface Landing {
  /** The address without its query. */
  readonly url: string;
  /** How the parameters came. */
  readonly method: "GET" | "POST";
  /** What the app is told. */
  readonly parameters: URLSearchParams;
}

/** What is typed into a form's fields, by their names. */
export type Typed = Readonly<Record<string, string>>;

const MAX_STEPS = 20;

/** Tells the app's address by the redirect URI of an authorization request. */
export function isRedirectOf(request: string): (url: URL) => boolean {
  const { origin, pathname } = new URL(new URL(request).searchParams.get("redirect_uri")!);
  return (url) => url.origin === origin && url.pathname === pathname;
}

/** Cookies by path; enough for one server. */
export class ScriptedBrowser {
  readonly #cookies = new Map<string, { readonly path: string; readonly pair: string }>();

  /**
   * Opens an address and goes on until the app's turn has come, or a page has no form.
   *
   * @param url The address.
   * @param isApp Whether an address is the app's.
   * @param typed What is typed into fields that are empty.
   * @returns Where it ended; a page that has no form is an error with its text.
   */
  async open(url: string, isApp: (url: URL) => boolean, typed: Typed): Promise<Landing> {
    let request: { url: URL; form?: URLSearchParams } = { url: new URL(url) };
    for (let step = 0; step < MAX_STEPS; step++) {
      if (isApp(request.url)) {
        const { url, form } = request;
        return {
          url: url.origin + url.pathname,
          method: form ? "POST" : "GET",
          parameters: form ?? url.searchParams,
        };
      }
      const response = await this.send(request.url, request.form), page = await response.text();
      const location = response.headers.get("location");
      if (location) request = { url: new URL(location, request.url) };
      else {
        const form = readForm(page, request.url, typed);
        if (!form) throw new Error(`No form at ${request.url.pathname} (${response.status}): ${textOf(page)}`);
        request = form;
      }
    }
    throw new Error("The sign-in goes round in circles");
  }

  /** Fetches one page, or posts a form to it, with the cookies that it has. */
  async send(url: URL, form?: URLSearchParams): Promise<Response> {
    const cookie = [...this.#cookies.values()].filter(({ path }) => url.pathname.startsWith(path))
      .map(({ pair }) => pair).join("; ");
    const response = await fetch(url, {
      method: form ? "POST" : "GET",
      body: form ?? null,
      headers: { cookie },
      redirect: "manual",
    });
    for (const line of response.headers.getSetCookie()) {
      const pair = line.split(";", 1)[0]!, path = /;\s*path=([^;]+)/i.exec(line)?.[1] ?? "/";
      const key = `${path} ${pair.split("=", 1)[0]}`, expires = /;\s*expires=([^;]+)/i.exec(line)?.[1];
      if (expires && Date.parse(expires) < Date.now()) this.#cookies.delete(key);
      else this.#cookies.set(key, { path, pair });
    }
    return response;
  }
}

/** The first form of a page, filled. */
function readForm(page: string, base: URL, typed: Typed): { url: URL; form: URLSearchParams } | undefined {
  const [, head, body] = /<form([^>]*)>(.*?)<\/form>/s.exec(page) ?? [];
  if (head === undefined || body === undefined) return undefined;
  const form = new URLSearchParams();
  for (const [input] of body.matchAll(/<input[^>]*>/g)) {
    const name = attribute(input, "name");
    if (name) form.append(name, attribute(input, "value") || typed[name] || "");
  }
  return { url: new URL(attribute(head, "action") || base.href, base), form };
}

function attribute(tag: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
  return value?.replaceAll(/&(?:#39|#x27);/g, "'").replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll(
    "&gt;",
    ">",
  )
    .replaceAll("&#x3D;", "=").replaceAll("&amp;", "&");
}

function textOf(page: string): string {
  return page.replaceAll(/<style.*?<\/style>/gs, "").replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ").trim();
}
