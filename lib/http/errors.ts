/**
 * Failures of an HTTP connection: network, proxy, TLS and certificates, and what to do about each.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { systemWord } from "../remedies.ts";
import { denoNamespace, readEnvironment } from "../runtime/host.ts";
import { hostOf, type HttpRequest, type HttpRoute } from "./route.ts";

/** `BadSignature`: an authority that is trusted has the name of this one, and another key. */
const UNKNOWN_ISSUER = /UnknownIssuer|BadSignature|UNABLE_TO_VERIFY_LEAF|UNABLE_TO_GET_ISSUER|SELF_SIGNED_CERT/;
const CERTIFICATE = /invalid peer certificate|\bCERT_|ERR_TLS_CERT/;
const OUT_OF_TIME = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate expired|Expired|NotValidYet/;

/** Failures of the handshake itself, by the codes of OpenSSL and the words of rustls, the more exact ones first. */
const TLS_FAILURES: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/WRONG_VERSION_NUMBER|InvalidContentType/, "it does not speak TLS"],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|ProtocolVersion|TlsVersion|Tls12/,
    "it has neither TLS 1.2 nor 1.3",
  ],
  [/EPROTO/, "it does not speak TLS, or neither version 1.2 nor 1.3"], // Bun's code for both
  [/\bERR_SSL_|received fatal alert|peer is incompatible|peer misbehaved/, "the TLS handshake failed"],
];

/** Returns true if a server's certificate is not signed by an authority that the runtime trusts. */
export function isUnknownIssuer(error: unknown): boolean {
  return UNKNOWN_ISSUER.test(textOf(error));
}

/**
 * Turns a failure into a {@linkcode LatchkeyError}, or the signal's reason if the request was aborted. The error has no cause:
 * the runtime's error quotes the URL.
 */
export function httpFailure(
  error: unknown,
  request: Pick<HttpRequest, "url" | "signal">,
  { proxy }: HttpRoute,
): unknown {
  if (request.signal.aborted) return request.signal.reason;
  if (error instanceof LatchkeyError) return error;
  const host = hostOf(request.url);
  const text = textOf(error);
  const way = proxy instanceof URL ? ` through the proxy ${proxy.host}` : "";
  const cannot = `Cannot reach ${host}${way}`;

  if (/redirect/i.test(text)) return new LatchkeyError("invalid_response", `${host} redirects instead of answering`);
  const badCertificate = (reason: string, remedy?: string) =>
    new LatchkeyError("configuration", `${cannot}: its certificate is ${reason}`, remedy ? { remedy } : {});
  if (UNKNOWN_ISSUER.test(text)) return badCertificate("not signed by a trusted authority", trustHint());
  if (OUT_OF_TIME.test(text)) {
    return badCertificate("not valid at this time", systemWord("checkClock"));
  }
  if (CERTIFICATE.test(text)) return badCertificate("for another host");
  if (/proxy authentication required/i.test(text)) return passwordWanted(request, proxy);
  const tls = TLS_FAILURES.find(([pattern]) => pattern.test(text));
  if (tls) {
    const remedy =
      "Ask the server's administrator to enable TLS 1.2 or 1.3. A proxy or firewall that inspects TLS can be the " +
      "cause as well: check HTTPS_PROXY and NO_PROXY";
    return new LatchkeyError("no_network", `${cannot}: ${tls[1]}`, { remedy });
  }
  return new LatchkeyError("no_network", `${cannot}${reasonOf(text)}`, {
    remedy: { kind: "check_network", host },
  });
}

/** Returns the error for a proxy that requires a user name and password. */
export function passwordWanted({ url }: Pick<HttpRequest, "url">, proxy: HttpRoute["proxy"]): LatchkeyError {
  const name = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const isKnown = proxy instanceof URL;
  const [which, host] = isKnown ? [` ${proxy.host}`, proxy.host] : ["", "HOST:PORT"]; // Deno may use one that we may not read
  return new LatchkeyError("configuration", `The proxy${which} requires a user name and password, or other ones`, {
    remedy: `Set ${name} to http://USER:PASSWORD@${host} (only Basic authentication is supported)`,
  });
}

function trustHint(): string {
  const file = "the PEM file of your organisation's certificate authority";
  if (/\bsystem\b/.test(readEnvironment("DENO_TLS_CA_STORE") ?? "")) {
    return "Add your organisation's certificate authority to those that this system trusts, or set DENO_CERT to its PEM file";
  }
  return denoNamespace()
    ? `Set DENO_TLS_CA_STORE=system if this machine trusts your organisation's certificate authority, or DENO_CERT to ${file}`
    : `Set NODE_EXTRA_CA_CERTS to ${file}`;
}

function reasonOf(text: string): string {
  if (/ENOTFOUND|EAI_AGAIN|dns error/i.test(text)) return ": its name cannot be resolved";
  if (/ECONNREFUSED|connection refused/i.test(text)) return ": the connection was refused";
  if (/unsuccessful tunnel/.test(text)) return ": the proxy does not connect to it";
  return "";
}

/** Returns the codes and messages of an error and its causes. */
function textOf(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error && texts.length < 5; at = at.cause) {
    texts.push(`${(at as { code?: unknown }).code ?? ""} ${at.message}`);
  }
  return texts.join("\n");
}
