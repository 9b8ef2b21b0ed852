import { expect, test } from "bun:test";
import { advice, anyOf, followedBy, hintOf, type Remedy } from "../../lib/remedies.ts";
import { LatchkeyError } from "../../mod.ts";
import { REMEDIES } from "../fakes/remedies.ts";

test.each(REMEDIES)("hintOf() says %j as an imperative without a period", (remedy) => {
  expect(hintOf(remedy)).toMatch(/^[A-Z][a-z]+ .*[^.]$/s);
  expect(new LatchkeyError("refused", "No", { remedy }).hint).toBe(hintOf(remedy));
});

test.each<[remedy: Remedy, hint: string]>([
  [{ ...advice("Wait"), because: "It is late" }, "It is late. Wait"],
  [{ kind: "name_scopes", when: "Only if you trust it" }, "Only if you trust it, pass the scope in the request"],
  [
    { kind: "list_accounts", or: { kind: "sign_in" } },
    "List the accounts: getAccounts; or sign in: acquireTokenInteractive",
  ],
  [{ ...advice("Wait"), then: { kind: "try_again" } }, "Wait. Try again"],
  [
    {
      ...advice("Wait"),
      because: "It is late",
      when: "Today",
      or: { kind: "try_again", when: "tomorrow" },
      note: "It closes",
      then: { kind: "disable_broker" },
    },
    "It is late. Today, wait; or tomorrow, try again. It closes. Go without the broker: do not enable it",
  ],
  [{ kind: "try_again", afterSeconds: 7 }, "Try again in 7 seconds"],
  [{ kind: "try_again", afterSeconds: 600 }, "Try again in 10 minutes"],
])("hintOf() has the parts of %j in order", (remedy, hint) => {
  expect(hintOf(remedy)).toBe(hint);
});

test("followedBy() and anyOf() keep every remedy, in order", () => {
  const [a, b, c] = [advice("A"), advice("B"), advice("C")];
  expect(hintOf(followedBy({ ...a, then: b }, c))).toBe("A. B. C");
  expect(followedBy(undefined, c)).toBe(c);
  expect(followedBy(a, undefined)).toBe(a);
  expect(hintOf(anyOf([{ ...a, or: b }, c])!)).toBe("A; or b; or c");
  expect(anyOf([])).toBeUndefined();
});

test("a string is advice", () => {
  const error = new LatchkeyError("refused", "No", { remedy: "Ask jane@contoso.com" });
  expect(error).toMatchObject({
    remedy: { kind: "advice", text: "Ask jane@contoso.com" },
    hint: "Ask jane@contoso.com",
  });
});
