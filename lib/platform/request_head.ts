/**
 * The head of an HTTP/1.1 request (RFC 9112), read from bytes. Pure. Why no runtime's own server is used for it
 * is in `http_connections.ts`.
 *
 * @module
 */

/** What a request begins with. */
export interface RequestHead {
  /** Such as `GET`. */
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: string;
  /** Header fields by their lower-case names. */
  readonly fields: ReadonlyMap<string, string>;
  /** Where the body begins, in bytes. */
  readonly length: number;
}

const MAX_HEAD_BYTES = 16 * 1024;
/** Fields by which a request is judged: whoever sends one twice means two readers to take one each. */
const ONCE = /^(host|origin|content-length|content-type|transfer-encoding|x-identity-header|sec-fetch-.*)$/;

/**
 * Reads the head of a request.
 *
 * @param received All that was received so far.
 * @returns The head; the HTTP status that turns it away; `undefined` while more has to come.
 */
export function readRequestHead(received: Uint8Array): RequestHead | 400 | 431 | undefined {
  const text = new TextDecoder("latin1").decode(received.subarray(0, MAX_HEAD_BYTES));
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return received.length >= MAX_HEAD_BYTES ? 431 : undefined;
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const [, method, target] = /^([A-Z]+) (\/[!-~]*) HTTP\/1\.[01]$/.exec(first) ?? [];
  const fields = readFields(lines);
  return method && target && fields ? { method, target, fields, length: end + 4 } : 400;
}

/**
 * Path and query of a target. They are taken apart, so that a path such as `//host` stays one.
 *
 * @returns The query with its question mark; both as they were sent.
 */
export function splitTarget(target: string): readonly [path: string, query: string] {
  const mark = target.indexOf("?");
  return mark === -1 ? [target, ""] : [target.slice(0, mark), target.slice(mark)];
}

/**
 * What a client that was told a port may call the loopback interface in a Host field. Another name that leads there is how a
 * page of someone else's would get to read the answers (DNS rebinding).
 *
 * @param names The names, without a port.
 * @param port The port that is listened on.
 */
export function hostsOf(names: readonly string[], port: number): readonly string[] {
  return names.flatMap((name) => port === 80 ? [name, `${name}:80`] : `${name}:${port}`);
}

/** `undefined` when a line is none, or a field that counts comes twice. */
function readFields(lines: readonly string[]): ReadonlyMap<string, string> | undefined {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\u0080-\uffff]*)$/.exec(line) ?? [];
    if (!name) return undefined;
    const key = name.toLowerCase();
    if (fields.has(key) && ONCE.test(key)) return undefined;
    fields.set(key, value!.trim());
  }
  return fields;
}
