// The channel by which another program, such as a browser, has the broker's own replies.
import { afterEach, describe, expect } from "bun:test";
import { inspect } from "node:util";
import { type BrokerChannel, type BrokerChannelOptions, openBrokerChannel } from "../../../mod.ts";
import { limitedTest } from "../../fakes/test_within_limits.ts";
import { SENDERS } from "../../fakes/tested_broker.ts";
import { CLIENT_ID, failure, JANE, useStage } from "../../fixture.ts";

const test = limitedTest(import.meta.url);

const stage = useStage({ broker: {} }), { behave, called, requestOf } = stage;
const channels: BrokerChannel[] = [];

afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});

async function open(options: Partial<BrokerChannelOptions> = {}): Promise<BrokerChannel> {
  const channel = await openBrokerChannel({ clientId: CLIENT_ID, ...options });
  channels.push(channel);
  return channel;
}

async function accountFrom(channel: BrokerChannel): Promise<Record<string, unknown>> {
  const { accounts } = await channel.ask({ method: "getAccounts" }) as { accounts: Record<string, unknown>[] };
  return accounts[0]!;
}

for (const sender of SENDERS) {
  test(`gives what ${sender} says, as it says it`, async () => {
    await behave({ sender });
    const channel = await open(), account = await accountFrom(channel);
    const url = "https://login.microsoftonline.com/?sso_nonce=n";
    const answers = [
      { accounts: [account] },
      await channel.ask({ method: "acquireTokenSilently", account, scopes: ["User.Read"] }),
      await channel.ask({ method: "acquirePrtSsoCookie", account, url }),
      await channel.ask({ method: "getLinuxBrokerVersion" }),
    ];
    const replies = (await stage.broker.replies()).slice(-answers.length).map(([json]) => JSON.parse(String(json)));
    expect(answers).toEqual(replies);
    expect((await requestOf("acquirePrtSsoCookie")).ssoUrl).toBe(url);
  });
}

describe("A channel to the broker", () => {
  test("opens nothing before it is asked", async () => {
    await open();
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("shows no token when an answer is inspected", async () => {
    const channel = await open(), account = await accountFrom(channel);
    const answer = await channel.ask({ method: "acquireTokenSilently", account, scopes: ["User.Read"] });
    expect(JSON.stringify(answer)).toContain('"accessToken":"ey');
    expect(inspect(answer, { depth: 9 })).not.toContain("ey");
  });

  test("carries the caller's correlation id, else one of its own", async () => {
    const channel = await open(), correlationId = "99999999-9999-4999-8999-999999999999";
    await channel.ask({ method: "getAccounts" }, { correlationId });
    await channel.ask({ method: "getAccounts" });
    const ids = (await stage.broker.calls("getAccounts")).map(({ correlationId }) => correlationId);
    expect(ids[0]).toBe(correlationId);
    expect(ids[1]).not.toBe(correlationId);
  });

  test("has a broker's refusal as an answer, and what is no JSON object as a failure", async () => {
    await behave({ replies: { getAccounts: { kind: "broker_error", status: 5 } } });
    const channel = await open();
    expect(await channel.ask({ method: "getAccounts" })).toMatchObject({ error: { status: 5 } });
    for (const text of ["", "secret", '"secret"', "null", "[]"]) {
      await behave({ replies: { getAccounts: { kind: "text", text } } });
      const error = await failure(channel.ask({ method: "getAccounts" }));
      // An empty reply says that the broker's daemon could not answer.
      expect(error.code).toBe(text === "" ? "broker_unavailable" : "invalid_response");
      expect(error.message).not.toContain("secret");
    }
  });

  test("lets go at an abort, and in its time", async () => {
    await behave({ replies: { getAccounts: { kind: "hang" } } });
    const channel = await open({ timeLimits: { accountsMs: 50 } }), leaving = new AbortController();
    expect((await failure(channel.ask({ method: "getAccounts" }))).code).toBe("timed_out");
    const patient = await open(), reason = new Error("enough");
    const gone = patient.ask({ method: "getAccounts" }, { signal: leaving.signal }).catch((error) => error);
    await called("getAccounts", 2);
    leaving.abort(reason);
    expect(await gone).toBe(reason);
  });

  test("asks once more when the broker ends under a question, and tells that it came and went", async () => {
    const channel = await open(), changes: object[] = [], changed = [Promise.withResolvers<void>()];
    using _ = await channel.onChange((change) => {
      changes.push(change);
      changed.at(-1)!.resolve();
      changed.push(Promise.withResolvers());
    });
    await channel.start();
    await stage.broker.kill();
    while (changes.length < 1) await changed.at(-1)!.promise;
    expect((await failure(channel.ask({ method: "getAccounts" }))).code).toBe("broker_unavailable");
    await stage.broker.start();
    while (changes.length < 2) await changed.at(-1)!.promise;
    expect(changes).toEqual([{ running: false }, { running: true }]);
    expect(await accountFrom(channel)).toMatchObject(JANE);
  });

  test("says what is wrong with a question, and asks nothing", async () => {
    const channel = await open(), account = { username: "jane@contoso.com" };
    const questions: object[] = [
      { method: "acquireTokenSilently", account: null, scopes: ["a"] },
      { method: "acquireTokenSilently", account: [], scopes: ["a"] },
      { method: "acquireTokenSilently", account, scopes: [] },
      { method: "acquireTokenSilently", account, scopes: ["openid"] },
      { method: "acquireTokenSilently", account, scopes: ["a b"] },
      { method: "acquirePrtSsoCookie", account, url: "http://login.microsoftonline.com/" },
      { method: "acquirePrtSsoCookie", account, url: undefined },
      { method: "removeAccount", account },
      {},
    ];
    for (const question of questions) {
      expect(await channel.ask(question as never).catch((error) => error)).toBeInstanceOf(TypeError);
    }
    expect(await channel.ask({ method: "getAccounts" }, { correlationId: "1" }).catch((error) => error))
      .toBeInstanceOf(TypeError);
    expect(await openBrokerChannel({ clientId: "" }).catch((error) => error)).toBeInstanceOf(TypeError);
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("is of no use when it was closed", async () => {
    const channel = await open();
    await channel.start();
    channel.close();
    expect((await failure(channel.ask({ method: "getAccounts" }))).code).toBe("broker_unavailable");
    expect(await stage.broker.calls("getAccounts")).toEqual([]);
  });
});
