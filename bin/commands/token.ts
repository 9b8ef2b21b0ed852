/**
 * `latchkey token`.
 *
 * @module
 */
import { readEnvironment } from "../../lib/runtime/host.ts";
import type { PopScheme } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { printToken, TOKEN_FORMAT } from "../cli/formats.ts";
import {
  ACCOUNT,
  APP,
  BROWSER,
  CLAIMS,
  FOR,
  FORCE_REFRESH,
  INTERACTIVE,
  MIN_TTL,
  NONCE,
  SCOPES,
  TENANT,
  textOption,
  TIMEOUT,
  VERBOSE,
} from "../cli/options.ts";
import { scopesForServer, scopesOf } from "../cli/scopes.ts";
import { interactiveOf, openTokens, type TokenAsk, type TokensOptions } from "../cli/tokens.ts";

export const command: Command = {
  name: "token",
  summary: "Print an access token",
  usage: "token --client-id ID (--scope SCOPE... | --resource URL | --for URL) [options]",
  operands: 0,
  options: [
    ...SCOPES,
    FOR,
    ACCOUNT,
    ...APP,
    TENANT,
    INTERACTIVE,
    ...BROWSER,
    FORCE_REFRESH,
    MIN_TTL,
    CLAIMS,
    {
      ...textOption("pop", '"METHOD URL"', "Bind the token to one HTTP request (proof of possession)"),
      group: "Request options",
    },
    { ...NONCE, group: "Request options" },
    { ...TIMEOUT, group: "Request options" },
    TOKEN_FORMAT,
    VERBOSE,
  ],
  examples: [
    [
      "latchkey token --client-id azure-cli --resource https://management.azure.com",
      "Print only the token, for a script",
    ],
    [
      "latchkey token --scope User.Read --format header | curl -H @- https://graph.microsoft.com/v1.0/me",
      "Call Microsoft Graph with the default profile, and keep the token out of the process list",
      'latchkey token --scope User.Read --format header | curl.exe -H "@-" https://graph.microsoft.com/v1.0/me',
    ],
    [
      "t=$(latchkey token --resource https://ossrdbms-aad.database.windows.net) && PGPASSWORD=$t psql ...",
      "Use the token as the password of an Azure database",
      "$env:PGPASSWORD = latchkey token --resource https://ossrdbms-aad.database.windows.net; psql ...",
    ],
  ],
  run: printAccessToken,
};

/** Address of the MCP server for whose headers an agent (Claude Code) runs a command. */
const SERVER_VARIABLE = "CLAUDE_CODE_MCP_SERVER_URL";

async function printAccessToken(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const isForHeaders = line.get(TOKEN_FORMAT) === "headers";
  // A client that runs a command for headers waits a few seconds, and often hides the command's prompts.
  const interactive = isForHeaders && line.get(INTERACTIVE) === "auto" ? "never" : interactiveOf(line);
  const isScopeGiven = line.nearest("scope", "resource").length > 0;
  const server = line.text("for") ?? (isForHeaders && !isScopeGiven ? readEnvironment(SERVER_VARIABLE) : undefined);
  if (server !== undefined) return printToken(await tokenForServer(server, line, { interactive, signal }), line);
  const tokens = await openTokens(line, { interactive, signal });
  printToken(await tokens.acquire({ scopes: scopesOf(line), ...detailsOf(line) }), line);
}

/** Acquires a token for a server that says itself which it needs. */
async function tokenForServer(url: string, line: CommandLine, options: TokensOptions): Promise<AuthenticationResult> {
  const { interactive, signal } = options;
  const { acquireForServer, needsOfServer } = await import("../cli/protected_server.ts");
  const needs = await needsOfServer(url, line, { named: scopesForServer(line), signal });
  return await acquireForServer(needs, async (request) => {
    const tokens = await openTokens(line, options);
    return await tokens.acquire({ ...request, ...detailsOf(line) });
  }, { mayAsk: interactive !== "never", signal });
}

/** Returns the parts of a request that no other command has options for. */
function detailsOf(line: CommandLine): Pick<TokenAsk, "claims" | "authenticationScheme" | "forceRefresh"> {
  return {
    claims: line.text("claims"),
    authenticationScheme: popOf(line),
    forceRefresh: line.get(FORCE_REFRESH),
  };
}

function popOf(line: CommandLine): PopScheme | undefined {
  const option = line.text("pop");
  const nonce = line.text("nonce");
  if (option === undefined) {
    // The environment's can be meant for other commands.
    if (line.origin("nonce") === "command line") {
      throw new UsageError("--nonce goes with --pop: it is signed with a request");
    }
    return undefined;
  }
  const [method, url, ...more] = option.split(" ").filter(Boolean);
  if (method && url && more.length === 0) return { type: "pop", method, url, nonce };
  throw new UsageError(`--pop takes a method and an address, as "GET https://api.contoso.com/orders"`);
}
