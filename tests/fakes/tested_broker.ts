/** Which broker a suite is about, and what is true of that one alone. */
import { readdirSync } from "node:fs";
import type { BrokerKind } from "../../lib/broker/broker.ts";
import { ownRuntimePath } from "../runtimes/runtime_paths.ts";
import type { Sender } from "./behaviour.ts";

/** How it is reached. */
export const BROKER: BrokerKind = ownRuntimePath().broker;

/** Each has a folder of captures. */
const ALL_SENDERS = readdirSync(new URL("../wire/", import.meta.url), { withFileTypes: true })
  .filter((entry) => entry.isDirectory()).map(({ name }) => name as Sender).sort();

/** Whose wire it may speak: himmelblau is on the session bus alone. */
export const SENDERS: readonly Sender[] = ALL_SENDERS.filter((sender) =>
  BROKER === "linux" || sender.startsWith("microsoft")
);

/** The redirect URI that an app has to have registered for it. */
export function registeredUri(clientId: string): string {
  return BROKER === "wsl"
    ? `ms-appx-web://Microsoft.AAD.BrokerPlugin/${clientId}`
    : "https://login.microsoftonline.com/common/oauth2/nativeclient";
}
