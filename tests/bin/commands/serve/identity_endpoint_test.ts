import { describe, expect, test } from "bun:test";
import {
  type AcceptedRequest,
  identityAnswers,
  readAzdRequest,
  readIdentityQuery,
  readRequest,
  type Refusal,
  refusalReply,
  type SecretPort,
} from "../../../../bin/commands/serve/identity_endpoint.ts";
import { CLIENT_ID } from "../../../fixture.ts";

const SECRET = "s3cr3t", PORT = 41741;
const SECRET_PORT: SecretPort = { port: PORT, isSecret: (text) => text === SECRET };
const HOST = `Host: 127.0.0.1:${PORT}`, HEADER = `X-IDENTITY-HEADER: ${SECRET}`;
const TARGET = "/msi/token?resource=https://vault.azure.net&api-version=2019-08-01";

const bytesOf = (lines: readonly string[]) => new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
const ask = (lines: readonly string[]) => readRequest(bytesOf(lines), SECRET_PORT);
const get = (...fields: string[]) => [`GET ${TARGET} HTTP/1.1`, ...fields];

describe("readRequest()", () => {
  test("lets in who knows the secret, on a port", () => {
    const query = TARGET.slice("/msi/token".length);
    expect(ask(get(HOST, HEADER))).toEqual({ query });
    expect(ask(get(`Host: LOCALHOST:${PORT}`, `x-identity-header:${SECRET}`, "Metadata: true"))).toEqual({ query });
    expect(ask(get(HOST, HEADER, "Content-Length: 0"))).toEqual({ query });
  });

  test("asks for no secret on a socket, under every name of this machine", () => {
    for (const host of ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.0.0.1", "[::1]:8080"]) {
      expect(readRequest(bytesOf(get(`Host: ${host}`)))).toHaveProperty("query");
    }
    expect(readRequest(bytesOf(get("Host: localhost", HEADER)))).toHaveProperty("query");
  });

  // Behind a relay from a port to the socket, a page reaches it by DNS rebinding.
  test.each([["Host: rebind.evil.example:8080"], ["Host: localhost.evil.example"], ["Host: [::2]"], ["Host:"], []])(
    "turns other names away on a socket: %p",
    (...fields) => {
      const lines = fields.filter((field) => typeof field === "string"); // the last one is Bun's callback
      expect(readRequest(bytesOf(get(...lines)))).toMatchObject({ statusCode: 421 });
    },
  );

  test("waits for more as long as the head is not whole", () => {
    const bytes = bytesOf(get(HOST, HEADER));
    for (let length = 0; length < bytes.length; length++) {
      expect(readRequest(bytes.subarray(0, length), SECRET_PORT)).toBeUndefined();
    }
  });

  const secretTwice = [HOST, HEADER, "x-identity-header: other"];
  test.each<[number, string, readonly string[]]>([
    [400, "no HTTP", ["hello"]],
    [400, "HTTP/2's preface", ["PRI * HTTP/2.0"]],
    [400, "TLS", ["\x16\x03\x01\x02"]],
    [400, "a whole address, as for a proxy", [`GET http://127.0.0.1:${PORT}${TARGET} HTTP/1.1`, HOST, HEADER]],
    [400, "a space before the colon", get(HOST, "X-IDENTITY-HEADER : x")],
    [400, "a folded field", get(HOST, HEADER, " more")],
    [400, "two hosts", get(HOST, "Host: evil.example", HEADER)],
    [400, "two secrets", get(...secretTwice)],
    [400, "a zero in a field", get(HOST, `${HEADER}\0`)],
    [431, "a long address", [`GET /msi/token?resource=${"x".repeat(20_000)} HTTP/1.1`, HOST, HEADER]],
    [431, "many fields", get(HOST, HEADER, ...Array.from({ length: 2000 }, (_, index) => `X-${index}: ${index}`))],
    [421, "no host", get(HEADER)],
    [421, "another host", get("Host: evil.example", HEADER)],
    [421, "another host's name for this machine", get(`Host: evil.example:${PORT}`, HEADER)],
    [421, "another port", get(`Host: 127.0.0.1:${PORT + 1}`, HEADER)],
    [421, "the host without its port", get("Host: 127.0.0.1", HEADER)],
    [403, "a page", get(HOST, HEADER, "Origin: https://evil.example")],
    [403, "a page from a file", get(HOST, HEADER, "Origin: null")],
    [403, "a page's image", get(HOST, HEADER, "Sec-Fetch-Site: cross-site")],
    [403, "a page that was rebound", get(HOST, HEADER, "Sec-Fetch-Site: same-origin")],
    [404, "another path", ["GET /msi/token/ HTTP/1.1", HOST, HEADER]],
    [404, "another case of the path", ["GET /MSI/token HTTP/1.1", HOST, HEADER]],
    [404, "a path that leads there", ["GET /x/../msi/token HTTP/1.1", HOST, HEADER]],
    [404, "the path of virtual machines", ["GET /metadata/identity/oauth2/token HTTP/1.1", HOST, HEADER]],
    [405, "POST", [`POST ${TARGET} HTTP/1.1`, HOST, HEADER]],
    [405, "OPTIONS", [`OPTIONS ${TARGET} HTTP/1.1`, HOST, HEADER]],
    [413, "content", get(HOST, HEADER, "Content-Length: 5")],
    [413, "content of no known length", get(HOST, HEADER, "Transfer-Encoding: chunked")],
    [401, "no secret", get(HOST)],
    [401, "an empty secret", get(HOST, "X-IDENTITY-HEADER:")],
    [401, "another secret", get(HOST, "X-IDENTITY-HEADER: S3CR3T")],
    [401, "the secret in an older field", get(HOST, `secret: ${SECRET}`)],
  ])("turns away with %d: %s", (status, _, lines) => {
    expect((ask(lines) as Refusal).statusCode).toBe(status);
  });

  test("names the method of each path to a client that uses another one", () => {
    const allowOf = (line: string) => refusalReply(ask([`${line} HTTP/1.1`, HOST, HEADER]) as Refusal).headers;
    expect(allowOf(`POST ${TARGET}`)).toEqual({ allow: "GET" });
    expect(allowOf("GET /token")).toEqual({ allow: "POST" });
    expect(allowOf("GET /metadata")).toBeUndefined();
  });

  test("turns pages away on a socket, too", () => {
    expect(readRequest(bytesOf(get("Host: localhost", "Origin: https://evil.example")))).toMatchObject({
      statusCode: 403,
    });
  });

  test("repeats no secret", () => {
    const answer = ask(get(HOST, "X-IDENTITY-HEADER: hunter2")) as AcceptedRequest | Refusal;
    expect(JSON.stringify(answer)).not.toContain("hunter2");
  });
});

// azd's remote_credential.go.
describe("readRequest(), of azd", () => {
  const QUERY = "?api-version=2023-07-12-preview", KEY = `Authorization: Bearer ${SECRET}`;
  const CONTENT = '{"scopes":["https://management.azure.com//.default"]}';
  const TYPE = "Content-Type: application/json", LENGTH = `Content-Length: ${CONTENT.length}`;
  const post = (...fields: string[]) => [`POST /token${QUERY} HTTP/1.1`, ...fields];
  const send = (lines: readonly string[], at?: SecretPort, content = CONTENT) =>
    readRequest(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n${content}`), at);

  test("lets in who knows the key, and waits for the content", () => {
    const whole = post(HOST, KEY, TYPE, LENGTH);
    expect(send(whole, SECRET_PORT)).toEqual({ query: QUERY, content: CONTENT });
    expect(send(whole, SECRET_PORT, CONTENT.slice(0, -1))).toBeUndefined();
    expect(send(post("Host: localhost", "Authorization: Bearer any", TYPE, LENGTH))).toHaveProperty("content");
  });

  test.each<[number, string, readonly string[]]>([
    [401, "no key", post(HOST, TYPE, LENGTH)],
    [401, "another key", post(HOST, "Authorization: Bearer other", TYPE, LENGTH)],
    [401, "the key in the other protocol's field", post(HOST, HEADER, TYPE, LENGTH)],
    [400, "two keys", post(HOST, KEY, "Authorization: Bearer other", TYPE, LENGTH)],
    [403, "a page", post(HOST, KEY, TYPE, LENGTH, "Origin: https://evil.example")],
    [405, "GET", [`GET /token${QUERY} HTTP/1.1`, HOST, KEY]],
    [411, "no length", post(HOST, KEY, TYPE)],
    [411, "an invalid length", post(HOST, KEY, TYPE, "Content-Length: +5")],
    [411, "content of no known length", post(HOST, KEY, TYPE, LENGTH, "Transfer-Encoding: chunked")],
    [413, "long content", post(HOST, KEY, TYPE, "Content-Length: 999999")],
    [415, "a form, which a page can send", post(HOST, KEY, "Content-Type: text/plain", LENGTH)],
  ])("turns away with %d: %s", (status, _, lines) => {
    expect((send(lines, SECRET_PORT) as Refusal).statusCode).toBe(status);
  });

  test("readAzdRequest() takes scopes and a tenant, and nothing else", () => {
    const read = (content: unknown, query = QUERY) => readAzdRequest(query, JSON.stringify(content));
    expect(read({ scopes: ["a", "b"], tenantId: "contoso.com" })).toEqual({
      scopes: ["a", "b"],
      tenantId: "contoso.com",
    });
    expect(read({ scopes: ["a"], tenantId: "" })).toEqual({ scopes: ["a"], tenantId: undefined });
    for (
      const content of [
        null,
        [],
        {},
        { scopes: "a" },
        { scopes: [] },
        { scopes: [1] },
        { scopes: ["a b"] },
        { scopes: ["a"], tenantId: "x/../y" },
        { scopes: ["a"], tenantId: 1 },
        { scopes: Array(17).fill("a") },
      ]
    ) expect(read(content)).toMatchObject({ statusCode: 400 });
    expect(read({ scopes: ["a"] }, "?api-version=2019-08-01")).toMatchObject({ statusCode: 400 });
    expect(readAzdRequest(QUERY, "{")).toMatchObject({ statusCode: 400 });
  });
});

describe("readIdentityQuery()", () => {
  const read = (query: string) => readIdentityQuery(`?${query}`);
  const VERSION = "api-version=2019-08-01", RESOURCE = "resource=https%3A%2F%2Fvault.azure.net";

  test("reads whose token is wanted", () => {
    expect(read(`${VERSION}&${RESOURCE}`)).toEqual({
      resource: "https://vault.azure.net",
      identity: undefined,
      tokenToRefresh: undefined,
    });
    expect(read(`api-version=2025-03-30&${RESOURCE}&xms_cc=cp1`)).toMatchObject({
      resource: "https://vault.azure.net",
    });
  });

  test.each(["client_id", "principal_id", "object_id", "mi_res_id", "msi_res_id"])("reads %s", (key) => {
    expect(read(`${VERSION}&${RESOURCE}&${key}=abc`)).toMatchObject({ identity: "abc" });
  });

  test("reads the token that is not good any more", () => {
    expect(read(`${VERSION}&${RESOURCE}&token_sha256_to_refresh=AB01`)).toMatchObject({ tokenToRefresh: "ab01" });
  });

  test.each([
    ["", "api-version"],
    [RESOURCE, "api-version"],
    [`api-version=2017-09-01&${RESOURCE}`, "api-version"],
    [`api-version=latest&${RESOURCE}`, "api-version"],
    [VERSION, "resource is missing"],
    [`${VERSION}&resource=`, "resource is missing"],
    [`${VERSION}&resource=a%20b`, "not an App ID URI"],
    [`${VERSION}&resource=a%0Ab`, "not an App ID URI"],
    [`${VERSION}&resource=%FF`, "not an App ID URI"],
    [`${VERSION}&resource=${"x".repeat(2000)}`, "not an App ID URI"],
    [`${VERSION}&${RESOURCE}&${RESOURCE}`, "twice"],
    [`${VERSION}&${RESOURCE}&client_id=a&client_id=b`, "twice"],
    [`${VERSION}&${RESOURCE}&client_id=a&mi_res_id=b`, "only one of"],
  ])("refuses %s", (query, message) => {
    expect(read(query)).toEqual({ statusCode: 400, message: expect.stringContaining(message) });
  });
});

// What a managed-identity endpoint answers, by itself.

test("identityAnswers() names what is not handed out as a shell takes it", async () => {
  const answer = identityAnswers({
    clientId: CLIENT_ID,
    scopes: new Set(["User.Read"]),
    identities: new Set(),
    acquire: () => expect.unreachable(),
    onOutcome: () => expect.unreachable(),
  });
  const query = `?api-version=2019-08-01&resource=${encodeURIComponent("https://contoso.com/;$(id)")}`;
  const { status, body } = await answer({ query } as Parameters<typeof answer>[0], new AbortController().signal);
  expect(status).toBe(403);
  expect(JSON.parse(body).message).toEndWith(`--resource 'https://contoso.com/;$(id)'`);
});

test("identityAnswers() tells azd the option for another tenant than that of --tenant, which may be the same by its id", async () => {
  const TENANT = "33333333-2222-4333-8444-555555555555", scope = "https://management.azure.com//.default";
  const answer = identityAnswers({
    clientId: CLIENT_ID,
    scopes: new Set([scope]),
    identities: new Set(),
    tenant: "contoso.com",
    acquire: () => expect.unreachable(),
    onOutcome: () => expect.unreachable(),
  });
  const content = JSON.stringify({ scopes: [scope], tenantId: TENANT });
  const asked = { query: "?api-version=2023-07-12-preview", content };
  const { status, body } = await answer(asked, new AbortController().signal);
  expect(status).toBe(200);
  expect(JSON.parse(body)).toEqual({
    status: "error",
    code: "GetTokenError",
    message: `Only tokens of the tenant contoso.com are served here: run latchkey serve with --tenant ${TENANT}`,
  });
});
