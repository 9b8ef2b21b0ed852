import { expect, test } from "bun:test";
import { sliceDocument } from "../../../lib/cache/document_slice.ts";
import { jane, john } from "./sample_replies.ts";

const janes = { home_account_id: jane.homeAccountId.toUpperCase(), secret: "janes" };
const johns = { home_account_id: john.homeAccountId, secret: "johns" };
const DOCUMENT = {
  AccessToken: { a: janes, b: johns, c: { secret: "nobody's" }, d: "none" },
  RefreshToken: { r: johns },
  IdToken: [],
  Account: { x: janes, y: johns },
  AppMetadata: { "appmetadata-host-app": { client_id: "app" } },
  Other: { a: janes },
};

function sliced(document: unknown, minBytes?: number) {
  return sliceDocument(new TextEncoder().encode(JSON.stringify(document, null, 2)), { minBytes });
}

test("sliceDocument().account() gives what is the account's, however its id is written, and what is known of apps", () => {
  const slice = JSON.parse(sliced(DOCUMENT, 0).account(jane.homeAccountId));
  expect(slice).toEqual({ AccessToken: { a: janes }, Account: { x: janes }, AppMetadata: DOCUMENT.AppMetadata });
  expect(JSON.parse(sliced(DOCUMENT, 0).account("nobody"))).toEqual({ AppMetadata: DOCUMENT.AppMetadata });
});

test("sliceDocument().accounts() gives the accounts without tokens, but refresh tokens where somebody signed out", () => {
  expect(JSON.parse(sliced(DOCUMENT, 0).accounts())).toEqual({ Account: DOCUMENT.Account });
  const LatchkeySignedOut = { s: { home_account_id: john.homeAccountId } };
  expect(JSON.parse(sliced({ ...DOCUMENT, LatchkeySignedOut }, 0).accounts()))
    .toEqual({ Account: DOCUMENT.Account, RefreshToken: DOCUMENT.RefreshToken, LatchkeySignedOut });
});

test("sliceDocument() leaves whole what is short, no JSON object, or not to be cut", () => {
  const short = sliced(DOCUMENT);
  expect([short.account("jane"), short.accounts()]).toEqual([short.whole(), short.whole()]);
  for (const text of ["", "[]", '{"Account":{}', '{"Account":{}}}', '{"Account":{"a":}}', "{'a':1}", '{"a\\x":1}']) {
    const document = sliceDocument(new TextEncoder().encode(text), { minBytes: 0 });
    expect([document.account("jane"), document.accounts()]).toEqual([text, text]);
  }
  const twice = `{"Account":{"a":${JSON.stringify(janes)},"\\u0061":${JSON.stringify(johns)}}}`;
  const document = sliceDocument(new TextEncoder().encode(twice), { minBytes: 0 });
  expect(document.account(jane.homeAccountId)).toBe(twice);
});

test("sliceDocument() cuts a document of ten thousand tokens, and one account's that has them all", () => {
  const ids = Array.from({ length: 1_000 }, (_, number) => `person-${number}`);
  const tokens = ids.flatMap((id) =>
    Array.from({ length: 10 }, (_, number) => [`${id}-${number}`, { home_account_id: id, secret: "x".repeat(1_600) }])
  );
  const many = sliced({ AccessToken: Object.fromEntries(tokens) });
  for (const id of [ids[0]!, ids[500]!, ids[999]!]) {
    expect(Object.keys(JSON.parse(many.account(id)).AccessToken))
      .toEqual(Array.from({ length: 10 }, (_, number) => `${id}-${number}`));
  }
  const one = sliced({ AccessToken: Object.fromEntries(tokens.map(([key]) => [key, { home_account_id: "one" }])) });
  expect(Object.keys(JSON.parse(one.account("one")).AccessToken)).toHaveLength(10_000);
});
