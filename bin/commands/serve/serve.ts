/**
 * `latchkey serve`: tokens for programs that support managed identities, in containers and elsewhere.
 *
 * @module
 */
import { encodeHex, readJson } from "../../../lib/encoding.ts";
import { isInteractionRequired, LatchkeyError, shortNameOf } from "../../../lib/errors.ts";
import { withLock } from "../../../lib/files/lock.ts";
import { readPrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import type { HttpReply } from "../../../lib/http/server.ts";
import {
  type EndpointAddress,
  requestFromSocket,
  requireSocketPermissions,
  requireTrustedSocket,
} from "../../../lib/http/unix_socket.ts";
import type { AcquireTokenRequest } from "../../../lib/request.ts";
import {
  operatingSystem,
  powershellWord,
  quoteCommand,
  readEnvironment,
  shellWord,
} from "../../../lib/runtime/host.ts";
import { runInForeground, StartError } from "../../../lib/runtime/process.ts";
import { onSignals } from "../../../lib/runtime/lifecycle.ts";
import { absolutePath, isThere } from "../../../lib/runtime/path.ts";
import { dropUnreadErrors } from "../../../lib/runtime/terminal.ts";
import { clientIdOf } from "../../cli/application.ts";
import { type Command, type CommandLine, portOf, UsageError } from "../../cli/command_line.ts";
import { loginCommand, messageOf } from "../../cli/failures.ts";
import { ACCOUNT, APP, INTERACTIVE, type Option, SCOPES, TENANT, VERBOSE } from "../../cli/options.ts";
import { print, say } from "../../cli/output.ts";
import { scopeOfResource } from "../../cli/scopes.ts";
import { interactiveOf, openTokens } from "../../cli/tokens.ts";
import { azureScopes } from "./azure_resources.ts";
import {
  type AcceptedRequest,
  AZD_PATH,
  failureReply,
  IDENTITY_PATH,
  identityAnswers,
  type IdentityEndpoint,
  type IdentityEndpointOptions,
  openIdentityEndpoint,
} from "./identity_endpoint.ts";
import type { Upstream } from "./upstream_rules.ts";

/** The command. */
export const command: Command = {
  name: "serve",
  summary: "Serve tokens to programs and containers, or let agents call APIs without a token",
  usage: "serve --client-id ID (--resource URL... | --upstream URL...) (--socket PATH | --port PORT | -- COMMAND...) " +
    "[options], or serve --forward SOCKET -- COMMAND...",
  operands: Infinity,
  operand: { value: "COMMAND" },
  wraps: true,
  isService: true,
  options: [
    // Only the command line says what is served.
    ...SCOPES.map((option): Option => {
      const summary = option.name === "scope"
        ? "Scope to serve, exactly as programs request it; may be repeated"
        : "Resource to serve, or azure for all that Azure CLI needs; may be repeated";
      return { ...option, kind: "list", environment: false, fromProfile: false, summary };
    }),
    {
      name: "upstream",
      kind: "list",
      hasSpaces: true,
      value: "URL",
      environment: false,
      fromProfile: false,
      summary: "API to call with the token added, as '[METHODS] URL [SCOPE]'; may be repeated",
    },
    {
      name: "socket",
      kind: "text",
      value: "PATH",
      summary: "Unix socket to serve on; only this user can open it",
    },
    {
      name: "port",
      kind: "text",
      value: "PORT",
      environment: false,
      summary: "Port of 127.0.0.1 to serve on, with a printed secret; 0 for any free port",
    },
    {
      name: "forward",
      kind: "text",
      value: "SOCKET",
      summary: "Socket of another latchkey serve to forward the requests of COMMAND to",
    },
    {
      name: "secret-file",
      kind: "text",
      value: "PATH",
      summary: "File for the secret of --port, instead of printing it",
    },
    { name: "idle", kind: "seconds", value: "SECONDS", summary: "Exit after SECONDS without a request" },
    {
      name: "identity",
      kind: "list",
      value: "ID",
      summary: "Managed identity to stand in for: client, object or resource id; may be repeated",
    },
    {
      ...INTERACTIVE,
      choices: ["never", "auto"],
      default: "never",
      environment: false,
      meanings: { never: "Fail a request that requires a prompt", auto: "If stdin and stderr are terminals" },
    },
    ACCOUNT,
    TENANT,
    ...APP,
    VERBOSE,
  ],
  unlike: { timeout: "it serves until it is ended; --idle SECONDS ends it when there are no requests" },
  examples: [
    [
      "latchkey serve --client-id azure-cli --resource https://management.azure.com -- python3 app.py",
      "Give DefaultAzureCredential in app.py your token",
    ],
    [
      "latchkey serve --client-id azure-cli --resource https://management.azure.com --socket $XDG_RUNTIME_DIR/latchkey/identity",
      "Serve containers that mount the socket's folder",
      "",
    ],
    ["latchkey serve --forward /run/latchkey/identity -- python3 app.py", "Run a program in such a container", ""],
    [
      "latchkey serve --client-id azure-cli --resource azure -- bash",
      "Open a shell for az login --identity --allow-no-subscriptions, and for azd",
      "latchkey serve --client-id azure-cli --resource azure -- powershell",
    ],
    [
      "latchkey serve --client-id azure-cli --upstream 'GET https://graph.microsoft.com/v1.0/me' --socket $XDG_RUNTIME_DIR/latchkey/graph",
      "Let a sandbox call Microsoft Graph without a token",
      "",
    ],
  ],
  run: serve,
};

/** Options that choose the listener. */
const LISTENERS = ["socket", "port", "forward"] as const;
/** Options of the server outside, which --forward does not take. */
const SERVER_OPTIONS = [
  "scope",
  "resource",
  "upstream",
  "client-id",
  "account",
  "identity",
  "interactive",
  "idle",
  "secret-file",
];

/** Serves tokens until a signal, until it is idle for too long, or until its command ends. Returns the exit code. */
async function serve(line: CommandLine): Promise<number> {
  const listener = listenerOf(line);
  if (line.seconds("idle") === 0) throw new UsageError("--idle takes a number of seconds above 0");
  const log = await dropUnreadErrors();
  try {
    if (listener === "forward") return await runForwarding(line);
    const service = await serviceOf(line, { isLogged: listener !== "command" || line.count("verbose") > 0 });
    try {
      if (listener === "command") return await runWithEndpoint(line.operands, service);
      return await (listener === "socket" ? onSocket : onPort)(line, service);
    } finally {
      service.close?.();
    }
  } finally {
    await log[Symbol.asyncDispose]();
  }
}

function listenerOf(line: CommandLine): (typeof LISTENERS)[number] | "command" {
  const [listener, ...more] = LISTENERS.filter((name) => line.nearest(...LISTENERS).includes(name));
  const [command] = line.operands;
  if (more.length > 0) throw new UsageError(`Give --${listener} or --${more[0]}, not both`);
  if (listener === "socket" || listener === "port") {
    if (command === undefined) return listener;
    throw new UsageError(`--${listener} serves every client: omit it to serve only ${JSON.stringify(command)}`);
  }
  if (command !== undefined) return listener ?? "command";
  throw new UsageError(
    listener ? "--forward needs a command, after --" : "--socket, --port or a command after -- is missing",
  );
}

/** A service at an address. */
interface Service {
  readonly open: (address: EndpointAddress & { readonly secret?: string }) => Promise<IdentityEndpoint>;
  /** Returns the environment of a program that uses an endpoint on a port. */
  readonly variables: (port: number, secret: string) => Readonly<Record<string, string>>;
  /** Says where it serves, in addition to the place. */
  readonly help?: string;
  readonly close?: () => void;
}

const IDENTITY_SERVICE = (options: IdentityEndpointOptions): Service => ({
  open: (address) => openIdentityEndpoint(address, options),
  variables: identityVariables,
  help: "; in a container: latchkey serve --forward SOCKET -- COMMAND",
});

/** Returns tokens, or a proxy, for the application of a command line. `close` closes the application. */
async function serviceOf(line: CommandLine, { isLogged }: { readonly isLogged: boolean }): Promise<Service> {
  const upstreams = await upstreamsOf(line);
  const scopes = upstreams.length > 0 ? undefined : allowedScopes(line);
  const clientId = clientIdOf(line);
  const tenant = line.text("tenant");
  // --port is the endpoint's. The system chooses the browser's.
  const interactive = interactiveOf(line);
  const tokens = await openTokens(line.with({ port: undefined }), {
    interactive,
    isService: true,
    // The proxy answers claims challenges. What others do with a token is theirs.
    options: scopes ? {} : { clientCapabilities: ["cp1"] },
  });
  const silently = (request: AcquireTokenRequest) => tokens.acquire({ ...request, interactive: "never" });
  const withPrompt = (request: AcquireTokenRequest) => tokens.acquire(request);
  const prompts = interactive === "never"
    ? undefined
    : new (await import("./client_prompts.ts")).ClientPrompts({ silently, withPrompt });
  const onOutcome = signInNotices(line);
  const acquire = async (asked: Omit<AcquireTokenRequest, "account" | "username">) => {
    const request = { ...asked, tenantId: tenant ?? asked.tenantId };
    return await (prompts?.acquire(request) ?? silently(request));
  };
  // A renewal in flight is not waited for: it may still complete after the command has ended.
  const close = () => {
    prompts?.close();
    void tokens.app.close();
  };
  if (scopes) {
    const identities = new Set(line.list("identity").map((id) => id.toLowerCase()));
    const answer = identityAnswers({ ...{ clientId, scopes, tenant, identities }, acquire, onOutcome });
    return { ...IDENTITY_SERVICE({ answer, isLogged }), close };
  }
  const { openUpstreamProxy } = await import("./upstream.ts");
  return {
    open: (address) => openUpstreamProxy(address, { upstreams, acquire, onOutcome, isLogged }),
    variables: (port, secret) => ({
      LATCHKEY_UPSTREAM_URL: `http://127.0.0.1:${port}`,
      LATCHKEY_UPSTREAM_SECRET: secret,
    }),
    help: ` for ${[...new Set(upstreams.map(({ host }) => `/${host}/`))].join(" ")}`,
    close,
  };
}

async function upstreamsOf(line: CommandLine): Promise<readonly Upstream[]> {
  const texts = line.list("upstream");
  if (texts.length === 0) return [];
  const other = ["scope", "resource", "identity"].find((name) => line.origin(name) === "command line");
  if (other !== undefined) {
    throw new UsageError(`--upstream hands out no tokens: omit --${other}; a scope can follow the URL in --upstream`);
  }
  const { readUpstream } = await import("./upstream_rules.ts");
  return texts.map(readUpstream);
}

function allowedScopes(line: CommandLine): ReadonlySet<string> {
  const scopesOf = (resource: string) =>
    resource === "azure" ? azureScopes(line.text("authority")) : [scopeOfResource(resource)];
  const scopes = new Set([...line.list("scope"), ...line.list("resource").flatMap(scopesOf)]);
  if (scopes.size > 0) return scopes;
  throw new UsageError("--resource, --scope or --upstream is missing: what clients may get tokens for, or call");
}

/** Returns a function that asks for a sign-in on standard error, once until a request succeeds. */
function signInNotices(line: CommandLine): (scope: string, error: LatchkeyError | undefined) => void {
  const told = new Set<string>();
  return (scope, error) => {
    if (!error || !isInteractionRequired(error)) return void told.delete(scope);
    if (told.has(scope)) return;
    told.add(scope);
    const who = line.text("account") ?? "somebody";
    say(`${who} has to sign in (${shortNameOf(error)}): ${loginCommand(line, [scope])}`);
  };
}

async function onSocket(line: CommandLine, service: Service): Promise<number> {
  const path = absolutePath(line.text("socket")!);
  const endpoint = await service.open({ path });
  return await untilEnded(endpoint, line, () => say(`serving at ${path}${service.help ?? ""}`));
}

async function onPort(line: CommandLine, service: Service): Promise<number> {
  const wanted = portOf(line, { lowest: 0 })!;
  const file = line.text("secret-file");
  const secret = file === undefined ? newSecret() : await secretIn(absolutePath(file));
  const endpoint = await service.open({ port: wanted, secret });
  // Standard output may be a log: a secret in a file is not printed.
  const header = file === undefined ? { secret } : { file: absolutePath(file) };
  const lines = variableLines((value) => service.variables(endpoint.port, value), header);
  const shells = operatingSystem() === "win32" ? "; the lines with set are for cmd.exe, the others for PowerShell" : "";
  return await untilEnded(endpoint, line, () => {
    print(lines);
    say(`serving at ${Object.values(service.variables(endpoint.port, ""))[0]}${shells}`);
  });
}

/**
 * Returns the lines that set a client's variables: for a POSIX shell, or on Windows for cmd.exe, and then for PowerShell.
 * `NO_PROXY` keeps requests for this machine, and the secret with them, from the proxy of the shell that runs the lines. If the
 * variable in lower case is set, POSIX programs ignore the other one.
 */
export function variableLines(
  variables: (secret: string) => Readonly<Record<string, string>>,
  header: { readonly secret: string } | { readonly file: string },
  system: string = operatingSystem(),
): string {
  const lines = (secret: string, write: (name: string, value: string) => string) =>
    Object.entries(variables(secret)).map(([name, value]) => write(name, value));
  if (system !== "win32") {
    const value = "file" in header ? `"$(cat ${shellWord(header.file)})"` : header.secret;
    const noProxy = 'export NO_PROXY="${no_proxy:-${NO_PROXY:-localhost}},127.0.0.1"';
    return [...lines(value, (name, value) => `export ${name}=${value}`), noProxy, 'export no_proxy="$NO_PROXY"', ""]
      .join("\n");
  }
  const secret = "file" in header ? "" : header.secret;
  const file = "file" in header ? header.file : "";
  const OF_FILE = "\0";
  const inCmd = file && `<${quoteCommand([file], system) || "con"}`;
  const inPowerShell = file && `(Get-Content -Raw -LiteralPath ${powershellWord(file)}).Trim()`;
  return [
    ...lines(
      secret || OF_FILE,
      (name, value) => value === OF_FILE ? `set /p ${name}=${inCmd}` : `set "${name}=${value}"`,
    ),
    'set "NO_PROXY=127.0.0.1,%NO_PROXY%"',
    ...lines(
      secret || OF_FILE,
      (name, value) => `$env:${name} = ${value === OF_FILE ? inPowerShell : powershellWord(value)}`,
    ),
    '$env:NO_PROXY = "127.0.0.1,$env:NO_PROXY"',
    "",
  ].join("\n");
}

/** Returns the variables that Azure's libraries, and azd, read. */
function identityVariables(port: number, secret: string): Readonly<Record<string, string>> {
  const origin = `http://127.0.0.1:${port}`;
  return {
    IDENTITY_ENDPOINT: `${origin}${IDENTITY_PATH}`,
    IDENTITY_HEADER: secret,
    AZD_AUTH_ENDPOINT: origin,
    AZD_AUTH_KEY: secret,
    // Azure's libraries would take the first for an endpoint of Service Fabric; azd refuses the second without TLS.
    ...emptied(["IDENTITY_SERVER_THUMBPRINT", "AZD_AUTH_CERT"]),
  };
}

/** Returns 256 random bits as hexadecimal digits, which no shell or program takes for an option, unlike base64url. */
function newSecret(): string {
  return encodeHex(crypto.getRandomValues(new Uint8Array(32)));
}

/** Twice the length that a random secret needs. */
const MIN_SECRET_CHARACTERS = 32;

/** Returns the secret in a file, and creates the file if it is missing. */
async function secretIn(path: string): Promise<string> {
  const read = () => readPrivateFile(path, { isSecret: true });
  const bytes = await read() ?? await withLock(`${path}.lockfile`, async () => {
    const written = await read();
    if (written) return written; // by another server that started at the same time
    const created = new TextEncoder().encode(`${newSecret()}\n`);
    await replacePrivateFile(path, created);
    return created;
  });
  const text = new TextDecoder().decode(bytes).trim();
  if (/^[!-~]*$/.test(text) && text.length >= MIN_SECRET_CHARACTERS) return text;
  throw new UsageError(
    `The secret in ${path} must have at least ${MIN_SECRET_CHARACTERS} characters and no spaces: ` +
      "remove the file to get a new one",
  );
}

/** Waits for a signal or the end of --idle. Announces the endpoint once signals are handled. */
async function untilEnded(endpoint: IdentityEndpoint, line: CommandLine, announce: () => void): Promise<number> {
  const idleMs = (line.seconds("idle") ?? Infinity) * 1000;
  const ended = Promise.withResolvers<void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const checkIdle = () => {
    const left = endpoint.lastBusy() + idleMs - Date.now();
    if (left <= 0) ended.resolve();
    else timer = setTimeout(checkIdle, left);
  };
  const listening = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], () => ended.resolve());
  try {
    announce();
    if (idleMs < Infinity) checkIdle();
    await ended.promise;
  } finally {
    clearTimeout(timer);
    try {
      await endpoint.close();
    } finally {
      listening[Symbol.dispose]();
    }
  }
  return 0;
}

/** Exit codes of a shell for a command that does not exist, and for one that cannot be run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** Runs a command with an endpoint of its own, on a port with a secret, and returns its exit code. */
async function runWithEndpoint(command: readonly string[], service: Service): Promise<number> {
  const secret = newSecret();
  const endpoint = await service.open({ port: 0, secret });
  try {
    return await runInForeground(command, {
      ...service.variables(endpoint.port, secret),
      ...proxyExceptions(),
    });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    say(error.message);
    return error.isMissing ? NOT_FOUND : NOT_EXECUTABLE;
  } finally {
    await endpoint.close();
  }
}

function emptied(names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.filter((name) => readEnvironment(name) !== undefined).map((name) => [name, ""]));
}

/** Without these many programs send a proxy the requests for this machine, and the secret with them. */
function proxyExceptions(): Readonly<Record<string, string>> {
  const proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  if (!proxies.some((name) => readEnvironment(name))) return {};
  const listed = readEnvironment("no_proxy") ?? readEnvironment("NO_PROXY");
  const own = "127.0.0.1";
  if (listed?.split(/[\s,]+/).some((host) => host === own || host === "*")) return {};
  const hosts = listed ? `${listed},${own}` : own;
  return { NO_PROXY: hosts, no_proxy: hosts };
}

async function runForwarding(line: CommandLine): Promise<number> {
  const other = SERVER_OPTIONS.find((name) => line.origin(name) === "command line");
  if (other !== undefined) throw new UsageError(`--${other} is for the server outside, not for --forward`);
  const path = absolutePath(line.text("forward")!);
  requireSocketPermissions(path);
  await requireTrustedSocket(path);
  if (!isThere(path)) say(`there is no socket at ${path} yet: requests for tokens fail until there is`);
  const answer: IdentityEndpointOptions["answer"] = (request, signal) => forward(path, request, signal);
  return await runWithEndpoint(line.operands, IDENTITY_SERVICE({ answer, isLogged: line.count("verbose") > 0 }));
}

/** Time limit in milliseconds for the server outside, which may prompt a person. */
const ANSWER_LIMIT_MS = 6 * 60_000;

/** Forwards a request to a socket, and returns the reply, or an error in the form of the protocol. */
export async function forward(path: string, request: AcceptedRequest, signal: AbortSignal): Promise<HttpReply> {
  const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
  const { query, content: json } = request;
  const target = `${json === undefined ? IDENTITY_PATH : AZD_PATH}${query}`;
  const fails = (statusCode: number, message: string) => failureReply(request, { statusCode, message });
  try {
    await requireTrustedSocket(path); // it may have been replaced since the start
    const answer = await requestFromSocket(path, { target, json, signal: AbortSignal.any([signal, limit]) });
    if (answer.status >= 200 && answer.status <= 599 && readJson(answer.body)) return answer;
    return fails(502, `${path} is not an endpoint of latchkey serve`);
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return fails(504, `${path} did not answer within ${ANSWER_LIMIT_MS} ms`);
    if (!(error instanceof LatchkeyError)) throw error;
    return fails(error.code === "temporarily_unavailable" ? 503 : 502, messageOf(error));
  }
}
