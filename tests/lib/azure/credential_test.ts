// The credential by itself: what it asks the broker for, and what it fails with.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { isTokenCredential, type TokenCredential } from "@azure/core-auth";
import {
  bearerTokenAuthenticationPolicy,
  createDefaultHttpClient,
  createEmptyPipeline,
  createPipelineRequest,
  type HttpClient,
} from "@azure/core-rest-pipeline";
import { ChainedTokenCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import { AuthenticationHandler, type AuthenticationProvider, Client } from "@microsoft/microsoft-graph-client";
import {
  type AbortSignalLike,
  AuthenticationRequiredError,
  authorizedFetch,
  graphAuthenticationProvider,
  LatchkeyCredential,
  type LatchkeyCredentialOptions,
} from "../../../lib/azure.ts";
import type { LatchkeyError } from "../../../lib/errors.ts";
import { memoryStore } from "../../../mod.ts";
import { entraPerson } from "../../fakes/entra_person.ts";
import { FakeEntra } from "../../fakes/fake_entra.ts";
import { refusesFirstToken, type Resource, startResource } from "../../fakes/resource.ts";
import { CLIENT_ID, CONTOSO, failure, JANE, JOE, rejection, useStage } from "../../fixture.ts";

const clientId = "11111111-2222-4333-8444-555555555555", scope = "https://vault.azure.net/.default";
const caught = (error: unknown) => error as Error;

// Its failures named calls of another class, and whoever printed message and hint printed the hint twice.
describe("LatchkeyCredential.getToken()", () => {
  test("fails with the credential's own words, each once", async () => {
    const credential = new LatchkeyCredential({ clientId, interactive: "never" });
    const error = await credential.getToken(scope).catch(caught) as AuthenticationRequiredError;
    expect(error).toBeInstanceOf(AuthenticationRequiredError);
    expect(error.message).toMatch(
      /^No user is signed in, and no broker is enabled\. To use the device's broker, set \w+; or sign in: authenticate$/,
    );
    expect(error.cause).toMatchObject({
      code: "interaction_required",
      message: "No user is signed in, and no broker is enabled",
      hint: undefined,
    });
  });

  test("says once why there is no broker", async () => {
    const credential = new LatchkeyCredential({ clientId, requireBroker: true });
    const error = await credential.getToken(scope).catch(caught) as Error & { readonly cause: LatchkeyError };
    expect(error).toMatchObject({ name: "CredentialUnavailableError", cause: { code: "broker_unavailable" } });
    expect(error.message).toStartWith(error.cause.message);
    expect(error.cause.hint).toBeUndefined();
  });
});

describe("LatchkeyCredential", () => {
  test("takes the options of an application and its own, and no others", () => {
    expect(() => new LatchkeyCredential({ clientId, usernme: "jane@contoso.com" } as never)).toThrow(
      'LatchkeyCredential has no option "usernme": did you mean username?',
    );
    const options = { username: "jane@contoso.com", interactive: "never", additionallyAllowedTenants: ["*"] } as const;
    expect(new LatchkeyCredential({ clientId, requireBroker: true, ...options })).toBeInstanceOf(LatchkeyCredential);
  });
});

// Without scopes it was "Spread syntax requires ...iterable".
describe("authorizedFetch()", () => {
  const credential = new LatchkeyCredential({ clientId }), origins = ["https://vault.azure.net"];

  test.each<[string, unknown, unknown, string]>([
    ["no scopes", credential, { origins }, 'scopes must be a list, such as ["User.Read"]'],
    ["empty scopes", credential, { origins, scopes: [] }, 'scopes must be a list, such as ["User.Read"]'],
    ["no options", credential, undefined, "scopes must be a list"],
    ["no origins", credential, { scopes: scope }, "origins must be a list"],
    ["an origin that is no string", credential, { scopes: scope, origins: [1] }, "Cannot send a token to 1"],
    ["no credential", undefined, { scopes: scope, origins }, "credential must have getToken"],
    [
      "an unknown option",
      credential,
      { scopes: scope, origin: origins },
      'has no option "origin": did you mean origins?',
    ],
  ])("refuses %s", (_, source, options, message) => {
    expect(() => authorizedFetch(source as never, options as never)).toThrow(TypeError);
    expect(() => authorizedFetch(source as never, options as never)).toThrow(message);
  });

  test("graphAuthenticationProvider() refuses an unknown option", () => {
    expect(() => graphAuthenticationProvider(credential, { scope } as never)).toThrow(
      'graphAuthenticationProvider has no option "scope": did you mean scopes?',
    );
  });
});

// The credential by itself: what it asks the broker for, and what it fails with.

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
    const credential = make(), { token } = await credential.getToken(SCOPE, { enableCae: true });
    expect((await credential.getToken(SCOPE, { enableCae: true, claims })).token).not.toBe(token);
    expect(JSON.parse((await asked()).decodedClaims)).toEqual({
      access_token: { ...JSON.parse(CHALLENGE).access_token, xms_cc: { values: ["cp1"] } },
    });
  });

  test("asks any tenant where the authority is for many, else those that are allowed", async () => {
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

// The credential in the hands of Azure's and Microsoft Graph's own clients, which send to a server of the test's.

const CLAIMS = { access_token: { nbf: { essential: true, value: "1700000000" } } };
const VAULT = "https://contoso.vault.azure.net", VAULT_SCOPE = "https://vault.azure.net/.default";
let resource: Resource;

beforeAll(async () => void (resource = await startResource()));
afterEach(() => void (resource.requests.length = 0));
afterAll(() => resource[Symbol.asyncDispose]());

/** The SDKs' own way to send, but to the test's server whatever the host. */
const httpClient: HttpClient = {
  sendRequest: (request) => {
    const { pathname, search } = new URL(request.url);
    const sent = Object.assign(Object.create(Object.getPrototypeOf(request)), request);
    return createDefaultHttpClient().sendRequest(
      Object.assign(sent, { url: `${resource.origin}${pathname}${search}`, allowInsecureConnection: true }),
    );
  },
};

const authorizations = () => resource.requests.map(({ headers }) => headers.authorization);

describe("@azure/core-auth", () => {
  test("takes it for a credential, by type and when it looks", () => {
    const credential: TokenCredential = make();
    expect(isTokenCredential(credential)).toBe(true);
  });
});

describe("@azure/core-rest-pipeline's bearer policy", () => {
  const send = async (credential: TokenCredential) => {
    const pipeline = createEmptyPipeline();
    pipeline.addPolicy(bearerTokenAuthenticationPolicy({ credential, scopes: VAULT_SCOPE }));
    const request = createPipelineRequest({ url: `${VAULT}/`, method: "POST", body: "all of it" });
    return await pipeline.sendRequest(httpClient, request);
  };

  test("answers a claims challenge by a token of the broker's for it", async () => {
    resource.answer = refusesFirstToken(CLAIMS, {});
    expect(await send(make())).toMatchObject({ status: 200 });
    expect(resource.requests.map(({ body }) => body)).toEqual(["all of it", "all of it"]);
    const { decodedClaims } = (await requestOf("acquireTokenSilently")).authParameters;
    expect(JSON.parse(decodedClaims)).toEqual({
      access_token: { ...CLAIMS.access_token, xms_cc: { values: ["cp1"] } },
    });
  });

  test("answers it by a renewed token where there is no broker", async () => {
    await using entra = await FakeEntra.start();
    const { openBrowser } = entraPerson(entra), { fetch } = entra;
    resource.answer = refusesFirstToken(CLAIMS, {});
    expect(await send(make({ enableBrokerOnLinux: false, fetch, openBrowser }))).toMatchObject({ status: 200 });
    expect(entra.requests.map(({ parameters }) => parameters.get("grant_type"))).toEqual([
      "authorization_code",
      "refresh_token",
    ]);
    expect(JSON.parse(entra.requests[1]!.parameters.get("claims")!)).toEqual({
      access_token: { ...CLAIMS.access_token, xms_cc: { values: ["cp1"] } },
    });
  });

  test("fails by the credential's own error when a person is needed", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const error = await send(make({ interactive: "never" })).catch((error) => error);
    expect(error.name).toBe("AuthenticationRequiredError");
    expect(resource.requests).toEqual([]);
  });
});

describe("@azure/keyvault-secrets", () => {
  test("gets a secret after the vault's own challenge, and after one for claims", async () => {
    const vaultChallenge = `Bearer authorization="https://login.microsoftonline.com/${CONTOSO}", ` +
      `resource="https://vault.azure.net"`;
    const answer = refusesFirstToken(CLAIMS, { value: "s3cret", id: `${VAULT}/secrets/password/1` });
    resource.answer = (request) =>
      request.headers.authorization
        ? answer(request)
        : { status: 401, headers: { "www-authenticate": vaultChallenge } };
    const client = new SecretClient(VAULT, make(), { httpClient });
    expect(await client.getSecret("password")).toMatchObject({ value: "s3cret" });
    const [none, first, second] = authorizations();
    expect([none, first === second]).toEqual([undefined, false]);
    const { authority, requestedScopes, decodedClaims } = (await requestOf("acquireTokenSilently")).authParameters;
    expect({ authority, requestedScopes }).toEqual({
      authority: `https://login.microsoftonline.com/${CONTOSO}`,
      requestedScopes: [VAULT_SCOPE],
    });
    expect(JSON.parse(decodedClaims).access_token).toHaveProperty("nbf");
    expect(await client.getSecret("password")).toMatchObject({ value: "s3cret" });
    expect(authorizations().slice(3)).toEqual([second]);
  });
});

describe("@azure/identity's chain", () => {
  const other = {
    getToken: () => Promise.resolve({ token: "the other's", expiresOnTimestamp: Date.now() + 3_600_000 }),
  };
  const chained = async (credential: LatchkeyCredential) =>
    (await new ChainedTokenCredential(credential, other).getToken(VAULT_SCOPE)).token;

  test("goes on after a credential that cannot be used, or needs a person", async () => {
    expect(await chained(make({ requireBroker: true, enableBrokerOnLinux: false }))).toBe("the other's");
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect(await chained(make({ interactive: "never" }))).toBe("the other's");
  });

  test("takes its token, and ends with its refusal", async () => {
    expect(await chained(make())).toMatch(/^eyJ/);
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 9 } } });
    const refused = await chained(make()).catch((error) => error);
    expect(refused).toMatchObject({ name: "LatchkeyError", code: "configuration" });
  });
});

describe("@microsoft/microsoft-graph-client", () => {
  /** The client's own handler of tokens, and behind it the way to the test's server. */
  function graph(authProvider: AuthenticationProvider): Client {
    const authentication = new AuthenticationHandler(authProvider);
    authentication.setNext({
      async execute(context) {
        const { pathname } = new URL(String(context.request));
        context.response = await fetch(`${resource.origin}${pathname}`, context.options);
      },
    });
    return Client.initWithMiddleware({ middleware: authentication });
  }

  test("asks Graph with a token for the scopes of the provider, or of the request", async () => {
    resource.answer = () => ({ body: { displayName: "Jane Doe" } });
    const client = graph(graphAuthenticationProvider(make(), { scopes: ["User.Read"] }));
    expect(await client.api("/me").get()).toEqual({ displayName: "Jane Doe" });
    expect(authorizations()).toEqual([expect.stringMatching(/^Bearer eyJ/)]);
    const asked = async () => (await requestOf("acquireTokenSilently")).authParameters;
    expect(await asked()).toMatchObject({ requestedScopes: ["User.Read"], decodedClaims: "" });
    await graphAuthenticationProvider(make()).getAccessToken({ scopes: ["Mail.Read"] });
    expect((await asked()).requestedScopes).toEqual(["Mail.Read"]);
    await graphAuthenticationProvider(make()).getAccessToken();
    expect((await asked()).requestedScopes).toEqual(["https://graph.microsoft.com/.default"]);
  });

  test("sends no token to another host", async () => {
    const client = graph(graphAuthenticationProvider(make()));
    await client.api("https://graph.microsoft.com.attacker.example/me").get();
    expect(authorizations()).toEqual([undefined]);
    expect(await stage.broker.calls("acquireTokenSilently")).toEqual([]);
  });
});
