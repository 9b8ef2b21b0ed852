/**
 * `latchkey sign`.
 *
 * @module
 */
import { write } from "../lib/runtime/program.ts";
import { chooseAccount, makeApplication } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { jsonForTerminal } from "./cli/output.ts";

/** Prints a Signed HTTP Request. */
export async function printSignedRequest(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const url = line.text("url"), method = line.text("method")!, nonce = line.text("nonce");
  if (url === undefined) throw new UsageError("--url is missing: the address that is called");
  const app = await makeApplication(line, { requireBroker: true, signal }),
    account = await chooseAccount(app, line.text("account"), signal);
  const { correlationId } = line;
  const signed = await app.signHttpRequest({ account, method, url, nonce, correlationId, signal });
  switch (line.text("format")) {
    case "json":
      return write("stdout", `${jsonForTerminal({ signed_http_request: signed, token_type: "pop" })}\n`);
    case "header":
      return write("stdout", `Authorization: pop ${signed}\n`);
    default:
      return write("stdout", `${signed}\n`);
  }
}
