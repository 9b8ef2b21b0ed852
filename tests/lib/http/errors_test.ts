// What the runtimes say of a failure, as they were seen to say it: Deno 2.6 and 2.9, Bun 1.4, Node 22 and 24.
import { describe, expect, test } from "bun:test";
import { type LoopbackRequest, readLoopbackRequest } from "../../../lib/http/loopback.ts";
import type { HttpRequest } from "../../../lib/http/route.ts";
import { httpFailure, isUnknownIssuer } from "../../../lib/http/errors.ts";
import type { HttpReply } from "../../../lib/http/server.ts";

const PORT = 51234;
const PROVIDER = "https://login.contoso.com";
const OWN = `Host: localhost:${PORT}`;
const FORM = "Content-Type: application/x-www-form-urlencoded";

function read(head: readonly string[], body = "", port = PORT): LoopbackRequest | HttpReply | undefined {
  const bytes = new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n${body}`);
  return readLoopbackRequest(bytes, { port, allowedOrigins: [PROVIDER] });
}

/** The status that turns a request away; 0 when it does not. */
function status(head: readonly string[], body = ""): number {
  const read_ = read(head, body);
  return read_ && "status" in read_ ? read_.status : 0;
}

const get = (...fields: string[]) => ["GET / HTTP/1.1", ...fields];
const post = (...fields: string[]) => ["POST / HTTP/1.1", OWN, ...fields];

describe("readLoopbackRequest()", () => {
  test("reads a GET request", () => {
    const request = read(["GET /a%20b?code=x&state=%C3%A4 HTTP/1.1", OWN]) as LoopbackRequest;
    expect(request.method).toBe("GET");
    expect(request.url.href).toBe(`http://localhost:${PORT}/a%20b?code=x&state=%C3%A4`);
    expect([...request.form]).toEqual([]);
  });

  test("reads a form", () => {
    const request = read(post(`${FORM}; charset=utf-8`, "content-length: 16"), "code=%C3%A4&b=+c") as LoopbackRequest;
    expect(request.method).toBe("POST");
    expect([...request.form]).toEqual([["code", "ä"], ["b", " c"]]);
  });

  test("reads no further than the body's end", () => {
    const request = read(post(FORM, "Content-Length: 3"), "a=bGET / HTTP/1.1\r\n\r\n") as LoopbackRequest;
    expect([...request.form]).toEqual([["a", "b"]]);
  });

  test("waits for more as long as it is not whole", () => {
    const bytes = new TextEncoder().encode([...post(FORM, "Content-Length: 4"), "", "a=bc"].join("\r\n"));
    const rules = { port: PORT, allowedOrigins: [] };
    for (let length = 0; length < bytes.length; length++) {
      expect(readLoopbackRequest(bytes.subarray(0, length), rules)).toBeUndefined();
    }
    expect(readLoopbackRequest(bytes, rules)).toMatchObject({ method: "POST" });
  });

  test("keeps the address on loopback, whatever the target says", () => {
    for (const target of ["//evil.example/x", "/..//evil.example", "/@evil.example", "/\\evil.example", "/:99"]) {
      expect((read([`GET ${target} HTTP/1.1`, OWN]) as LoopbackRequest).url.host).toBe(`localhost:${PORT}`);
    }
  });

  // Which name the browser called tells an answer that is meant for another redirect URI.
  test("names the host that the browser named", () => {
    for (const name of ["localhost", "127.0.0.1", "[::1]"]) {
      const request = read(["GET /a?code=x HTTP/1.1", `Host: ${name}:${PORT}`]) as LoopbackRequest;
      expect(request.url.href).toBe(`http://${name}:${PORT}/a?code=x`);
    }
  });

  test.each([
    `localhost:${PORT}`,
    `LOCALHOST:${PORT}`,
    `127.0.0.1:${PORT}`,
    `[::1]:${PORT}`,
  ])("answers the host %s", (host) => {
    expect(status(get(`Host: ${host}`))).toBe(0);
  });

  test("answers a host without the port when that is the usual one", () => {
    expect(read(get("Host: localhost"), "", 80)).toMatchObject({ method: "GET" });
  });

  test.each([
    "evil.example",
    `evil.example:${PORT}`,
    `localhost.evil.example:${PORT}`,
    "localhost",
    `localhost:${PORT + 1}`,
    `127.0.0.2:${PORT}`,
    `0.0.0.0:${PORT}`,
    `[::ffff:127.0.0.1]:${PORT}`,
    `localhost:${PORT}@evil.example`,
    "",
  ])("turns the host %p away (DNS rebinding)", (host) => {
    expect(status(get(`Host: ${host}`))).toBe(421);
  });

  test.each([PROVIDER, "null", `http://localhost:${PORT}`, `http://127.0.0.1:${PORT}`])(
    "takes a form from the origin %s",
    (origin) => {
      expect(status(post(FORM, "Content-Length: 0", `Origin: ${origin}`))).toBe(0);
    },
  );

  test.each(["https://evil.example", `${PROVIDER}.evil.example`, "http://login.contoso.com", "http://localhost:1", ""])(
    "turns a form from the origin %p away",
    (origin) => {
      expect(status(post(FORM, "Content-Length: 0", `Origin: ${origin}`))).toBe(403);
    },
  );

  test.each([
    ["cross-site", "document", 0],
    ["none", "document", 0],
    ["same-origin", "image", 0],
    ["cross-site", "iframe", 403],
    ["cross-site", "image", 403],
    ["same-site", "script", 403],
    ["cross-site", "empty", 403],
  ])("answers what a %s page wants as %s with %d", (site, destination, expected) => {
    expect(status(get(OWN, `Sec-Fetch-Site: ${site}`, `Sec-Fetch-Dest: ${destination}`))).toBe(expected);
  });

  test.each([
    ["another method", ["DELETE / HTTP/1.1", OWN], 405],
    ["a question before a request (CORS)", ["OPTIONS / HTTP/1.1", OWN, "Origin: https://evil.example"], 405],
    ["another version", ["GET / HTTP/2.0", OWN], 400],
    ["an address as a proxy gets it", [`GET http://localhost:${PORT}/ HTTP/1.1`, OWN], 400],
    ["a tunnel", ["CONNECT localhost:80 HTTP/1.1", OWN], 400],
    ["no target", ["GET HTTP/1.1", OWN], 400],
    ["two hosts", get(OWN, OWN), 400],
    ["two origins", get(OWN, "Origin: null", "Origin: null"), 400],
    ["two lengths", post(FORM, "Content-Length: 1", "Content-Length: 1"), 400],
    ["a folded line", get(OWN, "X: a", " b"), 400],
    ["a space before the colon", get(OWN, "X : a"), 400],
    ["a lone line feed", get(OWN, "X: a\nY: b"), 400],
    ["a zero", get(OWN, "X: a\0b"), 400],
    ["no length", post(FORM), 411],
    ["chunks", post(FORM, "Transfer-Encoding: chunked", "Content-Length: 0"), 411],
    ["a length that is none", post(FORM, "Content-Length: +1"), 411],
    ["a length beyond all measure", post(FORM, "Content-Length: 99999999999"), 411],
    ["a long body", post(FORM, "Content-Length: 65537"), 413],
    ["JSON", post("Content-Type: application/json", "Content-Length: 0"), 415],
    ["a body of no type", post("Content-Length: 0"), 415],
  ])("turns away %s", (_what, head, expected) => {
    expect(status(head)).toBe(expected);
  });

  test("turns a long head away", () => {
    expect(status(get(OWN, `X: ${"x".repeat(16_384)}`))).toBe(431);
  });

  test("takes a head and a body up to the limits", () => {
    expect(status(get(OWN, `X: ${"x".repeat(16_000)}`))).toBe(0);
    expect(read(post(FORM, "Content-Length: 65536"), "x".repeat(65_536))).toMatchObject({ method: "POST" });
  });
});

// What the runtimes say of a failure, as they were seen to say it: Deno 2.6 and 2.9, Bun 1.4, Node 22 and 24.

const request: HttpRequest = {
  url: new URL("https://login.contoso.com/token?code=secret"),
  method: "POST",
  headers: new Headers(),
  body: null,
  redirect: "manual",
  signal: new AbortController().signal,
};

/** Bun throws it with a code; Node and newer Denos as the cause of another one; older Denos without either. */
function variants(code: string | undefined, message: string): readonly Error[] {
  const inner = Object.assign(
    new Error(`${message} (https://login.contoso.com/token?code=secret)`),
    code ? { code } : {},
  );
  return [inner, new TypeError("fetch failed", { cause: inner })];
}

const deno = (text: string) => [undefined, `error sending request for url: client error (Connect): ${text}`] as const;

describe("httpFailure()", () => {
  test.each<[string, string, readonly [string | undefined, string]]>([
    ["configuration", "not signed by a trusted authority", deno("invalid peer certificate: UnknownIssuer")],
    ["configuration", "not signed by a trusted authority", deno("invalid peer certificate: BadSignature")],
    ["configuration", "not signed by a trusted authority", [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "unable to verify the first certificate",
    ]],
    ["configuration", "not signed by a trusted authority", [
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "unable to get local issuer certificate",
    ]],
    ["configuration", "not signed by a trusted authority", [
      "SELF_SIGNED_CERT_IN_CHAIN",
      "self-signed certificate in certificate chain",
    ]],
    ["configuration", "not signed by a trusted authority", ["DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate"]],
    [
      "configuration",
      "not valid at this time",
      deno("invalid peer certificate: certificate expired: verification time 1"),
    ],
    ["configuration", "not valid at this time", deno("invalid peer certificate: Expired")],
    ["configuration", "not valid at this time", deno("invalid peer certificate: NotValidYet")],
    ["configuration", "not valid at this time", ["CERT_HAS_EXPIRED", "certificate has expired"]],
    ["configuration", "not valid at this time", ["CERT_NOT_YET_VALID", "certificate is not yet valid"]],
    [
      "configuration",
      "another host",
      deno('invalid peer certificate: certificate not valid for name "login.contoso.com"'),
    ],
    ["configuration", "another host", [
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "Hostname/IP does not match certificate's altnames",
    ]],
    [
      "no_network",
      "name cannot be resolved",
      deno("dns error: failed to lookup address information: Name or service not known"),
    ],
    ["no_network", "name cannot be resolved", ["ENOTFOUND", "getaddrinfo ENOTFOUND login.contoso.com"]],
    ["no_network", "name cannot be resolved", ["EAI_AGAIN", "getaddrinfo EAI_AGAIN login.contoso.com"]],
    ["no_network", "was refused", deno("tcp connect error: Connection refused (os error 111)")],
    ["no_network", "was refused", ["ECONNREFUSED", "ECONNREFUSED: Unable to connect"]],
    ["no_network", "not speak TLS", deno("received corrupt message of type InvalidContentType")],
    ["no_network", "not speak TLS", ["ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number"]],
    ["no_network", "not speak TLS", ["EPROTO", "The TLS handshake failed"]],
    ["no_network", "neither TLS 1.2 nor 1.3", deno("received fatal alert: ProtocolVersion")],
    ["no_network", "neither TLS 1.2 nor 1.3", [
      "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
      "tlsv1 alert protocol version",
    ]],
    ["no_network", "neither TLS 1.2 nor 1.3", ["ERR_SSL_UNSUPPORTED_PROTOCOL", "unsupported protocol"]],
    ["no_network", "the TLS handshake failed", deno("received fatal alert: HandshakeFailure")],
    ["no_network", "the TLS handshake failed", ["ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "alert handshake failure"]],
    ["no_network", "login.contoso.com", ["ECONNRESET", "socket hang up"]],
    ["no_network", "login.contoso.com", [undefined, "something new"]],
    ["invalid_response", "redirects", [undefined, "Encountered redirect while redirect mode is set to 'error'"]],
    ["invalid_response", "redirects", ["UnexpectedRedirect", "UnexpectedRedirect fetching"]],
  ])("is %s, saying %j", (code, words, [inner, message]) => {
    for (const error of variants(inner, message)) {
      const failure = httpFailure(error, request, {});
      expect(failure).toMatchObject({ name: "LatchkeyError", code, message: expect.stringContaining(words) });
      expect(Bun.inspect(failure)).not.toContain("secret");
    }
  });

  test("names the proxy, without its password", () => {
    const proxy = new URL("http://jane:secret@proxy.contoso.com:8080");
    for (const text of ["proxy authentication required", "unsuccessful tunnel", "something new"]) {
      const failure = httpFailure(new Error(text), request, { proxy });
      expect(failure).toMatchObject({ message: expect.stringContaining("proxy.contoso.com:8080") });
      expect(Bun.inspect(failure)).not.toContain("secret");
    }
  });

  test("is the reason of the signal when that is aborted", () => {
    const reason = new Error("enough");
    expect(httpFailure(new Error("x"), { ...request, signal: AbortSignal.abort(reason) }, {})).toBe(reason);
  });
});

test("isUnknownIssuer() is true for an unknown issuer alone", () => {
  const [unknown] = variants(...deno("invalid peer certificate: UnknownIssuer"));
  const [expired] = variants("CERT_HAS_EXPIRED", "certificate has expired");
  expect([unknown, expired, undefined, "UnknownIssuer"].map(isUnknownIssuer)).toEqual([true, false, false, false]);
});
