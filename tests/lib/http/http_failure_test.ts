// What the runtimes say of a failure, as they were seen to say it: Deno 2.6 and 2.9, Bun 1.4, Node 22 and 24.
import { describe, expect, test } from "bun:test";
import { httpFailure, type HttpRequest, isUnknownIssuer } from "../../../lib/http/request.ts";

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
