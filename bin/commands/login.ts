/**
 * `latchkey login`.
 *
 * @module
 */
import type { Command, CommandLine } from "../cli/command_line.ts";
import { accountJson, accountLine, TEXT_FORMAT } from "../cli/formats.ts";
import { print, printJson } from "../cli/output.ts";
import { completeSignIn, SIGN_IN_OPTIONS } from "../cli/sign_in.ts";

export const command: Command = {
  name: "login",
  summary: "Sign in, silently if the broker can, and print the account",
  usage: "login --client-id ID [options]",
  operands: 0,
  options: SIGN_IN_OPTIONS,
  examples: [
    [
      "latchkey login --client-id azure-cli",
      "Sign in silently if the broker can, otherwise in a prompt or the browser",
    ],
    ["latchkey login --client-id azure-cli --prompt select_account", "Choose another account"],
    ["latchkey login --client-id azure-cli --no-browser", "Sign in over SSH with the browser of another machine"],
    [
      "latchkey login --client-id azure-cli --device-code --qr",
      "Sign in over SSH with a phone, if the organization allows it",
    ],
    [
      "latchkey login --client-id ID --for https://mcp.contoso.com/mcp",
      "Sign in for the scopes of an MCP server, before latchkey mcp",
    ],
    [
      "latchkey login --profile work --client-id ID --tenant contoso.com",
      "Save the options and the account as a profile for latchkey token --profile work",
    ],
  ],
  run: signIn,
};

async function signIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { result: { account } } = await completeSignIn(line, { signal });
  if (line.get(TEXT_FORMAT) === "json") printJson(accountJson(account));
  else print(accountLine(account));
}
