// The entry . on the edge, where it has no broker: it is imported, and works until a broker is asked for.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { bundleForEdge } from "../tools/bundle_for_edge.ts";
import { startWorker, type Worker } from "../tools/start_worker.ts";

let worker: Worker;

beforeAll(async () => {
  // What is left out is looked for when it is loaded, and there is nothing of it to be found.
  worker = await startWorker(await bundleForEdge("tests/lib/edge_program.ts", { external: ["node:*", "dbus-next"] }));
});
afterAll(() => worker[Symbol.asyncDispose]());

interface Failure {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

/** What the calls of an application with some flags end with. */
async function outcomes(flags: string): Promise<Record<string, unknown> & { readonly sign: Failure }> {
  const response = await fetch(`${worker.url}/?${flags}`);
  expect(response.status).toBe(200);
  return await response.json() as Record<string, unknown> & { readonly sign: Failure };
}

test.each(["", "enableBrokerOnLinux", "enableBrokerOnWindows&enableBrokerOnMac"])(
  "mod.ts on the edge signs in without a broker with the flags %j",
  async (flags) => {
    expect(await outcomes(flags)).toMatchObject({
      status: { state: "off", kind: null },
      accounts: [],
      silent: null,
      flow: { authUri: expect.stringContaining("https://login.microsoftonline.com/common/oauth2/v2.0/authorize?") },
    });
  },
);

test("mod.ts on the edge says so when a broker is asked for", async () => {
  expect((await outcomes("")).sign).toMatchObject({ name: "LatchkeyError", code: "broker_unavailable" });
  const { silent, accounts } = await outcomes("enableBrokerOnLinux&requireBroker");
  const failure = { code: "broker_unavailable", message: expect.stringMatching(/^There is no broker: .* platform/) };
  expect({ silent, accounts }).toMatchObject({ silent: failure, accounts: failure });
});
