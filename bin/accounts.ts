/**
 * `latchkey accounts`.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import type { CommandLine } from "./command_line.ts";
import { accountJson } from "./token_formats.ts";
import { visible, visibleJson } from "./visible.ts";

const KEYS = ["home_account_id", "local_account_id", "username", "name", "environment", "realm", "source"];

/** Prints the accounts that tokens can be had for. */
export async function printAccounts(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const app = makeApplication(line), username = line.text("account");
  const accounts = await app.getAccounts({ username, signal });
  const { state, reason } = accounts.length > 0
    ? { state: "active", reason: null }
    : await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (state === "unavailable") throw new LatchkeyError("broker_unavailable", reason ?? "");
  if (line.text("format") === "json") {
    return write("stdout", `${visibleJson(accounts.map((account) => accountJson(account, KEYS)))}\n`);
  }
  for (const { username, homeAccountId, name = "" } of accounts) {
    write("stdout", `${[username, homeAccountId, name].map(visible).join("\t")}\n`);
  }
  if (accounts.length > 0) return;
  write(
    "stderr",
    `latchkey: there is no account${username ? ` ${visible(username)}` : ""}${reason ? `: ${visible(reason)}` : ""}\n`,
  );
}
