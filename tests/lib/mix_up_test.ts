// The authorization server mix-up (RFC 9700, 4.4): a stranger's authority sends the person on to Microsoft Entra ID, played by a fake, with
// the Azure CLI's client id, our state and a PKCE challenge of its own. Every authority had the same http://localhost:PORT, so that
// Entra's code came back as an answer of the stranger's, and was posted to the stranger's token endpoint.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  memoryStore,
  type PublicClientApplication,
  type PublicClientApplicationOptions,
  redirectPath,
} from "../../mod.ts";
import { type AuthCodeFlow, WebApplication } from "../../lib/web.ts";
import { entraPerson } from "../fakes/entra_person.ts";
import { jwt, TENANT } from "../fakes/fake_entra.ts";
import { deliver } from "../tools/browsing_person.ts";
import { failure, rejection, useEntra, useStage } from "../fixture.ts";

const AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
const ENTRA = "https://login.microsoftonline.com/common";
const EVIL = "https://id.evil.example";
/** Azure CLI's, whatever the port, and a web app's. */
const REGISTERED_AT_ENTRA = /^(http:\/\/localhost(:\d+)?\/?|https:\/\/app\.contoso\.com\/signed-in)$/;
/** Its own, to redeem a code of Entra's with. */
const EVIL_VERIFIER = "v".repeat(43);

/** The stranger's authorities: of any kind that a stranger's host can be taken for. */
const AUTHORITIES: readonly (readonly [url: string, issuer: string])[] = [
  [EVIL, EVIL],
  [`${EVIL}/adfs`, `${EVIL}/adfs`],
  [`${EVIL}/tfp/contoso.com/b2c_1_signin`, `${EVIL}/${TENANT}/v2.0`],
];

/** What the stranger's server does, and all that it was sent. */
interface Stranger {
  readonly received: string[];
  issuer: string;
  metadata: Record<string, unknown>;
  onDeviceCode: () => Promise<Record<string, unknown>>;
}

const entra = useEntra(), stage = useStage();
let stranger: Stranger, over: AbortController;

beforeEach(() => {
  over = new AbortController();
  stranger = { received: [], issuer: EVIL, metadata: {}, onDeviceCode: () => Promise.resolve({}) };
});
afterEach(() => over.abort(new Error("The test is over")));

/** A network of two servers. Each is another to everybody who makes it: as in a worker that starts anew, nothing is known. */
function network(): (url: string, init?: RequestInit) => Promise<Response> {
  return async (url, init = {}) => {
    const { host, pathname } = new URL(url);
    if (host !== new URL(EVIL).host) return await entra.fetch(url, init);
    stranger.received.push(`${url} ${init.body ?? ""}`);
    if (pathname.includes("/.well-known/")) {
      return Response.json({ ...documentOf(stranger.issuer), ...stranger.metadata });
    }
    if (pathname === "/device") return Response.json(await stranger.onDeviceCode());
    const code = new URLSearchParams(String(init.body)).get("code");
    return code?.startsWith("own ") ? Response.json(tokensFor(code.slice("own ".length))) : refusal();
  };
}

function documentOf(issuer: string): Record<string, unknown> {
  return {
    issuer,
    authorization_endpoint: `${EVIL}/authorize`,
    token_endpoint: `${EVIL}/token`,
    device_authorization_endpoint: `${EVIL}/device`,
    response_modes_supported: ["query", "form_post"],
  };
}

function refusal(): Response {
  return Response.json({ error: "invalid_grant" }, { status: 400 });
}

/** The stranger's own tokens, for its own person. */
function tokensFor(nonce: string): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: stranger.issuer, aud: AZURE_CLI, sub: "mallory", nonce, iat: now, exp: now + 600 };
  return { access_token: "at", token_type: "Bearer", expires_in: 600, id_token: jwt({ alg: "RS256" }, claims) };
}

function makeApp(authority: string, options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return stage.makeApp({ clientId: AZURE_CLI, authority, fetch: network(), ...options });
}

/**
 * The stranger's sign-in page, which sends the person on; they sign in at Entra. What the browser is then told; `undefined` if Entra
 * refuses.
 */
function sentOn(address: string, redirectUri: string): URLSearchParams | undefined {
  if (!REGISTERED_AT_ENTRA.test(redirectUri)) return undefined;
  const { state, nonce } = Object.fromEntries(new URL(address).searchParams);
  const request = new URL(`${ENTRA}/oauth2/v2.0/authorize`);
  request.search = String(
    new URLSearchParams({
      ...{ client_id: AZURE_CLI, response_type: "code", redirect_uri: redirectUri, state: state!, nonce: nonce! },
      code_challenge: createHash("sha256").update(EVIL_VERIFIER).digest("base64url"),
      code_challenge_method: "S256",
    }),
  );
  return entra.authorize(request.href);
}

const redirectUriOf = (address: string): string => new URL(address).searchParams.get("redirect_uri")!;

/** Nothing of Entra's is in what the stranger was sent. */
function expectNothingSent(...secrets: readonly string[]): void {
  expect(stranger.received.filter((request) => request.startsWith(`${EVIL}/token`))).toEqual([]);
  for (const secret of secrets) expect(stranger.received.join("\n")).not.toContain(secret);
}

for (const [authority, issuer] of AUTHORITIES) {
  describe(`a sign-in in the browser at a stranger's authority ${authority}`, () => {
    beforeEach(() => void (stranger.issuer = issuer));

    /** The sign-in, once the person has its address. */
    function signIn(options: Partial<PublicClientApplicationOptions> = {}) {
      const opened = Promise.withResolvers<string>();
      const app = makeApp(authority, {
        openBrowser: (url) => {
          opened.resolve(url);
          return true;
        },
        ...options,
      });
      const result = app.acquireTokenInteractive({ scopes: ["api"], signal: over.signal });
      result.catch(() => {});
      return { result, opened: opened.promise };
    }

    test("sends a redirect URI that Entra refuses for the Azure CLI", async () => {
      const address = await signIn().opened, { port } = new URL(redirectUriOf(address));
      expect(redirectUriOf(address)).toBe(`http://127.0.0.1:${port}${redirectPath(authority)}`);
      expect(sentOn(address, redirectUriOf(address))).toBeUndefined();
    });

    test.each(["GET", "POST"] as const)("takes no answer of Entra's that comes by %s", async (method) => {
      const { result, opened } = signIn(), address = await opened, own = new URL(redirectUriOf(address));
      const parameters = sentOn(address, `http://localhost:${own.port}`)!;
      for (
        const url of [
          `http://localhost:${own.port}/`,
          `http://localhost:${own.port}${own.pathname}`,
          `http://127.0.0.1:${own.port}/`,
          `${own.href}/`,
        ]
      ) {
        const response = await deliver({ url, method, parameters });
        expect([response.status, await response.text()]).toEqual([400, "This is not a response to a sign-in.\n"]);
      }
      over.abort(new Error("enough"));
      expect(await rejection(result)).toBe(over.signal.reason);
      expectNothingSent(parameters.get("code")!);
    });

    test("takes no answer of Entra's that is pasted", async () => {
      const shown = Promise.withResolvers<string>();
      let pasted: readonly string[] | undefined, reads = 0, code = "";
      const { result } = signIn({
        openBrowser: () => false,
        onSignInAddress: ({ url }) => shown.resolve(url),
        readRedirect: async () => {
          const address = await shown.promise, { port, pathname } = new URL(redirectUriOf(address));
          const answer = sentOn(address, `http://localhost:${port}`)!;
          code = answer.get("code")!;
          pasted ??= [
            `http://localhost:${port}/?${answer}`,
            `http://localhost:${port}${pathname}?${answer}`,
            `http://127.0.0.1:${port}/?${answer}`,
            `http://127.0.0.1:${Number(port) - 1}${pathname}?${answer}`,
            `https://127.0.0.1:${port}${pathname}?${answer}`,
            `http://user@127.0.0.1:${port}${pathname}?${answer}`,
            `127.0.0.1:${port}${pathname}?${answer}`,
            `https://login.microsoftonline.com/common/oauth2/nativeclient?${answer}`,
            `?${answer}`,
          ];
          if (reads < pasted.length) return pasted[reads++]!;
          over.abort(new Error("enough"));
          return "";
        },
      });
      expect(await rejection(result)).toBe(over.signal.reason);
      expect(reads).toBe(pasted!.length);
      expectNothingSent(code);
    });
  });
}

test("a sign-in in the browser at Entra keeps http://localhost, and takes no answer at another host or path", async () => {
  const opened = Promise.withResolvers<string>();
  const app = makeApp(ENTRA, {
    openBrowser: (url) => {
      opened.resolve(url);
      return true;
    },
  });
  const result = app.acquireTokenInteractive({ scopes: ["User.Read"], signal: over.signal });
  const address = await opened.promise, { port } = new URL(redirectUriOf(address));
  expect(redirectUriOf(address)).toBe(`http://localhost:${port}`);
  const answer = { method: "POST", parameters: entra.authorize(address) } as const;
  for (const url of [`http://127.0.0.1:${port}/`, `http://[::1]:${port}/`, `http://localhost:${port}/signed-in`]) {
    expect((await deliver({ ...answer, url })).status).toBe(400);
  }
  expect((await deliver({ ...answer, url: `http://localhost:${port}/` })).status).toBe(303);
  expect((await result).account.username).toBe("jane@contoso.com");
});

describe("a device code of a stranger's authority", () => {
  async function signIn(): Promise<{ readonly error: Error & { readonly code?: string }; readonly shown: unknown[] }> {
    const shown: unknown[] = [];
    const call = makeApp(EVIL).acquireTokenByDeviceCode({
      scopes: ["api"],
      onUserCode: (code) => {
        shown.push(code);
        over.abort(new Error("A code was shown"));
      },
      signal: over.signal,
    });
    return { error: await failure(call), shown };
  }

  // The stranger asks Entra for a code, and has latchkey send the person there with it: what they sign in to is the stranger's.
  test.each([
    "https://microsoft.com/devicelogin",
    "https://www.microsoft.com/link",
    "https://MICROSOFT.com./devicelogin",
    "https://login.microsoftonline.com/common/oauth2/deviceauth",
    "https://device.login.microsoftonline.com/",
    "https://login.live.com/oauth20_remoteconnect.srf",
    "https://aka.ms/devicelogin",
  ])("is not shown where it leads to %s", async (verification_uri) => {
    let userCode = "";
    stranger.onDeviceCode = async () => {
      const body = new URLSearchParams({ client_id: AZURE_CLI, scope: "User.Read" });
      const response = await entra.fetch(`${ENTRA}/oauth2/v2.0/devicecode`, { method: "POST", body });
      const answer = { ...await response.json(), verification_uri };
      userCode = answer.user_code;
      return answer;
    };
    const { error, shown } = await signIn();
    expect([error.code, shown]).toEqual(["untrusted_authority", []]);
    expect(error.message).not.toContain(userCode);
    expectNothingSent();
  });

  test("is not shown where only its link leads to Entra", async () => {
    stranger.onDeviceCode = () =>
      Promise.resolve({
        ...{ device_code: "d", user_code: "A", expires_in: 900, verification_uri: `${EVIL}/go` },
        verification_uri_complete: "https://login.microsoftonline.com/common/oauth2/deviceauth?code=A",
      });
    const { error, shown } = await signIn();
    expect([error.code, shown]).toEqual(["untrusted_authority", []]);
  });

  // Entra's device code would have been polled for at the stranger's token endpoint.
  test("is not asked for at Entra", async () => {
    stranger.metadata = { device_authorization_endpoint: `${ENTRA}/oauth2/v2.0/devicecode` };
    const { error, shown } = await signIn();
    expect([error.code, shown]).toEqual(["untrusted_authority", []]);
    expect(entra.requests).toEqual([]);
    expectNothingSent();
  });
});

describe("a web app's sign-in at a stranger's authority", () => {
  const SHARED = "https://app.contoso.com/signed-in", OWN = SHARED + redirectPath(EVIL);
  const NAMES_ITSELF = { authorization_response_iss_parameter_supported: true };

  // Each request may be another isolate's: none knows what another one has asked.
  const makeWebApp = () => new WebApplication({ clientId: AZURE_CLI, authority: EVIL, fetch: network() });
  const begin = (redirectUri: string): Promise<AuthCodeFlow> =>
    makeWebApp().initiateAuthCodeFlow({ scopes: ["api"], redirectUri, responseMode: "query" });
  const end = (flow: AuthCodeFlow, parameters: URLSearchParams, redirectUri?: string) =>
    makeWebApp().acquireTokenByAuthCodeFlow(JSON.parse(JSON.stringify(flow)), parameters, { redirectUri });

  test("needs a redirect URI of its own, unless it promises to name itself", async () => {
    for (const redirectUri of [SHARED, `${SHARED}/id.evil.example.com`, `${SHARED}?x=${redirectPath(EVIL)}`]) {
      const error = await failure(begin(redirectUri));
      expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("/id.evil.example,") });
    }
    expect(redirectUriOf((await begin(OWN)).authUri)).toBe(OWN);
    stranger.metadata = NAMES_ITSELF;
    expect(redirectUriOf((await begin(SHARED)).authUri)).toBe(SHARED);
  });

  test("is held to the promise: Entra's answer, which names nobody, is refused", async () => {
    stranger.metadata = NAMES_ITSELF;
    const flow = await begin(SHARED), answer = sentOn(flow.authUri, SHARED)!;
    expect((await failure(end(flow, answer, SHARED))).code).toBe("invalid_response");
    answer.set("iss", `https://login.microsoftonline.com/${TENANT}/v2.0`);
    expect((await failure(end(flow, answer, SHARED))).code).toBe("invalid_response");
    expectNothingSent(answer.get("code")!);
  });

  test("is held to a promise that it takes back", async () => {
    stranger.metadata = NAMES_ITSELF;
    const flow = await begin(SHARED), answer = sentOn(flow.authUri, SHARED)!;
    stranger.metadata = {};
    expect((await failure(end(flow, answer, SHARED))).code).toBe("configuration");
    expectNothingSent(answer.get("code")!);
  });

  test("takes no answer that came to Entra's redirect URI, or nobody says where", async () => {
    const flow = await begin(OWN), answer = sentOn(flow.authUri, SHARED)!;
    for (const address of [SHARED, `${SHARED}?${answer}`, `${OWN}/`, OWN.replace("https", "http"), "/signed-in", ""]) {
      expect((await failure(end(flow, answer, address))).code).toBe("invalid_response");
    }
    expect((await failure(end(flow, answer))).code).toBe("configuration");
    expectNothingSent(answer.get("code")!);
  });

  test("takes its own answer at its own redirect URI", async () => {
    const flow = await begin(OWN), answer = new URLSearchParams({ code: `own ${flow.nonce}`, state: flow.state });
    expect((await end(flow, answer, `${OWN}?${answer}`)).account.homeAccountId).toBe("mallory");
  });

  test("at Entra, takes no answer at another address, if that is told", async () => {
    const app = new WebApplication({ clientId: AZURE_CLI, fetch: network() });
    const flow = await app.initiateAuthCodeFlow({ scopes: ["User.Read"], redirectUri: SHARED });
    const answer = entra.authorize(flow.authUri);
    const elsewhere = app.acquireTokenByAuthCodeFlow(flow, answer, { redirectUri: OWN });
    expect((await failure(elsewhere)).code).toBe("invalid_response");
    const { account } = await app.acquireTokenByAuthCodeFlow(flow, answer, { redirectUri: SHARED });
    expect(account.username).toBe("jane@contoso.com");
  });
});

test.each(AUTHORITIES)(
  "a refresh token of Entra's is not sent to a stranger's authority %s that shares the cache",
  async (url, issuer) => {
    stranger.issuer = issuer;
    const cache = memoryStore(), jane = entraPerson(entra);
    const { account } = await makeApp(ENTRA, { cache, openBrowser: jane.openBrowser }).acquireToken({
      scopes: ["User.Read"],
    });
    const app = makeApp(url, { cache });
    expect(await app.getAccounts()).toEqual([]);
    expect(await app.acquireTokenSilent({ scopes: ["api"], account, forceRefresh: true })).toBeNull();
    expectNothingSent();
  },
);
