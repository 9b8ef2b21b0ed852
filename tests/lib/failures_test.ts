// What the library makes of all that a broker, its bus and other processes can do to it.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  type AccountInfo,
  CONSOLE_WINDOW_HANDLE,
  type Logger,
  PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import type { Call, Reply } from "../fakes/behaviour.ts";
import { expectConnections } from "../fakes/bus_census.ts";
import { type Failure, FAILURES, type Method, SECRET } from "../fakes/failures.ts";
import { expectHarmless, expectHarmlessText } from "../fakes/harmless_error.ts";
import { HOSTILE_TEXT } from "../fakes/hostile_texts.ts";
import { endStage, play, type Stage, startStage } from "../fakes/stage.ts";
import { BROKER } from "../fakes/tested_broker.ts";
import { CLIENT_ID, failure } from "../fixture.ts";

const SCOPES = ["User.Read"];
/** What a call may take that is not answered, and what others may: processes that start, and 64 MiB, take a busy machine long. */
const IMPATIENT = { accountsMs: 400, silentMs: 400 }, PATIENT = { accountsMs: 50_000, silentMs: 50_000 };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What an app has on the bus: Windows' broker is asked by a program. */
const CONNECTIONS = BROKER === "wsl" ? 0 : 1;
const BUS_REPLIES: readonly Reply["kind"][] = ["body", "dbus_error"];

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
  process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
});
afterAll(() => endStage(stage));

function makeApp(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return new PublicClientApplication({
    clientId: CLIENT_ID,
    enableBrokerOnLinux: true,
    requireBroker: true,
    ...options,
  });
}

/** What happens to the bus, or is said by it, Windows' broker has nothing of. */
function canHappen({ replies, before, meanwhile }: Failure): boolean {
  const isOfBus = before || meanwhile || Object.values(replies).some(({ kind }) => BUS_REPLIES.includes(kind));
  return BROKER !== "wsl" || !isOfBus;
}

type MethodCall = (app: PublicClientApplication, account: AccountInfo) => Promise<unknown>;

/** The broker's methods as the library's callers reach them. */
const CALLS: Readonly<Record<Method, MethodCall>> = {
  getAccounts: (app) => app.getAccounts(),
  acquireTokenSilently: (app, account) => app.acquireTokenSilent({ scopes: SCOPES, account }),
  acquireTokenInteractively: (app) =>
    app.acquireTokenInteractive({ scopes: SCOPES, prompt: "login", parentWindowHandle: CONSOLE_WINDOW_HANDLE }),
  acquirePrtSsoCookie: (app, account) => app.acquireSsoCookies({ account, url: "https://login.microsoftonline.com/" }),
  generateSignedHttpRequest: (app, account) =>
    app.signHttpRequest({ account, method: "GET", url: "https://graph.microsoft.com/v1.0/me" }),
};

/** Calls with an application of its own. */
async function withApp<T>(call: (app: PublicClientApplication) => Promise<T>, logger?: Logger): Promise<T> {
  const app = makeApp(logger ? { logger } : {});
  try {
    return await call(app);
  } finally {
    app.close();
  }
}

const silently = (app: PublicClientApplication, scopes = SCOPES) => app.acquireToken({ scopes, interactive: "never" });

describe("PublicClientApplication, when the broker fails", () => {
  test.each(FAILURES.filter(([, , failure]) => canHappen(failure)))(
    "in %s: it %s",
    async (method, _name, row) => {
      const lines: string[] = [];
      const timeLimits = row.code === "timed_out" ? IMPATIENT : PATIENT;
      const app = makeApp({ timeLimits, logger: (_level, message) => void lines.push(message) });
      const [account] = await app.getAccounts(), call = () => CALLS[method](app, account!);
      await stage.broker.forgetCalls();
      try {
        await play(stage, {
          failure: row,
          method,
          call: () => failure(call()),
          async afterwards(error) {
            expect(error.code).toBe(row.code);
            expect(error.correlationId).toMatch(UUID);
            expectHarmless(error);
            lines.forEach(expectHarmlessText);
            if (method === "acquireTokenInteractively") {
              expect((await stage.broker.calls(method)).length).toBeLessThan(2); // no second window
            }
            // A process that has just begun needs longer for its first answer than the call may take.
            if (row.code === "timed_out") await withApp((fresh) => fresh.getAccounts());
            if (row.isLasting) return expect((await failure(call())).code).toBe(row.code);
            expect(await call()).toBeTruthy();
            await expectConnections(stage.bus, CONNECTIONS);
          },
        });
      } finally {
        app.close();
      }
      await expectConnections(stage.bus, 0);
    },
  );
});

describe("PublicClientApplication, when the broker's answer is odd", () => {
  const JANE = { homeAccountId: "o.11111111-1111-1111-1111-111111111111", username: "jane@contoso.com" };
  const text = (value: unknown): Reply => ({
    kind: "text",
    text: typeof value === "string" ? value : JSON.stringify(value),
  });
  const answer = (token: unknown, accounts: unknown = { accounts: [JANE] }) =>
    stage.broker.behave({ replies: { getAccounts: text(accounts), acquireTokenSilently: text(token) } });
  const TOKEN = { accessToken: SECRET, accessTokenType: 0, expiresOn: 4e12, account: JANE };

  afterEach(() => stage.broker.behave({ replies: {} }));

  test("tells which scopes were granted when they are fewer", async () => {
    await answer({ brokerTokenResponse: { ...TOKEN, grantedScopes: "User.Read" } });
    const { scopes } = await withApp((app) => silently(app, ["User.Read", "Mail.Read"]));
    expect(scopes).toEqual(["User.Read"]);
  });

  test("takes the last of equal keys, as JSON.parse does", async () => {
    const good = JSON.stringify({ brokerTokenResponse: TOKEN }).slice(1);
    await answer(`{"brokerTokenResponse":{"accessToken":7},${good}`);
    expect((await withApp(silently)).accessToken).toBe(SECRET);
  });

  test("changes no prototype, and sends an account back whole", async () => {
    const odd = `{"accounts":[{"__proto__":{"odd":1},"constructor":{"prototype":{"odd":1}},${
      JSON.stringify(JANE).slice(1)
    }]}`;
    await answer({}, odd);
    await stage.broker.forgetCalls();
    await withApp((app) => silently(app).catch(() => undefined));
    expect(({} as { odd?: number }).odd).toBeUndefined();
    const [{ request }] = await stage.broker.calls("acquireTokenSilently") as [Call];
    expect(JSON.stringify(request.authParameters.account)).toBe(JSON.stringify(JSON.parse(odd).accounts[0]));
  });

  test("keeps hostile text as it is in what it returns, and out of what it logs", async () => {
    const account = { ...JANE, username: HOSTILE_TEXT, name: HOSTILE_TEXT }, lines: string[] = [];
    const token = { ...TOKEN, account, grantedScopes: [HOSTILE_TEXT] };
    await answer({ brokerTokenResponse: token }, { accounts: [account] });
    const { account: answered, scopes } = await withApp(
      (app) => silently(app),
      (_level, message) => void lines.push(message),
    );
    expect(answered).toMatchObject({ username: HOSTILE_TEXT, name: HOSTILE_TEXT });
    expect(scopes).toEqual([HOSTILE_TEXT]);
    lines.forEach(expectHarmlessText);
  });

  test("names another person without their hostile name, and logs nothing of it", async () => {
    const account = { ...JANE, homeAccountId: "other.t", username: HOSTILE_TEXT };
    await answer({ brokerTokenResponse: { ...TOKEN, account } });
    const error = await withApp((app) => failure(silently(app)));
    expect(error.code).toBe("interaction_required");
    expectHarmless(error);
  });

  test("passes over claims that are nested too deep", async () => {
    const payload = btoa(`{"name":${"[".repeat(10_000)}${"]".repeat(10_000)}}`);
    await answer({ brokerTokenResponse: { ...TOKEN, idToken: `a.${payload}.c` } });
    expect((await withApp(silently)).idTokenClaims).toBeUndefined();
  });
});

describe("PublicClientApplication", () => {
  test("reaches the broker again after the bus daemon restarted between two calls", async () => {
    const app = makeApp();
    await app.getAccounts();
    await stage.broker.kill();
    await stage.bus.restart();
    await stage.broker.start();
    expect(await app.getAccounts()).toHaveLength(1);
    app.close();
  });

  test("leaves no file descriptor behind, however its calls end", async () => {
    // Deno lets a program read this of itself only when it may do all.
    const opened = () => execFileSync("ls", [`/proc/${process.pid}/fd`], { encoding: "utf8" }).split("\n").length;
    const fail = async () => {
      const app = makeApp({ timeLimits: { accountsMs: 1 } });
      await app.getAccounts().catch(() => {});
      app.close();
    };
    await stage.broker.behave({ replies: { getAccounts: { kind: "hang" } } });
    await fail();
    await expectConnections(stage.bus, 0);
    const before = opened();
    for (let round = 0; round < 20; round++) await fail();
    await expectConnections(stage.bus, 0);
    // The one that counted last may not have ended.
    expect(opened() - before).toBeLessThan(10);
    await stage.broker.behave({ replies: {} });
  });
});
