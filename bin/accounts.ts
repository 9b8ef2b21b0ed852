/**
 * `latchkey accounts`.
 *
 * @module
 */
import type { AccountInfo } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import type { CommandLine } from "./command_line.ts";
import { ACCOUNT_KEYS, accountJson } from "./token_formats.ts";
import { visible, visibleJson } from "./visible.ts";

/** Prints the accounts that tokens can be had for. */
export async function printAccounts(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const app = await makeApplication(line, { signal }), username = line.text("account");
  const accounts = await app.getAccounts({ username, signal });
  const { reason } = accounts.length > 0 ? { reason: null } : await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (line.text("format") === "json") {
    return write("stdout", `${visibleJson(accounts.map((account) => accountJson(account, ACCOUNT_KEYS)))}\n`);
  }
  for (const account of accounts) write("stdout", accountLine(account));
  if (accounts.length > 0) return;
  write(
    "stderr",
    `latchkey: there is no account${username ? ` ${visible(username)}` : ""}${reason ? `: ${visible(reason)}` : ""}\n`,
  );
}

/** An account as a line of text: user name, home account id and name, apart by tabs. */
export function accountLine({ username, homeAccountId, name = "" }: AccountInfo): string {
  return `${[username, homeAccountId, name].map(visible).join("\t")}\n`;
}
