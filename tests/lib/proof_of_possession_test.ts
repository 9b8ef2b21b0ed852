// Cookies, signed requests and tokens that are bound to one request.
import { describe, expect } from "bun:test";
import { inspect } from "node:util";
import { type AccountInfo, CONSOLE_WINDOW_HANDLE, type PopScheme, type PublicClientApplication } from "../../mod.ts";
import type { Behaviour } from "../fakes/behaviour.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { BROKER, SENDERS } from "../fakes/tested_broker.ts";
import { failure, JANE, useStage } from "../fixture.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
const SIGN_IN_PAGE = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?sso_nonce=n";
const ORDERS = { method: "POST", url: "https://api.contoso.com:8443/orders/7?all=yes#top", nonce: "n-1" } as const;
const POP: PopScheme = { type: "pop", ...ORDERS };
const POP_PARAMETERS = {
  ...{ clientClaims: "", httpMethod: "POST", nonce: "n-1", uriHost: "api.contoso.com:8443", uriPath: "/orders/7" },
};
const stage = useStage({ broker: {} }), { makeApp, behave, called, requestOf } = stage;

async function appWithAccount(
  behaviour: Partial<Behaviour> = {},
): Promise<{ app: PublicClientApplication; account: AccountInfo }> {
  await behave(behaviour);
  const app = makeApp(), [account] = await app.getAccounts();
  return { app, account: account! };
}

function payloadOf(jwt: string): Record<string, unknown> {
  return JSON.parse(atob(jwt.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));
}

for (const sender of SENDERS) {
  const isMicrosoft = sender.startsWith("microsoft");

  describe(`with ${sender}`, () => {
    test("acquireSsoCookies() gives the cookie, and shows it in no inspection", async () => {
      const { app, account } = await appWithAccount({ sender });
      const cookies = await app.acquireSsoCookies({ account, url: SIGN_IN_PAGE }), value = cookies[0]!.value;
      expect(cookies).toHaveLength(1);
      expect(cookies[0]!.name).toBe("x-ms-RefreshTokenCredential");
      expect(payloadOf(value)).toMatchObject({ upn: "jane@contoso.com", ssoUrl: SIGN_IN_PAGE });
      const request = await requestOf("acquirePrtSsoCookie");
      expect(request).toMatchObject({
        ...{ account: JANE, mamEnrollment: false, ssoUrl: SIGN_IN_PAGE },
        authParameters: { account: JANE, authorizationType: 8, ssoUrl: SIGN_IN_PAGE },
      });
      const shown = [inspect(cookies, { showHidden: true }), inspect({ cookies }), String(cookies)];
      for (const text of shown) expect(text).not.toContain(value);
      expect(JSON.parse(JSON.stringify(cookies))).toEqual([{ name: "x-ms-RefreshTokenCredential", value }]);
    });

    test("signHttpRequest() gives a token that names the request", async () => {
      const { app, account } = await appWithAccount({ sender });
      const signing = app.signHttpRequest({ account, ...ORDERS });
      if (isMicrosoft) {
        const [m, u, p, nonce] = [ORDERS.method, "api.contoso.com:8443", "/orders/7", ORDERS.nonce];
        expect(payloadOf(await signing)).toMatchObject({ m, u, p, nonce, at: expect.any(String) });
        expect((await requestOf("generateSignedHttpRequest")).popParams).toEqual({
          ...POP_PARAMETERS,
          homeAccountId: account.homeAccountId,
        });
      } else {
        const error = await failure(signing);
        expect(error.code).toBe(sender === "himmelblau-0.1" ? "refused" : "unexpected");
        expect(error.hint).toBeDefined();
      }
    });

    test("isPopSupported() tells whether it can", async () => {
      const { app } = await appWithAccount({ sender });
      expect(await app.isPopSupported()).toBe(isMicrosoft);
    });

    test("acquireTokenSilent() gets a token that is bound to a request, anew each time", async () => {
      const { app, account } = await appWithAccount({ sender });
      const bearer = await app.acquireTokenSilent({ scopes: SCOPES, account });
      const ask = () => app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme: POP });
      if (isMicrosoft) {
        const tokens = [await ask(), ...await Promise.all([ask(), ask()])];
        expect(tokens.map((token) => token!.tokenType)).toEqual(["pop", "pop", "pop"]);
        expect(payloadOf(tokens[0]!.accessToken)).toMatchObject({ m: "POST", p: "/orders/7", nonce: "n-1" });
        expect(new Set(tokens.map((token) => token!.accessToken)).size).toBe(3);
      } else {
        expect(await failure(ask())).toMatchObject({
          code: "invalid_response",
          hint: expect.stringContaining("isPopSupported"),
        });
      }
      expect((await requestOf("acquireTokenSilently")).authParameters.popParams).toEqual({
        ...POP_PARAMETERS,
        homeAccountId: account.homeAccountId,
      });
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({
        accessToken: bearer!.accessToken,
        tokenType: "Bearer",
        source: "cache",
      });
    });

    test("acquireTokenInteractive() gets a token that is bound to a request", async () => {
      const { app, account } = await appWithAccount({ sender });
      const signIn = app.acquireTokenInteractive({
        ...{ scopes: SCOPES, prompt: "login", loginHint: account.username },
        ...{ authenticationScheme: POP, parentWindowHandle: CONSOLE_WINDOW_HANDLE },
      });
      if (isMicrosoft) expect((await signIn).tokenType).toBe("pop");
      else expect((await failure(signIn)).code).toBe("invalid_response");
      const { popParams } = (await requestOf("acquireTokenInteractively")).authParameters;
      expect(popParams).toMatchObject(POP_PARAMETERS);
      expect((await app.acquireTokenSilent({ scopes: SCOPES, account }))!.tokenType).toBe("Bearer"); // it was not held
    });
  });
}

describe("authenticationScheme", () => {
  test("does not let a bearer token pass for one that is bound", async () => {
    const { app, account } = await appWithAccount();
    const bearer = (await app.acquireTokenSilent({ scopes: SCOPES, account }))!;
    const { accessToken } = bearer,
      brokerTokenResponse = { accessToken, accessTokenType: 0, expiresOn: Date.now() + 4e6 };
    await behave({
      replies: { acquireTokenSilently: { kind: "text", text: JSON.stringify({ brokerTokenResponse }) } },
    });
    const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme: POP }));
    expect(error.code).toBe("invalid_response");
    expect(`${error.message} ${error.hint}`).not.toContain(accessToken);
  });
});

describe("authenticationScheme with a kid", () => {
  const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", keyed: PopScheme = { ...POP, kid };

  test("gets a token that himmelblau bound to the key, and keeps none", async () => {
    if (BROKER !== "linux") return;
    const { app, account } = await appWithAccount({ sender: "himmelblau-4.0" });
    const ask = () => app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme: keyed });
    const token = (await ask())!;
    expect(token.tokenType).toBe("pop");
    expect(payloadOf(token.accessToken)).toMatchObject({ cnf: { kid }, upn: "jane@contoso.com" });
    expect((await requestOf("acquireTokenSilently")).authParameters.popParams).toEqual({
      ...POP_PARAMETERS,
      ...{ homeAccountId: account.homeAccountId, authenticationScheme: "pop", kid },
    });
    expect((await ask())!.accessToken).not.toBe(token.accessToken);
    const bearer = (await app.acquireTokenSilent({ scopes: SCOPES, account }))!;
    expect([bearer.tokenType, payloadOf(bearer.accessToken).cnf]).toEqual(["Bearer", undefined]);
  });

  test.each(SENDERS.filter((sender) => sender !== "himmelblau-4.0").map((sender) => [sender] as const))(
    "takes no token of %s, which knows nothing of the key",
    async (sender) => {
      const { app, account } = await appWithAccount({ sender });
      const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme: keyed }));
      const code = BROKER === "msalruntime" ? "refused" : "invalid_response";
      expect(error).toMatchObject({ code, hint: expect.stringContaining("without kid") });
    },
  );

  test("takes no token that is bound to another key", async () => {
    const { app, account } = await appWithAccount();
    for (const cnf of [{ kid: `${kid}A` }, { kid: [kid] }, kid, null, { jwk: { kid } }]) {
      const accessToken = `e30.${btoa(JSON.stringify({ cnf })).replaceAll("=", "")}.c`;
      const brokerTokenResponse = { accessToken, accessTokenType: 1, expiresOn: Date.now() + 4e6 };
      const text = JSON.stringify({ brokerTokenResponse });
      await behave({ replies: { acquireTokenSilently: { kind: "text", text } } });
      const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme: keyed }));
      expect(error.code).toBe(BROKER === "msalruntime" ? "refused" : "invalid_response");
      expect(`${error.message} ${error.hint}`).not.toContain(accessToken);
    }
  });

  test.each([[""], ["a b"], ["a".repeat(257)], [7]])("has to be the id of a key, which %p is not", async (kid) => {
    const { app, account } = await appWithAccount();
    const authenticationScheme = { ...POP, kid } as PopScheme;
    const asked = app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme });
    expect(await asked.catch((error) => error)).toBeInstanceOf(TypeError);
  });
});

describe("forceRefresh", () => {
  test("sends the request that a token is bound to once", async () => {
    const { app, account } = await appWithAccount();
    await app.acquireToken({
      scopes: SCOPES,
      account,
      authenticationScheme: POP,
      forceRefresh: true,
      interactive: "never",
    });
    expect(await called("acquireTokenSilently")).toHaveLength(1);
  });
});

describe("acquireSsoCookies()", () => {
  const item = (cookieName: unknown, cookieContent: unknown) => ({ cookieName, cookieContent });

  test("gives every cookie that there is", async () => {
    const { app, account } = await appWithAccount();
    const text = JSON.stringify({ cookieItems: [item("a", "secret-1"), item("b", "secret-2=")] });
    await behave({ replies: { acquirePrtSsoCookie: { kind: "text", text } } });
    expect(await app.acquireSsoCookies({ account, url: SIGN_IN_PAGE })).toMatchObject([
      { name: "a", value: "secret-1" },
      { name: "b", value: "secret-2=" },
    ]);
  });

  test.each<[object]>([
    [{}],
    [item("a", "")],
    [item("", "secret")],
    [item("a", 1)],
    [item("a=b", "secret")],
    [item("a", "secret; Domain=contoso.com")],
    [item("a", "secret\r\nSet-Cookie: b=c")],
    [item("a", "secret,")],
    [item("a", 'sec"ret')],
    [item("a", "secrét")],
    [{ cookieItems: "secret" }],
    [{ cookieItems: [item("a", "secret"), null] }],
    [{ cookieItems: [[item("a", "secret")]] }],
  ])("refuses the cookies %j, and does not repeat them", async (reply) => {
    const { app, account } = await appWithAccount();
    await behave({ replies: { acquirePrtSsoCookie: { kind: "text", text: JSON.stringify(reply) } } });
    const error = await failure(app.acquireSsoCookies({ account, url: SIGN_IN_PAGE }));
    expect(error.code).toBe("invalid_response");
    expect(inspect(error)).not.toContain("secret");
  });

  test.each(["http://login.microsoftonline.com/", "login.microsoftonline.com", ""])("is not for %p", async (url) => {
    const { app, account } = await appWithAccount();
    expect(await app.acquireSsoCookies({ account, url }).catch((error) => error)).toBeInstanceOf(TypeError);
    expect(await stage.broker.calls("acquirePrtSsoCookie")).toEqual([]);
  });

  test("needs a broker", async () => {
    const { account } = await appWithAccount();
    const cookies = makeApp({ enableBrokerOnLinux: false }).acquireSsoCookies({ account, url: SIGN_IN_PAGE });
    expect((await failure(cookies)).code).toBe("broker_unavailable");
  });
});

describe("signHttpRequest()", () => {
  test.each<[object]>([
    [{ method: "GE T" }],
    [{ method: "" }],
    [{ method: undefined }],
    [{ url: "ftp://api.contoso.com" }],
    [{ url: "/orders" }],
    [{ url: undefined }],
    [{ nonce: 1 }],
    [{ account: undefined }],
  ])("refuses the mistake %j before it asks", async (mistake) => {
    const { app, account } = await appWithAccount();
    const signing = app.signHttpRequest({ account, ...ORDERS, ...mistake });
    expect(await signing.catch((error) => error)).toBeInstanceOf(TypeError);
    expect(await stage.broker.calls("generateSignedHttpRequest")).toEqual([]);
  });

  test.each(["{}", '{"signedHttpRequest":""}', '{"signedHttpRequest":"secret\\r\\nx: y"}', '{"signedHttpRequest":1}'])(
    "refuses the reply %p, and does not repeat it",
    async (text) => {
      const { app, account } = await appWithAccount();
      await behave({ replies: { generateSignedHttpRequest: { kind: "text", text } } });
      const error = await failure(app.signHttpRequest({ account, ...ORDERS }));
      expect(error.code).toBe("invalid_response");
      expect(inspect(error)).not.toContain("secret");
    },
  );
});

describe("isPopSupported()", () => {
  test("is false without a broker", async () => {
    expect(await makeApp({ enableBrokerOnLinux: false }).isPopSupported()).toBe(false);
    expect(await makeApp({ authority: "https://adfs.contoso.com/adfs" }).isPopSupported()).toBe(false);
    expect(await stage.broker.calls()).toEqual([]);
  });
});

describe("Calls about an account", () => {
  const CALLS: readonly [
    member: string,
    (app: PublicClientApplication, account: AccountInfo, more?: object) => Promise<unknown>,
  ][] = [
    ["acquirePrtSsoCookie", (app, account, more) => app.acquireSsoCookies({ account, url: SIGN_IN_PAGE, ...more })],
    ["generateSignedHttpRequest", (app, account, more) => app.signHttpRequest({ account, ...ORDERS, ...more })],
    ["generateSignedHttpRequest", (app, _, more) => app.isPopSupported(more)],
    ["removeAccount", (app, account, more) => app.removeAccount(account, { fromBroker: true, ...more })],
  ];

  test("carry the caller's correlation id", async () => {
    const { app, account } = await appWithAccount();
    for (const [index, [member, call]] of CALLS.entries()) {
      const correlationId = `99999999-9999-4999-8999-99999999999${index}`;
      await call(app, account, { correlationId });
      expect((await stage.broker.calls(member)).at(-1)!.correlationId).toBe(correlationId);
    }
  });

  test("let go at an abort", async () => {
    const hang = { kind: "hang" } as const, reason = new Error("enough");
    for (const [member, call] of CALLS) {
      const { app, account } = await appWithAccount();
      await behave({ replies: { [member]: hang } });
      const asked = (await stage.broker.calls(member)).length, leaving = new AbortController();
      const gone = call(app, account, { signal: leaving.signal }).catch((error) => error);
      await called(member, asked + 1);
      leaving.abort(reason);
      expect(await gone).toBe(reason);
    }
  });

  test("end in their time", async () => {
    for (const [member, call] of CALLS) {
      await behave({ replies: { [member]: { kind: "hang" } } });
      const app = makeApp({ timeLimits: { silentMs: 50, accountsMs: 500 } }), [account] = await makeApp().getAccounts();
      expect((await failure(call(app, account!))).code).toBe("timed_out");
    }
  });
});
