// fetch with a token, on the runtime's own fetch, against servers of the test's.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { authorizedFetch, type GetTokenOptions, type TokenCredential } from "../../../lib/azure.ts";
import { claimsChallenge, type Resource, startResource } from "../../fakes/resource.ts";
import { rejection } from "../../fixture.ts";

const CHALLENGE = { access_token: { acrs: { essential: true, value: "c1" } } };
const SCOPE = "api://contoso/.default";
let resource: Resource, stranger: Resource;
/** What the credential was asked for. */
const asked: { readonly scopes: string | string[]; readonly options: GetTokenOptions }[] = [];

beforeAll(async () => {
  resource = await startResource();
  stranger = await startResource();
});
afterEach(() => {
  for (const server of [resource, stranger]) {
    server.requests.length = 0;
    server.answer = () => ({});
  }
  asked.length = 0;
});
afterAll(async () => {
  await resource[Symbol.asyncDispose]();
  await stranger[Symbol.asyncDispose]();
});

/** Its tokens are numbered. */
const credential: TokenCredential = {
  getToken(scopes, options = {}) {
    options.abortSignal?.aborted && expect.unreachable();
    const token = `token-${asked.push({ scopes, options })}`;
    return Promise.resolve({ token, expiresOnTimestamp: Date.now() + 3_600_000 });
  },
};
const fetching = (origins: readonly string[] = [resource.origin]) =>
  authorizedFetch(credential, { scopes: SCOPE, origins });
const tokensAt = ({ requests }: Resource) => requests.map(({ headers }) => headers.authorization);
const challenge = (status: number, header = claimsChallenge(CHALLENGE)) => ({
  status,
  headers: { "www-authenticate": header },
  body: { error: "claims" },
});
const refuseFirst = (status: number, header?: string): void => {
  resource.answer = ({ headers }) => headers.authorization === "Bearer token-1" ? challenge(status, header) : {};
};

describe("authorizedFetch()", () => {
  test("sends a token to the origin that is named, asked for anew each time", async () => {
    const fetchIt = fetching(), { signal } = new AbortController();
    const response = await fetchIt(`${resource.origin}/a?b=c`, { headers: { accept: "text/plain" }, signal });
    expect([response.status, await response.json()]).toEqual([200, {}]);
    await fetchIt(new Request(`${resource.origin}/d`, { method: "PUT", body: "all of it", headers: { "x-y": "z" } }));
    expect(resource.requests).toMatchObject([
      { method: "GET", path: "/a?b=c", headers: { accept: "text/plain", authorization: "Bearer token-1" } },
      { method: "PUT", path: "/d", headers: { "x-y": "z", authorization: "Bearer token-2" }, body: "all of it" },
    ]);
    expect(asked[0]).toEqual({ scopes: [SCOPE], options: { enableCae: true, abortSignal: signal } });
  });

  test("sends no token to any other origin, and none where the request has one", async () => {
    const fetchIt = fetching();
    await fetchIt(new URL("/a", stranger.origin));
    await fetchIt(`${resource.origin}/b`, { headers: { Authorization: "Bearer own" } });
    expect([tokensAt(stranger), tokensAt(resource)]).toEqual([[undefined], ["Bearer own"]]);
    expect(asked).toEqual([]);
  });

  test.each([401, 403])("answers one claims challenge of a %d, with the body once more", async (status) => {
    refuseFirst(status);
    const form = new FormData();
    form.set("field", "value");
    const response = await fetching()(resource.origin, { method: "POST", body: form });
    expect([response.status, tokensAt(resource)]).toEqual([200, ["Bearer token-1", "Bearer token-2"]]);
    expect(asked[1]!.options).toEqual({ enableCae: true, claims: JSON.stringify(CHALLENGE) });
    for (const { body } of resource.requests) expect(body).toContain("value");
  });

  test("gives back a second challenge, and what is none that can be read", async () => {
    resource.answer = () => challenge(401);
    const response = await fetching()(resource.origin);
    expect([response.status, await response.json()]).toEqual([401, { error: "claims" }]);
    expect(asked.length).toBe(2);
    for (const header of ['Bearer claims="%%%"', "Basic realm=x", 'Bearer error="invalid_token"']) {
      refuseFirst(401, header);
      asked.length = 0;
      expect((await fetching()(resource.origin)).status).toBe(401);
      expect(asked.length).toBe(1);
    }
    refuseFirst(400);
    asked.length = 0;
    expect((await fetching()(resource.origin)).status).toBe(400);
  });

  test("sends a body that is a stream once", async () => {
    refuseFirst(401);
    const body = new Blob(["all of it"]).stream();
    const init = { method: "POST", body, duplex: "half" } as RequestInit;
    expect((await fetching()(resource.origin, init)).status).toBe(401);
    const request = new Request(resource.origin, { method: "POST", body: "all of it" });
    asked.length = 0;
    expect((await fetching()(request)).status).toBe(401);
    expect(resource.requests.map(({ body }) => body)).toEqual(["all of it", "all of it"]);
  });

  test("takes no token, and nothing else that is private, along to another origin", async () => {
    resource.answer = () => ({ status: 302, headers: { location: `${stranger.origin}/there` } });
    stranger.answer = () => challenge(401);
    const headers = { cookie: "a=b", "x-y": "z" };
    expect((await fetching()(resource.origin, { headers })).status).toBe(401);
    const [{ path, headers: sent } = expect.unreachable()] = stranger.requests;
    expect([path, sent.authorization, sent.cookie, sent["x-y"]]).toEqual(["/there", undefined, undefined, "z"]);
    expect(stranger.requests.length).toBe(1);
    await fetching()(resource.origin, { headers: { authorization: "Bearer own" } });
    expect(tokensAt(stranger)).toEqual([undefined, undefined]);
  });

  test.each([307, 303])("adds no token to what another origin sends back, by a %d", async (status) => {
    const to = (location: string) => ({ status, headers: { location } }), post = { method: "POST", body: "all of it" };
    stranger.answer = () => to(`${resource.origin}/chosen`);
    expect((await fetching()(stranger.origin, post)).status).toBe(200);
    expect([tokensAt(resource), resource.requests[0]?.path]).toEqual([[undefined], "/chosen"]);
    resource.requests.length = 0;
    resource.answer = ({ path }) => path === "/" ? to(`${stranger.origin}/there`) : {};
    await fetching()(resource.origin, post);
    expect(tokensAt(resource)).toEqual(["Bearer token-1", undefined]);
    resource.requests.length = 0;
    await fetching()(stranger.origin, { ...post, headers: { authorization: "Basic own" } });
    expect([tokensAt(stranger).at(-1), tokensAt(resource)]).toEqual(["Basic own", [undefined]]);
    expect(asked.length).toBe(1);
  });

  test("sends a Request as it was made", async () => {
    const init = { cache: "no-store", credentials: "omit", integrity: "sha256-a", keepalive: true } as const;
    const request = new Request(resource.origin, { ...init, referrerPolicy: "no-referrer" });
    const sent: RequestInit[] = [];
    const fetch = (_: unknown, init: RequestInit = {}) => Promise.resolve(new Response(String(sent.push(init))));
    await authorizedFetch(credential, { scopes: SCOPE, origins: [resource.origin], fetch })(request);
    for (const name of ["cache", "credentials", "integrity", "keepalive", "referrerPolicy"] as const) {
      // Deno and Bun do not keep all of them.
      expect([name, sent[0]![name] || undefined]).toEqual([name, request[name] || undefined]);
    }
  });

  test("follows a redirect to an origin that is named, with a token of its own", async () => {
    resource.answer = ({ path }) => path === "/" ? { status: 307, headers: { location: "/there" } } : {};
    const response = await fetching()(resource.origin, { method: "POST", body: "all of it" });
    expect([response.status, new URL(response.url).pathname]).toEqual([200, "/there"]);
    expect(resource.requests).toMatchObject([
      { method: "POST", path: "/", headers: { authorization: "Bearer token-1" } },
      { method: "POST", path: "/there", headers: { authorization: "Bearer token-2" }, body: "all of it" },
    ]);
  });

  test.each(
    [[301, "POST", "GET"], [302, "POST", "GET"], [303, "PUT", "GET"], [302, "PUT", "PUT"], [
      308,
      "PUT",
      "PUT",
    ]] as const,
  )(
    "after a %d makes of a %s a %s",
    async (status, method, then) => {
      resource.answer = ({ path }) => path === "/" ? { status, headers: { location: "there" } } : {};
      await fetching()(resource.origin, { method, body: "all of it", headers: { "content-type": "text/plain" } });
      const [, { method: second, body, headers } = expect.unreachable()] = resource.requests;
      const isGet = then === "GET";
      expect([second, body, headers["content-type"]]).toEqual([
        then,
        isGet ? "" : "all of it",
        isGet ? undefined : "text/plain",
      ]);
    },
  );

  test("does with redirects what the request wants", async () => {
    resource.answer = () => ({ status: 302, headers: { location: "/" } });
    const response = await fetching()(resource.origin, { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([302, "/"]);
    expect(await rejection(fetching()(resource.origin, { redirect: "error" }))).toBeInstanceOf(TypeError);
    resource.requests.length = 0;
    expect(await rejection(fetching()(resource.origin))).toBeInstanceOf(TypeError);
    expect(resource.requests.length).toBe(21);
    resource.answer = () => ({ status: 302, headers: { location: "file:///etc/passwd" } });
    expect(await rejection(fetching()(resource.origin))).toBeInstanceOf(TypeError);
    resource.answer = () => ({ status: 307, headers: { location: "/" } });
    const init = { method: "POST", body: new Blob(["all of it"]).stream(), duplex: "half" } as RequestInit;
    expect(await rejection(fetching()(resource.origin, init))).toBeInstanceOf(TypeError);
  });

  test("fails as the credential does", async () => {
    const error = new Error("nobody is signed in");
    const refusing = { getToken: () => Promise.reject(error) };
    const fetchIt = authorizedFetch(refusing, { scopes: [SCOPE], origins: [resource.origin] });
    expect(await rejection(fetchIt(resource.origin))).toBe(error);
    expect(resource.requests).toEqual([]);
  });

  test.each([
    [[]],
    [["http://graph.microsoft.com"]],
    [["https://graph.microsoft.com/v1.0"]],
    [["https://*"]],
    [["graph.microsoft.com"]],
    [["https://jane@graph.microsoft.com"]],
    [["ftp://localhost"]],
  ])("takes no %s for origins", (origins) => {
    expect(() => fetching(origins)).toThrow(TypeError);
  });
});
