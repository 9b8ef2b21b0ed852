// Paths and headers that a client can send, read as the servers read them that decode, fold and map more than others.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  bodyLengthOf,
  forwardedHeaders,
  headersRefusal,
  pairHeaders,
} from "../../../../bin/commands/serve/upstream_headers.ts";
import { readTarget, readUpstream, routeOf } from "../../../../bin/commands/serve/upstream_rules.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../../tools/fuzz.ts";

const UPSTREAMS = [readUpstream("GET https://graph.microsoft.com/v1.0/me")];

/** Pieces of which attacks on paths are made, beside any other character. */
const piece = fc.oneof(
  fc.constantFrom(
    ...String.raw`
    / // . .. ... %2e %2E %252e %25252e %2f %5c %255c \ ; ;a=b %3b # %u002e %u2215 %c0%ae %e0%80%ae %c0%af %ef%bc%8e
    %ef%bc%8f %ef%bc%bc %e2%88%95 %e2%80%a5 %ef%bc%852e %ef%b9%aa2e %ef%bc%852f %cd%8f %ef%b8%8f %e3%85%a4
    %f3%a0%84%80 %c2%a5 %e2%82%a9 %ef%bf%a5 %e2%a7%b9 %d9%aa2e %e2%80%a8 %e2%80%a9 ::$INDEX_ALLOCATION %20 %09 %00
    %0d%0a %23 %3f % %% %e2%80%8b %c2%ad users v1.0 me ~ + x
  `.trim().split(/\s+/),
  ),
  fc.string({ maxLength: 3 }),
);
const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `/graph.microsoft.com/v1.0/me/${pieces.join("")}`);

const fromLatin1 = (text: string) =>
  text.replaceAll(/%([\da-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
/** Characters that are drawn as nothing (DerivedCoreProperties.txt), and the line separators, by their numbers. */
const INVISIBLE =
  /[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
/** One step in which some server reads a path. */
const READERS: readonly ((path: string) => string)[] = [
  fromLatin1,
  (text) => new TextDecoder().decode(Uint8Array.from(fromLatin1(text), (each) => each.charCodeAt(0))),
  (text) => text.replaceAll(/%u([\da-f]{4})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16))),
  (text) => text.replaceAll(/\xc0([\x80-\xbf])/g, (_, low) => String.fromCharCode(low.charCodeAt(0) - 0x80)),
  (text) => text.replaceAll(/\xe0\x80([\x80-\xbf])/g, (_, low) => String.fromCharCode(low.charCodeAt(0) - 0x80)),
  (text) => text.normalize("NFKC"),
  (text) => text.replaceAll(/[\u2044\u2215]/g, "/"),
  (text) => text.replaceAll(/\p{Cf}/gu, ""),
  (text) => text.replaceAll(INVISIBLE, ""),
  (text) => text.replaceAll(/[\xa5\u20a9\u29f5\u29f8\u29f9]/g, "\\"),
  (text) => text.replaceAll("\u066a", "%"),
  (text) => text.replaceAll(/::\$INDEX_ALLOCATION(?=\/|$)/g, ""),
  (text) => text.replaceAll("\\", "/"),
  (text) => text.replaceAll(/;[^/]*/g, ""),
  (text) => text.replace(/[\0#].*$/s, ""),
  (text) => text.split("/").map((segment) => segment.replace(/(?<=[^. ])[. ]+$/, "")).join("/"),
];

/** Resolves dot segments, of which Windows also takes those with more dots and spaces. */
function resolve(path: string): string {
  const resolved: string[] = [];
  for (const segment of path.split("/").slice(1)) {
    if (/^ *\. *\.[. ]*$/.test(segment)) resolved.pop();
    else if (!/^[. ]*$/.test(segment)) resolved.push(segment);
  }
  return `/${resolved.join("/")}`;
}

test("routeOf() lets no path through that a server can take for one outside of the rule", () => {
  fc.assert(
    fc.property(path, fc.array(fc.nat({ max: READERS.length - 1 }), { maxLength: 8 }), (sent, steps) => {
      const target = readTarget("GET", sent);
      const route = target && routeOf(target, UPSTREAMS);
      if (!route || "statusCode" in route) return;
      const [received = ""] = route.target.split("?");
      const read = steps.reduce((current, step) => READERS[step]!(current), received);
      expect(`${resolve(read)}/`).toStartWith("/v1.0/me/");
    }),
    fuzzing(20_000),
  );
}, FUZZ_TIMEOUT_MS);

/** Names by which servers of CGI's kind, and frameworks, take another method, path, host or user. */
const DANGEROUS =
  /^HTTP_(AUTHORIZATION|COOKIE|X_HTTP_METHOD(_OVERRIDE)?|X_METHOD(_OVERRIDE)?|X_(ORIGINAL|REWRITE)_UR[LI]|X_FORWARDED.*|FORWARDED|X_HOST|X_ORIGINAL_HOST|X_REAL_IP|TRANSFER_ENCODING|CONTENT_LENGTH|CONNECTION)$/;
const headerName = fc.oneof(
  fc.array(
    fc.constantFrom(
      ...`
      x http method override original rewrite url uri host forwarded for real ip transfer encoding content length
      authorization cookie connection X METHOD Url
    `.trim().split(/\s+/),
    ),
    { minLength: 1, maxLength: 4 },
  ).chain((words) => fc.constantFrom("-", "_", ".", "").map((between) => words.join(between))),
  fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/),
);
const header = fc.tuple(headerName, fc.stringMatching(/^[ -~]{0,8}$/));

test("no header goes on that a server can take for one of the proxy's, or for another method or path", () => {
  fc.assert(
    fc.property(fc.array(header, { maxLength: 8 }), (sent) => {
      const headers = pairHeaders(["Host", "localhost", ...sent.flat()]);
      const length = bodyLengthOf(headers, "1.1");
      if (headersRefusal(headers) || length === undefined) return;
      const forwarded = pairHeaders(forwardedHeaders(headers, {
        ...{ method: "GET", host: "graph.microsoft.com", authorization: "Bearer t", length: 0 },
      }));
      const names = forwarded.map(([name]) => `HTTP_${name.toUpperCase().replaceAll(/[^A-Z\d]/g, "_")}`);
      expect(names.filter((name) => DANGEROUS.test(name))).toEqual(["HTTP_AUTHORIZATION"]);
      expect(names.filter((name) => name === "HTTP_HOST")).toEqual(["HTTP_HOST"]);
    }),
    fuzzing(20_000),
  );
}, FUZZ_TIMEOUT_MS);
