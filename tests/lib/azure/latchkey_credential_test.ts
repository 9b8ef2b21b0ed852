// The credential by itself: what it asks the broker for, and what it fails with.
import { afterEach, describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { memoryStore } from "../../../mod.ts";
import { type AbortSignalLike, LatchkeyCredential, type LatchkeyCredentialOptions } from "../../../lib/azure.ts";
import { entraPerson } from "../../fakes/entra_person.ts";
import { FakeEntra } from "../../fakes/fake_entra.ts";
import { CLIENT_ID, CONTOSO, failure, JANE, JOE, rejection, useStage } from "../../fixture.ts";

const SCOPE = "https://vault.azure.net/.default";
const FABRIKAM = "33333333-3333-4333-8333-333333333333";
const CHALLENGE = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}';
const stage = useStage({ broker: {} }), { behave, called, requestOf, steps } = stage;
const made: LatchkeyCredential[] = [];

function make(options: Partial<LatchkeyCredentialOptions> = {}): LatchkeyCredential {
  const credential = new LatchkeyCredential({ clientId: CLIENT_ID, enableBrokerOnLinux: true, ...options });
  made.push(credential);
  return credential;
}
const asked = async () => (await requestOf("acquireTokenSilently")).authParameters;

afterEach(() => {
  for (const credential of made.splice(0)) credential.close();
});

describe("LatchkeyCredential.getToken()", () => {
  test("gives a token, its end and its type, for one scope or several", async () => {
    await behave();
    const credential = make(), token = await credential.getToken(SCOPE);
    expect(token).toEqual({
      token: expect.stringMatching(/^eyJ/),
      expiresOnTimestamp: expect.any(Number),
      tokenType: "Bearer",
    });
    expect(token.expiresOnTimestamp - Date.now()).toBeGreaterThan(3_900_000);
    expect(await asked()).toMatchObject({ clientId: CLIENT_ID, requestedScopes: [SCOPE], decodedClaims: "" });
    await credential.getToken(["User.Read", "Mail.Read"]);
    expect((await asked()).requestedScopes).toEqual(["User.Read", "Mail.Read"]);
  });

  // The token was a plain object: a program's log of what its credential gives had tokens in it.
  test("gives a token that is not shown when it is logged, alone or in something", async () => {
    await behave();
    const result = await make().getToken(SCOPE), { token } = result;
    for (const show of [Bun.inspect, inspect]) {
      for (const text of [show(result), show({ result }), show([result])]) {
        expect(text).toContain("[concealed]");
        expect(text).toContain(String(result.expiresOnTimestamp));
        expect(text).not.toContain(token);
      }
    }
    expect(JSON.parse(JSON.stringify(result))).toEqual({ ...result }); // SDKs read the fields, and some keep them
    expect(Object.keys(result)).toEqual(["token", "expiresOnTimestamp", "tokenType"]);
  });

  test("gives a token for claims challenges to nobody who does not answer them, nor the reverse", async () => {
    await behave();
    const credential = make({ clientCapabilities: ["CP1", "protapp"], username: JANE.username });
    const get = async (enableCae: boolean) => (await credential.getToken(SCOPE, { enableCae })).token;
    const [plain, evaluated] = [await get(false), await get(true)];
    expect(plain).not.toBe(evaluated);
    expect([await get(true), await get(false)]).toEqual([evaluated, plain]);
    const claims = (await stage.broker.calls("acquireTokenSilently"))
      .map(({ request }) => JSON.parse(request.authParameters.decodedClaims).access_token.xms_cc.values);
    expect(claims).toEqual([["protapp"], ["protapp", "cp1"]]);
  });

  test("keeps the two apart in a store as well, and in one sign-in", async () => {
    await using entra = await FakeEntra.start();
    const { openBrowser } = entraPerson(entra), { fetch } = entra, cache = memoryStore();
    const get = async (enableCae: boolean) =>
      (await make({ enableBrokerOnLinux: false, cache, fetch, openBrowser }).getToken(SCOPE, { enableCae })).token;
    const evaluated = await get(true);
    expect(await get(true)).toBe(evaluated);
    const plain = await get(false);
    expect(plain).not.toBe(evaluated);
    expect(await get(false)).toBe(plain);
    expect(await get(true)).not.toBe(plain);
    expect(entra.requests.map(({ parameters }) => [parameters.get("grant_type"), parameters.get("claims")])).toEqual([
      ["authorization_code", '{"access_token":{"xms_cc":{"values":["cp1"]}}}'],
      ["refresh_token", null],
      ["refresh_token", '{"access_token":{"xms_cc":{"values":["cp1"]}}}'],
    ]);
  });

  test.each([
    ["JSON", CHALLENGE],
    ["base64", btoa(CHALLENGE)],
    ["a whole header", `Bearer error="insufficient_claims", claims="${btoa(CHALLENGE)}"`],
  ])("asks for the claims of a challenge as %s, past the token that is held", async (_, claims) => {
    await behave();
    const credential = make(), { token } = await credential.getToken(SCOPE, { enableCae: true });
    expect((await credential.getToken(SCOPE, { enableCae: true, claims })).token).not.toBe(token);
    expect(JSON.parse((await asked()).decodedClaims)).toEqual({
      access_token: { ...JSON.parse(CHALLENGE).access_token, xms_cc: { values: ["cp1"] } },
    });
  });

  test("asks any tenant where the authority is for many, else those that are allowed", async () => {
    await behave();
    const authorityOf = async (options: Partial<LatchkeyCredentialOptions>, tenantId: string) => {
      await make(options).getToken(SCOPE, { tenantId });
      return (await asked()).authority;
    };
    const at = (tenant: string) => `https://login.microsoftonline.com/${tenant}`;
    expect(await authorityOf({}, FABRIKAM)).toBe(at(FABRIKAM));
    expect(await authorityOf({ authority: at(CONTOSO) }, CONTOSO.toUpperCase())).toBe(at(CONTOSO));
    const other = { authority: at(CONTOSO), additionallyAllowedTenants: [FABRIKAM.toUpperCase()] };
    expect(await authorityOf(other, FABRIKAM)).toBe(at(FABRIKAM));
    expect(await authorityOf({ ...other, additionallyAllowedTenants: ["*"] }, FABRIKAM)).toBe(at(FABRIKAM));
    const calls = (await stage.broker.calls()).length;
    const error = await rejection(make({ authority: at(CONTOSO) }).getToken(SCOPE, { tenantId: FABRIKAM }));
    expect({ name: error.name as string, message: error.message }).toEqual({
      name: "CredentialUnavailableError",
      message: expect.stringContaining(FABRIKAM),
    });
    expect((await stage.broker.calls()).length).toBe(calls);
  });

  test("binds a token to a request, and says so", async () => {
    await behave();
    const proofOfPossessionOptions = {
      nonce: "n1",
      resourceRequestMethod: "GET",
      resourceRequestUrl: "https://graph.microsoft.com/v1.0/me",
    };
    expect(await make().getToken(SCOPE, { proofOfPossessionOptions })).toMatchObject({ tokenType: "pop" });
    expect((await asked()).popParams).toMatchObject({
      ...{ nonce: "n1", httpMethod: "GET", uriHost: "graph.microsoft.com", uriPath: "/v1.0/me" },
    });
  });

  test("keeps to whom it got first", async () => {
    await behave({ accounts: [JANE, JOE], replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const credential = make();
    await credential.getToken(SCOPE);
    await behave({ accounts: [JOE, JANE], defaultAccount: JOE.username });
    await credential.getToken("User.Read");
    expect((await steps()).at(-1)).toBe("silently jane@contoso.com");
  });

  test("chooses once for calls at once, and holds what the first one got", async () => {
    await behave();
    const credential = make();
    const [one, other] = await Promise.all([credential.getToken(SCOPE), credential.getToken("User.Read")]);
    expect(await steps()).toEqual(["silently jane@contoso.com", "silently jane@contoso.com"]);
    expect((await asked()).authority).not.toMatch(/common$/); // the second one asked by name
    expect(await credential.getToken(SCOPE)).toEqual(one);
    expect(await credential.getToken("User.Read")).toEqual(other);
    expect((await stage.broker.calls("acquireTokenSilently")).length).toBe(2);
  });

  test("gives the tokens of the user name, or the account, that it was made with", async () => {
    await behave({ accounts: [JANE, JOE] });
    await make({ username: JOE.username }).getToken(SCOPE);
    const account = (await make().app.getAccounts(JOE))[0]!;
    await make({ account }).getToken(SCOPE);
    expect(await steps()).toEqual(["silently joe@contoso.com", "silently joe@contoso.com"]);
  });

  test("ends at once by an AbortError, also for a signal that only looks like one", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const credential = make(), controller = new AbortController(), listeners = new Set<() => void>();
    const like: AbortSignalLike = {
      aborted: false,
      addEventListener: (_, listener) => void listeners.add(listener as () => void),
      removeEventListener: (_, listener) => void listeners.delete(listener as () => void),
    };
    const calls = [controller.signal, like].map((abortSignal) =>
      rejection(credential.getToken(SCOPE, { abortSignal }))
    );
    await called("acquireTokenSilently");
    controller.abort();
    for (const listener of listeners) listener();
    expect((await Promise.all(calls)).map(({ name }) => name as string)).toEqual(["AbortError", "AbortError"]);
    expect(listeners.size).toBe(0);
    const error = await rejection(credential.getToken(SCOPE, { abortSignal: { ...like, aborted: true } }));
    expect(error.name as string).toBe("AbortError");
  });
});

describe("a credential that may ask nobody", () => {
  test("fails with what a person is needed for, and signs one in when it is told to", async () => {
    const refusal = {
      error: { context: "AADSTS50076", status: 2, subStatus: 0, subError: "basic_action", claims: CHALLENGE },
    };
    await behave({
      replies: { acquireTokenSilently: { kind: "text", text: JSON.stringify({ brokerTokenResponse: refusal }) } },
    });
    const credential = make({ interactive: "never" });
    const error = await credential.getToken(SCOPE, { tenantId: FABRIKAM }).catch((error) => error);
    expect(error).toMatchObject({
      name: "AuthenticationRequiredError",
      scopes: [SCOPE],
      getTokenOptions: { tenantId: FABRIKAM, claims: CHALLENGE },
      cause: { name: "LatchkeyError", code: "interaction_required" },
    });
    expect(inspect(error, { depth: 9 })).not.toContain("nbf");
    expect(await steps()).not.toContain("window");
    expect(await credential.authenticate(error.scopes, error.getTokenOptions)).toMatchObject(JANE);
    const { authParameters } = await requestOf("acquireTokenInteractively");
    expect([authParameters.decodedClaims, authParameters.authority]).toEqual([
      CHALLENGE,
      `https://login.microsoftonline.com/${FABRIKAM}`,
    ]);
  });

  test("cannot be used where there is no broker and one has to be", async () => {
    const error = await rejection(make({ enableBrokerOnLinux: false, requireBroker: true }).getToken(SCOPE));
    expect([error.name, error.message].join(": ")).toMatch(/^CredentialUnavailableError: .*broker/);
  });

  test("fails by the error itself where no other credential is to be tried", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 3 } } });
    expect(await failure(make({ interactive: "never" }).getToken(SCOPE))).toMatchObject({
      name: "LatchkeyError",
      code: "no_network",
    });
  });
});
