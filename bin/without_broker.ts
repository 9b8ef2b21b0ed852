/**
 * What the doctor looks at where no broker is to serve: not at what one would need, and for tokens in the cache.
 *
 * @module
 */
import { PublicClientApplication, redirectUris } from "../mod.ts";
import { broker, redirectUri } from "./check_broker.ts";
import { display } from "./check_display.ts";
import { keyring } from "./check_keyring.ts";
import { msalRuntime } from "./check_msalruntime.ts";
import { dbusClient, sessionBus } from "./check_session_bus.ts";
import { wsl } from "./check_wsl.ts";
import type { CommandLine } from "./command_line.ts";
import { type Check, notChecked, ok } from "./doctor_check.ts";

const OF_BROKERS: readonly Check[] = [broker, dbusClient, sessionBus, wsl, msalRuntime, display, keyring];

/** Why no broker is to be looked for; `undefined` where one is. */
export async function whyNoBroker(line: CommandLine): Promise<string | undefined> {
  const broker = line.text("broker");
  if (broker !== "auto") return broker === "never" ? "no broker is asked for" : undefined;
  const [own, usual] = await Promise.all([line.text("authority"), undefined].map(reasonWithout));
  return own === usual ? undefined : own;
}

/** An app that wants no broker probes nothing, and says the same of every authority that brokers serve. */
async function reasonWithout(authority: string | undefined): Promise<string> {
  const app = new PublicClientApplication({ clientId: "latchkey", ...(authority !== undefined && { authority }) });
  return (await app.brokerStatus()).reason ?? "";
}

/**
 * The checks that are left.
 *
 * @param checks All checks.
 * @param why Why no broker is to be looked for.
 */
export function withoutBroker(checks: readonly Check[], why: string): readonly Check[] {
  return checks.map((check): Check => {
    if (OF_BROKERS.includes(check)) return { id: check.id, limitMs: check.limitMs, run: () => notChecked(why) };
    if (check === redirectUri) {
      const run: Check["run"] = ({ clientId = "<client id>", ...options }) => {
        const uri = redirectUris(clientId, options).find(({ ways }) => ways.includes("browser"))!.uri;
        return ok(`the app registration ${clientId} has to have ${uri}`);
      };
      return { ...check, run };
    }
    const { needs = [], after = [] } = check;
    return needs.some((id) => [broker, sessionBus].some((other) => other.id === id))
      ? { ...check, needs: [], after: [...after, ...needs] }
      : check;
  });
}
