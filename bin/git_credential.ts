/**
 * Git's credential protocol, as its documentation has it (git-credential(1), "Input/output format"). Pure.
 *
 * @module
 */
import { UsageError } from "./command_line.ts";

/** What git asks for, or was refused with. */
export interface CredentialRequest {
  /** Such as `https`. */
  readonly protocol: string;
  /** Host, and the port where git was given one. */
  readonly host: string;
  /** Who, as far as git knows. */
  readonly username: string | undefined;
  /** The password, or the credential of an `authtype`, that was tried. */
  readonly secret: string | undefined;
  /** What git understands beyond user names and passwords. */
  readonly capabilities: ReadonlySet<string>;
  /** What helpers said the last time, to themselves. */
  readonly states: readonly string[];
  /** The values of the server's `WWW-Authenticate`. */
  readonly challenges: readonly string[];
}

/** What git is given. */
export interface Credential {
  readonly username: string;
  readonly token: string;
  readonly expiresOn: Date;
  /** Whether as a bearer token, which git has to understand. */
  readonly isBearer: boolean;
  /** What is to be told again; git has to understand it. */
  readonly state?: string | undefined;
}

/** Git's limit for a line, its end included. */
const MAX_LINE_BYTES = 65_535;
/** Limit for a whole request: git sends a few lines, and the headers of one response. */
export const MAX_REQUEST_BYTES = 1_048_576;

/** Whether a request has been read to its end, which is an empty line or the end of the input. */
export function isWholeRequest(bytes: Uint8Array, from: number): boolean {
  for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] === 10) return true;
  }
  return false;
}

/**
 * Reads a request.
 *
 * @param bytes All of standard input, as far as it was read.
 * @throws {UsageError} when it is none, or too long. What it has in it is not told: it can be a password.
 */
export function readRequest(bytes: Uint8Array): CredentialRequest {
  if (bytes.length > MAX_REQUEST_BYTES) throw malformed(`it has more than ${MAX_REQUEST_BYTES} bytes`);
  const single = new Map<string, string>(), lists = new Map<string, string[]>();
  for (const line of linesOf(bytes)) {
    const at = line.indexOf("=");
    if (at < 1) throw malformed("a line is not KEY=VALUE");
    const key = line.slice(0, at), value = line.slice(at + 1);
    if (key.endsWith("[]")) {
      lists.set(key, value === "" ? [] : [...lists.get(key) ?? [], value]);
    } else if (["protocol", "host"].includes(key) && single.has(key)) {
      // Git sends each once: the second one is somebody's who got a line of his own into an address.
      throw malformed(`${key} is there twice`);
    } else single.set(key, value);
  }
  return {
    protocol: single.get("protocol") ?? "",
    host: single.get("host") ?? "",
    username: single.get("username") || undefined,
    secret: single.get("credential") ?? single.get("password"),
    capabilities: new Set(lists.get("capability[]")),
    states: lists.get("state[]") ?? [],
    challenges: lists.get("wwwauth[]") ?? [],
  };
}

function* linesOf(bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder();
  for (let begin = 0; begin < bytes.length;) {
    const found = bytes.indexOf(10, begin), end = found < 0 ? bytes.length : found;
    if (end - begin >= MAX_LINE_BYTES) throw malformed(`a line has more than ${MAX_LINE_BYTES} bytes`);
    const line = decoder.decode(bytes.subarray(begin, end));
    if (line === "") return;
    // Git itself refuses both in an address since they were put there to deceive helpers.
    if (/[\0\r]/.test(line)) throw malformed("there is a NUL or a carriage return in it");
    yield line;
    begin = end + 1;
  }
}

function malformed(why: string): UsageError {
  return new UsageError(`Cannot use what git wrote to standard input: ${why}`);
}

/**
 * Writes what git is given.
 *
 * @throws {Error} when a value has a line's end in it: git would take what follows for another value.
 */
export function writeCredential({ username, token, expiresOn, isBearer, state }: Credential): string {
  const rows: [string, string | undefined][] = [
    ["capability[]", isBearer ? "authtype" : undefined],
    ["capability[]", state && "state"],
    ...(isBearer
      ? [["authtype", "Bearer"], ["credential", token], ["ephemeral", "1"]]
      : [["username", username], ["password", token]]) satisfies [string, string][],
    ["password_expiry_utc", String(Math.floor(expiresOn.getTime() / 1000))],
    ["state[]", state],
  ];
  return rows.map(([key, value]) => {
    if (value === undefined) return "";
    if (/[\0\r\n]/.test(value)) throw new Error(`The ${key} for git has a line's end in it`);
    return `${key}=${value}\n`;
  }).join("");
}

/** What `latchkey git capability` prints. */
export const CAPABILITIES = "version 0\ncapability authtype\ncapability state\n";

/** Ends git's command: no other helper is asked, nor is the person asked for a password. */
export const QUIT = "quit=1\n";
