import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { findProtectedResource } from "../../../lib/oauth/protected_resource.ts";
import { type Resource, type ResourceAnswer, startResource } from "../../fakes/resource.ts";
import { failureOf } from "../../tools/failure_of.ts";

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
    expect(await find()).toEqual({ scopes: ["api://contoso/tools"], resource: undefined, tenantId: undefined });
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
    serve({ [WELL_KNOWN]: documentOf({ resource: server.origin }) });
    expect((await find()).scopes).toEqual([`${server.origin}/.default`]);
    expect(asked()).toEqual(["POST /mcp", `GET ${WELL_KNOWN}/mcp`, `GET ${WELL_KNOWN}`]);
  });

  test("sends a resource indicator to a provider that is not Microsoft", async () => {
    serve({
      [`${WELL_KNOWN}/mcp`]: documentOf({ authorization_servers: [`${OTHER.url}/`], scopes_supported: ["mcp:tools"] }),
    });
    expect(await find(OTHER)).toEqual({ scopes: ["mcp:tools"], resource: url, tenantId: undefined });
  });

  test("asks a provider that is not Microsoft for an email address if no scope is named", async () => {
    serve({ [WELL_KNOWN]: { resource: url } });
    expect((await find(OTHER)).scopes).toEqual(["email"]);
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
    const { code, message, hint } = await failureOf(find(authority));
    expect(code).toBe("untrusted_authority");
    expect(message).toContain(`takes no tokens of ${authority.url}`);
    expect(hint).toContain(issuer);
  });

  test.each([
    ["another origin", "https://graph.microsoft.com"],
    ["a longer path", "{url}/more"],
    ["a path that begins alike", "{origin}/mc"],
    ["a fragment", "{url}#x"],
  ])("refuses metadata of %s", async (_what, resource) => {
    const text = resource.replace("{url}", url).replace("{origin}", server.origin);
    serve({ "/here": documentOf({ resource: text }) }, `Bearer resource_metadata="${server.origin}/here"`);
    const { code, message } = await failureOf(find());
    expect([code, message]).toEqual(["untrusted_authority", expect.stringContaining("for another server")]);
  });

  test.each([
    ["Graph's, which has no resource", "User.Read"],
    ["Graph's", "https://graph.microsoft.com/.default"],
    ["Graph's, by its id", "00000003-0000-0000-c000-000000000000/.default"],
    ["those of a host that begins alike", "https://127.0.0.1.contoso.com/.default"],
  ])("gives no server tokens of another service: %s", async (_what, scope) => {
    serve({ [WELL_KNOWN]: documentOf({ scopes_supported: [scope] }) });
    expect((await failureOf(find())).code).toBe("untrusted_authority");
    const both = `Bearer scope="api://contoso/read ${scope}"`;
    const { message } = await failureOf(find(ENTRA, both));
    expect(message).toBe(`${new URL(url).host} asks for a token for another service: ${scope}`);
  });

  // ADFS and B2C take any scope as Entra does, and had the check of other providers: none.
  test.each([
    ["https://fs.contoso.com/adfs"],
    ["https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_sign_in"],
  ])("gives no server tokens of another service at %s", async (at) => {
    const authority = parseAuthority(at), graph = "https://graph.microsoft.com/.default";
    serve({ [WELL_KNOWN]: { resource: url, scopes_supported: [graph] } });
    expect((await failureOf(find(authority))).code).toBe("untrusted_authority");
    expect((await failureOf(find(authority, `Bearer scope="${graph}"`))).code).toBe("untrusted_authority");
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
      expect((await failureOf(find())).code).toBe(code);
    },
  );

  // The address was compared with its normalized form: then another document counted as well.
  test("does not pass over a named document because its address is not normalized", async () => {
    serve(
      { "/here": documentOf({ resource: "https://graph.microsoft.com" }), [WELL_KNOWN]: documentOf() },
      `Bearer resource_metadata="${server.origin}/x/../here"`,
    );
    expect((await failureOf(find())).code).toBe("untrusted_authority");
    expect(asked()).toEqual(["POST /mcp", "GET /here"]);
  });

  // Such a tenant threw a TypeError in the request, as if the caller had made the mistake.
  test("takes no tokens of an authority whose tenant is invalid", async () => {
    serve({ [WELL_KNOWN]: documentOf({ authorization_servers: ["https://login.microsoftonline.com/a%20b"] }) });
    expect((await failureOf(find())).code).toBe("untrusted_authority");
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
    const { code, message } = await failureOf(find());
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
    expect((await failureOf(find())).code).toBe(code);
    expect(server.requests.every(({ path }) => path === "/mcp" || path.startsWith(WELL_KNOWN))).toBe(true);
  });

  test("asks nothing of a loopback address that a server elsewhere names", async () => {
    const sent: string[] = [];
    const fetch = (url: string) => Promise.resolve(new Response("", { status: sent.push(url) ? 404 : 500 }));
    for (const place of [`${server.origin}/here`, "https://jane:x@mcp.contoso.com/here"]) {
      const challenge = `Bearer resource_metadata="${place}"`;
      const { code } = await failureOf(
        findProtectedResource("https://mcp.contoso.com/", { authority: ENTRA, challenge, fetch }),
      );
      expect([code, sent]).toEqual(["invalid_response", []]);
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
    serve({ [WELL_KNOWN]: documentOf({ resource: server.origin }) });
    let isCanceled = false;
    const fetch = async (address: string, init: RequestInit) => {
      if (address !== url) return await globalThis.fetch(address, init);
      return new Response(new ReadableStream({ cancel: () => void (isCanceled = true) }));
    };
    const { scopes } = await findProtectedResource(url, { authority: ENTRA, fetch, timeoutMs: 2_000 });
    expect({ scopes, isCanceled }).toEqual({ scopes: [`${server.origin}/.default`], isCanceled: true });
  });

  test("gives up a server that does not answer", async () => {
    const fetch = () => new Promise<Response>(() => {});
    const { code } = await failureOf(findProtectedResource(url, { authority: ENTRA, fetch, timeoutMs: 20 }));
    expect(code).toBe("timed_out");
  });
});
