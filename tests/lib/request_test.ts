import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../lib/authority.ts";
import {
  checkCall,
  checkPop,
  checkSignIn,
  type PopScheme,
  type Prompt,
  tokenQuery,
  withAccount,
  withChallenge,
} from "../../lib/request.ts";
import { checkScopes } from "../../lib/scopes.ts";

describe("checkScopes()", () => {
  test("takes scopes, each once", () => {
    expect(checkScopes(["User.Read", "https://graph.microsoft.com/.default", "User.Read", "openid"])).toEqual([
      "User.Read",
      "https://graph.microsoft.com/.default",
      "openid",
    ]);
  });

  test.each([[[]], [["openid", "profile"]], [[""]], [["a b"]], [['a"']], [["a\\"]], [["a\n"]], [["ä"]], [[1]], [
    "User.Read",
  ], [undefined]])("of %p is a mistake", (scopes) => {
    expect(() => checkScopes(scopes as string[])).toThrow(TypeError);
  });

  test("given as text are a mistake that names the list", () => {
    expect(() => checkScopes("User.Read" as never)).toThrow('scopes must be a list, such as ["User.Read"]');
  });
});

describe("checkSignIn()", () => {
  test("takes what a sign-in can carry", () => {
    checkSignIn({});
    for (const prompt of ["none", "login", "consent", "create", "select_account"] as const) checkSignIn({ prompt });
    for (const maxAge of [0, 3600]) checkSignIn({ maxAge });
    checkSignIn({ extraQueryParameters: { dc: "ESTS-PUB", domain_hint: "contoso.com", "": "" } });
    checkSignIn({ prompt: "login", interactive: "always" });
    checkSignIn({ prompt: "none", interactive: "never" });
  });

  test.each(["never", "", "Login", null, 1])("of the prompt %p is a mistake", (prompt) => {
    expect(() => checkSignIn({ prompt: prompt as Prompt })).toThrow("prompt must be one of none, login");
  });

  test("of a window although nobody may be asked is a mistake", () => {
    expect(() => checkSignIn({ prompt: "none", interactive: "always" })).toThrow(TypeError);
  });

  test.each([-1, 1.5, NaN, Infinity, 2 ** 60, "60", null])("of the age %p is a mistake", (maxAge) => {
    expect(() => checkSignIn({ maxAge: maxAge as number })).toThrow(RangeError);
  });

  test.each([
    ...["client_id", "redirect_uri", "response_type", "response_mode", "state", "nonce", "scope"],
    ...["code_challenge", "code_challenge_method", "CLIENT_ID", "State", "resource"],
  ])("of the parameter %s is a mistake", (name) => {
    expect(() => checkSignIn({ extraQueryParameters: { [name]: "x" } })).toThrow(TypeError);
  });

  test("of a parameter that is no text is a mistake, and does not repeat it", () => {
    const extraQueryParameters = { dc: ["secret"] } as unknown as Record<string, string>;
    expect(() => checkSignIn({ extraQueryParameters })).toThrow("extraQueryParameters.dc must be a string");
  });
});

describe("checkPop()", () => {
  const scheme = { type: "pop", method: "GET", url: "https://api.contoso.com/orders" } as const;

  test("takes a request, or none", () => {
    checkPop(undefined);
    checkPop(scheme);
    checkPop({ ...scheme, method: "M-SEARCH", url: "http://localhost:8080", nonce: "" });
  });

  test.each<[object]>([
    [{ type: "bearer" }],
    [{ type: undefined }],
    [{ method: "" }],
    [{ method: "GE T" }],
    [{ method: "GET\r\nx: y" }],
    [{ method: undefined }],
    [{ url: "/orders" }],
    [{ url: "" }],
    [{ url: "ftp://api.contoso.com" }],
    [{ url: new URL("https://api.contoso.com") }],
    [{ nonce: 1 }],
    [{ nonce: null }],
  ])("of %j is a mistake", (mistake) => {
    expect(() => checkPop({ ...scheme, ...mistake } as PopScheme)).toThrow(TypeError);
  });
});

const authority = parseAuthority("https://login.microsoftonline.com/common");
const query = (request: object, app: object = {}) => tokenQuery({ scopes: ["a"], ...request }, { authority, ...app });

describe("tokenQuery()", () => {
  test("refuses parameters of the protocol and other options that checkSignIn() refuses", () => {
    expect(() => query({ extraQueryParameters: { state: "x" } })).toThrow(TypeError);
    expect(() => query({ maxAge: -1 })).toThrow(RangeError);
  });

  const claimsOf = (clientCapabilities: readonly string[], claims?: string) =>
    query({ clientCapabilities, claims }).claims;

  test("merges client capabilities with a claims challenge", () => {
    expect(claimsOf([])).toBeUndefined();
    expect(JSON.parse(claimsOf(["cp1"])!)).toEqual({ access_token: { xms_cc: { values: ["cp1"] } } });
    const challenge = '{"access_token":{"nbf":{"essential":true}},"id_token":{"a":null}}';
    expect(JSON.parse(claimsOf(["cp1"], challenge)!)).toEqual({
      access_token: { nbf: { essential: true }, xms_cc: { values: ["cp1"] } },
      id_token: { a: null },
    });
    expect(claimsOf([], ` ${challenge} `)).toBe(challenge);
    expect(query({}, { clientCapabilities: ["cp1"] })).toMatchObject({ capabilities: "cp1", skipCache: false });
  });

  test.each(["x", "[]", "null", "1", '"secret"'])("refuses the claims %p, and does not quote them", (challenge) => {
    for (const capabilities of [[], ["cp1"]]) {
      expect(() => claimsOf(capabilities, challenge)).toThrow("claims must be a JSON object");
      expect(() => claimsOf(capabilities, challenge)).not.toThrow("secret");
    }
  });

  test("keeps a claim whose name every object has", () => {
    const challenge = '{"__proto__":{"a":1},"access_token":{"__proto__":{"b":2}}}';
    expect(claimsOf(["cp1"], challenge)).toBe(
      '{"__proto__":{"a":1},"access_token":{"__proto__":{"b":2},"xms_cc":{"values":["cp1"]}}}',
    );
  });

  test("makes one cache key for equal requests, and another for another token", () => {
    const { cacheKey } = query({ scopes: ["a", "b"], username: "jane@contoso.com" });
    const equal = { scopes: ["b", "a", "b"], username: "Jane@Contoso.com", forceRefresh: true, prompt: "login" };
    expect(query(equal).cacheKey).toBe(cacheKey);
    for (const other of [{ scopes: ["a"] }, { username: "joe" }, { tenantId: "t" }, { clientCapabilities: ["cp1"] }]) {
      expect(query({ ...equal, ...other }).cacheKey).not.toBe(cacheKey);
    }
    expect(withAccount(query(equal), { username: "joe" }).cacheKey).toBe(query({ ...equal, username: "JOE" }).cacheKey);
  });
});

test("withChallenge() is the same query with other claims, for which no cached token will do", () => {
  const claims = '{"access_token":{"nbf":{"essential":true}}}', asked = query({ clientCapabilities: ["cp1"] });
  expect(withChallenge(asked, claims)).toEqual({
    ...query({ clientCapabilities: ["cp1"], claims }),
    ...{ correlationId: asked.correlationId, claims: expect.stringContaining("nbf") },
  });
});

describe("checkCall()", () => {
  test("returns the caller's correlation id, or a new one", () => {
    const correlationId = "99999999-9999-4999-8999-999999999999";
    expect(checkCall({ correlationId }).correlationId).toBe(correlationId);
    expect(checkCall({}).correlationId).toMatch(/^[0-9a-f-]{36}$/);
    expect(checkCall({}).correlationId).not.toBe(checkCall({}).correlationId);
  });

  test.each([[{ correlationId: "\u001b[31m" }], [{ correlationId: "" }], [{ correlationId: 1 }], [undefined], [null]])(
    "refuses %p",
    (request) => {
      expect(() => checkCall(request as object)).toThrow(TypeError);
    },
  );
});

// Accounts that an earlier version, or MSAL for Node, stored have one of the tenant's names only.
