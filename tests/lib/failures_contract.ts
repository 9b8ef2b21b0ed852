// What the library makes of all that a broker, its bus and other processes can do to it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import {
  type AccountInfo,
  CONSOLE_WINDOW_HANDLE,
  LatchkeyError,
  PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import { busCensus } from "../fakes/bus_census.ts";
import { failuresOf, type Method, SECRET } from "../fakes/failures.ts";
import { UNSAFE } from "../fakes/hostile_texts.ts";
import { endStage, play, type Stage, startStage } from "../fakes/stage.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const SCOPES = ["User.Read"];
/** What a call may take that is not answered; others have the usual time, in which the test would fail. */
const IMPATIENT = { accountsMs: 300, silentMs: 300 };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
  process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
});
afterAll(() => endStage(stage));

function makeApp(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return new PublicClientApplication({ clientId: CLIENT_ID, enableBrokerOnLinux: true, ...options });
}

type Call = (app: PublicClientApplication, account: AccountInfo) => Promise<unknown>;

/** The broker's methods as the library's callers reach them. */
const CALLS: Readonly<Record<Method, Call>> = {
  getAccounts: (app) => app.getAccounts(),
  acquireTokenSilently: (app, account) => app.acquireTokenSilent({ scopes: SCOPES, account }),
  acquireTokenInteractively: (app) =>
    app.acquireTokenInteractive({ scopes: SCOPES, prompt: "login", parentWindowHandle: CONSOLE_WINDOW_HANDLE }),
};

async function failure(promise: Promise<unknown>): Promise<LatchkeyError> {
  const error = await promise.then(() => new Error("it did not fail"), (error) => error);
  if (!(error instanceof LatchkeyError)) throw error;
  return error;
}

/** All that a program could print of an error. */
function textsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { message, stack = "", cause, ...rest } = error as Error & Record<string, unknown>;
  const inspected = [
    inspect(error, { depth: 9, showHidden: true }),
    typeof Deno === "undefined" ? "" : Deno.inspect(error),
  ];
  const texts = [message, ...Object.values(rest).filter((value) => typeof value === "string")];
  return [
    ...texts,
    JSON.stringify(error),
    ...[stack, ...inspected].map((text) => text.replaceAll("\n", "")),
    ...textsOf(cause),
  ];
}

function expectHarmless(error: LatchkeyError): void {
  for (const text of textsOf(error)) {
    expect(text).not.toMatch(UNSAFE);
    for (const part of SECRET.split(".").slice(1)) expect(text).not.toContain(part);
    expect(text.length).toBeLessThan(50_000);
  }
}

/** Nobody is told when the bus has noticed that a connection ended, so it is asked until it has, or for long enough. */
async function expectConnections(connections: number): Promise<void> {
  let census = await busCensus(stage.bus.address);
  for (let tries = 0; census.connections !== connections && tries < 200; tries++) {
    census = await busCensus(stage.bus.address);
  }
  expect(census).toEqual({ connections, matchRules: 0 });
}

describe("PublicClientApplication, when the broker fails", () => {
  test.each(failuresOf("getAccounts", "acquireTokenSilently", "acquireTokenInteractively"))(
    "in %s: it %s",
    async (method, _name, row) => {
      const app = makeApp(row.code === "timed_out" ? { timeLimits: IMPATIENT } : {}),
        [account] = await app.getAccounts();
      const call = () => CALLS[method](app, account!);
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
            if (method === "acquireTokenInteractively") {
              expect((await stage.broker.calls(method)).length).toBeLessThan(2); // no second window
            }
            expect(await call()).toBeTruthy();
            await expectConnections(1);
          },
        });
      } finally {
        app.close();
      }
      await expectConnections(0);
    },
  );
});
