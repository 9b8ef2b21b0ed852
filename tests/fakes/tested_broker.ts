/** Which broker a suite is about, and what is true of that one alone. */
import type { BrokerKind } from "../../lib/broker/broker.ts";
import { ownRuntimePath } from "../runtimes/runtime_paths.ts";
import type { Sender } from "./behaviour.ts";

/** How it is reached. */
export const BROKER: BrokerKind = ownRuntimePath().broker;

const ALL_SENDERS: readonly Sender[] = [
  "microsoft-2.0.1",
  "microsoft-2.0.2",
  "microsoft-2.5.2",
  "microsoft-3.0.1",
  "himmelblau-0.1",
  "himmelblau-2.0",
  "himmelblau-4.0",
];

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
