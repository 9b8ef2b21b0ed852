import { expect, test } from "bun:test";
import { LatchkeyError } from "../../../lib/errors.ts";
import { resultPage } from "../../../lib/oauth/browser_sign_in.ts";

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
    hint: "Ask",
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
  ...["error", "errorDescription", "hint", "correlationId"].map((field) => ({
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
