// A token cache that cannot be read beside a broker that serves: nobody needs it, and it is said all the same.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { deferredNotices } from "../../../bin/cli/application.ts";
import { type PrivateBus, startPrivateBus } from "../../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../../fakes/start_fake_broker.ts";
import { openHome } from "../../fixture.ts";
import { runProgram } from "../run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";

let bus: PrivateBus, broker: FakeBroker;
beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

test("heldNotices() gives what the work gives, and fails as it does", async () => {
  const failure = new Error("no");
  expect(await deferredNotices().around(() => Promise.resolve(1))).toBe(1);
  expect(await deferredNotices().around(() => Promise.reject(failure)).catch((error) => error)).toBe(failure);
});

test.each(["accounts", "token --scope User.Read"])(
  "latchkey %s has its answer from the broker, and says what is wrong with the token cache",
  async (line) => {
    using home = openHome();
    mkdirSync(join(home.path, "elsewhere"), { mode: 0o700 });
    mkdirSync(join(home.state, ".."), { recursive: true });
    symlinkSync(join(home.path, "elsewhere"), home.state);
    const { code, stdout, stderr } = await runProgram(
      [...LATCHKEY_ON_BUN, ...line.split(" "), "--client-id", CLIENT_ID],
      { ...home.env, DBUS_SESSION_BUS_ADDRESS: bus.address },
    );
    expect({ code, isEmpty: stdout === "" }).toEqual({ code: 0, isEmpty: false });
    expect(stderr).toMatch(/^latchkey: The token cache cannot be read: .*it is a symbolic link\. .*\n$/);
  },
);
