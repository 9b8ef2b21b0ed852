// A person whose browser goes all the way: through the sign-in page, back to the program, and to the page that it ends with.
import { isRedirectOf, type Landing, ScriptedBrowser } from "./scripted_browser.ts";

/** What the browser got back. */
export interface Visit {
  /** Where the sign-in began. */
  readonly address: URL;
  /** How the answer came to the program. */
  readonly landing: Landing;
  /** The program's answer to it. */
  readonly status: number;
  readonly location: string | null;
  /** The page that the person sees at last. */
  readonly page: string;
  readonly pageStatus: number;
}

/** A person, and a browser that keeps its cookies. */
export interface BrowsingPerson {
  /** To be used as the app's `openBrowser`. */
  readonly openBrowser: (url: string) => boolean;
  /** The last visit; it may be under way. */
  visit(): Promise<Visit>;
  /** How often a browser was opened. */
  times(): number;
}

/** How a person goes about it. */
export interface PersonOptions {
  /** What is typed in as the user name. @default "jane" */
  readonly login?: string;
  /** Gives the answer to a sign-in at an address. @default a real provider's pages are gone through */
  readonly signIn?: (address: string) => Landing | Promise<Landing>;
  /** Changes the answer on its way. */
  readonly change?: (landing: Landing) => Landing | Promise<Landing>;
}

/** Somebody who signs in at a real provider, unless told otherwise. */
export function browsingPerson(options: PersonOptions = {}): BrowsingPerson {
  const { login = "jane", change = (landing: Landing) => landing } = options, browser = new ScriptedBrowser();
  const visits: Promise<Visit>[] = [];
  const signIn = options.signIn ??
    ((address: string) => browser.open(address, isRedirectOf(address), { login, password: "x" }));

  async function visit(address: string): Promise<Visit> {
    const landing = await change(await signIn(address)), first = await deliver(landing);
    await first.text();
    const { status } = first, location = first.headers.get("location");
    const last = location === null ? undefined : await fetch(new URL(location, landing.url), { redirect: "manual" });
    const page = await last?.text() ?? "", pageStatus = last?.status ?? 0;
    return { address: new URL(address), landing, status, location, page, pageStatus };
  }

  return {
    openBrowser(url) {
      const visiting = visit(url);
      visiting.catch(() => {}); // a test that cares looks at it
      visits.push(visiting);
      return true;
    },
    visit: async () => await visits.at(-1)!,
    times: () => visits.length,
  };
}

/** Brings an answer to the program, as a browser that was redirected does. A form's page can be named as its origin. */
export async function deliver({ url, method, parameters }: Landing, origin = "null"): Promise<Response> {
  return method === "POST"
    ? await fetch(url, { method, body: parameters, redirect: "manual", headers: { origin } })
    : await fetch(`${url}?${parameters}`, { redirect: "manual" });
}
