/**
 * `latchkey logout`.
 *
 * @module
 */
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import { chooseAccount } from "./choose_account.ts";
import type { CommandLine } from "./command_line.ts";
import { visible } from "./visible.ts";

/** Forgets an account. */
export async function logOut(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const fromBroker = line.isOn("from-broker");
  const app = makeApplication(line, fromBroker ? { requireBroker: true } : {});
  const account = await chooseAccount(app, line.text("account"), signal);
  await app.removeAccount(account, { fromBroker, signal });
  const name = visible(account.username || account.homeAccountId);
  write(
    "stderr",
    fromBroker
      ? `latchkey: the device's broker forgot ${name}\n`
      : `latchkey: ${name} is forgotten for this run alone, since nothing of it is stored; --from-broker takes it from the device's broker\n`,
  );
}
