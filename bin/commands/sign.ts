/**
 * `latchkey sign`.
 *
 * @module
 */
import { accountOptionsOf, chooseAccount } from "../cli/accounts.ts";
import { makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { formatOption } from "../cli/formats.ts";
import { ACCOUNT_TENANT, APP, CHOSEN_ACCOUNT, NONCE, textOption, TIMEOUT, VERBOSE } from "../cli/options.ts";
import { print, printJson } from "../cli/output.ts";

const METHOD = { ...textOption("method", "METHOD", "Method of the request"), default: "GET" };
const FORMAT = formatOption({
  token: "The signed token alone",
  json: "The token with its expiry and account",
  header: "The Authorization header, for curl -H @-",
});

export const command: Command = {
  name: "sign",
  summary: "Print a token bound to one HTTP request (Signed HTTP Request)",
  usage: "sign --client-id ID --url URL [options]",
  operands: 0,
  options: [
    { ...textOption("url", "URL", "URL of the request"), environment: false },
    METHOD,
    NONCE,
    CHOSEN_ACCOUNT,
    ACCOUNT_TENANT,
    ...APP,
    FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [[
    "latchkey sign --client-id ID --url https://api.contoso.com/orders --format header",
    "Sign a GET request for curl -H @-",
  ]],
  run: printSignedRequest,
};

async function printSignedRequest(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const url = line.text("url");
  const method = line.get(METHOD);
  const nonce = line.text("nonce");
  const { correlationId } = line;
  if (url === undefined) throw new UsageError("--url is missing: the address of the request");
  const app = await makeApplication(line, { requireBroker: true, signal });
  const account = await chooseAccount(app, { ...accountOptionsOf(line), signal });
  const signed = await app.signHttpRequest({ account, method, url, nonce, correlationId, signal });
  switch (line.get(FORMAT)) {
    case "json":
      return printJson({ signed_http_request: signed, token_type: "pop" });
    case "header":
      return print(`Authorization: pop ${signed}\n`);
    case "token":
      return print(`${signed}\n`);
  }
}
