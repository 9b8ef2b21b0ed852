// Microsoft's own client takes what the fake broker answers. Its addon offers neither cookies nor signed HTTP requests, and
// it reads no scopes; what of the fake concerns these is held to nothing.
import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import type { Sender } from "../fakes/behaviour.ts";
import type { PeerAnswer, PeerRequest } from "./start_msalruntime.ts";
import { startPair } from "./start_pair.ts";

const JANE = {
  username: "jane@contoso.com",
  displayName: "Jane Doe",
  homeAccountId: "22222222-2222-2222-2222-222222222222.11111111-1111-1111-1111-111111111111",
  localAccountId: "22222222-2222-2222-2222-222222222222",
  environment: "login.microsoftonline.com",
  realm: "11111111-1111-1111-1111-111111111111",
};
const OWN = ["microsoft-2.0.1", "microsoft-2.0.2", "microsoft-2.5.2", "microsoft-3.0.1"] as const;
const POP = { method: "GET", host: "graph.microsoft.com", path: "/v1.0/me", nonce: "nonce-1" };
/** himmelblau's errors have no `tag`, which the client misses. */
const UNREADABLE = { errorStatus: 0, errorContext: "Key 'tag' not found in the json object '(pii)'" };

describe.each(OWN)("with %s Microsoft's client gets", (sender) => {
  test("the accounts", async () => {
    const accounts = [JANE, { username: "joe@contoso.com" }].map(({ username }) => ({ username }));
    await using pair = await startPair({ sender, accounts });
    const answer = await pair.client.call({ method: "DiscoverAccountsAsync" });
    const found = answer.accounts?.toSorted((one, other) => one.username.localeCompare(other.username));
    expect(found).toMatchObject([JANE, { username: "joe@contoso.com" }]);
  });

  test.each(
    [
      { method: "AcquireTokenSilentlyAsync", account: JANE.username },
      { method: "SignInSilentlyAsync" },
      { method: "SignInAsync", accountHint: JANE.username },
      { method: "AcquireTokenInteractivelyAsync", account: JANE.username },
      { method: "SignInInteractivelyAsync", accountHint: JANE.username },
    ] satisfies PeerRequest[],
  )("a token by $method", async (request) => {
    const { claims, ...answer } = readToken(await ask(sender, request));
    expect(answer.account).toMatchObject(JANE);
    expect(answer).toMatchObject({ expiresOn: claims.exp, grantedScopes: "User.Read" });
    expect(answer.authorizationHeader).toBeUndefined();
    expect(claims).toMatchObject({ upn: JANE.username, scp: "User.Read" });
  });

  test("a token for one HTTP request", async () => {
    const request = { method: "AcquireTokenSilentlyAsync", account: JANE.username, pop: POP } as const;
    const { claims, ...answer } = readToken(await ask(sender, request));
    expect(answer.authorizationHeader).toBe(`pop ${answer.accessToken}`);
    expect(claims).toMatchObject({ m: "GET", u: "graph.microsoft.com", p: "/v1.0/me", nonce: "nonce-1" });
  });

  test.each(["AcquireTokenSilentlyAsync", "AcquireTokenInteractivelyAsync"] as const)(
    "the refusal of %s",
    async (method) => {
      const context = "AADSTS50076: Due to a configuration change you must use multi-factor authentication";
      const refusal = {
        kind: "broker_error",
        status: 2,
        subStatus: 3,
        tag: 123,
        errorCode: -2147024891,
        context,
      } as const;
      const replies = { acquireTokenSilently: refusal, acquireTokenInteractively: refusal };
      const { error } = await ask(sender, { method, account: JANE.username }, replies);
      expect(error).toEqual({ errorStatus: 2, errorTag: 123, errorCode: -2147024891, errorContext: context });
    },
  );

  test("no account where the broker refuses to list them", async () => {
    await using pair = await startPair({ sender, replies: { getAccounts: { kind: "broker_error", status: 0 } } });
    expect((await pair.client.call({ method: "DiscoverAccountsAsync" })).accounts).toEqual([]);
  });
});

describe("Microsoft's client takes", () => {
  const sender = "microsoft-3.0.1";

  test("accounts and their tokens from its keyring once they are there", async () => {
    await using pair = await startPair({ sender });
    const request = { method: "AcquireTokenSilentlyAsync", account: JANE.username } as const;
    await pair.client.call({ method: "DiscoverAccountsAsync" });
    const first = await pair.client.call(request);
    await pair.broker.forgetCalls();
    expect((await pair.client.call(request)).accessToken).toBe(first.accessToken!);
    expect(await pair.broker.calls()).toEqual([]);
  });

  test("a token renewed by showing the old one", async () => {
    await using pair = await startPair({ sender });
    const request = { method: "AcquireTokenSilentlyAsync", account: JANE.username } as const;
    await pair.client.call({ method: "DiscoverAccountsAsync" });
    const { accessToken } = await pair.client.call(request);
    const renewed = readToken(await pair.client.call({ ...request, accessTokenToRenew: accessToken! }));
    expect(renewed.accessToken).not.toBe(accessToken);
  });

  test("an account signed out without a word to the broker", async () => {
    await using pair = await startPair({ sender });
    await pair.client.call({ method: "DiscoverAccountsAsync" });
    await pair.broker.forgetCalls();
    expect((await pair.client.call({ method: "SignOutSilentlyAsync", account: JANE.username })).error).toBeUndefined();
    const { error } = await pair.client.call({ method: "AcquireTokenSilentlyAsync", account: JANE.username });
    expect(error?.errorStatus).toBe(13);
    expect(await pair.broker.calls()).toEqual([]);
  });
});

describe("with himmelblau-2.0 Microsoft's client gets", () => {
  const sender = "himmelblau-2.0";

  test.each(["AcquireTokenSilentlyAsync", "AcquireTokenInteractivelyAsync"] as const)(
    "a token by %s, which it takes to end after seconds",
    async (method) => {
      const { claims, ...answer } = readToken(await ask(sender, { method, account: JANE.username }));
      expect(answer.account).toMatchObject(JANE);
      expect(answer.expiresOn).toBe(claims.exp - 4000 + 4);
    },
  );

  test("a bearer token for one HTTP request, and refuses it", async () => {
    const { error } = await ask(sender, { method: "AcquireTokenSilentlyAsync", account: JANE.username, pop: POP });
    expect(error).toMatchObject({ errorStatus: 0, errorContext: "PoP is not available" });
  });

  test("a refusal that it cannot read", async () => {
    const refusal = { kind: "broker_error", status: 0, context: "Not found" } as const;
    const request = { method: "AcquireTokenSilentlyAsync", account: JANE.username } as const;
    expect((await ask(sender, request, { acquireTokenSilently: refusal })).error).toMatchObject(UNREADABLE);
  });

  test("no window for a person whom nobody named", async () => {
    expect((await ask(sender, { method: "SignInInteractivelyAsync" })).error).toMatchObject(UNREADABLE);
  });
});

test("with himmelblau-4.0 Microsoft's client gets a token whose end it takes rightly", async () => {
  const request = { method: "AcquireTokenSilentlyAsync", account: JANE.username } as const;
  const { claims, ...answer } = readToken(await ask("himmelblau-4.0", request));
  expect(answer).toMatchObject({ account: JANE, expiresOn: claims.exp });
});

describe("with himmelblau-0.1 Microsoft's client gets", () => {
  test("no account, since none has an environment", async () => {
    await using pair = await startPair({ sender: "himmelblau-0.1" });
    expect((await pair.client.call({ method: "DiscoverAccountsAsync" })).accounts).toEqual([]);
  });

  test("no token, since none is asked for without an account at the root", async () => {
    expect((await ask("himmelblau-0.1", { method: "SignInSilentlyAsync" })).error).toMatchObject(UNREADABLE);
  });
});

/** One call, after the accounts were discovered: the client takes none that it has not found itself. */
async function ask(
  sender: Sender,
  request: PeerRequest,
  replies: NonNullable<Parameters<typeof startPair>[0]>["replies"] = {},
): Promise<PeerAnswer> {
  await using pair = await startPair({ sender, replies });
  await pair.client.call({ method: "DiscoverAccountsAsync" });
  return await pair.client.call(request);
}

/** An answer with a token, and what is in that. */
// deno-lint-ignore no-explicit-any -- a test looks into it
function readToken(answer: PeerAnswer): PeerAnswer & { readonly claims: any } {
  expect(answer.error).toBeUndefined();
  const [, payload = ""] = answer.accessToken!.split(".");
  return { ...answer, claims: JSON.parse(Buffer.from(payload, "base64url").toString()) };
}
