/**
 * `latchkey accounts`.
 *
 * @module
 */
import type { PublicClientApplication } from "../../lib/application.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { uncapitalized } from "../../lib/remedies.ts";
import { isNamed } from "../../lib/sources/account_choice.ts";
import { noAccount, whyNoAccount } from "../cli/accounts.ts";
import { HeldNotices, makeApplication } from "../cli/application.ts";
import type { Command, CommandLine } from "../cli/command_line.ts";
import { loginCommand } from "../cli/failures.ts";
import { accountJson, accountLine, TEXT_FORMAT } from "../cli/formats.ts";
import { ACCOUNT, APP, TIMEOUT, VERBOSE } from "../cli/options.ts";
import { print, printJson, say } from "../cli/output.ts";

export const command: Command = {
  name: "accounts",
  summary: "List the accounts you can get tokens for",
  usage: "accounts --client-id ID [options]",
  operands: 0,
  options: [
    { ...ACCOUNT, fromProfile: false, summary: "List only accounts with this user name or home account id" },
    ...APP,
    TEXT_FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  unlike: { tenant: "it lists the accounts of all tenants; --account USER lists only one" },
  examples: [
    ["latchkey accounts --client-id azure-cli", "List user name, home account id, name and tenant, one account a line"],
    [
      "latchkey accounts --client-id azure-cli --format json | jq -r '.[].username'",
      "List only the user names, for a script",
      "(latchkey accounts --client-id azure-cli --format json | ConvertFrom-Json).username",
    ],
  ],
  run: listAccounts,
};

/** The exit code if no account is signed in, as that of `latchkey status`. */
const EXIT_NOT_SIGNED_IN = 3;

async function listAccounts(line: CommandLine, signal: AbortSignal | undefined): Promise<number | void> {
  const notices = new HeldNotices();
  const app = await makeApplication(line, { hold: notices.hold, signal });
  const nameOrId = line.text("account");
  const { correlationId } = line;
  const all = await notices.during(() => app.getAccounts({ correlationId, signal }));
  const accounts = all.filter((account) => nameOrId === undefined || isNamed(account, nameOrId));
  const why = accounts.length > 0 ? undefined : await whyNoAccount(app, nameOrId, signal);
  const message = noAccount(nameOrId, why);
  if (accounts.length === 0) await requireSource(app, line, { message, signal });
  if (line.get(TEXT_FORMAT) === "json") printJson(accounts.map(accountJson));
  else for (const account of accounts) print(accountLine(account));
  if (accounts.length > 0) return;
  say(`${uncapitalized(message)}. Sign in: ${loginCommand(line, [])}`);
  return EXIT_NOT_SIGNED_IN;
}

/**
 * Throws if an empty list would say nothing: neither a broker nor a token cache could be asked.
 *
 * @throws {LatchkeyError} `broker_unavailable`, `account_not_found`.
 */
async function requireSource(
  app: PublicClientApplication,
  line: CommandLine,
  { message, signal }: { readonly message: string } & CacheCall,
): Promise<void> {
  const { state } = await app.brokerStatus({ signal });
  if (state === "active") return;
  const { notStored, tokenPlace } = await import("../cli/token_cache.ts");
  const place = tokenPlace(line);
  if (place.kind !== "memory") return;
  throw new LatchkeyError(state === "off" ? "account_not_found" : "broker_unavailable", message, {
    remedy: { kind: "sign_in", because: notStored(place) },
  });
}
