/**
 * The one HTTP/1.1 request of a connection to the loopback listener (RFC 9112), read from bytes; what a browser that was
 * redirected to us would not send is turned away. No runtime's own server is used for it: Bun waits for ever for a client
 * that sends nothing, and Deno up to 2.6 for a slow one.
 *
 * @module
 */

/** A request to the loopback listener. */
export interface LoopbackRequest {
  /** How it was sent. */
  readonly method: "GET" | "POST";
  /** What was asked for, as `http://localhost:PORT/…` whatever the browser called us. */
  readonly url: URL;
  /** The fields of a posted form. */
  readonly form: URLSearchParams;
}

/** What is answered to a request. */
export interface LoopbackReply {
  /** HTTP status. */
  readonly status: number;
  /** Header fields beside those that every answer has. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The page, as UTF-8 HTML unless a header field says otherwise. */
  readonly body: string;
}

/** Who may ask. */
export interface RequestRules {
  /** The port that is listened on, which a Host field has to name. */
  readonly port: number;
  /** Origins that may post forms, beside our own and `null`. */
  readonly allowedOrigins: readonly string[];
}

const MAX_HEAD_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;

/**
 * Reads a request.
 *
 * @param received All that was received so far.
 * @param rules Who may ask.
 * @returns The request; the answer that turns it away; `undefined` while more has to come.
 */
export function readLoopbackRequest(
  received: Uint8Array,
  rules: RequestRules,
): LoopbackRequest | LoopbackReply | undefined {
  const text = new TextDecoder("latin1").decode(received.subarray(0, MAX_HEAD_BYTES));
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return received.length >= MAX_HEAD_BYTES ? turnAway(431) : undefined;
  const head = readHead(text.slice(0, end), rules);
  if ("status" in head) return head;
  const { method, url, length } = head, body = received.subarray(end + 4);
  if (body.length < length) return undefined;
  return { method, url, form: new URLSearchParams(new TextDecoder().decode(body.subarray(0, length))) };
}

interface Head {
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** Length of the body in bytes. */
  readonly length: number;
}

function readHead(text: string, { port, allowedOrigins }: RequestRules): Head | LoopbackReply {
  const [first = "", ...lines] = text.split("\r\n");
  const [, method, target] = /^([A-Z]+) (\/[!-~]*) HTTP\/1\.[01]$/.exec(first) ?? [];
  const fields = readFields(lines);
  if (!method || !target || !fields) return turnAway(400);

  const hosts = ["localhost", "127.0.0.1", "[::1]"].flatMap((host) =>
    port === 80 ? [host, `${host}:80`] : `${host}:${port}`
  );
  // Another name that leads to us is how a page of someone else's would get to read our answers (DNS rebinding).
  if (!hosts.includes(fields.get("host")?.toLowerCase() ?? "")) return turnAway(421);
  if (method !== "GET" && method !== "POST") return turnAway(405, { allow: "GET, POST" });
  if (isFromElsewhere(fields, [...hosts.map((host) => `http://${host}`), ...allowedOrigins])) return turnAway(403);

  const url = new URL(`http://localhost:${port}`);
  [url.pathname, url.search] = splitTarget(target);
  if (method === "GET") return { method, url, length: 0 };
  const length = fields.get("content-length") ?? "";
  if (fields.has("transfer-encoding") || !/^\d{1,9}$/.test(length)) return turnAway(411);
  if (Number(length) > MAX_BODY_BYTES) return turnAway(413);
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(fields.get("content-type") ?? "")) return turnAway(415);
  return { method, url, length: Number(length) };
}

/** Header fields by their lower-case names; `undefined` when a line is none, or a field that counts comes twice. */
function readFields(lines: readonly string[]): ReadonlyMap<string, string> | undefined {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\u0080-\uffff]*)$/.exec(line) ?? [];
    if (!name) return undefined;
    const key = name.toLowerCase();
    if (fields.has(key) && /^(host|origin|content-length|content-type|sec-fetch-)/.test(key)) return undefined;
    fields.set(key, value!.trim());
  }
  return fields;
}

/**
 * Whether a page that we know nothing of sent it. A provider's form comes with the origin `null`, since it goes from https
 * to http (Fetch Standard, "append a request Origin header"), or with its own. Images, scripts and frames of other pages
 * never belong to a sign-in.
 */
function isFromElsewhere(fields: ReadonlyMap<string, string>, origins: readonly string[]): boolean {
  const origin = fields.get("origin") ?? "null", site = fields.get("sec-fetch-site") ?? "none";
  const isPage = (fields.get("sec-fetch-dest") ?? "document") === "document";
  return !(origin === "null" || origins.includes(origin)) || !(isPage || site === "none" || site === "same-origin");
}

/** Path and query. They are set apart, so that a path such as `//host` stays one. */
function splitTarget(target: string): readonly [path: string, query: string] {
  const mark = target.indexOf("?");
  return mark === -1 ? [target, ""] : [target.slice(0, mark), target.slice(mark)];
}

function turnAway(status: number, headers?: Readonly<Record<string, string>>): LoopbackReply {
  return { status, headers: { "content-type": "text/plain", ...headers }, body: "" };
}
