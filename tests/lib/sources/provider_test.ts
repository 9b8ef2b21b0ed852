// ProviderSource at a real OpenID provider: what the cache's entry says about the scopes and resources of a sign-in.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  type CacheStore,
  memoryStore,
  PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../../mod.ts";
import { browsingPerson } from "../../tools/browsing_person.ts";
import { failure } from "../../fixture.ts";
import { type OidcProvider, startOidcProvider } from "../../tools/start_oidc_provider.ts";

type Fetch = NonNullable<PublicClientApplicationOptions["fetch"]>;

const FORCED = { interactive: "never", forceRefresh: true } as const;

let provider: OidcProvider;
let store: CacheStore;
beforeAll(async () => {
  provider = await startOidcProvider();
});
beforeEach(() => {
  store = memoryStore();
});
afterAll(() => provider[Symbol.asyncDispose]());

/** An app with the store of the test, as another process would have it. */
function appOf(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  const { clientId, url: authority } = provider;
  return new PublicClientApplication({
    clientId,
    authority,
    cache: store,
    openBrowser: browsingPerson().openBrowser,
    ...options,
  });
}

/** The only refresh token's entry. */
async function refreshTokenEntry(): Promise<Readonly<Record<string, unknown>>> {
  const [json] = await store.readAccounts();
  const entries = Object.values<Record<string, unknown>>(JSON.parse(json!).RefreshToken);
  expect(entries).toHaveLength(1);
  return entries[0]!;
}

/** Changes a token response's body. */
function rewriting(change: (body: Record<string, string>) => void): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (!url.endsWith("/token")) return response;
    const body = await response.json();
    change(body);
    return Response.json(body, { status: response.status });
  };
}

/** Leaves a scope out of what a token response says was granted, and hides that the token has it. */
function omitting(scope: string): Fetch {
  return rewriting((body) => {
    body.scope = body.scope!.split(" ").filter((each) => each !== scope).concat("openid").join(" ");
    body.access_token = "opaque";
  });
}

// Each renewal encoded the stored names again: a renewal without the resource lost the sign-in for it.
test.each(["http://[::1]:8080/mcp", "https://mcp.contoso.com/a%20b", 'https://mcp.contoso.com/a|b^c"d é'])(
  "a sign-in for the resource %s stays one, however often it is renewed",
  async (resource) => {
    const scopes = ["api.read"];
    await appOf().acquireToken({ scopes, resource });
    const { granted_resources: granted } = await refreshTokenEntry();
    expect(granted).toBe(encodeURI(resource));
    for (const request of [{ scopes, resource }, { scopes, resource }, { scopes }, { scopes, resource }]) {
      expect(await appOf().acquireToken({ ...request, ...FORCED })).toMatchObject({ source: "identity_provider" });
      expect((await refreshTokenEntry()).granted_resources).toBe(granted);
    }
  },
);

// A scope with a resource stayed declined after the provider had granted it, and so did one that it granted in another case.
describe("a scope that a renewal did not grant", () => {
  const WRITE = { scopes: ["api.write"], ...FORCED };

  test.each([undefined, "https://mcp.contoso.com/mcp", "https://mcp.contoso.com/a%20b"])(
    "with the resource %p is forgotten once it is granted",
    async (resource) => {
      await appOf().acquireToken({ scopes: ["api.read", "api.write"], resource });
      const declined = appOf({ fetch: omitting("api.write") }).acquireToken({ ...WRITE, resource });
      expect(await failure(declined)).toMatchObject({ code: "interaction_required" });
      expect(await refreshTokenEntry()).toHaveProperty("declined_scopes");

      const shouting = rewriting((body) => {
        body.scope = body.scope!.toUpperCase();
      });
      await appOf({ fetch: shouting }).acquireToken({ ...WRITE, resource });
      expect(await refreshTokenEntry()).not.toHaveProperty("declined_scopes");
    },
  );

  test("is forgotten once it is granted although the refresh token stays", async () => {
    await appOf().acquireToken({ scopes: ["api.read", "api.write"] });
    const granting = (scope: string): Fetch => async (url, init) =>
      url.endsWith("/token")
        ? Response.json({ access_token: "token", token_type: "Bearer", expires_in: 3600, scope })
        : await fetch(url, init);
    expect(await failure(appOf({ fetch: granting("api.read") }).acquireToken(WRITE))).toMatchObject({
      code: "interaction_required",
    });
    const { declined_scopes: declined, ...entry } = await refreshTokenEntry();
    expect(declined).toBe("api.write");
    await appOf({ fetch: granting("api.write") }).acquireToken(WRITE);
    expect(await refreshTokenEntry()).toEqual(entry);
  });
});
