/**
 * The page that a person sees when the sign-in in the browser is over. Pure.
 *
 * It has no script and loads nothing, so it looks the same without a network, and nothing that a server said can act in it.
 *
 * @module
 */
import type { LatchkeyError } from "../errors.ts";
import { printable } from "../json_values.ts";

/** How a sign-in ended. */
export type SignInOutcome =
  | { readonly ok: true; readonly username: string }
  | { readonly ok: false; readonly error: LatchkeyError };

/** A page, as an HTTP response has it. */
export interface ResultPage {
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
  return printable(text).replaceAll(/[&<>"']/g, (character) => `&${names[character]};`);
}
