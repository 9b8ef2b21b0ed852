/**
 * `latchkey accounts`.
 *
 * @module
 */
import { isNamed } from "../lib/sources/account_choice.ts";
import { deferredNotices, makeApplication, whyNoAccount } from "./cli/application.ts";
import type { Command, CommandLine } from "./cli/command_line.ts";
import { loginCommand } from "./cli/failures.ts";
import { ACCOUNT, APP, TEXT_FORMAT, TIMEOUT, VERBOSE } from "./cli/options.ts";
import { accountJson, accountLine, print, printJson, say } from "./cli/output.ts";

export const command: Command = {
  name: "accounts",
  summary: "List the accounts that tokens are available for",
  usage: "accounts --client-id ID [options]",
  operands: 0,
  options: [
    { ...ACCOUNT, fromProfile: false, summary: "Only accounts with this user name or home account id" },
    ...APP,
    TEXT_FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  unlike: { tenant: "it lists the accounts of all tenants; --account USER lists only one" },
  examples: [
    ["latchkey accounts --client-id azure-cli", "user name, home account id, name and tenant, one account a line"],
    [
      "latchkey accounts --client-id azure-cli --format json | jq -r '.[].username'",
      "for a script",
      "(latchkey accounts --client-id azure-cli --format json | ConvertFrom-Json).username",
    ],
  ],
  run: listAccounts,
};

async function listAccounts(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { hold, around } = deferredNotices(), app = await makeApplication(line, { hold, signal });
  const nameOrId = line.text("account"), { correlationId } = line;
  const all = await around(() => app.getAccounts({ correlationId, signal }));
  const accounts = all.filter((account) => nameOrId === undefined || isNamed(account, nameOrId));
  if (line.get(TEXT_FORMAT) === "json") return printJson(accounts.map(accountJson));
  for (const account of accounts) print(accountLine(account));
  if (accounts.length > 0) return;
  const why = await whyNoAccount(app, nameOrId, signal);
  const { notStored, tokenPlace } = await import("./cli/token_cache.ts"), place = tokenPlace(line);
  const memory = place.kind === "memory" && why !== undefined ? `. ${notStored(place)}` : "";
  const who = nameOrId === undefined ? "" : ` ${nameOrId}`;
  const what = `there is no account${who}${why === undefined ? "" : `: ${why}`}`;
  say(`${what}${memory}. Sign in: ${loginCommand(line, [])}`);
}
