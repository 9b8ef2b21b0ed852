import { describe, expect, test } from "bun:test";
import {
  bodyLengthOf,
  forwardedHeaders,
  type Header,
  headersRefusal,
  pairHeaders,
  proxyPlace,
  returnedHeaders,
  senderRefusal,
} from "../../../../bin/commands/serve/upstream_headers.ts";
import { readUpstream } from "../../../../bin/commands/serve/upstream_rules.ts";

const HOST: Header = ["host", "localhost"];
const TOKEN = "eyJhbGciOi.TOKEN.of-jane";

/** Reads lines as `node:http` has them. */
const headers = (...lines: readonly string[]) => pairHeaders(lines.flatMap((line) => line.split(": ")));

test("pairHeaders() compares names in lower case", () => {
  expect(pairHeaders(["X-A", "1", "x-b", "2"])).toEqual([["x-a", "1"], ["x-b", "2"]]);
});

describe("headersRefusal()", () => {
  // Servers of CGI's kind read `_` as `-`, and many read one of these names in place of the method, the path or the host.
  test.each(
    `
    X-HTTP-Method-Override: DELETE | X-HTTP-Method: DELETE | X-Method-Override: DELETE | X-Method: DELETE
    X-Original-Method: DELETE | X_HTTP_METHOD_OVERRIDE: DELETE | X-HTTP_Method-Override: DELETE | X_Original_URL: /admin
    X_Forwarded_For: 192.0.2.1 | X-Original-URL: /admin | X-Original-URI: /admin | X-Original-Host: evil.example
    X-Rewrite-URL: /admin | X-Override-URL: /admin | X-Proxy-URL: /admin | X-Host: evil.example
    X-Path: /admin | Base-Url: /admin | x-ms-rename-source: /container/secret | x-ms-copy-source: https://contoso.blob.core.windows.net/container/secret
    Content.Length: 1 | X!A: 1 | X~A: 1
  `.trim().split(/\s*[|\n]\s*/),
  )("refuses %s", (line) => {
    expect(headersRefusal([HOST, ...headers(line)])).toMatchObject({ statusCode: 400 });
  });

  test.each(
    "Host Origin Authorization Content-Type X-Latchkey-Secret X-Identity-Header Sec-Fetch-Site".split(" "),
  )("refuses two of %s", (name) => {
    const twice = headers(`${name}: a`, `${name.toLowerCase()}: a`);
    expect(headersRefusal(name === "Host" ? twice : [HOST, ...twice])).toMatchObject({ statusCode: 400 });
  });

  test("refuses a request without a host", () => {
    expect(headersRefusal(headers("Accept: */*"))).toMatchObject({ statusCode: 400 });
  });

  test("lets through what clients of REST APIs send", () => {
    const sent = `
      Accept: */* | Accept-Encoding: gzip | Accept-Language: en | Content-Type: application/json
      Content-Encoding: gzip | Content-Range: bytes 0-1/2 | If-Match: * | If-None-Match: *
      Range: bytes=0-1 | Prefer: return=minimal | ConsistencyLevel: eventual | SdkVersion: graph-js/3
      client-request-id: 1 | return-client-request-id: true | x-ms-version: 2025-01-05 | x-ms-blob-type: BlockBlob
      traceparent: 00-1 | User-Agent: curl/8 | X-TFS-FedAuthRedirect: Suppress | Idempotency-Key: 1
      X-Tenant: contoso | Accept: text/plain | OData-Version: 4.0
    `.trim().split(/\s*[|\n]\s*/);
    expect(headersRefusal([HOST, ...headers(...sent)])).toBeUndefined();
  });
});

describe("senderRefusal()", () => {
  const upstreams = ["https://graph.microsoft.com", "http://127.0.0.1:8080"].map(readUpstream);
  const onSocket = proxyPlace(upstreams, 0, undefined);
  const onPort = proxyPlace(upstreams, 4174, (value) => value === "s3cr3t");
  const secret = "X-Latchkey-Secret: s3cr3t";

  test.each(
    "localhost LOCALHOST:8080 127.0.0.1 127.0.0.1:1 [::1]:8080 graph.microsoft.com 127.0.0.1:8080".split(" "),
  )("takes Host: %s on a socket", (host) => {
    expect(senderRefusal(headers(`Host: ${host}`), onSocket)).toBeUndefined();
  });

  // Behind a relay from a port to the socket, a page reaches it by DNS rebinding.
  test.each(
    ["rebind.evil.example:8080", "localhost.evil.example", "graph.microsoft.com:8080", "localhost:", "", "[::2]"],
  )("refuses Host: %s on a socket", (host) => {
    expect(senderRefusal([["host", host]], onSocket)).toMatchObject({ statusCode: 421 });
  });

  test.each([["cross-site", 403], ["same-site", 403], ["same-origin", 403], ["none", undefined]])(
    "Sec-Fetch-Site: %s",
    (site, statusCode) => {
      const refusal = senderRefusal(headers("Host: localhost", `Sec-Fetch-Site: ${site}`), onSocket);
      expect(refusal?.statusCode).toBe(statusCode as number);
    },
  );

  test.each<[number | undefined, readonly string[]]>([
    [undefined, ["Host: 127.0.0.1:4174", secret]],
    [undefined, ["Host: localhost:4174", "Authorization: Bearer s3cr3t"]],
    [421, ["Host: localhost", secret]],
    [421, ["Host: graph.microsoft.com", secret]],
    [403, ["Host: localhost:4174", secret, "Origin: null"]],
    [401, ["Host: localhost:4174"]],
    [401, ["Host: localhost:4174", "X-Latchkey-Secret: s3cr3t2", "Authorization: Bearer s3cr3t"]],
    [401, ["Host: localhost:4174", "Authorization: Basic s3cr3t"]],
  ])("answers %p on a port to %p", (statusCode, lines) => {
    expect(senderRefusal(headers(...lines), onPort)?.statusCode).toBe(statusCode as number);
  });
});

test.each<[number | "unknown" | undefined, string, readonly string[]]>([
  [0, "1.1", []],
  [0, "1.1", ["Content-Length: 0"]],
  [5, "1.1", ["Content-Length: 5"]],
  ["unknown", "1.1", ["Transfer-Encoding: Chunked"]],
  [undefined, "1.0", ["Transfer-Encoding: chunked"]],
  [undefined, "1.1", ["Transfer-Encoding: gzip, chunked"]],
  [undefined, "1.1", ["Transfer-Encoding: xchunked"]],
  [undefined, "1.1", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]],
  [undefined, "1.1", ["Transfer-Encoding: chunked", "Content-Length: 5"]],
  [undefined, "1.1", ["Content-Length: 5", "Content-Length: 5"]],
  [undefined, "1.1", ["Content-Length: 5, 5"]],
  [undefined, "1.1", ["Content-Length: +5"]],
  [undefined, "1.1", ["Content-Length: 0x5"]],
  [undefined, "1.1", ["Content-Length: 1234567890123456"]],
])("bodyLengthOf() is %p with HTTP/%s and %p", (length, version, lines) => {
  expect(bodyLengthOf(headers(...lines), version)).toBe(length as number);
});

describe("forwardedHeaders()", () => {
  const forward = (lines: readonly string[], method = "GET", length: number | "unknown" = 0) =>
    forwardedHeaders(headers(...lines), { method, host: "graph.microsoft.com", authorization: "Bearer t", length });
  const OWN = ["host", "graph.microsoft.com", "authorization", "Bearer t"];

  test.each([
    ...`
      Host: localhost | Authorization: Bearer stolen | Cookie: a=b | X-Latchkey-Secret: s
      X-Identity-Header: s | Forwarded: for=192.0.2.1 | X-Forwarded: x | X-Forwarded-Host: evil.example
      Via: 1.1 x | X-Real-IP: 192.0.2.1 | True-Client-IP: 192.0.2.1 | Remote-User: joe
      X-MS-CLIENT-PRINCIPAL-NAME: joe | Sec-Fetch-Site: none | Proxy-Authorization: Basic x | TE: trailers
      Trailer: x | Upgrade: websocket | HTTP2-Settings: x | Expect: 100-continue
      Keep-Alive: timeout=1
    `.trim().split(/\s*[|\n]\s*/).map((line) => [line]),
    ["Connection: X-Named, authorization, host", "X-Named: 1"],
  ] as [string, string?][])("drops %s", (...[line, named]) => {
    expect(forward(named ? [line, named] : [line])).toEqual(OWN);
  });

  test("sends others on as they are", () => {
    const kept = ["accept", "a", "accept", "b", "x-kept", "caf\xe9"];
    expect(forward(["Accept: a", "Accept: b", "X-Kept: caf\xe9"])).toEqual([
      ...["host", "graph.microsoft.com", ...kept, "authorization", "Bearer t"],
    ]);
  });

  // Whatever a server leaves unread of a body, it takes for the next request on the connection.
  test("closes the connection after a body", () => {
    expect(forward([], "PUT", 5)).toEqual([...OWN, "content-length", "5", "connection", "close"]);
    expect(forward([], "DELETE", "unknown")).toEqual([...OWN, "transfer-encoding", "chunked", "connection", "close"]);
    expect(forward([], "POST")).toEqual([...OWN, "content-length", "0"]);
  });
});

describe("returnedHeaders()", () => {
  const upstream = readUpstream("https://graph.microsoft.com");
  const back = (lines: readonly string[], status = 200) =>
    returnedHeaders({
      ...{ upstream, target: "/v1.0/me", status, token: TOKEN, host: "localhost:8080" },
      headers: headers(...lines),
    });

  test.each([
    ["Set-Cookie: a=b"],
    ["WWW-Authenticate: Bearer"],
    ["Authorization: x"],
    ["Authentication-Info: x"],
    ["Alt-Svc: h3"],
    ["Strict-Transport-Security: max-age=1"],
    ["Access-Control-Allow-Origin: *"],
    ["Connection: X-Named", "X-Named: 1"],
    ["Transfer-Encoding: chunked"],
    [`X-Echo: Bearer ${TOKEN}`],
    [`X-Echo: ${TOKEN.toUpperCase()}`],
    [`${TOKEN}: x`],
    [`X-${TOKEN}-Y: x`],
  ] as [string, string?][])("drops %s", (...[line, named]) => {
    expect(back(named ? [line, named] : [line])).toEqual([]);
  });

  test.each([
    ["Location: /next?x=1#y", "http://localhost:8080/graph.microsoft.com/next?x=1#y"],
    ["Location: https://jane:pw@graph.microsoft.com/x", "http://localhost:8080/graph.microsoft.com/x"],
    ["Location: https://other.example/x", "https://other.example/x"],
    ["Operation-Location: https://graph.microsoft.com/o/1", "http://localhost:8080/graph.microsoft.com/o/1"],
  ])("leads %s back to the proxy", (line, value) => {
    expect(back([line])[1]).toBe(value);
  });

  test("keeps the length of a body, which a 204 has not", () => {
    expect(back(["Content-Length: 5"])).toEqual(["content-length", "5"]);
    expect(back(["Content-Length: 5"], 204)).toEqual([]);
  });
});
