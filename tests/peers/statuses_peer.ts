// What Microsoft's own client makes of each status on the wire, and what latchkey does.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseAuthority } from "../../lib/authority.ts";
import type { Broker } from "../../lib/broker/broker.ts";
import { DEFAULT_TIME_LIMITS } from "../../lib/broker/time_limits.ts";
import { codeOfStatus, statusOfWire } from "../../lib/broker/errors.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { tokenQuery } from "../../lib/request.ts";
import { BrokerSource } from "../../lib/sources/broker.ts";
import { type Pair, startPair } from "./start_pair.ts";

const WIRE = Array.from({ length: 27 }, (_, index) => index - 1);

let pair: Pair;

beforeAll(async () => {
  pair = await startPair();
});

afterAll(async () => {
  await pair[Symbol.asyncDispose]();
});

describe.each(WIRE)("status %d on the wire", (status) => {
  beforeAll(async () => {
    const refusal = { kind: "broker_error", status, tag: 5, context: `status ${status}` } as const;
    await pair.broker.behave({ replies: { acquireTokenSilently: refusal } });
    await pair.broker.forgetCalls();
  });

  test("is statusOfWire's to Microsoft's client", async () => {
    const { error } = await pair.client.call({ method: "SignInSilentlyAsync" });
    expect(error).toMatchObject({ errorStatus: statusOfWire(status), errorContext: `status ${status}` });
  });

  test("leads Microsoft's client to the window as it leads signIn", async () => {
    // A hint, or it would take an account that an earlier window left behind.
    await pair.client.call({ method: "SignInAsync", accountHint: "jane@contoso.com", scopes: `Status.${status}` });
    const theirs = await pair.broker.calls("acquireTokenInteractively");
    expect(theirs.length > 0).toBe(await opensWindow(statusOfWire(status)));
  });
});

async function opensWindow(status: number): Promise<boolean> {
  let opened = false;
  const broker: Partial<Broker> = {
    getAccounts: () => Promise.resolve([]),
    acquireTokenSilently: () =>
      Promise.reject(new LatchkeyError(codeOfStatus(status), "refused", { broker: { status, subStatus: 0 } })),
    acquireTokenInteractively() {
      opened = true;
      return Promise.reject(new LatchkeyError("user_canceled", "canceled"));
    },
  };
  const app = { authority: parseAuthority("https://login.microsoftonline.com/common") };
  const source = new BrokerSource({
    ...{ clientId: "11111111-2222-4333-8444-555555555555", ...app, flags: {}, timeLimits: DEFAULT_TIME_LIMITS },
    ...{ now: Date.now, log: () => {}, isSignedOut: () => Promise.resolve(false) },
  });
  const query = tokenQuery({ scopes: ["User.Read"] }, app);
  await source.signIn(query, broker as Broker, { how: "silent-first" }).catch(() => {});
  return opened;
}
