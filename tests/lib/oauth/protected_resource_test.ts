import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { findProtectedResource } from "../../../lib/oauth/protected_resource.ts";
import { type Resource, type ResourceAnswer, startResource } from "../../fakes/resource.ts";
import { failure } from "../../fixture.ts";

const ENTRA = parseAuthority("https://login.microsoftonline.com/organizations");
const OTHER = parseAuthority("https://id.contoso.com"), TENANT = "22222222-3333-4444-8555-666666666666";
const WELL_KNOWN = "/.well-known/oauth-protected-resource";
const NOT_FOUND: ResourceAnswer = { status: 404 };
let server: Resource, url: string;

beforeAll(async () => {
  server = await startResource();
  url = `${server.origin}/mcp`;
});
afterEach(() => void (server.requests.length = 0));
afterAll(() => server[Symbol.asyncDispose]());

/** Serves documents by path. A request to the resource itself is challenged. */
function serve(documents: Readonly<Record<string, unknown>>, challenge = "Bearer"): void {
  server.answer = ({ path }) => {
    if (path in documents) return { body: documents[path] };
    return path === "/mcp" ? { status: 401, headers: { "www-authenticate": challenge } } : NOT_FOUND;
  };
}

const documentOf = (more: object = {}) => ({ resource: url, authorization_servers: [`${ENTRA.url}/v2.0`], ...more });
const find = (authority = ENTRA, challenge?: string) => findProtectedResource(url, { authority, challenge });
const asked = () => server.requests.map(({ method, path }) => `${method} ${path}`);

describe("findProtectedResource()", () => {
  test("reads the metadata at the address that the challenge names", async () => {
    serve(
      { "/here": documentOf({ scopes_supported: ["openid", "api://contoso/tools", "offline_access"] }) },
      `Bearer realm="x, y", resource_metadata="${server.origin}/here"`,
    );
    const ofEntra = { proposed: [], resource: undefined, tenantId: undefined };
    expect(await find()).toEqual({ scopes: ["api://contoso/tools"], ...ofEntra });
    expect(asked()).toEqual(["POST /mcp", "GET /here"]);
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  test("takes the scopes of the challenge first, and asks nobody for a challenge that it is given", async () => {
    serve({ [`${WELL_KNOWN}/mcp`]: documentOf({ scopes_supported: ["api://contoso/all"] }) });
    const challenge = 'Bearer error="insufficient_scope", scope="api://contoso/read api://contoso/write"';
    expect((await find(ENTRA, challenge)).scopes).toEqual(["api://contoso/read", "api://contoso/write"]);
    expect(asked()).toEqual([`GET ${WELL_KNOWN}/mcp`]);
  });

  test("takes a scope of a challenge that has no resource as one of the server's own", async () => {
    serve({ [`${WELL_KNOWN}/mcp`]: documentOf({ scopes_supported: ["User.Read", "api://contoso/read"] }) });
    expect((await find(ENTRA, 'Bearer scope="write"')).scopes).toEqual(["api://contoso/write"]);
  });

  test("falls back to the well-known addresses, that of the path first", async () => {
    serve({ [WELL_KNOWN]: documentOf() });
    expect((await find()).scopes).toEqual([`${url}/.default`]);
    expect(asked()).toEqual(["POST /mcp", `GET ${WELL_KNOWN}/mcp`, `GET ${WELL_KNOWN}`]);
  });

  test("sends a resource indicator to a provider that is not Microsoft", async () => {
    serve({
      [`${WELL_KNOWN}/mcp`]: documentOf({ authorization_servers: [`${OTHER.url}/`], scopes_supported: ["mcp:tools"] }),
    });
    const scopes = ["mcp:tools"];
    expect(await find(OTHER)).toEqual({ scopes, proposed: scopes, resource: url, tenantId: undefined });
  });

  // Such a server got any scopes that it named.
  test("says which scopes of a provider that is not Microsoft the server proposes", async () => {
    serve({ [WELL_KNOWN]: { resource: url, scopes_supported: ["openid", "admin", "repo:write"] } });
    expect((await find(OTHER)).proposed).toEqual(["admin", "repo:write"]);
    expect((await find(OTHER, 'Bearer scope="admin"')).proposed).toEqual(["admin"]);
  });

  test("takes another resource than the URL only from the caller, and then no other", async () => {
    const resource = `${server.origin}/`;
    serve({ [WELL_KNOWN]: { resource, scopes_supported: ["read"] } });
    const found = await findProtectedResource(url, { authority: OTHER, resource });
    expect([found.resource, found.proposed]).toEqual([resource, ["read"]]);
    for (const other of [undefined, server.origin, url]) {
      const { code } = await failure(findProtectedResource(url, { authority: OTHER, resource: other }));
      expect(code).toBe("untrusted_authority");
    }
  });

  test("takes the URL of an origin with a slash and without", async () => {
    for (const resource of [server.origin, `${server.origin}/`]) {
      server.answer = ({ path }) => path === WELL_KNOWN ? { body: { resource } } : NOT_FOUND;
      const found = await findProtectedResource(server.origin, { authority: OTHER });
      expect(found.resource).toBe(resource);
    }
  });

  test("asks a provider that is not Microsoft for an email address if no scope is named", async () => {
    // Without a scope there was nothing to agree to: any server got a token.
    for (const more of [{}, { scopes_supported: [] }, { scopes_supported: ["openid", "email", "offline_access"] }]) {
      serve({ [WELL_KNOWN]: { resource: url, ...more } });
      expect(await find(OTHER)).toMatchObject({ scopes: ["email"], proposed: ["email"] });
    }
  });

  test.each([
    [`https://login.microsoftonline.com/${TENANT}/v2.0`, TENANT],
    [`https://sts.windows.net/${TENANT}/`, TENANT],
    ["https://login.microsoftonline.com/common", undefined],
  ])("takes %s as an authority of Entra", async (issuer, tenantId) => {
    serve({ [WELL_KNOWN]: documentOf({ authorization_servers: ["https://id.fabrikam.com", issuer] }) });
    expect((await find()).tenantId).toBe(tenantId);
  });

  test.each([
    ["another provider", ENTRA, "https://id.contoso.com"],
    ["another cloud", ENTRA, "https://login.microsoftonline.us/organizations/v2.0"],
    ["a host that begins like Entra's", ENTRA, "https://login.microsoftonline.com.contoso.com/common"],
    [
      "another tenant",
      parseAuthority(`https://login.microsoftonline.com/${TENANT}`),
      ENTRA.url.replace("organizations", "33333333-3333-4444-8555-666666666666"),
    ],
    ["Entra, for an app of another provider", OTHER, `${ENTRA.url}/v2.0`],
    ["another issuer at the same host", OTHER, `${OTHER.url}/realms/a`],
  ])("refuses a server that takes tokens of %s", async (_what, authority, issuer) => {
    serve({ [WELL_KNOWN]: documentOf({ authorization_servers: [issuer] }) });
    const { code, message, hint } = await failure(find(authority));
    expect(code).toBe("untrusted_authority");
    expect(message).toContain(`takes no tokens of ${authority.url}`);
    expect(hint).toContain(`only if you trust it: https://`);
    expect(hint).toContain(issuer);
  });

  test.each([
    ["another origin", "https://graph.microsoft.com"],
    ["a longer path", "{url}/more"],
    ["a path that begins alike", "{origin}/mc"],
    // One server of a gateway got the tokens of all of them.
    ["a shorter path", "{origin}/"],
    ["the origin", "{origin}"],
    ["a query", "{url}?x"],
    ["a slash more", "{url}/"],
    ["a path that is not normalized", "{origin}/x/../mcp"],
    ["a fragment", "{url}#x"],
  ])("refuses metadata of %s", async (_what, resource) => {
    const text = resource.replace("{url}", url).replace("{origin}", server.origin);
    serve({ "/here": documentOf({ resource: text }) }, `Bearer resource_metadata="${server.origin}/here"`);
    for (const [authority, way] of [[ENTRA, "pass the scope"], [OTHER, "pass the resource"]] as const) {
      const { code, message, hint } = await failure(find(authority));
      expect([code, message]).toEqual(["untrusted_authority", expect.stringContaining("for another resource")]);
      expect(hint).toMatch(new RegExp(`Only if you trust it .* ${way} in the request`));
    }
  });

  test.each([
    ["Graph's, which has no resource", "User.Read"],
    ["Graph's", "https://graph.microsoft.com/.default"],
    ["Graph's, by its id", "00000003-0000-0000-c000-000000000000/.default"],
    ["those of a host that begins alike", "https://127.0.0.1.contoso.com/.default"],
    ["those of another port", "http://127.0.0.1:9/read"],
    ["those of another path", "{origin}/other/read"],
    ["those of a path above", "{origin}/read"],
    ["those of a path below", "{origin}/mcp/below/read"],
    ["those of an app of Microsoft's", "api://00000003-0000-0000-c000-000000000000/.default"],
    ["those of an app of Microsoft's, below a name", "api://x/499B84AC-1321-427F-AA17-267CA6975798/.default"],
    ["those of workload identity federation", "api://AzureADTokenExchange/.default"],
    ["those of a path that leads up", "api://../graph.microsoft.com/.default"],
  ])("gives no server tokens of another service: %s", async (_what, text) => {
    const scope = text.replace("{origin}", server.origin);
    serve({ [WELL_KNOWN]: documentOf({ scopes_supported: [scope] }) });
    expect((await failure(find())).code).toBe("untrusted_authority");
    const both = `Bearer scope="api://contoso/read ${scope}"`;
    const { message, hint } = await failure(find(ENTRA, both));
    expect(message).toBe(`${new URL(url).host} asks for a token for another service: ${scope}`);
    expect(hint).toStartWith("Only if you trust it");
  });

  // ADFS and B2C take any scope as Entra does, and had the check of other providers: none.
  test.each([
    ["https://fs.contoso.com/adfs"],
    ["https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_sign_in"],
  ])("gives no server tokens of another service at %s", async (at) => {
    const authority = parseAuthority(at), graph = "https://graph.microsoft.com/.default";
    serve({ [WELL_KNOWN]: { resource: url, scopes_supported: [graph] } });
    expect((await failure(find(authority))).code).toBe("untrusted_authority");
    expect((await failure(find(authority, `Bearer scope="${graph}"`))).code).toBe("untrusted_authority");
    serve({ [WELL_KNOWN]: { resource: url, scopes_supported: [`${url}/read`] } });
    expect((await find(authority)).scopes).toEqual([`${url}/read`]);
  });

  // URL ignores line breaks, so that a second scope passed for the path of the first; the request then threw a TypeError.
  test("leaves out what is no scope", async () => {
    const scopes = [`${url}/a\nhttps://graph.microsoft.com/.default`, "api://contoso/a\u00a0b", 'api://contoso/"'];
    serve({ [WELL_KNOWN]: documentOf({ scopes_supported: [...scopes, "api://contoso/read"] }) });
    expect((await find()).scopes).toEqual(["api://contoso/read"]);
  });

  // It becomes a scope as it is written, not as URL understands it.
  test.each(
    [["{url} ", "invalid_response"], ["\t{url}", "invalid_response"], ["{graph}", "untrusted_authority"]] as const,
  )(
    "refuses the resource %j",
    async (text, code) => {
      const resource = text.replace("{url}", url).replace("{graph}", url.replace("//", "//graph.microsoft.com@"));
      serve({ [WELL_KNOWN]: documentOf({ resource }) });
      expect((await failure(find())).code).toBe(code);
    },
  );

  // The address was compared with its normalized form: then another document counted as well.
  test("does not pass over a named document because its address is not normalized", async () => {
    serve(
      { "/here": documentOf({ resource: "https://graph.microsoft.com" }), [WELL_KNOWN]: documentOf() },
      `Bearer resource_metadata="${server.origin}/x/../here"`,
    );
    expect((await failure(find())).code).toBe("untrusted_authority");
    expect(asked()).toEqual(["POST /mcp", "GET /here"]);
  });

  // Such a tenant threw a TypeError in the request, as if the caller had made the mistake.
  test("takes no tokens of an authority whose tenant is invalid", async () => {
    serve({ [WELL_KNOWN]: documentOf({ authorization_servers: ["https://login.microsoftonline.com/a%20b"] }) });
    expect((await failure(find())).code).toBe("untrusted_authority");
  });

  // The message quoted the address before it looked for a password.
  test("does not show a password in the address of a server", async () => {
    const thrown = await findProtectedResource("http://jane:hunter2@mcp.contoso.com", { authority: ENTRA }).catch(
      String,
    );
    expect(thrown).toContain("has a user name or password");
    expect(thrown).not.toContain("hunter2");
  });

  test("leaves out foreign scopes that are only supported, and asks for /.default by itself", async () => {
    serve({
      [WELL_KNOWN]: documentOf({ scopes_supported: ["User.Read", "api://contoso/read", "api://contoso/.default"] }),
    });
    expect((await find()).scopes).toEqual(["api://contoso/.default"]);
  });

  test("says that a server does not say what it needs", async () => {
    serve({});
    const { code, message } = await failure(find());
    expect([code, message]).toEqual([
      "configuration",
      `${new URL(url).host} does not say which scopes its tokens need`,
    ]);
  });

  test.each(
    [
      ["is not JSON", "invalid_response", { body: "x" }],
      ["is longer than a megabyte", "invalid_response", { body: "x".repeat(1024 * 1024) }],
      ["redirects", "invalid_response", { status: 302, headers: { location: "https://contoso.com/" } }],
      ["is at a server that fails", "temporarily_unavailable", { status: 503, headers: { "retry-after": "60" } }],
    ] as const,
  )("refuses a document that %s", async (_what, code, answer) => {
    server.answer = ({ path }) => path.startsWith(WELL_KNOWN) ? answer : NOT_FOUND;
    expect((await failure(find())).code).toBe(code);
    expect(server.requests.every(({ path }) => path === "/mcp" || path.startsWith(WELL_KNOWN))).toBe(true);
  });

  // Only three spellings of loopback were refused.
  test.each([
    ...["http://127.0.0.1/x", "https://127.0.0.1/x", "https://127.0.0.2/x", "https://127.1/x", "https://2130706433/x"],
    ...["https://0x7f.1/x", "https://0.0.0.0/x", "https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://[::]/x"],
    ...["https://10.0.0.1/x", "https://172.16.0.1/x", "https://192.168.0.1/x", "https://169.254.169.254/x"],
    ...["https://100.64.0.1/x", "https://[fe80::1]/x", "https://[fd00::1]/x", "https://[64:ff9b::7f00:1]/x"],
    ...["https://localhost/x", "https://localhost./x", "https://LOCALHOST/x", "https://app.localhost/x"],
    ...["https://internal/x", "https://printer.local/x", "https://internal.corp/x", "https://db.internal./x"],
    ...["https://kubernetes.default.svc/x", "https://db.service.consul/x", "https://wiki.intra/x"],
    ...["https://nas.workgroup/x", "https://db.docker/x"],
    ...[
      "https://nas.home.arpa/x",
      "http://contoso.com/x",
      "https://jane:x@mcp.contoso.com/x",
      "file:///etc/passwd",
      "x",
    ],
  ])("asks nothing of %s, which a server names", async (place) => {
    const sent: string[] = [], challenge = `Bearer resource_metadata="${place}"`;
    const fetch = (url: string) => Promise.resolve(new Response("", { status: sent.push(url) ? 404 : 500 }));
    const finding = findProtectedResource("https://mcp.contoso.com/", { authority: ENTRA, challenge, fetch });
    expect([(await failure(finding)).code, sent]).toEqual(["invalid_response", []]);
  });

  test("asks a public host, and for a server that is not public only its own origin", async () => {
    const askedBy = async (url: string, place: string) => {
      const sent: string[] = [], challenge = `Bearer resource_metadata="${place}"`;
      const fetch = (url: string) => Promise.resolve(new Response("", { status: sent.push(url) ? 404 : 500 }));
      await failure(findProtectedResource(url, { authority: ENTRA, challenge, fetch }));
      return sent[0];
    };
    const place = "https://id.contoso.com/x";
    expect(await askedBy("https://mcp.contoso.com/", place)).toBe(place);
    for (const url of ["http://127.0.0.1:3000/mcp", "https://localhost.:3000/mcp", "https://10.0.0.1/mcp"]) {
      expect(await askedBy(url, place)).toBeUndefined();
      expect(await askedBy(url, new URL("/x", url).href.replace("3000", "3001"))).toBe(
        url.includes("3000") ? undefined : new URL("/x", url).href,
      );
      expect(await askedBy(url, new URL("/x", url).href)).toBe(new URL("/x", url).href);
    }
  });

  test.each(["http://mcp.contoso.com", "mcp.contoso.com", "file:///mcp", "https://jane:x@mcp.contoso.com"])(
    "refuses the address %s",
    async (address) => {
      await expect(findProtectedResource(address, { authority: ENTRA })).rejects.toThrow(TypeError);
    },
  );

  // The whole body was read first, for 30 seconds: a stream of events stays open.
  test("does not wait for the end of the resource's answer", async () => {
    serve({ [WELL_KNOWN]: documentOf() });
    let isCanceled = false;
    const fetch = async (address: string, init: RequestInit) => {
      if (address !== url) return await globalThis.fetch(address, init);
      return new Response(new ReadableStream({ cancel: () => void (isCanceled = true) }));
    };
    const { scopes } = await findProtectedResource(url, { authority: ENTRA, fetch, timeoutMs: 2_000 });
    expect({ scopes, isCanceled }).toEqual({ scopes: [`${url}/.default`], isCanceled: true });
  });

  test("gives up a server that does not answer", async () => {
    const fetch = () => new Promise<Response>(() => {});
    const { code } = await failure(findProtectedResource(url, { authority: ENTRA, fetch, timeoutMs: 20 }));
    expect(code).toBe("timed_out");
  });
});
