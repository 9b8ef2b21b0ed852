// The credential in the hands of Azure's and Microsoft Graph's own clients, which send to a server of the test's.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
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
import { graphAuthenticationProvider, LatchkeyCredential, type LatchkeyCredentialOptions } from "../../../lib/azure.ts";
import { entraPerson } from "../../fakes/entra_person.ts";
import { FakeEntra } from "../../fakes/fake_entra.ts";
import { refusesFirstToken, type Resource, startResource } from "../../fakes/resource.ts";
import { CLIENT_ID, CONTOSO, useStage } from "../../fixture.ts";

const CHALLENGE = { access_token: { nbf: { essential: true, value: "1700000000" } } };
const VAULT = "https://contoso.vault.azure.net", VAULT_SCOPE = "https://vault.azure.net/.default";
const stage = useStage({ broker: {} }), { behave, requestOf } = stage;
const made: LatchkeyCredential[] = [];
let resource: Resource;

beforeAll(async () => void (resource = await startResource()));
beforeEach(() => behave());
afterEach(() => {
  for (const credential of made.splice(0)) credential.close();
  resource.requests.length = 0;
});
afterAll(() => resource[Symbol.asyncDispose]());

function make(options: Partial<LatchkeyCredentialOptions> = {}): LatchkeyCredential {
  const credential = new LatchkeyCredential({ clientId: CLIENT_ID, enableBrokerOnLinux: true, ...options });
  made.push(credential);
  return credential;
}

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
    resource.answer = refusesFirstToken(CHALLENGE, {});
    expect(await send(make())).toMatchObject({ status: 200 });
    expect(resource.requests.map(({ body }) => body)).toEqual(["all of it", "all of it"]);
    const { decodedClaims } = (await requestOf("acquireTokenSilently")).authParameters;
    expect(JSON.parse(decodedClaims)).toEqual({
      access_token: { ...CHALLENGE.access_token, xms_cc: { values: ["cp1"] } },
    });
  });

  test("answers it by a renewed token where there is no broker", async () => {
    await using entra = await FakeEntra.start();
    const { openBrowser } = entraPerson(entra), { fetch } = entra;
    resource.answer = refusesFirstToken(CHALLENGE, {});
    expect(await send(make({ enableBrokerOnLinux: false, fetch, openBrowser }))).toMatchObject({ status: 200 });
    expect(entra.requests.map(({ parameters }) => parameters.get("grant_type"))).toEqual([
      "authorization_code",
      "refresh_token",
    ]);
    expect(JSON.parse(entra.requests[1]!.parameters.get("claims")!)).toEqual({
      access_token: { ...CHALLENGE.access_token, xms_cc: { values: ["cp1"] } },
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
    const answer = refusesFirstToken(CHALLENGE, { value: "s3cret", id: `${VAULT}/secrets/password/1` });
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
