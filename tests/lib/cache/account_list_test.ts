import { expect, test } from "bun:test";
import {
  type AccountList,
  accountsOf,
  NO_ACCOUNTS,
  readAccountList,
  withDocuments,
  withUnsure,
  writeAccountList,
} from "../../../lib/cache/account_list.ts";

const JANE = { home_account_id: "jane", environment: "login.microsoftonline.com", username: "jane@contoso.com" };
const JOE = { ...JANE, home_account_id: "joe", username: "joe@contoso.com" };
const TOKEN = { secret: "s3cret", home_account_id: "jane" };

function document(accounts: Record<string, unknown>, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ AccessToken: { t: TOKEN }, Account: accounts, Unknown: { x: 1 }, ...more });
}

/** The entries of a section of the list's document. */
function entries({ accounts }: AccountList, section = "Account"): unknown[] {
  return Object.values(JSON.parse(accounts)[section] ?? {});
}

function listOf(...documents: (readonly [name: string, document: string | undefined])[]): AccountList {
  return withDocuments(NO_ACCOUNTS, new Map(documents));
}

test("withDocuments() has the accounts and the sign-outs of all documents, and no token", () => {
  const list = listOf(["a", document({ k: JANE }, { LatchkeySignedOut: { m: JANE } })], ["b", document({ k: JOE })]);
  expect(entries(list)).toEqual([JANE, JOE]);
  expect(entries(list, "LatchkeySignedOut")).toEqual([JANE]);
  expect(writeAccountList(list)).not.toContain("s3cret");
});

test("withDocuments() puts a document in the place of its former one, and leaves the others", () => {
  const list = listOf(["a", document({ k: JANE, l: JANE })], ["ab", document({ k: JOE })]);
  expect(entries(withDocuments(list, new Map([["a", document({ z: JOE })]])))).toEqual([JOE, JOE]);
  expect(entries(withDocuments(list, new Map([["a", undefined]])))).toEqual([JOE]);
  expect(entries(withDocuments(list, new Map([["a", "no document"]])))).toEqual([JOE]);
});

test("withUnsure() has nothing of the document any more, until withDocuments() knows it", () => {
  const list = withUnsure(listOf(["a", document({ k: JANE })], ["b", document({ k: JOE })]), "a");
  expect(list.unsure).toEqual(["a"]);
  expect(entries(list)).toEqual([JOE]);
  expect(withUnsure(list, "a").unsure).toEqual(["a"]);
  const sure = withDocuments(list, new Map([["a", document({ k: JANE })]]));
  expect(sure.unsure).toEqual([]);
  expect(entries(sure)).toEqual([JOE, JANE]);
});

test("readAccountList() reads what writeAccountList() wrote, and nothing else", () => {
  const list = withUnsure(listOf(["b", document({ k: JOE })]), "a");
  expect(readAccountList(writeAccountList(list))).toEqual(list);
  for (const text of ["", "{}", "[]", "[1]\n{}", "{}\n{}", "null\n{}", "(sealed)", "[\n{}"]) {
    expect(readAccountList(text)).toBeUndefined();
  }
});

test("accountsOf() is the same for documents that differ in tokens alone", () => {
  const one = document({ k: JANE });
  expect(accountsOf(one)).toBe(accountsOf(document({ k: JANE }, { AccessToken: {} })));
  expect(accountsOf(one)).not.toBe(accountsOf(document({ k: JOE })));
  expect(accountsOf(one)).not.toBe(accountsOf(document({ k: JANE }, { LatchkeySignedOut: { m: JANE } })));
  expect(accountsOf(undefined)).toBe(accountsOf("no document"));
});
