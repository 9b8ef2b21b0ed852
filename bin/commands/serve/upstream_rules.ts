/**
 * The rules of `latchkey serve --upstream`: which methods, hosts and paths may be called. Pure functions.
 *
 * @module
 */
import { isHttpsOrLoopback } from "../../../lib/authority.ts";
import { defaultScope, SCOPE_TOKEN } from "../../../lib/scopes.ts";
import { UsageError } from "../../cli/command_line.ts";
import type { Refusal } from "./identity_endpoint.ts";

/** A rule: what may be called, and with which token. */
export interface Upstream {
  readonly origin: string;
  /** Host and port as in a URL. It is the first segment of the path that a client asks for. */
  readonly host: string;
  /** Path that a request's must equal, or continue with a slash; empty for every path. */
  readonly prefix: string;
  readonly methods: readonly string[];
  readonly scope: string;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Scopes of services whose tokens are not for their own origin, by their domains. */
const SCOPES_BY_DOMAIN: Readonly<Record<string, string>> = {
  "vault.azure.net": "https://vault.azure.net/.default",
  "blob.core.windows.net": "https://storage.azure.com/.default",
  "queue.core.windows.net": "https://storage.azure.com/.default",
  "table.core.windows.net": "https://storage.azure.com/.default",
  "dfs.core.windows.net": "https://storage.azure.com/.default",
  "dev.azure.com": "499b84ac-1321-427f-aa17-267ca6975798/.default",
};

/**
 * Reads an `--upstream`: `[METHOD,METHOD] URL [SCOPE]`.
 *
 * @throws {UsageError} if it is invalid.
 */
export function readUpstream(rule: string): Upstream {
  const fails = (why: string) =>
    new UsageError(
      `--upstream takes "URL", "METHODS URL" or "METHODS URL SCOPE", such as "GET,HEAD https://graph.microsoft.com/v1.0/me", not ` +
        `${JSON.stringify(rule)}: ${why}`,
    );
  const words = rule.split(" ").filter(Boolean);
  const methods = /^[A-Z,]+$/.test(words[0] ?? "") ? words.shift()!.split(",") : METHODS;
  const [address = "", scope, ...more] = words;
  const other = methods.find((method) => !METHODS.includes(method));
  if (other !== undefined) throw fails(`${other || "an empty word"} is not one of ${METHODS.join(", ")}`);
  if (more.length > 0) throw fails("there is one word too many");
  if (!URL.canParse(address)) throw fails("the URL is missing or invalid");
  const url = new URL(address);
  if (!isHttpsOrLoopback(url)) throw fails("a token goes only to https:, or to this machine");
  if (url.username || url.password || url.search || url.hash) throw fails("the URL has more than an origin and a path");
  // The URL's parser would have resolved them unseen.
  if (/[\\%]|\/\.{1,2}(\/|$)/.test(address)) throw fails("the path has dots, backslashes or encoded characters");
  if (scope !== undefined && !SCOPE_TOKEN.test(scope)) throw fails("the scope is invalid");
  const { host, hostname, origin, pathname } = url;
  return {
    origin,
    host,
    prefix: pathname.replace(/\/+$/, ""),
    methods,
    scope: scope ?? knownScope(hostname) ?? defaultScope(origin),
  };
}

/** Compares whole labels: `evildev.azure.com` is not in the domain `dev.azure.com`. */
function knownScope(hostname: string): string | undefined {
  return Object.entries(SCOPES_BY_DOMAIN).find(([domain]) => `.${hostname}`.endsWith(`.${domain}`))?.[1];
}

/** The target of a request (RFC 9112, 3.2.1). */
interface RequestTarget {
  readonly method: string;
  /** The path as it was sent. `//host` stays a path. */
  readonly path: string;
  /** The query as it was sent, with its question mark. */
  readonly query: string;
}

/** Splits the target of a request; `undefined` for a whole URL, `*` and whatever else is no path. */
export function readTarget(method: string, target: string): RequestTarget | undefined {
  const [, path, query = ""] = /^(\/[!->@-~]*)(\?[!-~]*)?$/.exec(target) ?? [];
  return path === undefined || query.includes("#") ? undefined : { method, path, query };
}

/** A request that may be sent, and where. */
export interface Route {
  readonly upstream: Upstream;
  /** Path and query for the upstream. */
  readonly target: string;
}

/** Finds the rule for a request, or says why none allows it. */
export function routeOf({ method, path, query }: RequestTarget, upstreams: readonly Upstream[]): Route | Refusal {
  const [, host = "", rest = ""] = /^\/([^/]*)(\/.*)?$/s.exec(path) ?? [];
  const name = host.toLowerCase();
  const ofHost = upstreams.filter((upstream) => upstream.host === name);
  if (ofHost.length === 0) {
    const known = [...new Set(upstreams.map((upstream) => `/${upstream.host}/`))].join(", ");
    return { statusCode: 404, message: `The path must begin with the host of an upstream: ${known}` };
  }
  if (!isUnambiguous(rest)) {
    return {
      statusCode: 400,
      message: "Two servers could read this path differently: it has dot segments or the like",
    };
  }
  const ofPath = ofHost.filter(({ prefix }) => rest === prefix || rest.startsWith(`${prefix}/`));
  if (ofPath.length === 0) return { statusCode: 403, message: "No upstream allows this path" };
  const upstream = ofPath.find(({ methods }) => methods.includes(method));
  if (!upstream) {
    const allow = [...new Set(ofPath.flatMap(({ methods }) => methods))];
    return { statusCode: 405, message: `No upstream allows ${method} for this path`, allow };
  }
  return { upstream, target: `${rest || "/"}${query}` };
}

/** Some servers decode a path more than once. One that goes on longer than this is refused. */
const MAX_DECODINGS = 4;

/**
 * Returns true if no server can take another path for the one that was checked, however often it decodes it, and compares it by
 * NFKC in between.
 */
export function isUnambiguous(path: string): boolean {
  if (isPlain(path)) return true;
  let current = path;
  for (let times = 0; times <= MAX_DECODINGS; times++) {
    if (!current.split("/").every(isPlainSegment)) return false;
    const decoded = decodePercent(withoutIgnorables(current.normalize("NFKC")));
    if (decoded === undefined) return false;
    if (decoded === current) return true;
    current = decoded;
  }
  return false;
}

/** Removes the characters that are drawn as nothing, which some servers drop. */
function withoutIgnorables(path: string): string {
  return path.replaceAll(/[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu, "");
}

/** Returns true for segments of letters, digits and marks, none of which begins or ends with a dot: nearly all paths. */
function isPlain(path: string): boolean {
  return /^(\/([\w$~@:!'()*,=+-][\w$~@:!'()*,=+.-]*)?)*$/.test(path) && !/\.(\/|$)/.test(path);
}

/**
 * Characters that a segment may consist of, in its NFKC and without invisible characters: those of names in all languages, and
 * emoji. Others end the string or the path for some servers (control characters, a number sign, line separators), or are the
 * nearest character to a backslash, slash or percent sign in a code page (the yen and won signs, division slashes, U+066A).
 */
const PASSING =
  /^(?:(?![\\#\xA5\u20A9\u0337\u0338\u20E5])[ -~\xA1-\xBF\xD7\xF7\u2190-\u21FF\u3001\u3002\u30FB\p{L}\p{M}\p{N}\p{Zs}\p{Pc}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Sc}\p{Sk}\p{So}\p{Extended_Pictographic}])*$/u;

/**
 * Returns false for a segment that some server takes for `.` or `..`, for none, or for more than one: Windows drops dots and spaces
 * at the end and reads a colon as the name of a stream, some servers cut parameters off, compare by NFKC, drop invisible characters,
 * or map to a code page by the nearest character.
 */
function isPlainSegment(segment: string): boolean {
  const normalized = withoutIgnorables(segment.normalize("NFKC"));
  if (!PASSING.test(normalized) || normalized.includes("/")) return false;
  if (/[\p{Cc}\p{Zl}\p{Zp}\\#]/u.test(segment)) return false;
  if (segment.startsWith("..") || normalized.startsWith("..")) return false;
  const name = normalized.replace(/[;:].*$/s, "");
  return name === "" || name.replace(/[.\p{Zs}]+$/u, "") !== "";
}

/** Decodes `%XX` once; `undefined` for other percent signs (IIS reads `%uXXXX`), and for bytes that are not UTF-8. */
function decodePercent(path: string): string | undefined {
  if (!path.includes("%")) return path;
  try {
    // It throws for both.
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
