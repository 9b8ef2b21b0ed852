/**
 * `latchkey git`: a credential helper of git's.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { DEFAULT_AUTHORITY } from "../lib/authority.ts";
import { readEnvironment } from "../lib/platform/host.ts";
import { isTerminal, write } from "../lib/platform/program.ts";
import { readStandardInput } from "../lib/platform/standard_input.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import {
  CAPABILITIES,
  type CredentialRequest,
  isWholeRequest,
  MAX_REQUEST_BYTES,
  QUIT,
  readRequest,
  writeCredential,
} from "./git_credential.ts";
import { challengedTenant, findGitHost, isGitHost, takesBearer } from "./git_host.ts";
import { needsPerson, withLoginHint } from "./login_hint.ts";
import { gitHostEntries } from "./profile_file.ts";
import { acquireToken, interactiveOf, type Means } from "./token.ts";

/** What latchkey says to itself by way of git: that the credential is one of its own. */
const OWN_STATE = "latchkey:token";

/** Answers git. What it asks of servers that are not known, and operations that are to come, get no answer. */
export async function answerGit(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
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
function gitInteractive(line: CommandLine): Means["interactive"] {
  if (line.text("interactive") !== "auto") return interactiveOf(line);
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
  if (!username?.includes("@") || isNearer(line, "account")) return [plain];
  return [withTenant(withValues(line, { ...entry, account: username }), request), plain];
}

function withTenant(line: CommandLine, request: CredentialRequest): CommandLine {
  if (line.text("tenant") !== undefined || !isForAnyTenant(line.text("authority"))) return line;
  const tenant = challengedTenant(request);
  return tenant === undefined ? line : withValues(line, { tenant });
}

type Values = Readonly<Record<string, string>>;

function withValues(line: CommandLine, values: Values): CommandLine {
  const takes = (name: string) => values[name] !== undefined && !isNearer(line, name);
  return {
    ...line,
    text: (name) => takes(name) ? values[name] : line.text(name),
    origin: (name) => takes(name) ? "profile" : line.origin(name),
  };
}

/** Whether a person said it for this command, by its line or the environment. */
function isNearer(line: CommandLine, name: string): boolean {
  return ["command line", "environment"].includes(line.origin(name) ?? "");
}

/** Whether an authority is Microsoft's for all tenants: only there is a tenant to be named beside. */
function isForAnyTenant(authority = DEFAULT_AUTHORITY): boolean {
  return /^https:\/\/login\.microsoftonline\.com\/(common|organizations)\/?$/i.test(authority);
}
