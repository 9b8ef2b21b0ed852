/**
 * Git's credential protocol, as its documentation has it (git-credential(1), "Input/output format"). Pure.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, environmentAliases, isLoopbackHost } from "../lib/authority.ts";
import { readEnvironment } from "../lib/runtime/host.ts";
import { isTerminal, write } from "../lib/runtime/program.ts";
import { readStandardInput } from "../lib/runtime/stdio.ts";
import { LatchkeyError } from "../lib/errors.ts";
import { type Command, type CommandLine, UsageError } from "./cli/command_line.ts";
import { needsPerson, withLoginHint } from "./cli/failures.ts";
import { ACCOUNT, APP, BROWSER, INTERACTIVE, TENANT, TIMEOUT, VERBOSE } from "./cli/options.ts";
import { gitHostEntries } from "./cli/profiles.ts";
import { acquireToken, interactiveOf, type TokenOptions } from "./token.ts";

/** The command. */
export const command: Command = {
  name: "git",
  summary: "Git credential helper for Azure DevOps",
  usage: "git --client-id ID [options] get|store|erase",
  operands: 1,
  operand: { value: "OPERATION", choices: ["get", "store", "erase"] },
  options: [
    ACCOUNT,
    ...APP,
    TENANT,
    { ...INTERACTIVE, summary: "Whether a window or the browser may be opened; auto: if stderr is a terminal" },
    ...BROWSER.filter(({ name }) => name !== "no-browser"),
    TIMEOUT,
    VERBOSE,
  ],
  unlike: {
    "no-browser": "git uses stdin, where the address would be pasted; use latchkey login --no-browser",
    scope: "the server says which token it needs; for other servers, set git in latchkey/config.json",
    resource: "the server says which token it needs; for other servers, set git in latchkey/config.json",
  },
  examples: [
    [
      "git config --global credential.https://dev.azure.com.helper '!latchkey git --client-id ID'",
      "git asks for what it needs from then on",
    ],
    [
      "git config --global credential.https://dev.azure.com.helper '!latchkey git'",
      "the same, with the client id in LATCHKEY_CLIENT_ID or in the default profile",
    ],
  ],
  run: answerGit,
};

/** What git asks for, or was refused with. */
interface CredentialRequest {
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
interface Credential {
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
const CAPABILITIES = "version 0\ncapability authtype\ncapability state\n";

/** Ends git's command: no other helper is asked, nor is the person asked for a password. */
const QUIT = "quit=1\n";

/** What is asked for, for a server. */
interface GitHost {
  readonly scopes: readonly string[];
  /** Values of options that the configuration file has for the server. */
  readonly values: Readonly<Record<string, string>>;
}

/** Azure DevOps' id, which is the same in all tenants. */
const AZURE_DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/** The documented names of Azure DevOps: `dev.azure.com/ORGANISATION`, and the older `ORGANISATION.visualstudio.com`. */
const AZURE_DEVOPS = /^https:\/\/(dev\.azure\.com|[a-z0-9]([a-z0-9-]*[a-z0-9])?\.visualstudio\.com)$/;
const HOST = /^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i;

/**
 * What the server of a request is asked a token for.
 *
 * @param request What git asks for.
 * @param entries Values of the configuration file, by server.
 * @returns `undefined` for a server that gets none.
 */
export function findGitHost(
  { protocol, host }: Pick<CredentialRequest, "protocol" | "host">,
  entries: Readonly<Record<string, Readonly<Record<string, string>>>>,
): GitHost | undefined {
  const origin = ["http", "https"].includes(protocol) && HOST.test(host)
    ? originOf(`${protocol}://${host}`)
    : undefined;
  if (origin === undefined) return undefined;
  const [, { scope, ...values } = {}] = Object.entries(entries).find(([name]) => originsOf(name).includes(origin)) ??
    [];
  if (scope !== undefined) return { scopes: scope.split(/\s+/).filter(Boolean), values };
  return AZURE_DEVOPS.test(origin) ? { scopes: [AZURE_DEVOPS_SCOPE], values } : undefined;
}

/** Whether a name can be a server's: `git.contoso.com`, `git.contoso.com:8443`, `http://git.contoso.com`. */
export function isGitHost(name: string): boolean {
  return originsOf(name).length > 0;
}

/**
 * The addresses that a name in the configuration file is for: a host is one behind TLS, or on this machine. What goes over the
 * network unencrypted has to be named so.
 */
function originsOf(name: string): readonly string[] {
  const [, scheme, host = ""] = /^(https?:\/\/)?([^/]+)\/?$/i.exec(name) ?? [];
  const secure = originOf(`https://${host}`), plain = originOf(`http://${host}`);
  if (!HOST.test(host) || secure === undefined || plain === undefined) return [];
  if (scheme !== undefined) return [scheme.toLowerCase() === "https://" ? secure : plain];
  return isLoopbackHost(new URL(plain).hostname) ? [secure, plain] : [secure];
}

function originOf(address: string): string | undefined {
  return URL.canParse(address) ? new URL(address).origin : undefined;
}

/** Whether the server takes a bearer token, as far as it says. One that says nothing of it may. */
export function takesBearer({ challenges }: Pick<CredentialRequest, "challenges">): boolean {
  const schemes = challenges.map((challenge) => challenge.trim().split(/[\s,]/)[0]!.toLowerCase());
  return challenges.some((challenge) => BEARER.test(challenge)) || !schemes.includes("basic");
}

const BEARER = /(^|,)\s*Bearer(\s|,|$)/i;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NO_TENANT = "00000000-0000-0000-0000-000000000000";

/**
 * The tenant that the server wants the token from, as Azure DevOps says: an organisation is in one, which a guest has to be told.
 *
 * @returns `undefined` where it does not say, or names no tenant of Microsoft's.
 */
export function challengedTenant({ challenges }: Pick<CredentialRequest, "challenges">): string | undefined {
  for (const challenge of challenges.filter((each) => BEARER.test(each))) {
    const [, quoted, bare = ""] = /authorization_uri\s*=\s*(?:"([^"]*)"|([^\s,]+))/i.exec(challenge) ?? [];
    const address = quoted ?? bare;
    if (!URL.canParse(address)) continue;
    const { protocol, host, pathname } = new URL(address), tenant = pathname.split("/")[1]!.toLowerCase();
    // Azure DevOps is in the public cloud, and so are its tenants.
    const isPublicCloud = environmentAliases(host)[0] === new URL(DEFAULT_AUTHORITY).host;
    if (protocol === "https:" && isPublicCloud && GUID.test(tenant) && tenant !== NO_TENANT) return tenant;
  }
  return undefined;
}

/** What latchkey says to itself by way of git: that the credential is one of its own. */
const OWN_STATE = "latchkey:token";

/** Answers git. What it asks of servers that are not known, and operations that are to come, get no answer. */
async function answerGit(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const [operation] = line.operands;
  if (operation === undefined) throw new UsageError("get, store or erase is missing: git itself adds it");
  if (operation === "capability") return write("stdout", CAPABILITIES);
  // Nothing is stored: whoever keeps the tokens, it is not git.
  if (operation !== "get" && operation !== "erase") return;
  const bytes = await readStandardInput({ maxBytes: MAX_REQUEST_BYTES, isComplete: isWholeRequest, signal });
  const request = readRequest(bytes), host = findGitHost(request, await gitHostEntries(isGitHost));
  if (!host) return;
  const server: Server = { request, scopes: host.scopes, lines: linesFor(line, request, host.values), signal };
  return operation === "get" ? await get(server) : await erase(server);
}

/** What git asks for, and how it is had. */
interface Server {
  readonly request: CredentialRequest;
  readonly scopes: readonly string[];
  /** The command line as it is for the server; then as it was, perhaps, when the user was not known. */
  readonly lines: readonly [CommandLine, ...CommandLine[]];
  readonly signal: AbortSignal | undefined;
}

async function get({ request, scopes, lines: [line], signal }: Server): Promise<void> {
  const { capabilities, username } = request;
  try {
    const interactive = gitInteractive(line), asked = () => ({ scopes });
    const { account, accessToken: token, expiresOn } = await acquireToken(line, { interactive, signal, asked });
    write(
      "stdout",
      writeCredential({
        username: username ?? (account.username || account.homeAccountId),
        ...{ token, expiresOn },
        isBearer: capabilities.has("authtype") && takesBearer(request),
        state: capabilities.has("state") ? OWN_STATE : undefined,
      }),
    );
  } catch (error) {
    // Nobody has another password than the one who did not sign in.
    if (signal?.aborted || error instanceof LatchkeyError && needsPerson(error)) write("stdout", QUIT);
    throw withLoginHint(error, line, scopes);
  }
}

/** The server refused a token. If it is one that is held, the next one is to be new. */
async function erase({ request: { secret, capabilities, states }, scopes, lines, signal }: Server): Promise<void> {
  const isOwn = states.includes(OWN_STATE), isOthers = capabilities.has("state") && !isOwn;
  if (secret === undefined || isOthers || lines[0].text("client-id") === undefined) return;
  for (const line of lines) {
    const acquire = (forceRefresh: boolean) =>
      acquireToken(line, { interactive: "never", signal, asked: () => ({ scopes, forceRefresh }) });
    try {
      const held = await acquire(false).catch((error) => {
        // Where there is none, none was refused: the password was another helper's.
        if (!isOwn && error instanceof LatchkeyError && needsPerson(error)) return undefined;
        throw error;
      });
      if (held?.accessToken === secret) return void await acquire(true);
    } catch (error) {
      throw withLoginHint(error, line, scopes);
    }
  }
}

/** Standard input is git's, so that standard error alone tells whether somebody sits there. */
function gitInteractive(line: CommandLine): TokenOptions["interactive"] {
  if (line.get(INTERACTIVE) !== "auto") return interactiveOf(line);
  const mayAsk = !/^(0|false|no|off)$/i.test(readEnvironment("GIT_TERMINAL_PROMPT") ?? "");
  return isTerminal("stderr") && mayAsk ? "if-needed" : "never";
}

/**
 * The command line, with what the configuration file has for the server in place of what a profile has, with the user of the
 * address, and the server's tenant where none is named. Git names the user that it was given a token for when that is refused;
 * the token was asked for without.
 */
function linesFor(line: CommandLine, request: CredentialRequest, entry: Values): Server["lines"] {
  const { username } = request, plain = withTenant(withValues(line, entry), request);
  if (!username?.includes("@") || line.isGiven("account")) return [plain];
  return [withTenant(withValues(line, { ...entry, account: username }), request), plain];
}

function withTenant(line: CommandLine, request: CredentialRequest): CommandLine {
  if (line.text("tenant") !== undefined || !isForAnyTenant(line.text("authority"))) return line;
  const tenant = challengedTenant(request);
  return tenant === undefined ? line : withValues(line, { tenant });
}

type Values = Readonly<Record<string, string>>;

function withValues(line: CommandLine, values: Values): CommandLine {
  return line.with(Object.fromEntries(Object.entries(values).filter(([name]) => !line.isGiven(name))));
}

/** Whether an authority is Microsoft's for all tenants: only there is a tenant to be named beside. */
function isForAnyTenant(authority = DEFAULT_AUTHORITY): boolean {
  return /^https:\/\/login\.microsoftonline\.com\/(common|organizations)\/?$/i.test(authority);
}
