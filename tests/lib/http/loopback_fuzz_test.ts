// What anybody on this machine, or a page in the browser, can send to the loopback listener.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { type LoopbackRequest, readLoopbackRequest } from "../../../lib/http/loopback.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../tools/fuzz.ts";

const PORT = 51_234, PROVIDER = "https://login.contoso.com";
const HOSTS = ["localhost", "127.0.0.1", "[::1]"].map((host) => `${host}:${PORT}`);
const ORIGINS = ["null", PROVIDER, ...HOSTS.map((host) => `http://${host}`)];
const MAX_BODY_BYTES = 65_536;
const FORM = "application/x-www-form-urlencoded";

const read = (bytes: Uint8Array) => readLoopbackRequest(bytes, { port: PORT, allowedOrigins: [PROVIDER] });
const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);

const anyText = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) });
const target = fc.oneof(
  fc.constantFrom("/", "/?code=a&state=b", "/done/x", "//evil.example/?state=b", "/?state=%zz&state=", "/\\evil", "*"),
  fc.webPath().map((path) => path || "/"),
  anyText.map((text) => `/${text}`),
);
const host = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...HOSTS) },
  fc.constantFrom("evil.example", `LOCALHOST:${PORT}`, "localhost", `localhost:${PORT}@evil.example`, ""),
  anyText,
);
const origin = fc.oneof(fc.constantFrom(...ORIGINS, "https://evil.example", `${PROVIDER}.evil.example`), anyText);
const body = fc.oneof(
  fc.constantFrom("", "code=a&state=b", "state=%E4&state=", "a=b\r\n\r\nGET / HTTP/1.1\r\n"),
  anyText,
);
const site = fc.constantFrom("none", "same-origin", "same-site", "cross-site", "");
const destination = fc.constantFrom("document", "iframe", "image", "script", "empty", "");
const line = fc.oneof(
  host.map((value) => `Host: ${value}`),
  origin.map((value) => `Origin: ${value}`),
  site.map((value) => `Sec-Fetch-Site: ${value}`),
  destination.map((value) => `sec-fetch-dest: ${value}`),
  fc.constantFrom(`Content-Type: ${FORM}`, `content-type:${FORM};charset=x`, "Content-Type: text/plain"),
  fc.oneof(fc.nat({ max: 20 }), fc.constantFrom("65537", "+1", "1e1", "0x1", "00", "1, 1"))
    .map((length) => `Content-Length: ${length}`),
  fc.constantFrom("Transfer-Encoding: chunked", " folded: line", "no colon", "X: \0", "Host : localhost", ""),
  anyText,
);

/** Requests as browsers send them, with what an attacker adds and leaves out. */
const request = fc.record({
  method: fc.oneof({ weight: 6, arbitrary: fc.constantFrom("GET", "POST") }, fc.constantFrom("PUT", "get", "OPTIONS")),
  target,
  version: fc.oneof({ weight: 8, arbitrary: fc.constant("HTTP/1.1") }, fc.constantFrom("HTTP/1.0", "HTTP/2.0", "")),
  host: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...HOSTS) }, host),
  lines: fc.array(line, { maxLength: 5 }),
  body,
  hasLength: fc.boolean(),
  end: fc.oneof({ weight: 8, arbitrary: fc.constant("\r\n") }, fc.constantFrom("\n", "\r", "\r\n ")),
}).map(({ method, target, version, host, lines, body, hasLength, end }) => {
  const form = hasLength ? [`Content-Type: ${FORM}`, `Content-Length: ${body.length}`] : [];
  return [`${method} ${target} ${version}`, `Host: ${host}`, ...form, ...lines, "", body].join(end);
});

/** The same, damaged: a part is cut out, or comes twice. */
const damaged = fc.tuple(request, fc.nat(), fc.nat(), fc.boolean()).map(([text, one, other, isTwice]) => {
  const [from, to] = [one % (text.length + 1), other % (text.length + 1)].sort((a, b) => a - b) as [number, number];
  return isTwice ? text.slice(0, to) + text.slice(from) : text.slice(0, from) + text.slice(to);
});

const received = fc.oneof(
  { weight: 4, arbitrary: request.map(latin1) },
  { weight: 2, arbitrary: damaged.map(latin1) },
  fc.uint8Array({ maxLength: 300 }),
);

/** All that has to hold of what is let in, read out of the bytes by the simplest means. */
function checkAdmitted({ method, url, form }: LoopbackRequest, bytes: Uint8Array): void {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""), end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const valuesOf = (name: string) =>
    lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim());
  const [sent, asked = ""] = first.split(" "), mark = asked.indexOf("?");
  expect(sent).toBe(method);
  expect(valuesOf("host").length).toBe(1);
  expect(HOSTS).toContain(valuesOf("host")[0]!.toLowerCase());
  expect(HOSTS).toContain(url.host);
  expect([url.protocol, url.username, url.password, url.hash]).toEqual(["http:", "", "", ""]);
  for (const origin of valuesOf("origin")) expect(ORIGINS).toContain(origin);
  const [site = "none"] = valuesOf("sec-fetch-site"), [destination = "document"] = valuesOf("sec-fetch-dest");
  expect(destination === "document" || site === "none" || site === "same-origin").toBe(true);
  // A hash ends a query in an address; a browser sends none.
  const query = mark === -1 ? "" : asked.slice(mark).replaceAll("#", "%23");
  expect([...url.searchParams]).toEqual([...new URLSearchParams(query)]);
  if (method === "GET") return expect([...form]).toEqual([]);
  const [length = "", ...others] = valuesOf("content-length");
  expect([length, ...others]).toEqual([expect.stringMatching(/^\d+$/)]);
  expect(Number(length)).toBeLessThanOrEqual(MAX_BODY_BYTES);
  expect(valuesOf("transfer-encoding")).toEqual([]);
  expect(valuesOf("content-type")).toEqual([expect.stringMatching(/^application\/x-www-form-urlencoded/i)]);
  const content = new TextDecoder().decode(bytes.subarray(end + 4, end + 4 + Number(length)));
  expect([...form]).toEqual([...new URLSearchParams(content)]);
}

test("readLoopbackRequest() lets in nothing that a browser on its way back would not send", () => {
  let admitted = 0;
  const property = fc.property(received, (bytes) => {
    const answer = read(bytes);
    if (!answer) return;
    if ("status" in answer) return expect([400, 403, 405, 411, 413, 415, 421, 431]).toContain(answer.status);
    admitted++;
    checkAdmitted(answer, bytes);
  });
  fc.assert(property, fuzzing(3000));
  expect(admitted).toBeGreaterThan(100); // or the inputs are none that show anything
}, FUZZ_TIMEOUT_MS);

test("readLoopbackRequest() answers the same however the bytes are cut into pieces", () => {
  const property = fc.property(received, fc.nat(), (bytes, cut) => {
    const early = read(bytes.subarray(0, cut % (bytes.length + 1)));
    if (early) expect(plain(read(bytes))).toEqual(plain(early));
  });
  fc.assert(property, fuzzing(3000));
}, FUZZ_TIMEOUT_MS);

function plain(answer: ReturnType<typeof read>): unknown {
  return answer && "url" in answer ? { ...answer, url: answer.url.href, form: `${answer.form}` } : answer;
}
