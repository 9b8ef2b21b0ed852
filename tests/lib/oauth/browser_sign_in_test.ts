// Where a person is asked to paste the address that the browser was redirected to, and how the answer has to come for that.
import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { resultPage, signInByBrowser } from "../../../lib/oauth/browser_sign_in.ts";
import { findProvider } from "../../../lib/oauth/provider.ts";
import type { SessionFacts } from "../../../lib/runtime/browser.ts";
import { useStage } from "../../fixture.ts";
import { type BrowsingPerson, browsingPerson } from "../../tools/browsing_person.ts";
import { isRedirectOf, ScriptedBrowser } from "../../tools/scripted_browser.ts";

const DESK: SessionFacts = { system: "linux", isWsl: false, isContainer: false, variable: () => undefined };
const SSH: SessionFacts = {
  ...DESK,
  variable: (name) => name === "SSH_CONNECTION" ? "10.0.0.1 1 10.0.0.2 22" : undefined,
};
const CONTAINER: SessionFacts = { ...DESK, isContainer: true };

const stage = useStage({ provider: true });

/** A sign-in, and how the answers were to come: to the browser that was opened, and to the address that was shown. */
async function signIn(session: SessionFacts, { jane, paste = false }: { jane?: BrowsingPerson; paste?: boolean }) {
  const opened: string[] = [], shown: string[] = [];
  let reads = 0;
  const modeOf = (url: string) => new URL(url).searchParams.get("response_mode") ?? "query";
  const { result } = await signInByBrowser(
    await findProvider(parseAuthority(stage.provider.url), {}),
    { clientId: stage.provider.clientId, scopes: ["api.read"] },
    {
      ...{ session, timeLimitMs: 60_000 },
      openBrowser: (url) => {
        opened.push(url);
        return jane?.openBrowser(url) ?? false;
      },
      onSignInAddress: ({ url }) => shown.push(url),
      readRedirect: async () => {
        reads++;
        return paste ? await redirected(shown[0]!) : "";
      },
    },
  );
  expect(result.account.username).toBe("jane@contoso.com");
  return { opened: opened.map(modeOf), shown: shown.map(modeOf), reads, isSame: opened[0] === shown[0] };
}

/** Where a browser on another machine ends: at a port where nobody listens. */
async function redirected(url: string): Promise<string> {
  const browser = new ScriptedBrowser(), typed = { login: "jane", password: "x" };
  const landing = await browser.open(url, isRedirectOf(url), typed);
  return `${landing.url}?${landing.parameters}`;
}

describe("signInByBrowser() with readRedirect", () => {
  test("at the person's own machine, posts the answer and asks for nothing to be pasted", async () => {
    expect(await signIn(DESK, { jane: browsingPerson() }))
      .toEqual({ opened: ["form_post"], shown: ["form_post"], reads: 0, isSame: true });
  });

  test("where no browser opens, shows an address whose answer can be pasted", async () => {
    expect(await signIn(DESK, { paste: true }))
      .toEqual({ opened: ["form_post"], shown: ["query"], reads: 1, isSame: false });
  });

  test("takes the answer to the address that was opened, too, although the opener said that it could not", async () => {
    const jane = browsingPerson(), shown: string[] = [];
    let opened = "";
    const { result } = await signInByBrowser(
      await findProvider(parseAuthority(stage.provider.url), {}),
      { clientId: stage.provider.clientId, scopes: ["api.read"] },
      {
        ...{ session: DESK, timeLimitMs: 60_000, onSignInAddress: ({ url }) => shown.push(url) },
        openBrowser: (url) => {
          opened = url;
          return false;
        },
        readRedirect: async () => {
          jane.openBrowser(opened);
          return await new Promise<never>(() => {});
        },
      },
    );
    expect(result.account.username).toBe("jane@contoso.com");
    expect((await jane.visit()).pageStatus).toBe(200);
    expect(shown).not.toEqual([opened]);
  });

  test.each([["over SSH", SSH], ["in a container", CONTAINER]] as const)(
    "%s, takes what is pasted, and a browser that comes back by itself",
    async (_, session) => {
      expect(await signIn(session, { paste: true }))
        .toEqual({ opened: ["query"], shown: ["query"], reads: 1, isSame: true });
      expect(await signIn(session, { jane: browsingPerson() }))
        .toMatchObject({ opened: ["query"], shown: ["query"], isSame: true });
    },
  );
});

describe("signInByBrowser() with an openBrowser that does not return", () => {
  test.each([["without readRedirect", false], ["with readRedirect", true]] as const)(
    "%s, tells the address nevertheless",
    async (_, pasted) => {
      const shown: { readonly url: string; readonly opened: boolean }[] = [], jane = browsingPerson();
      const { result } = await signInByBrowser(
        await findProvider(parseAuthority(stage.provider.url), {}),
        { clientId: stage.provider.clientId, scopes: ["api.read"] },
        {
          ...{ session: DESK, timeLimitMs: 60_000, openingLimitMs: 1 },
          openBrowser: () => new Promise<never>(() => {}),
          onSignInAddress: (address) => {
            shown.push(address);
            if (!pasted) jane.openBrowser(address.url);
          },
          ...(pasted && { readRedirect: async () => await redirected(shown[0]!.url) }),
        },
      );
      expect(result.account.username).toBe("jane@contoso.com");
      expect(shown.map(({ opened }) => opened)).toEqual([false]);
    },
  );
});

const HOSTILE = `<script>"'&\u202e\u0007\u0000</script>`, SHOWN = "&lt;script&gt;&quot;&#39;&amp; &lt;/script&gt;";
const error = (details: object, message = "It failed") => new LatchkeyError("refused", message, details);

test("resultPage() tells success from failure by status, title, words and picture", () => {
  const success = resultPage({ ok: true, username: "jane@contoso.com" });
  const failure = resultPage({ ok: false, error: error({}) });
  expect([success.status, failure.status]).toEqual([200, 400]);
  expect(success.body).toContain("<title>Signed in</title>");
  expect(success.body).toContain("jane@contoso.com");
  expect(success.body).toContain('class="good"');
  expect(failure.body).toContain("<title>Not signed in</title>");
  expect(failure.body).toContain('class="bad"');
});

test("resultPage() says what to do, what failed, and under which id", () => {
  const details = {
    error: "access_denied",
    errorDescription: "AADSTS65001: No.",
    remedy: "Ask",
    correlationId: "some-id",
  };
  const { body } = resultPage({ ok: false, error: error(details) });
  for (const text of ["<p>Ask.</p>", "access_denied", "AADSTS65001: No.", "some-id"]) expect(body).toContain(text);
  expect(body).not.toContain("It failed");
  expect(resultPage({ ok: false, error: error({}) }).body).toContain("<dt>Error</dt><dd>refused</dd>");
  expect(resultPage({ ok: false, error: error({}) }).body).toContain("<dt>Details</dt><dd>It failed</dd>");
});

test.each([
  { ok: true, username: HOSTILE },
  { ok: false, error: error({}, HOSTILE) },
  ...["error", "errorDescription", "remedy", "correlationId"].map((field) => ({
    ok: false,
    error: error({ [field]: HOSTILE }),
  })),
] as never[])("resultPage() escapes all that is not ours, and takes control characters out (%#)", (outcome) => {
  const { body } = resultPage(outcome);
  expect(body).toContain(SHOWN);
  expect(body).not.toMatch(/<script|[^\P{Cc}\n]|\p{Cf}/u);
});

test("resultPage() has no name to show when the provider gave none", () => {
  expect(resultPage({ ok: true, username: "" }).body).toContain("<p>You are signed in.</p>");
});

test("resultPage() needs nothing from anywhere, and lets nothing else in", () => {
  const { body, headers } = resultPage({ ok: true, username: "jane" });
  const [, nonce] = /<style nonce="([^"]+)">/.exec(body) ?? [];
  expect(headers?.["content-security-policy"]).toBe(
    `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  expect(body).not.toMatch(/<script|<link(?! rel="icon" href="data:,")|https?:|url\(|@import|style="|\son\w+=/);
  expect(resultPage({ ok: true, username: "jane" }).headers).not.toEqual(headers);
});

test("resultPage() fits dark and narrow screens", () => {
  const { body } = resultPage({ ok: true, username: "jane" });
  for (const text of ['name="viewport"', "prefers-color-scheme:dark", "overflow-wrap:anywhere", 'lang="en"']) {
    expect(body).toContain(text);
  }
});

test("resultPage() takes HTML of the app's own, with styles of its own", () => {
  const { status, headers, body } = resultPage({ ok: false, error: error({}) }, "<style>p{}</style><p>No");
  expect([status, body]).toEqual([400, "<style>p{}</style><p>No"]);
  expect(headers).not.toHaveProperty("content-security-policy");
  expect(headers).toMatchObject({ "cache-control": "no-store", "x-frame-options": "DENY" });
});
