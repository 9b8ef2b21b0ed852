/**
 * `latchkey accounts`.
 *
 * @module
 */
import { write } from "../lib/runtime/program.ts";
import type { AccountInfo } from "../lib/account.ts";
import { deferredNotices, makeApplication, whyNobody } from "./cli/application.ts";
import type { CommandLine } from "./cli/command_line.ts";
import { ACCOUNT_KEYS, accountJson, escapeForTerminal, jsonForTerminal } from "./cli/output.ts";

/** Prints the accounts that tokens can be had for. */
export async function printAccounts(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { hold, around } = deferredNotices(), app = await makeApplication(line, { hold, signal });
  const username = line.text("account"), { correlationId } = line;
  const accounts = await around(() => app.getAccounts({ username, correlationId, signal }));
  if (line.text("format") === "json") {
    return write("stdout", `${jsonForTerminal(accounts.map((account) => accountJson(account, ACCOUNT_KEYS)))}\n`);
  }
  for (const account of accounts) write("stdout", accountLine(account));
  if (accounts.length > 0) return;
  const why = await whyNobody(app, username, signal), { notKept, tokenPlace } = await import("./cli/token_cache.ts");
  const place = tokenPlace(line);
  const memory = place.kind === "memory" && why !== undefined ? `. ${notKept(place)}` : "";
  const what = `there is no account${username ? ` ${username}` : ""}${why === undefined ? "" : `: ${why}`}`;
  write("stderr", `latchkey: ${escapeForTerminal(`${what}. Sign in: latchkey login${memory}`)}\n`);
}

/** An account as a line of text: user name, home account id and name, apart by tabs. */
export function accountLine({ username, homeAccountId, name = "" }: AccountInfo): string {
  return `${[username, homeAccountId, name].map(escapeForTerminal).join("\t")}\n`;
}
