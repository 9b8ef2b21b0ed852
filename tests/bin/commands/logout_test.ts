// latchkey logout with a fake broker.
import { describe, expect, test } from "bun:test";
import { CLIENT_ID, CONTOSO, JANE, JOE, openHome, useStage } from "../../fixture.ts";
import { latchkeyOf, runLatchkeyOnDeno } from "../run_latchkey.ts";
import { testOfSources } from "../tested_latchkey.ts";

const stage = useStage({ broker: { accounts: [JANE, JOE] } }), { behave } = stage;
const latchkey = latchkeyOf(stage, "--client-id", CLIENT_ID);
const removed = async () => (await stage.broker.calls("removeAccount")).map(({ request }) => request.account.username);

describe("latchkey logout", () => {
  test("--from-broker takes the account from the broker", async () => {
    const { code, stdout, stderr } = await latchkey("logout --account JOE@contoso.com --from-broker");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain("forgot joe@contoso.com");
    expect(await removed()).toEqual(["joe@contoso.com"]);
    expect((await latchkey("accounts")).stdout).toMatch(/^jane@contoso\.com\t.*\n$/);
  });

  testOfSources("leaves the broker alone, and says that it does not last where nothing can be stored", async () => {
    await behave({ accounts: [JANE] });
    const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
    expect(await runLatchkeyOnDeno(["logout", "--client-id", CLIENT_ID], { env })).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(
        /^latchkey: jane@contoso\.com is signed out for this run only.*; --from-broker removes it.*--allow-env=/,
      ),
    });
    expect(await removed()).toEqual([]);
  });

  test("lasts: the broker's token is not taken before the next sign-in", async () => {
    await behave({ accounts: [JANE] });
    using home = openHome();
    const run = (line: string) => latchkey(line, { env: home.env });
    expect(await run("logout")).toMatchObject({
      code: 0,
      stderr: "latchkey: jane@contoso.com is signed out of this app; other apps keep their sign-ins; " +
        "--from-broker removes it from the device's broker\n",
    });
    for (
      const [line, says] of [
        ["token --scope User.Read", "signed out of this app"],
        ["accounts", "there is no account. Sign in: latchkey login"],
      ] as const
    ) {
      expect(await run(line)).toEqual({ code: 3, stdout: "", stderr: expect.stringContaining(says) });
    }
    expect(await run("login --account jane@contoso.com --prompt login")).toMatchObject({ code: 0 });
    expect(await run("token --scope User.Read")).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(["himmelblau-0.1", "himmelblau-2.0"] as const)(
    "--from-broker with %s, which cannot, says so, and that the app has forgotten the account",
    async (sender) => {
      await behave({ accounts: [JANE], sender });
      expect(await latchkey("logout --from-broker")).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^hint: Go without it: himmelblau.*signed out of this app anyway$/m),
      });
    },
  );

  test("--from-broker takes an account that has signed out of the app before", async () => {
    using home = openHome();
    const run = (line: string) => latchkey(line, { env: home.env });
    expect(await run("logout --account joe@contoso.com")).toMatchObject({ code: 0 });
    expect(await run("accounts")).toMatchObject({ stdout: expect.not.stringContaining("joe@contoso.com") });
    expect(await run("logout --from-broker")).toMatchObject({ code: 2, stderr: expect.stringContaining("--account") });
    expect(await run("logout --account joe@contoso.com --from-broker")).toMatchObject({
      code: 0,
      stderr: "latchkey: the device's broker forgot joe@contoso.com\n",
    });
    expect(await removed()).toEqual(["joe@contoso.com"]);
  });

  test("--from-broker=no leaves the broker alone, and what is neither yes nor no is wrong usage", async () => {
    await behave({ accounts: [JANE] });
    expect(await latchkey("logout --from-broker=no")).toMatchObject({ code: 0 });
    const says = expect.stringContaining('--from-broker takes yes or no, not "maybe"');
    expect(await latchkey("logout --from-broker=maybe")).toMatchObject({ code: 2, stderr: says });
    expect(await removed()).toEqual([]);
  });

  test("wants to know which of several accounts is meant", async () => {
    expect(await latchkey("logout --from-broker")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        `--account is missing: there are jane@contoso.com (tenant ${CONTOSO}), joe@contoso.com (tenant ${CONTOSO})\n`,
      ),
    });
    expect((await latchkey("logout --account stranger@contoso.com")).code).toBe(3);
    expect(await removed()).toEqual([]);
  });

  test("takes a home account id where a user name is that of several", async () => {
    const accounts = ["22222222-2222-2222-2222-222222222222", "22222222-2222-4222-8222-222222222222"].map((oid) => {
      const ids = { homeAccountId: `${oid}.${CONTOSO}`, localAccountId: oid, realm: CONTOSO };
      return { ...ids, username: JANE.username, environment: "login.microsoftonline.com" };
    });
    const text = (value: unknown) => ({ kind: "text", text: JSON.stringify(value) }) as const;
    await behave({ replies: { getAccounts: text({ accounts }), removeAccount: text({}) } });
    const ids = (await latchkey("accounts")).stdout.match(/[0-9a-f-]{36}\.[0-9a-f-]{36}/g)!;
    for (const account of ["", " --account jane@contoso.com"]) {
      const { code, stderr } = await latchkey(`logout --from-broker${account}`);
      expect(code).toBe(2);
      for (const id of ids) expect(stderr).toContain(`${id} (jane@contoso.com, tenant ${CONTOSO})`);
      expect(stderr).not.toContain("--tenant"); // it would not choose
    }
    const { code } = await latchkey(`logout --from-broker --account ${ids[1]!.toUpperCase()}`);
    const { account } = await stage.requestOf("removeAccount");
    expect({ code, id: account.homeAccountId }).toEqual({ code: 0, id: ids[1] });
    await latchkey(`token --scope User.Read --account ${ids[0]}`);
    const { authParameters } = await stage.requestOf("acquireTokenSilently");
    expect(authParameters.account.homeAccountId).toBe(ids[0]);
  });

  test("--from-broker is nothing that --broker never can do", async () => {
    expect(await latchkey("logout --from-broker --broker never")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--from-broker needs the broker, which --broker never turns off"),
    });
  });

  test("exits with 3 where there is no account, and says why", async () => {
    const { code, stderr } = await latchkey("logout --broker never");
    expect({ code, error: /^error: (.*)$/m.exec(stderr)![1] }).toEqual({ code: 3, error: "account_not_found" });
    expect(stderr).toContain("There is no account: nothing is stored for this app\n");
  });
});
