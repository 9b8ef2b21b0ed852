/**
 * `latchkey mcp`: an MCP server on standard input and output, in front of a remote one that needs tokens.
 *
 * @module
 */
import { withinTime } from "../../../lib/async.ts";
import { makeFetch } from "../../../lib/http/client.ts";
import { readServerAddress } from "../../../lib/oauth/protected_resource.ts";
import { onSignals } from "../../../lib/runtime/lifecycle.ts";
import { dropUnreadErrors, standardInput, standardOutput } from "../../../lib/runtime/terminal.ts";
import { type Command, type CommandLine, UsageError } from "../../cli/command_line.ts";
import { withLogin } from "../../cli/failures.ts";
import { ACCOUNT, APP, BROWSER, INTERACTIVE, SCOPES, TENANT, VERBOSE } from "../../cli/options.ts";
import { say } from "../../cli/output.ts";
import { acquireForServer, needsOfServer, type ServerNeeds } from "../../cli/protected_server.ts";
import { scopesForServer } from "../../cli/scopes.ts";
import { interactiveOf, openTokens, type TokenSource } from "../../cli/tokens.ts";
import { fetchWithToken, type ServerToken, type TokenReason } from "./server_token.ts";
import { relayMessages } from "./relay.ts";

/** The command. */
export const command: Command = {
  name: "mcp",
  summary: "Stdio server for MCP clients, in front of a remote MCP server that requires tokens",
  usage: "mcp URL --client-id ID [options]",
  operands: 1,
  operand: { value: "URL" },
  isService: true,
  options: [
    ...SCOPES.map((option) =>
      option.name === "scope"
        ? { ...option, summary: "Scope to request; may be repeated (default: what the server asks for)" }
        : option
    ),
    ACCOUNT,
    ...APP,
    TENANT,
    {
      ...INTERACTIVE,
      meanings: { ...INTERACTIVE.meanings, auto: "If stderr is a terminal" },
    },
    // Standard input has messages: no URL can be read from it.
    ...BROWSER.filter(({ name }) => name !== "no-browser"),
    VERBOSE,
  ],
  examples: [
    [
      "latchkey mcp https://mcp.dev.azure.com/contoso --client-id ID",
      "Run as the stdio server of an MCP client",
    ],
    [
      "claude mcp add contoso -- latchkey mcp https://mcp.contoso.com/mcp --client-id ID --interactive always",
      "Add a server to Claude Code, with a prompt when a sign-in is required",
    ],
  ],
  run: runMcp,
};

/** Time in milliseconds for tokens that are not stored yet. */
const LAST_SAVES_MS = 2_000;

async function runMcp(line: CommandLine): Promise<void> {
  const [address] = line.operands;
  if (address === undefined) throw new UsageError("The address of the server is missing");
  const url = readServerAddress(address);
  const isEager = scopesForServer(line).length > 0;
  const ended = new AbortController();
  // Standard input has messages.
  const isInteractive = interactiveOf(line, { terminal: "stderr" }) !== "never";
  const { signal } = ended;
  const tokens = await openTokens(line, {
    ...{ interactive: isInteractive ? "if-needed" : "never", isService: true, signal },
    options: { readRedirect: undefined },
  });
  const errors = await dropUnreadErrors();
  const listening = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], () => ended.abort());
  try {
    // A tool may work for longer than five minutes.
    const acquire = tokensFor(url, line, { tokens, signal });
    const fetch = fetchWithToken(url, { fetch: makeFetch({ isPatient: true }), acquire, isEager, tell: say });
    const [input, output] = [standardInput(), standardOutput()];
    await relayMessages(url, { fetch, input, output, signal, tell: say });
  } finally {
    ended.abort();
    await withinTime(tokens.app.close(), LAST_SAVES_MS); // a renewal that takes longer is finished as in every command
    listening[Symbol.dispose]();
    await errors[Symbol.asyncDispose]();
  }
}

/** Returns a function that acquires tokens for the server. */
function tokensFor(
  url: URL,
  line: CommandLine,
  { tokens, signal }: { readonly tokens: TokenSource; readonly signal: AbortSignal },
): (reason: TokenReason, held: ServerToken | undefined) => Promise<ServerToken> {
  let known: ServerNeeds | undefined;
  return async (reason, held) => {
    const { kind, challenge, onPrompt } = reason;
    const needs = held && known && kind !== "scopes" ? known : await needsOfServer(url.href, line, {
      ...{ named: scopesForServer(line), challenge, held: held?.scopes, signal },
    });
    const result = await acquireForServer(needs, async ({ onBeforeLaunchingUi, ...target }) => {
      try {
        return await tokens.acquire({
          ...target,
          ...(kind === "claims" && { claims: challenge }),
          ...(kind === "refused" && { forceRefresh: true }),
          ...(!reason.mayPrompt && { interactive: "never" }),
          onBeforeLaunchingUi(event) {
            onPrompt();
            onBeforeLaunchingUi?.(event);
          },
        });
      } catch (error) {
        throw withLogin(error, needs.line, needs.loginScopes);
      }
    }, { mayAsk: false, signal }); // standard input has messages, and no answer
    known = needs;
    const { accessToken, tokenType, expiresOn } = result;
    const { scopes } = needs.target;
    return { authorization: `${tokenType} ${accessToken}`, expiresOn, scopes };
  };
}
