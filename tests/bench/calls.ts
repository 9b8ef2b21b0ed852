// Silent calls of one process, under Deno: calls.ts CLIENT_ID COUNT EQUAL_SCOPE prints what they took as JSON.
import { PublicClientApplication } from "@latchkey/latchkey";

/** What so many calls took. */
export interface CallTimes {
  readonly inTurnMs: number;
  readonly atOnceMs: number;
  readonly equalAtOnceMs: number;
}

const [clientId = "", count = "", equalScope = ""] = Deno.args;
const times = await measureCalls(Number(count));
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(times)));

async function measureCalls(count: number): Promise<CallTimes> {
  const app = new PublicClientApplication({ clientId, enableBrokerOnLinux: true, requireBroker: true });
  const [account] = await app.getAccounts();
  if (!account) throw new Error("There is no account");
  const numbers = Array.from({ length: count }, (_, index) => index);
  const acquire = async (scope: string): Promise<void> => {
    if (!await app.acquireTokenSilent({ scopes: [scope], account })) throw new Error(`There is no token for ${scope}`);
  };

  // So that neither is measured before its code has been compiled.
  for (const number of numbers.slice(0, 100)) await acquire(`Warm${number}.Read`);
  await Promise.all(numbers.slice(100, 200).map((number) => acquire(`Warm${number}.Read`)));

  const inTurnMs = await timeOf(async () => {
    for (const number of numbers) await acquire(`InTurn${number}.Read`);
  });
  const atOnceMs = await timeOf(() => Promise.all(numbers.map((number) => acquire(`AtOnce${number}.Read`))));
  const equalAtOnceMs = await timeOf(() => Promise.all(numbers.map(() => acquire(equalScope))));
  app.close();
  return { inTurnMs, atOnceMs, equalAtOnceMs };
}

async function timeOf(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}
