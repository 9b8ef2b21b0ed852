// Microsoft's own client and latchkey ask the same of the fake broker: their requests differ only where it is said why.
import { expect, test } from "bun:test";
import { Message, sessionBus } from "dbus-next";
import { parseAuthority } from "../../lib/authority.ts";
import { cancelRequest, interactiveRequest } from "../../lib/broker/wire.ts";
import { runLatchkey } from "../bin/run_latchkey.ts";
import { type Behaviour, BROKER_INTERFACE, BROKER_NAME, BROKER_PATH, type Call } from "../fakes/behaviour.ts";
import { checkEnvelope, checkRequest, isObject } from "../fakes/request_rules.ts";
import { CLIENT_ID, type PeerRequest } from "./start_msalruntime.ts";
import { type Pair, startPair } from "./start_pair.ts";

interface Comparison {
  readonly what: string;
  readonly method: "getAccounts" | "acquireTokenSilently" | "acquireTokenInteractively";
  readonly theirs: PeerRequest;
  /** Command line of latchkey, less the app and the broker. */
  readonly ours: readonly string[];
  /** Why the requests differ, by where they do. */
  readonly differences?: Readonly<Record<string, string>>;
  readonly accounts?: Behaviour["accounts"];
  readonly replies?: Behaviour["replies"];
}

const JANE = "jane@contoso.com", JOE = "joe@contoso.com";
const FABRIKAM = "33333333-3333-4333-8333-333333333333";
const CLAIMS = '{"access_token":{"xms_cc":{"values":["cp1"]}}}';
const TOKEN = ["token", "--scope", "User.Read", "--interactive", "never"];
const WINDOW = ["token", "--scope", "User.Read", "--interactive", "always"];

const SKU = {
  "authParameters.additionalQueryParametersForAuthorization.x-client-xtra-sku": "the client's name and version",
};
const OF_WINDOW = {
  "authParameters.onboardingBlob": "telemetry",
  "authParameters.parentWindow.handle":
    "for a console, which has no window that a broker could use, ours has 0 and theirs 1",
  parentWindowHandle: "as above",
};

const COMPARISONS: readonly Comparison[] = [
  { what: "accounts", method: "getAccounts", theirs: { method: "DiscoverAccountsAsync" }, ours: ["accounts"] },
  {
    what: "a token for an account",
    method: "acquireTokenSilently",
    theirs: { method: "AcquireTokenSilentlyAsync", account: JANE },
    ours: [...TOKEN, "--account", JANE],
    differences: SKU,
  },
  {
    what: "a token for one of several accounts",
    method: "acquireTokenSilently",
    accounts: [{ username: JANE }, { username: JOE }],
    theirs: { method: "AcquireTokenSilentlyAsync", account: JOE },
    ours: [...TOKEN, "--account", JOE],
    differences: SKU,
  },
  {
    what: "a token for the only account",
    method: "acquireTokenSilently",
    theirs: { method: "SignInSilentlyAsync" },
    ours: TOKEN,
    differences: SKU,
  },
  {
    what: "a token where there are several accounts",
    method: "acquireTokenSilently",
    accounts: [{ username: JANE }, { username: JOE }],
    theirs: { method: "SignInSilentlyAsync" },
    ours: TOKEN,
    differences: SKU,
  },
  {
    what: "a token without those scopes that are in every sign-in",
    method: "acquireTokenSilently",
    theirs: {
      method: "AcquireTokenSilentlyAsync",
      account: JANE,
      scopes: "openid email Mail.Read offline_access profile",
    },
    ours: [
      ...["token", "--interactive", "never", "--account", JANE],
      ...["openid", "email", "Mail.Read", "offline_access", "profile"].flatMap((scope) => ["--scope", scope]),
    ],
    differences: SKU,
  },
  {
    what: "a token of a tenant",
    method: "acquireTokenSilently",
    theirs: {
      method: "AcquireTokenSilentlyAsync",
      account: JANE,
      authority: `https://login.microsoftonline.com/${FABRIKAM}`,
    },
    ours: [...TOKEN, "--account", JANE, "--tenant", FABRIKAM],
    differences: SKU,
  },
  {
    what: "a token with claims",
    method: "acquireTokenSilently",
    theirs: { method: "AcquireTokenSilentlyAsync", account: JANE, claims: CLAIMS },
    ours: [...TOKEN, "--account", JANE, "--claims", CLAIMS],
    differences: SKU,
  },
  {
    what: "a token for one HTTP request",
    method: "acquireTokenSilently",
    theirs: {
      method: "AcquireTokenSilentlyAsync",
      account: JANE,
      pop: { method: "GET", host: "graph.microsoft.com", path: "/v1.0/me", nonce: "" },
    },
    ours: [...TOKEN, "--account", JANE, "--pop", "GET https://graph.microsoft.com/v1.0/me"],
    differences: { ...SKU, "authParameters.popParams.homeAccountId": "whose key it is; theirs leaves it empty" },
  },
  {
    what: "a window",
    method: "acquireTokenInteractively",
    theirs: { method: "SignInInteractivelyAsync" },
    ours: WINDOW,
    differences: { ...SKU, ...OF_WINDOW },
  },
  {
    what: "a window for a person",
    method: "acquireTokenInteractively",
    replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } },
    theirs: { method: "SignInAsync", accountHint: JOE },
    ours: [...WINDOW, "--account", JOE],
    differences: { ...SKU, ...OF_WINDOW },
  },
];

test.each(COMPARISONS)("for $what both send the same $method", async (comparison) => {
  const { method, theirs, ours, differences = {}, accounts, replies } = comparison;
  await using pair = await startPair({ ...(accounts && { accounts }), ...(replies && { replies }) });
  await pair.client.call({ method: "DiscoverAccountsAsync" });
  const [their, our] = [
    await requestOf(pair, method, async () => expect((await pair.client.call(theirs)).error).toBeUndefined()),
    await requestOf(pair, method, () => latchkey(pair, ours)),
  ];
  for (const call of [their, our]) checkByRules(call);
  expect(Object.keys(differencesOf(their.request, our.request)).sort()).toEqual(Object.keys(differences).sort());
});

test("for a window for an account interactiveRequest writes what Microsoft's client sends", async () => {
  await using pair = await startPair();
  await pair.client.call({ method: "DiscoverAccountsAsync" });
  const request = { method: "AcquireTokenInteractivelyAsync", account: JANE } as const;
  const { account, error } = await pair.client.call(request);
  expect(error).toBeUndefined();
  const [call] = await pair.broker.calls("acquireTokenInteractively");
  const raw = call!.request.authParameters.account;
  checkByRules(call!);
  const ours = interactiveRequest(CLIENT_ID, {
    scopes: ["User.Read"],
    authority: parseAuthority(`https://login.microsoftonline.com/${account!.realm}`),
    account: { ...account!, tenantId: account!.realm, source: "broker" },
    parentWindowHandle: 1,
  }, raw);
  expect(Object.keys(differencesOf(call!.request, JSON.parse(ours))).sort()).toEqual([
    "authParameters.additionalQueryParametersForAuthorization.hsu", // "1" beside an account; what for is not known
    ...Object.keys(SKU),
    "authParameters.onboardingBlob",
  ]);
});

test("to renew a token both show the old one", async () => {
  await using pair = await startPair();
  const request = { method: "AcquireTokenSilentlyAsync", account: JANE } as const;
  await pair.client.call({ method: "DiscoverAccountsAsync" });
  const { accessToken } = await pair.client.call(request);
  const their = await requestOf(
    pair,
    "acquireTokenSilently",
    () => pair.client.call({ ...request, accessTokenToRenew: accessToken! }),
  );
  const our = await requestOf(
    pair,
    "acquireTokenSilently",
    () => latchkey(pair, [...TOKEN, "--account", JANE, "--force-refresh"]),
  );
  for (const call of [their, our]) expect(call.request.authParameters.accessTokenToRenew).toMatch(/^ey/);
});

test("to end a window both send the same cancelInteractiveFlow, Microsoft's client only once the window is gone", async () => {
  await using pair = await startPair({ replies: { acquireTokenInteractively: { kind: "hang" } } });
  const answer = pair.client.call({ method: "SignInInteractivelyAsync" });
  const [window] = await callsOf(pair, "acquireTokenInteractively", 1);
  await pair.client.call({ method: "CancelAsyncOperation" });
  await cancel(pair, window!.correlationId!);
  expect((await answer).error?.errorStatus).toBe(7);
  const [ours, theirs] = await callsOf(pair, "cancelInteractiveFlow", 2);
  for (const call of [ours!, theirs!]) checkByRules(call);
  expect(theirs!.correlationId).not.toBe(window!.correlationId!);
  expect(Object.keys(differencesOf(theirs!.request, ours!.request))).toEqual(["error.tag"]);
});

/** The last call of a method that something leads to. */
async function requestOf(pair: Pair, method: string, act: () => Promise<unknown>): Promise<Call> {
  await pair.broker.forgetCalls();
  await act();
  return (await pair.broker.calls(method)).at(-1)!;
}

/** So many calls of a method, as soon as there are. */
async function callsOf({ broker }: Pair, method: string, count: number): Promise<readonly Call[]> {
  for (;;) {
    const calls = await broker.calls(method);
    if (calls.length >= count) return calls;
    await Bun.sleep(2);
  }
}

async function latchkey({ bus }: Pair, [command = "", ...args]: readonly string[]): Promise<void> {
  const run = await runLatchkey([command, "--client-id", CLIENT_ID, "--broker", "require", ...args], {
    env: { DBUS_SESSION_BUS_ADDRESS: bus.address },
  });
  expect(run).toMatchObject({ code: 0 });
}

/** Ends a window as latchkey does: at once, under the id of the call that opened it. */
async function cancel({ bus }: Pair, correlationId: string): Promise<void> {
  const connection = sessionBus({ busAddress: bus.address });
  const object = { destination: BROKER_NAME, path: BROKER_PATH, interface: BROKER_INTERFACE };
  const body = ["0.0", correlationId, cancelRequest()];
  await connection.call(new Message({ ...object, member: "cancelInteractiveFlow", signature: "sss", body }));
  connection.disconnect();
}

/** The fake refuses what breaks a rule; whatever reply hid that is seen here. */
function checkByRules({ member, protocolVersion, correlationId, request }: Call): void {
  checkEnvelope(protocolVersion!, correlationId!, JSON.stringify(request));
  checkRequest(member, request, "microsoft-3.0.1");
}

/** Returns where two JSON values differ, by paths such as `account.name`; a path ends where one of the two has no object. */
function differencesOf(one: unknown, other: unknown, path = ""): Readonly<Record<string, readonly [unknown, unknown]>> {
  if (!isObject(one) || !isObject(other)) {
    return JSON.stringify(one) === JSON.stringify(other) ? {} : { [path]: [one, other] };
  }
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  const below = [...keys].map((key) => differencesOf(one[key], other[key], path ? `${path}.${key}` : key));
  return Object.assign({}, ...below);
}
