/**
 * `latchkey logout`.
 *
 * @module
 */
import { write } from "../lib/runtime/program.ts";
import type { AccountInfo } from "../lib/account.ts";
import { chooseAccount, chooseBrokerAccount, makeApplication } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { escapeForTerminal } from "./cli/output.ts";
import { clearSetAside, notKept, type TokenPlace, tokenPlace } from "./cli/token_cache.ts";

/** Signs an account out. */
export async function logOut(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const fromBroker = line.isOn("from-broker");
  if (fromBroker && line.text("broker") === "never") {
    throw new UsageError("--from-broker needs the broker that --broker never leaves out");
  }
  // Somebody who believes to be signed out has to be.
  const app = await makeApplication(line, { needsCache: true, signal, ...(fromBroker && { requireBroker: true }) });
  const choose = fromBroker ? chooseBrokerAccount : chooseAccount;
  const account = await choose(app, line.text("account"), signal);
  await app.removeAccount(account, { fromBroker, correlationId: line.correlationId, signal });
  const place = tokenPlace(line),
    say = (what: string): void => write("stderr", `latchkey: ${escapeForTerminal(what)}\n`);
  say(outcome(account, place, fromBroker));
  const left = (await app.getAccounts()).filter(({ source }) => source === "cache");
  const setAside = await clearSetAside(place, { isAnybodyLeft: left.length > 0 });
  if (setAside !== undefined) say(setAside);
}

function outcome({ username, homeAccountId, source }: AccountInfo, place: TokenPlace, fromBroker: boolean): string {
  const name = username || homeAccountId;
  if (fromBroker) return `the device's broker forgot ${name}`;
  const rest = source === "broker" ? "; --from-broker takes it from the device's broker" : "";
  if (place.kind !== "memory") return `${name} is signed out of this app; other apps keep theirs${rest}`;
  return `${name} is signed out for this run alone, since nothing is stored${rest}. ${notKept(place)}`;
}
