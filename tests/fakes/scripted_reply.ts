/** The answer that a test has put in place of the normal one. */
import type { Behaviour, Call, Reply } from "./behaviour.ts";
import { countReply } from "./broker_directory.ts";

/** Takes the reply for a call: the one for its scope if there is one, else the one for its method. */
export function scriptedReply(directory: string, behaviour: Behaviour, call: Call): Reply | undefined {
  const scopes: unknown = call.request?.authParameters?.requestedScopes;
  const keys = [...(Array.isArray(scopes) ? scopes.map((scope) => `${call.member} ${scope}`) : []), call.member];
  for (const key of keys) {
    const reply = behaviour.replies?.[key];
    if (!reply) continue;
    const { after = 0, times = Infinity } = reply;
    const count = after === 0 && times === Infinity ? 1 : countReply(directory, key);
    if (count > after && count <= after + times) return reply;
  }
  return undefined;
}
