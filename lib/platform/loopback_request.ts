/**
 * The one HTTP/1.1 request of a connection to the loopback listener, read from bytes; what a browser that was redirected to us
 * would not send is turned away.
 *
 * @module
 */
import type { HttpReply } from "./http_connections.ts";
import { hostsOf, readRequestHead, type RequestHead, splitTarget } from "./request_head.ts";

/** A request to the loopback listener. */
export interface LoopbackRequest {
  /** How it was sent. */
  readonly method: "GET" | "POST";
  /** What was asked for, with the Host that the browser named: `http://localhost:PORT/…`, `127.0.0.1` or `[::1]`. */
  readonly url: URL;
  /** The fields of a posted form. */
  readonly form: URLSearchParams;
}

/** Who may ask. */
export interface RequestRules {
  /** The port that is listened on, which a Host field has to name. */
  readonly port: number;
  /** Origins that may post forms, beside our own and `null`. */
  readonly allowedOrigins: readonly string[];
}

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
): LoopbackRequest | HttpReply | undefined {
  const read = readRequestHead(received);
  if (!read) return undefined;
  if (typeof read === "number") return turnAway(read);
  const head = judge(read, rules);
  if ("status" in head) return head;
  const { method, url, length } = head, body = received.subarray(read.length);
  if (body.length < length) return undefined;
  return { method, url, form: new URLSearchParams(new TextDecoder().decode(body.subarray(0, length))) };
}

interface Head {
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** Length of the body in bytes. */
  readonly length: number;
}

function judge({ method, target, fields }: RequestHead, { port, allowedOrigins }: RequestRules): Head | HttpReply {
  const hosts = hostsOf(["localhost", "127.0.0.1", "[::1]"], port);
  const host = fields.get("host")?.toLowerCase() ?? "";
  if (!hosts.includes(host)) return turnAway(421);
  if (method !== "GET" && method !== "POST") return turnAway(405, { allow: "GET, POST" });
  if (isFromElsewhere(fields, [...hosts.map((host) => `http://${host}`), ...allowedOrigins])) return turnAway(403);

  const url = new URL(`http://${host}`);
  [url.pathname, url.search] = splitTarget(target);
  if (method === "GET") return { method, url, length: 0 };
  const length = fields.get("content-length") ?? "";
  if (fields.has("transfer-encoding") || !/^\d{1,9}$/.test(length)) return turnAway(411);
  if (Number(length) > MAX_BODY_BYTES) return turnAway(413);
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(fields.get("content-type") ?? "")) return turnAway(415);
  return { method, url, length: Number(length) };
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

function turnAway(status: number, headers?: Readonly<Record<string, string>>): HttpReply {
  return { status, headers: { "content-type": "text/plain", ...headers }, body: "" };
}
