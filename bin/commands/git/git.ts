/**
 * `latchkey git`: a credential helper (git-credential(1), "Input/output format").
 *
 * @module
 */
import { nameOf } from "../../../lib/account.ts";
import { isGuid } from "../../../lib/encoding.ts";
import { DEFAULT_AUTHORITY, environmentAliases, isLoopbackHost } from "../../../lib/authority.ts";
import { readEnvironment } from "../../../lib/runtime/host.ts";
import { readStandardInput } from "../../../lib/runtime/terminal.ts";
import { clientIdOf } from "../../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../../cli/command_line.ts";
import { isSignInNeeded } from "../../cli/failures.ts";
import { ACCOUNT, APP, BROWSER, INTERACTIVE, TENANT, TIMEOUT, VERBOSE } from "../../cli/options.ts";
import { print, say } from "../../cli/output.ts";
import { gitHostEntries } from "../../cli/profiles.ts";
import { type Interactive, interactiveOf, openTokens } from "../../cli/tokens.ts";

const AZURE_DEVOPS_HOST = "dev.azure.com";

export const command: Command = {
  name: "git",
  summary: "Git credential helper for Azure DevOps and your own servers",
  usage: "git --client-id ID [options] (get|store|erase | --install | --uninstall)",
  operands: 1,
  operand: { value: "OPERATION", choices: ["get", "store", "erase"] },
  options: [
    {
      name: "install",
      kind: "switch",
      environment: false,
      summary: "Write this helper and the other options to git's global configuration",
    },
    {
      name: "uninstall",
      kind: "switch",
      environment: false,
      summary: "Remove this helper from git's global configuration",
    },
    {
      name: "host",
      kind: "list",
      value: "HOST",
      environment: false,
      summary:
        `Server for --install, such as ${AZURE_DEVOPS_HOST}/contoso; may be repeated (default: ${AZURE_DEVOPS_HOST})`,
    },
    ACCOUNT,
    ...APP,
    TENANT,
    { ...INTERACTIVE, meanings: { ...INTERACTIVE.meanings, auto: "If stderr is a terminal" } },
    ...BROWSER.filter(({ name }) => name !== "no-browser"),
    TIMEOUT,
    VERBOSE,
  ],
  unlike: {
    "no-browser": "git uses stdin, where the URL would be pasted; use latchkey login --no-browser",
    scope: "Azure DevOps says which token it needs; for other servers, set git in latchkey/config.json",
    resource: "Azure DevOps says which token it needs; for other servers, set git in latchkey/config.json",
  },
  examples: [
    [
      "latchkey git --install --client-id azure-cli",
      "Let git get its tokens for Azure DevOps from latchkey",
    ],
    [
      "latchkey git --install --host dev.azure.com/fabrikam --client-id azure-cli --account jane@fabrikam.com",
      "Use another account for one organization",
    ],
    ["latchkey git --uninstall", "Remove latchkey from git's configuration"],
  ],
  run: runGit,
};

/** Git's request, or the credential that a server rejected. */
interface CredentialRequest {
  readonly protocol: string;
  /** Host, with the port if git was given one. */
  readonly host: string;
  readonly username: string | undefined;
  /** The password, or the credential of an `authtype`, that was rejected. */
  readonly secret: string | undefined;
  /** Features of this git beyond user names and passwords. */
  readonly capabilities: ReadonlySet<string>;
  /** States that credential helpers returned the last time. */
  readonly states: readonly string[];
  /** Values of the server's `WWW-Authenticate`. */
  readonly challenges: readonly string[];
}

interface Credential {
  readonly username: string;
  readonly token: string;
  readonly expiresOn: Date;
  /** True to send a bearer token; git must have the capability. */
  readonly isBearer: boolean;
  /** Text that git returns in later requests; git must have the capability. */
  readonly state?: string | undefined;
}

/** Git's limit for a line, including the newline. */
const MAX_LINE_BYTES = 65_535;
/** Limit for a request: git sends a few lines, and the headers of one response. */
export const MAX_REQUEST_BYTES = 1_048_576;

/** Returns true if the bytes contain the empty line that ends a request. */
export function isWholeRequest(bytes: Uint8Array, from: number): boolean {
  for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] === 10) return true;
  }
  return false;
}

/** Reads a request. Errors quote none of it: it can contain a password. */
export function readRequest(bytes: Uint8Array): CredentialRequest {
  if (bytes.length > MAX_REQUEST_BYTES) throw malformed(`it has more than ${MAX_REQUEST_BYTES} bytes`);
  const single = new Map<string, string>();
  const lists = new Map<string, string[]>();
  for (const line of linesOf(bytes)) {
    const at = line.indexOf("=");
    if (at < 1) throw malformed("a line is not KEY=VALUE");
    const key = line.slice(0, at);
    const value = line.slice(at + 1);
    if (key.endsWith("[]")) {
      lists.set(key, value === "" ? [] : [...lists.get(key) ?? [], value]);
    } else if (["protocol", "host"].includes(key) && single.has(key)) {
      // Git sends each once: a second one was injected by a URL with a newline.
      throw malformed(`${key} appears twice`);
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
    const found = bytes.indexOf(10, begin);
    const end = found < 0 ? bytes.length : found;
    if (end - begin >= MAX_LINE_BYTES) throw malformed(`a line has more than ${MAX_LINE_BYTES} bytes`);
    const line = decoder.decode(bytes.subarray(begin, end));
    if (line === "") return;
    // Git refuses both in a URL since attacks on credential helpers used them.
    if (/[\0\r]/.test(line)) throw malformed("it contains a NUL or a carriage return");
    yield line;
    begin = end + 1;
  }
}

function malformed(why: string): UsageError {
  return new UsageError(`Cannot use what git wrote to standard input: ${why}`);
}

/** Encodes a credential for git. A line break is an error: git would take what follows for another value. */
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
    if (/[\0\r\n]/.test(value)) throw new Error(`The ${key} for git contains a line break`);
    return `${key}=${value}\n`;
  }).join("");
}

/** Output of `latchkey git capability`. */
const CAPABILITIES = "version 0\ncapability authtype\ncapability state\n";

/** Ends git's command: git asks no other credential helper, and does not prompt for a password. */
const QUIT = "quit=1\n";

type Values = Readonly<Record<string, string>>;

/** Azure DevOps has the same id in all tenants. */
const AZURE_DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/** Azure DevOps is at `dev.azure.com/ORGANISATION`, or at the older `ORGANISATION.visualstudio.com`. */
const AZURE_DEVOPS = /^https:\/\/(dev\.azure\.com|[a-z0-9]([a-z0-9-]*[a-z0-9])?\.visualstudio\.com)$/;
const HOST = /^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i;

/**
 * Returns the scopes, and the option values of the configuration file, for the server of a request if it is in that file's entries,
 * or Azure DevOps: no other gets a token.
 */
export function findGitHost(
  { protocol, host }: Pick<CredentialRequest, "protocol" | "host">,
  entries: Readonly<Record<string, Values>>,
): { readonly scopes: readonly string[]; readonly values: Values } | undefined {
  const origin = originOf(protocol, host);
  if (origin === undefined) return undefined;
  const entry = Object.entries(entries).find(([name]) => originsOf(name).includes(origin));
  const { scope, ...values } = entry?.[1] ?? {};
  if (scope !== undefined) return { scopes: scope.split(/\s+/).filter(Boolean), values };
  return AZURE_DEVOPS.test(origin) ? { scopes: [AZURE_DEVOPS_SCOPE], values } : undefined;
}

/** Returns true for the name of a server: `git.contoso.com`, `git.contoso.com:8443`, `http://git.contoso.com`. */
export function isGitHost(name: string): boolean {
  return originsOf(name).length > 0;
}

/**
 * Returns the origins of a name in the configuration file. A host without a scheme means HTTPS, and HTTP only on this
 * machine: an unencrypted server on the network must be named with `http://`.
 */
function originsOf(name: string): readonly string[] {
  const [, scheme, host = ""] = /^(?:(https?):\/\/)?([^/]+)\/?$/i.exec(name) ?? [];
  const secure = originOf("https", host);
  const plain = originOf("http", host);
  if (secure === undefined || plain === undefined) return [];
  if (scheme !== undefined) return [scheme.toLowerCase() === "https" ? secure : plain];
  return isLoopbackHost(new URL(plain).hostname) ? [secure, plain] : [secure];
}

function originOf(protocol: string, host: string): string | undefined {
  const address = `${protocol}://${host}`;
  const isValid = /^https?$/.test(protocol) && HOST.test(host);
  return isValid && URL.canParse(address) ? new URL(address).origin : undefined;
}

/** Returns true if the server accepts bearer tokens, or if its challenges do not say. */
export function takesBearer({ challenges }: Pick<CredentialRequest, "challenges">): boolean {
  const schemes = challenges.map((challenge) => challenge.trim().split(/[\s,]/)[0]!.toLowerCase());
  return challenges.some((challenge) => BEARER.test(challenge)) || !schemes.includes("basic");
}

const BEARER = /(^|,)\s*Bearer(\s|,|$)/i;
const NO_TENANT = "00000000-0000-0000-0000-000000000000";

/** Returns the tenant that a server names. That of an Azure DevOps organisation differs from a guest's own. */
export function challengedTenant({ challenges }: Pick<CredentialRequest, "challenges">): string | undefined {
  for (const challenge of challenges.filter((each) => BEARER.test(each))) {
    const [, quoted, bare = ""] = /authorization_uri\s*=\s*(?:"([^"]*)"|([^\s,]+))/i.exec(challenge) ?? [];
    const address = quoted ?? bare;
    if (!URL.canParse(address)) continue;
    const { protocol, host, pathname } = new URL(address);
    const tenant = pathname.split("/")[1]!.toLowerCase();
    // Azure DevOps has its tenants in the public cloud.
    const isPublicCloud = environmentAliases(host)[0] === new URL(DEFAULT_AUTHORITY).host;
    if (protocol === "https:" && isPublicCloud && isGuid(tenant) && tenant !== NO_TENANT) return tenant;
  }
  return undefined;
}

/** Marks a credential as ours; git returns it when the server rejects the credential. */
const OWN_STATE = "latchkey:token";

async function runGit(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const isInstalled = line.isOn("install");
  const isRemoved = line.isOn("uninstall");
  if (isInstalled && isRemoved) throw new UsageError("--install and --uninstall exclude each other");
  if (!isInstalled && !isRemoved) {
    if (line.list("host").length > 0) throw new UsageError("--host goes with --install or --uninstall");
    return await answerGit(line, signal);
  }
  if (line.operands.length > 0) throw new UsageError(`${line.operands[0]} is git's own word, which it adds itself`);
  const places = placesOf(line);
  const [{ installHelper, uninstallHelper }, { storedCommand, warnIfCopied }] = await Promise.all([
    import("./install.ts"),
    import("../../cli/stored_command.ts"),
  ]);
  const stored = storedCommand(line, "git", command.options.filter(({ name }) => name !== "host"));
  if (isRemoved) return await uninstallHelper(line.list("host").length > 0 ? places : undefined, stored, signal);
  await checkPlaces(line, places);
  await installHelper(places, stored, signal);
  warnIfCopied(stored);
}

/** Returns the places that `--host` names. */
function placesOf(line: CommandLine): readonly { readonly url: string; readonly host: string }[] {
  const given = line.list("host");
  return (given.length > 0 ? given : [AZURE_DEVOPS_HOST]).map((host) => {
    const [, server = "", path = ""] = /^((?:https?:\/\/)?[^/]+)((?:\/[\w.~%@+-]+)*)\/*$/i.exec(host) ?? [];
    const [origin] = originsOf(server);
    if (origin !== undefined) return { url: `${origin}${path}`, host };
    throw new UsageError(`--host takes a server such as ${AZURE_DEVOPS_HOST}, not ${JSON.stringify(host)}`);
  });
}

/** Checks that each place can get a token: an error now is better than one in git. */
async function checkPlaces(line: CommandLine, places: readonly { readonly url: string }[]): Promise<void> {
  const entries = await gitHostEntries(isGitHost);
  for (const { url } of places) {
    const { protocol, host } = new URL(url);
    const found = findGitHost({ protocol: protocol.slice(0, -1), host }, entries);
    clientIdOf(withValues(line, found?.values ?? {}));
    if (!found) say(`${host} gets a token only once it has a scope, under "git" in latchkey/config.json`);
  }
}

/** Answers git. Unknown servers and unknown operations get no answer. */
async function answerGit(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const [operation] = line.operands;
  if (operation === undefined) {
    throw new UsageError("get, store or erase is missing: git adds it when it runs the credential helper");
  }
  if (operation === "capability") return print(CAPABILITIES);
  // "store" does nothing: the tokens are stored already.
  if (operation !== "get" && operation !== "erase") return;
  const bytes = await readStandardInput({ maxBytes: MAX_REQUEST_BYTES, isComplete: isWholeRequest, signal });
  const request = readRequest(bytes);
  const host = findGitHost(request, await gitHostEntries(isGitHost));
  if (!host) return;
  const task: Task = { request, scopes: host.scopes, lines: linesFor(line, request, host.values), signal };
  return operation === "get" ? await get(task) : await erase(task);
}

interface Task {
  readonly request: CredentialRequest;
  readonly scopes: readonly string[];
  /** The command line for the server; then the one without the user name, if git gave one. */
  readonly lines: readonly [CommandLine, ...CommandLine[]];
  readonly signal: AbortSignal | undefined;
}

async function get({ request, scopes, lines: [line], signal }: Task): Promise<void> {
  const { capabilities, username } = request;
  try {
    const tokens = await openTokens(line, { interactive: gitInteractive(line), signal, namesSignIn: true });
    const { account, accessToken: token, expiresOn } = await tokens.acquire({ scopes });
    print(writeCredential({
      username: username ?? nameOf(account),
      ...{ token, expiresOn },
      isBearer: capabilities.has("authtype") && takesBearer(request),
      state: capabilities.has("state") ? OWN_STATE : undefined,
    }));
  } catch (error) {
    // Without a sign-in there is no other password to ask for.
    if (signal?.aborted || isSignInNeeded(error)) print(QUIT);
    throw error;
  }
}

/** The server rejected a token. If the cache has it, replaces it by a new one. */
async function erase({ request: { secret, capabilities, states }, scopes, lines, signal }: Task): Promise<void> {
  const isOwn = states.includes(OWN_STATE);
  const isOthers = capabilities.has("state") && !isOwn;
  if (secret === undefined || isOthers || lines[0].text("client-id") === undefined) return;
  for (const line of lines) {
    const tokens = await openTokens(line, { interactive: "never", signal, namesSignIn: true });
    const cached = await tokens.acquire({ scopes }).catch((error) => {
      // Without a token of ours, the rejected password came from another credential helper.
      if (!isOwn && isSignInNeeded(error)) return undefined;
      throw error;
    });
    if (cached?.accessToken === secret) return void await tokens.acquire({ scopes, forceRefresh: true });
  }
}

/** Standard input belongs to git, so only standard error shows whether there is a terminal. */
function gitInteractive(line: CommandLine): Interactive {
  const isForbidden = /^(0|false|no|off)$/i.test(readEnvironment("GIT_TERMINAL_PROMPT") ?? "");
  if (isForbidden && line.get(INTERACTIVE) === "auto") return "never";
  return interactiveOf(line, { terminal: "stderr" });
}

/**
 * Returns the command line with the configuration file's values for the server, the user of the URL, and the server's tenant if
 * none is given. After a rejection git passes the user name of the credential, although the token was requested without it.
 */
function linesFor(line: CommandLine, request: CredentialRequest, entry: Values): Task["lines"] {
  const { username } = request;
  const plain = withTenant(withValues(line, entry), request);
  if (!username?.includes("@") || line.isGiven("account")) return [plain];
  return [withTenant(withValues(line, { ...entry, account: username }), request), plain];
}

/** Only Microsoft's authorities for all tenants can be combined with a tenant. */
function withTenant(line: CommandLine, request: CredentialRequest): CommandLine {
  const authority = line.text("authority") ?? DEFAULT_AUTHORITY;
  const isForAnyTenant = /^https:\/\/login\.microsoftonline\.com\/(common|organizations)\/?$/i.test(authority);
  const tenant = line.text("tenant") === undefined && isForAnyTenant ? challengedTenant(request) : undefined;
  return tenant === undefined ? line : line.with({ tenant });
}

function withValues(line: CommandLine, values: Values): CommandLine {
  return line.with(Object.fromEntries(Object.entries(values).filter(([name]) => !line.isGiven(name))));
}
