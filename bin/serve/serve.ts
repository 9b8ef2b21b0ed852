/**
 * `latchkey serve`: tokens for programs that support managed identities, in containers and elsewhere.
 *
 * @module
 */
import { withLock } from "../../lib/files/lock.ts";
import { readPrivateFile, replacePrivateFile } from "../../lib/files/private_files.ts";
import { shellWord } from "../../lib/runtime/host.ts";
import { absolutePath, onSignals, write } from "../../lib/runtime/program.ts";
import { dropUnreadErrors } from "../../lib/runtime/stdio.ts";
import type { LatchkeyError } from "../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import { clientIdOf, makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { EXIT, loginCommand, withConsentUrl } from "../cli/failures.ts";
import { ACCOUNT, APP, INTERACTIVE, type Option, SCOPES, TENANT, VERBOSE } from "../cli/options.ts";
import { escapeForTerminal } from "../cli/output.ts";
import { interactiveOf, resolveAccount } from "../token.ts";
import {
  identityAnswers,
  type IdentityEndpoint,
  type IdentityEndpointOptions,
  openIdentityEndpoint,
} from "./endpoint.ts";
import { identityVariables, newSecret, runForwarding, runWithEndpoint } from "./forward.ts";

/** The command. */
export const command: Command = {
  name: "serve",
  summary: "Managed-identity endpoint for programs, in containers and elsewhere",
  usage: "serve --client-id ID --resource URL... (--socket PATH | --port PORT | -- COMMAND...) [options], " +
    "or serve --forward SOCKET -- COMMAND...",
  operands: Infinity,
  operand: { value: "COMMAND" },
  wraps: true,
  isService: true,
  options: [
    // Only the command line says what is served.
    ...SCOPES.map((option): Option => ({
      ...option,
      kind: "list",
      environment: false,
      fromProfile: false,
      summary: option.name === "scope"
        ? "Scope to serve, written as programs request it; may be repeated"
        : "Resource to serve, written as programs request it; may be repeated",
    })),
    {
      name: "socket",
      kind: "text",
      value: "PATH",
      summary: "Serve on this Unix socket, which only this user can open",
    },
    {
      name: "port",
      kind: "text",
      value: "PORT",
      environment: false,
      summary: "Serve on this port of 127.0.0.1, to callers with the secret that is printed; 0: the system chooses one",
    },
    {
      name: "forward",
      kind: "text",
      value: "SOCKET",
      summary: "Run COMMAND, and forward its requests to the server on this socket",
    },
    {
      name: "secret-file",
      kind: "text",
      value: "PATH",
      summary: "Keep the secret of --port in this file instead of printing it",
    },
    { name: "idle", kind: "seconds", value: "SECONDS", summary: "End after this time without a request" },
    {
      name: "identity",
      kind: "list",
      value: "ID",
      summary: "Client, object or resource id of a managed identity to answer for; may be repeated",
    },
    {
      ...INTERACTIVE,
      choices: ["never", "auto"],
      default: "never",
      environment: false,
      summary: "Whether a window or the browser may be opened for a request; auto: if stdin and stderr are a terminal",
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
      "DefaultAzureCredential in app.py gets your token",
    ],
    [
      "latchkey serve --client-id azure-cli --resource https://management.azure.com --socket $XDG_RUNTIME_DIR/latchkey/identity",
      "for containers with the socket's folder mounted",
    ],
    ["latchkey serve --forward /run/latchkey/identity -- python3 app.py", "in such a container"],
  ],
  run: serve,
};

/** Options that choose the listener. */
const LISTENERS = ["socket", "port", "forward"] as const;
/** Options of the server outside, which --forward does not take. */
const SERVER_OPTIONS = ["scope", "resource", "client-id", "account", "identity", "interactive", "idle", "secret-file"];
/** Twice the length that a random secret needs. */
const MIN_SECRET_CHARACTERS = 32;

/**
 * Serves tokens until a signal, until it is idle for too long, or until the command that it runs ends.
 *
 * @returns The exit code.
 * @throws {UsageError} if options contradict each other, or allow no scope.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if it cannot listen.
 */
async function serve(line: CommandLine): Promise<number> {
  const listener = listenerOf(line);
  if (line.seconds("idle") === 0) throw new UsageError("--idle takes a number of seconds above 0");
  const log = await dropUnreadErrors();
  try {
    if (listener === "forward") {
      const own = SERVER_OPTIONS.find((name) => line.origin(name) === "command line");
      if (own !== undefined) throw new UsageError(`--${own} is for the server outside, not for --forward`);
      return await runForwarding(line);
    }
    const options = await endpointOptions(line, listener !== "command" || line.count("verbose") > 0);
    try {
      if (listener === "command") return await runWithEndpoint(line.operands, options);
      return await (listener === "socket" ? onSocket : onPort)(line, options);
    } finally {
      await options[Symbol.asyncDispose]();
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

async function endpointOptions(
  line: CommandLine,
  isLogged: boolean,
): Promise<Omit<IdentityEndpointOptions, "at"> & AsyncDisposable> {
  const scopes = allowedScopes(line), interactive = interactiveOf(line), clientId = clientIdOf(line);
  const prompter = interactive === "never"
    ? undefined
    : (await import("../cli/sign_in.ts")).prompterFor(withoutPort(line));
  const app = await makeApplication(line, { ...prompter?.browser, mayPrompt: prompter !== undefined });
  const send = async (request: AcquireTokenRequest) =>
    prompter
      ? await prompter.ask(request, (request) => app.acquireToken(request))
      : await app.acquireToken({ ...request, interactive: "never" });
  const answer = identityAnswers({
    clientId,
    scopes,
    identities: new Set(line.list("identity").map((id) => id.toLowerCase())),
    async acquire(asked) {
      const account = await resolveAccount(app, line.text("account"), asked.signal);
      const request = { ...asked, ...account, tenantId: line.text("tenant") };
      return await send(request).catch(async (error) => {
        throw await withConsentUrl(error, app, request);
      });
    },
    onOutcome: signInNotices(line),
  });
  // This does not wait for a renewal in flight, which may still complete after the command has ended.
  return { answer, isLogged, [Symbol.asyncDispose]: () => Promise.resolve(void app.close()) };
}

function allowedScopes(line: CommandLine): ReadonlySet<string> {
  const scopes = line.list("scope"), resources = line.list("resource");
  const wrong = resources.find((resource) => !/^([a-z][a-z0-9+.-]*:\/\/|[0-9a-f-]{36}$)/i.test(resource));
  if (wrong !== undefined) {
    throw new UsageError(`--resource takes a URL such as https://graph.microsoft.com, not ${JSON.stringify(wrong)}`);
  }
  if (scopes.length + resources.length > 0) {
    return new Set([...scopes, ...resources.map((resource) => `${resource}/.default`)]);
  }
  throw new UsageError("--resource or --scope is missing: what clients may get tokens for");
}

/** --port is the endpoint's. The system chooses the browser's. */
function withoutPort(line: CommandLine): CommandLine {
  return line.with({ port: undefined });
}

/** Returns a function that asks for a sign-in on standard error, once until a request succeeds. */
function signInNotices(line: CommandLine): (scope: string, error: LatchkeyError | undefined) => void {
  const told = new Set<string>();
  return (scope, error) => {
    if (!error || EXIT[error.code] !== EXIT.interaction_required) return void told.delete(scope);
    if (told.has(scope)) return;
    told.add(scope);
    const who = line.text("account") ?? "somebody", command = loginCommand(line, [scope]);
    say(`${escapeForTerminal(who)} has to sign in (${error.error ?? error.code}): ${escapeForTerminal(command)}`);
  };
}

async function onSocket(line: CommandLine, options: Omit<IdentityEndpointOptions, "at">): Promise<number> {
  const path = absolutePath(line.text("socket")!), endpoint = await openIdentityEndpoint({ ...options, at: { path } });
  const text = `serving at ${escapeForTerminal(path)}; in a container: latchkey serve --forward SOCKET -- COMMAND`;
  return await untilEnded(endpoint, line, () => say(text));
}

async function onPort(line: CommandLine, options: Omit<IdentityEndpointOptions, "at">): Promise<number> {
  const wanted = line.text("port")!, file = line.text("secret-file");
  if (!/^\d{1,5}$/.test(wanted) || Number(wanted) > 65_535) {
    throw new UsageError(`--port takes a port, 0 to 65535, not ${JSON.stringify(wanted)}`);
  }
  const secret = file === undefined ? newSecret() : await secretIn(absolutePath(file));
  const endpoint = await openIdentityEndpoint({ ...options, at: { port: Number(wanted), secret } });
  const { IDENTITY_ENDPOINT, IDENTITY_HEADER } = identityVariables(endpoint.port, secret);
  // Standard output may be a log: a secret in a file is not printed.
  const header = file === undefined ? IDENTITY_HEADER : `"$(cat ${shellWord(absolutePath(file))})"`;
  return await untilEnded(endpoint, line, () => {
    write(
      "stdout",
      `export IDENTITY_ENDPOINT=${IDENTITY_ENDPOINT}\nexport IDENTITY_HEADER=${header}\n${NO_PROXY_LINES}`,
    );
    say(`serving at ${IDENTITY_ENDPOINT}`);
  });
}

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

/**
 * Keeps requests for this machine, and the secret with them, from the proxy of the shell that runs these lines. If the
 * variable in lower case is set, programs ignore the other one.
 */
const NO_PROXY_LINES = 'export NO_PROXY="${no_proxy:-${NO_PROXY:-localhost}},127.0.0.1"\nexport no_proxy="$NO_PROXY"\n';

/** Waits for a signal or the end of --idle. Announces the endpoint once signals are handled. */
async function untilEnded(endpoint: IdentityEndpoint, line: CommandLine, announce: () => void): Promise<number> {
  const idleMs = (line.seconds("idle") ?? Infinity) * 1000, ended = Promise.withResolvers<void>();
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

function say(text: string): void {
  write("stderr", `latchkey: ${text}\n`);
}
