// Slices of documents against the documents themselves.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { CacheApp } from "../../../lib/cache/cache_app.ts";
import { CacheDocument } from "../../../lib/cache/cache_document.ts";
import type { CacheSection } from "../../../lib/cache/cache_schema.ts";
import { accountIn, accountsIn, isSignedOutIn } from "../../../lib/cache/cached_accounts.ts";
import { refreshTokensIn } from "../../../lib/cache/cached_refresh_tokens.ts";
import { accessTokenIn } from "../../../lib/cache/cached_tokens.ts";
import { sliceDocument } from "../../../lib/cache/document_slice.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../tools/fuzz.ts";
import { anyBytes, HOLDERS, jsonDocument } from "./hostile_documents.ts";
import { APP, FABRIKAM, FAMILY_APP, HOST, jane, NOW } from "./sample_replies.ts";

const SECTIONS: readonly CacheSection[] = ["AccessToken", "RefreshToken", "IdToken", "Account", "LatchkeySignedOut"];
const APPS: readonly CacheApp[] = [APP, FAMILY_APP].map((clientId) => ({
  clientId,
  environments: [HOST, "login.windows.net"],
  now: NOW,
}));
const QUERIES = [
  { scopes: ["User.Read"] },
  { scopes: ["Mail.Read", "user.read"], realm: FABRIKAM },
  { scopes: ["mail.read"], realm: "organizations" },
];

/** All that a document can be asked about an account. */
function answersOf(document: CacheDocument, homeAccountId: string) {
  const account = { ...jane, homeAccountId };
  return {
    entries: SECTIONS.map((section) => document.ofAccount(section, homeAccountId)),
    apps: document.entries("AppMetadata"),
    answers: APPS.map((app) => [
      accountIn(document, homeAccountId, app),
      isSignedOutIn(document, homeAccountId, app),
      refreshTokensIn(document, homeAccountId, app).map(({ refreshToken, holder }) => [refreshToken, holder]),
      QUERIES.map((query) => plain(accessTokenIn(document, { account, correlationId: "", ...query }, app))),
    ]),
  };
}

/** Tokens are concealed from whoever compares. */
function plain(found: ReturnType<typeof accessTokenIn>) {
  if (!found) return undefined;
  const { accessToken, idToken, expiresOn, tenantId, scopes, extendedExpiresOn } = found.result;
  return { state: found.state, accessToken, idToken, expiresOn, tenantId, scopes, extendedExpiresOn };
}

function check(bytes: Uint8Array): void {
  const text = new TextDecoder().decode(bytes), whole = CacheDocument.parse(text);
  const sliced = sliceDocument(bytes, { minBytes: 0 });
  for (const holder of HOLDERS) {
    const slice = CacheDocument.parse(sliced.account(holder));
    if (whole) expect(slice && answersOf(slice, holder)).toEqual(answersOf(whole, holder));
  }
  const accounts = CacheDocument.parse(sliced.accounts());
  if (whole) {
    for (const app of APPS) expect(accounts && accountsIn([accounts], app)).toEqual(accountsIn([whole], app));
    expect(sliced.isWhole()).toBe(text.trim() !== ""); // nothing at all may be what another program has just begun with
  }
}

test("sliceDocument().account() and .accounts() answer as the whole of any JSON does", () => {
  fc.assert(fc.property(jsonDocument, (text) => check(new TextEncoder().encode(text))), fuzzing(400));
}, FUZZ_TIMEOUT_MS);

test("sliceDocument() throws for no bytes, and answers as the whole where that is JSON", () => {
  fc.assert(fc.property(anyBytes, check), fuzzing(1_000));
}, FUZZ_TIMEOUT_MS);

test("sliceDocument().isWhole() is false for a JSON object that was cut off", () => {
  fc.assert(
    fc.property(jsonDocument, fc.nat(), (text, place) => {
      const trimmed = text.trim(), bytes = new TextEncoder().encode(trimmed);
      fc.pre(trimmed.startsWith("{"));
      const cut = bytes.subarray(0, place % bytes.length);
      for (const minBytes of [0, Infinity]) expect(sliceDocument(cut, { minBytes }).isWhole()).toBe(false);
    }),
    fuzzing(400),
  );
}, FUZZ_TIMEOUT_MS);
