/**
 * `latchkey serve`: tokens for programs that know of managed identities, in containers and elsewhere.
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
import type { AuthenticationResult } from "../../lib/token.ts";
import { clientIdOf, makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { EXIT, loginCommand, withConsentUrl } from "../cli/failures.ts";
import { ACCOUNT, APP, INTERACTIVE, type Option, SCOPES, TENANT, VERBOSE } from "../cli/options.ts";
import { escapeForTerminal } from "../cli/output.ts";
import type { Prompter } from "../cli/sign_in.ts";
import { interactiveOf, resolveAccount } from "../token.ts";
import {
  identityAnswers,
  type IdentityEndpoint,
  type IdentityEndpointOptions,
  openIdentityEndpoint,
} from "./endpoint.ts";
import { identityVariables, newSecret, runWithEndpoint } from "./forward.ts";

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

/** Options that say where requests come in. */
const PLACES = ["socket", "port", "forward"] as const;
/** Options that mean nothing in a container, where the server outside has them. */
const OF_SERVER = ["scope", "resource", "client-id", "account", "identity", "interactive", "idle", "secret-file"];
/** The least that a secret has, in characters: half of them would be enough where they are random. */
const MIN_SECRET_CHARACTERS = 32;

/**
 * Serves tokens until it is ended, or nobody has asked for a while, or the command that it runs has ended.
 *
 * @returns The exit code.
 * @throws {UsageError} for options that contradict each other, and for nothing to be handed out.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when it cannot listen.
 */
async function serve(line: CommandLine): Promise<number> {
  const place = placeOf(line);
  if (line.seconds("idle") === 0) throw new UsageError("--idle takes a number of seconds above 0");
  await using _log = await dropUnreadErrors();
  if (place === "forward") {
    const own = OF_SERVER.find((name) => line.origin(name) === "command line");
    if (own !== undefined) throw new UsageError(`--${own} is for the server outside, not for --forward`);
    return await (await import("./forward.ts")).runForwarding(line);
  }
  const options = await endpointOptions(line, { isTold: place !== "command" || line.count("verbose") > 0 });
  await using _ = options;
  switch (place) {
    case "command":
      return await runWithEndpoint(line.operands, options);
    case "socket":
      return await onSocket(line, options);
    case "port":
      return await onPort(line, options);
  }
}

/** Where requests come in: at what an option says, or at the command that is run. */
function placeOf(line: CommandLine): (typeof PLACES)[number] | "command" {
  const [place, ...more] = PLACES.filter((name) => line.nearest(...PLACES).includes(name));
  const [command] = line.operands;
  if (more.length > 0) throw new UsageError(`Give --${place} or --${more[0]}, not both`);
  if (place === "forward" || place === undefined) {
    if (command !== undefined) return place ?? "command";
    throw new UsageError(
      place
        ? "--forward needs a command, after --"
        : "--socket, --port or a command after -- is missing: who is served",
    );
  }
  if (command === undefined) return place;
  throw new UsageError(`--${place} serves whoever comes: leave it out to serve ${JSON.stringify(command)} alone`);
}

async function endpointOptions(
  line: CommandLine,
  { isTold }: Pick<IdentityEndpointOptions, "isTold">,
): Promise<Omit<IdentityEndpointOptions, "at"> & AsyncDisposable> {
  const scopes = allowedScopes(line), interactive = interactiveOf(line), clientId = clientIdOf(line);
  const person = interactive === "never"
    ? undefined
    : (await import("../cli/sign_in.ts")).prompterFor(withoutPort(line));
  const app = await makeApplication(line, { ...person?.browser, mayPrompt: person !== undefined });
  const acquire = async (asked: Pick<AcquireTokenRequest, "scopes" | "forceRefresh" | "signal">) => {
    const account = await resolveAccount(app, line.text("account"), asked.signal);
    const request = { ...asked, ...account, tenantId: line.text("tenant") };
    try {
      return await send(request, person);
    } catch (error) {
      throw await withConsentUrl(error, app, request);
    }
  };
  async function send(request: AcquireTokenRequest, person: Prompter | undefined): Promise<AuthenticationResult> {
    if (!person) return await app.acquireToken({ ...request, interactive: "never" });
    return await person.ask(request, (request) => app.acquireToken(request));
  }
  const answer = identityAnswers({
    clientId,
    scopes,
    identities: new Set(line.list("identity").map((id) => id.toLowerCase())),
    acquire,
    onOutcome: outcomes(line),
  });
  // A renewal that was sent is not waited for here: it has its time once the command has ended.
  return { answer, isTold, [Symbol.asyncDispose]: () => Promise.resolve(void app.close()) };
}

/** What may be handed out, as scopes. */
function allowedScopes(line: CommandLine): ReadonlySet<string> {
  const scopes = line.list("scope"), resources = line.list("resource");
  const wrong = resources.find((resource) => !/^([a-z][a-z0-9+.-]*:\/\/|[0-9a-f-]{36}$)/i.test(resource));
  if (wrong !== undefined) {
    throw new UsageError(`--resource takes a URL such as https://graph.microsoft.com, not ${JSON.stringify(wrong)}`);
  }
  if (scopes.length + resources.length > 0) {
    return new Set([...scopes, ...resources.map((resource) => `${resource}/.default`)]);
  }
  throw new UsageError("--resource or --scope is missing: what is handed out");
}

/** Its port is the endpoint's; the browser's is the system's choice. */
function withoutPort(line: CommandLine): CommandLine {
  return line.with({ port: undefined });
}

/** Says who has to sign in, once until that was done. */
function outcomes(line: CommandLine): (scope: string, error: LatchkeyError | undefined) => void {
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
  // What is in a file stays there: standard output may be a log.
  const header = file === undefined ? IDENTITY_HEADER : `"$(cat ${shellWord(absolutePath(file))})"`;
  return await untilEnded(endpoint, line, () => {
    write(
      "stdout",
      `export IDENTITY_ENDPOINT=${IDENTITY_ENDPOINT}\nexport IDENTITY_HEADER=${header}\n${NO_PROXY_LINES}`,
    );
    say(`serving at ${IDENTITY_ENDPOINT}`);
  });
}

/** The secret in a file; where there is no file, a new one, which is written to it. */
async function secretIn(path: string): Promise<string> {
  const read = () => readPrivateFile(path, { isSecret: true });
  const bytes = await read() ?? await withLock(`${path}.lockfile`, async () => {
    const written = await read();
    if (written) return written; // by another server that began at the same time
    const made = new TextEncoder().encode(`${newSecret()}\n`);
    await replacePrivateFile(path, made);
    return made;
  });
  const text = new TextDecoder().decode(bytes).trim();
  if (/^[!-~]*$/.test(text) && text.length >= MIN_SECRET_CHARACTERS) return text;
  throw new UsageError(
    `The secret in ${path} has to have ${MIN_SECRET_CHARACTERS} characters or more, and no spaces: remove the file, and ` +
      "a new one is made",
  );
}

/**
 * Keeps what is for this machine, and the secret with it, from a proxy of the shell that runs these lines. Where the variable in
 * small letters is set, programs do not look at the other one.
 */
const NO_PROXY_LINES = 'export NO_PROXY="${no_proxy:-${NO_PROXY:-localhost}},127.0.0.1"\nexport no_proxy="$NO_PROXY"\n';

/** Serves until a signal, or until nobody has asked for as long as --idle says; tells of it when signals are heeded. */
async function untilEnded(endpoint: IdentityEndpoint, line: CommandLine, tell: () => void): Promise<number> {
  const idleMs = (line.seconds("idle") ?? Infinity) * 1000, ended = Promise.withResolvers<void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = () => {
    const left = endpoint.lastBusy() + idleMs - Date.now();
    if (left <= 0) ended.resolve();
    else timer = setTimeout(look, left);
  };
  using _ = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], () => ended.resolve());
  try {
    tell();
    if (idleMs < Infinity) look();
    await ended.promise;
  } finally {
    clearTimeout(timer);
    await endpoint.close();
  }
  return 0;
}

function say(text: string): void {
  write("stderr", `latchkey: ${text}\n`);
}
