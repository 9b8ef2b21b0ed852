/**
 * `latchkey logout`.
 *
 * @module
 */
import { type AccountInfo, isSameAccount, nameOf } from "../../lib/account.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { accountOptionsOf, chooseAccount } from "../cli/accounts.ts";
import { makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { ACCOUNT_TENANT, APP, BROKER, CHOSEN_ACCOUNT, switchOption, TIMEOUT, VERBOSE } from "../cli/options.ts";
import { say } from "../cli/output.ts";
import { clearDamagedCaches, notStored, type TokenPlace, tokenPlace } from "../cli/token_cache.ts";

export const command: Command = {
  name: "logout",
  summary: "Sign an account out of this app",
  usage: "logout --client-id ID [--account USER] [--from-broker] [options]",
  operands: 0,
  options: [
    CHOSEN_ACCOUNT,
    ACCOUNT_TENANT,
    ...APP,
    switchOption("from-broker", "Also remove the account from the broker, which may sign it out of other apps"),
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    ["latchkey logout --client-id azure-cli", "Sign out of this app; other apps stay signed in"],
    [
      "latchkey logout --client-id azure-cli --account jane@contoso.com --from-broker",
      "Also remove the account from the broker",
    ],
  ],
  run: signOut,
};

async function signOut(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const fromBroker = line.isOn("from-broker");
  if (fromBroker && line.get(BROKER) === "never") {
    throw new UsageError("--from-broker needs the broker, which --broker never turns off");
  }
  // Whoever is told that they are signed out has to be: an unusable cache is a failure.
  const app = await makeApplication(line, { needsCache: true, signal, ...(fromBroker && { requireBroker: true }) });
  const place = tokenPlace(line);
  // The broker may still have accounts that have signed out of this app.
  const listed = await app.getAccounts({ signal, includeSignedOut: fromBroker });
  let account: AccountInfo;
  try {
    account = await chooseAccount(app, { ...accountOptionsOf(line), takesAnyTenant: true, listed, signal });
  } catch (error) {
    if (!(error instanceof LatchkeyError) || error.code !== "account_not_found") throw error;
    // After damage there usually is no account, but the files with its tokens are there.
    const isDone = await clearDamage(listed, place, signal);
    if (isDone && !fromBroker && listed.length === 0) return;
    throw error;
  }
  await app.removeAccount(account, { fromBroker, correlationId: line.correlationId, signal });
  say(outcome(account, { place, fromBroker }));
  await clearDamage(listed.filter((other) => !isSameAccount(other, account)), place, signal);
}

/** Clears damaged token caches if no other account is in the cache, and says so. Returns true if some were removed, and none is left. */
async function clearDamage(
  others: readonly AccountInfo[],
  place: TokenPlace,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const isAnyAccountLeft = others.some(({ source }) => source === "cache");
  const cleared = await clearDamagedCaches(place, { isAnyAccountLeft, signal });
  if (cleared) say(cleared.message);
  return cleared?.isDone ?? false;
}

function outcome(
  account: AccountInfo,
  { place, fromBroker }: { readonly place: TokenPlace; readonly fromBroker: boolean },
): string {
  const name = nameOf(account);
  if (fromBroker) return `the device's broker forgot ${name}`;
  const rest = account.source === "broker" ? "; --from-broker removes it from the device's broker" : "";
  if (place.kind !== "memory") return `${name} is signed out of this app; other apps keep their sign-ins${rest}`;
  return `${name} is signed out for this run only, since nothing is stored${rest}. ${notStored(place)}`;
}
