/**
 * `latchkey cookie`.
 *
 * @module
 */
import { isPiped, write } from "../lib/runtime/program.ts";
import { chooseAccount, makeApplication } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { jsonForTerminal } from "./cli/output.ts";

/** Prints cookies that sign a browser in. */
export async function printCookies(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  if (!line.isOn("yes-print-secret") && !await isPiped()) {
    throw new UsageError(
      "The cookie is as good as a password, and a terminal or a file keeps it: pipe it to the program that it is for, or " +
        "give --yes-print-secret",
    );
  }
  const app = await makeApplication(line, { requireBroker: true, signal }),
    account = await chooseAccount(app, line.text("account"), signal);
  const cookies = await app.acquireSsoCookies({
    account,
    url: line.text("url")!,
    correlationId: line.correlationId,
    signal,
  });
  const pairs = cookies.map(({ name, value }) => `${name}=${value}`);
  switch (line.text("format")) {
    case "json":
      return write("stdout", `${jsonForTerminal(cookies)}\n`);
    case "header":
      return write("stdout", `Cookie: ${pairs.join("; ")}\n`);
    default:
      return write("stdout", pairs.map((pair) => `${pair}\n`).join(""));
  }
}
