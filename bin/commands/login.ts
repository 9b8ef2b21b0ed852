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
  summary: "Sign in, silently if a broker can, and print the account",
  usage: "login --client-id ID [options]",
  operands: 0,
  options: SIGN_IN_OPTIONS,
  examples: [
    ["latchkey login --client-id azure-cli", "silently if a broker can, otherwise in a prompt or the browser"],
    ["latchkey login --client-id azure-cli --prompt select_account", "another account"],
    ["latchkey login --client-id azure-cli --no-browser", "over SSH: with the browser of another machine"],
    [
      "latchkey login --client-id azure-cli --device-code --qr",
      "over SSH: with a phone, if the organization allows it",
    ],
    [
      "latchkey login --client-id ID --for https://mcp.contoso.com/mcp",
      "for the scopes that an MCP server asks for, before latchkey mcp",
    ],
    [
      "latchkey login --profile work --client-id ID --tenant contoso.com",
      "remembered by a name, for latchkey token --profile work --scope User.Read",
    ],
  ],
  run: signIn,
};

async function signIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { result: { account } } = await completeSignIn(line, { signal });
  if (line.get(TEXT_FORMAT) === "json") printJson(accountJson(account));
  else print(accountLine(account));
}
