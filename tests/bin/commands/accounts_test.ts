// latchkey accounts with a fake broker.
import { describe, expect, test } from "bun:test";
import { CLIENT_ID, CONTOSO, JOE, useStage } from "../../fixture.ts";
import { type Run, runLatchkey } from "../run_latchkey.ts";

const stage = useStage({ broker: {} }), { behave } = stage;
const accounts = (line = "", { address } = stage.bus): Promise<Run> =>
  runLatchkey(["accounts", "--client-id", CLIENT_ID, ...line.split(" ").filter(Boolean)], {
    env: { DBUS_SESSION_BUS_ADDRESS: address },
  });

describe("latchkey accounts", () => {
  test("lists them, a line each", async () => {
    await behave({ accounts: [{ username: "jane@contoso.com", name: "Jane\t\u001b[31mDoe\n\u202e" }, JOE] });
    const { stdout } = await accounts();
    const [jane, joe, end] = stdout.split("\n");
    expect(jane).toMatch(
      new RegExp(`^jane@contoso\\.com\t[0-9a-f-]{36}\\.${CONTOSO}\tJane\ufffd\ufffd\\[31mDoe\ufffd\ufffd\t${CONTOSO}$`),
    );
    expect([joe!.split("\t")[0], end]).toEqual(["joe@contoso.com", ""]);
    expect((await accounts("--account JOE@contoso.com")).stdout).toBe(`${joe}\n`);
  });

  test("--format json has every member, and nothing that a terminal would obey", async () => {
    await behave({ accounts: [{ username: "jane@contoso.com", name: "Jane \u202e\u009b" }] });
    const { stdout } = await accounts("--format json");
    expect(stdout).toContain('"Jane \\u202e\\u009b"');
    const [jane] = JSON.parse(stdout);
    expect(Object.keys(jane).join(" ")).toBe("home_account_id local_account_id username name environment realm source");
    const name = "Jane \u202e\u009b";
    expect(jane).toMatchObject({ username: "jane@contoso.com", name, realm: CONTOSO, source: "broker" });
  });

  test("says why there are none without a broker, and exits with 5 when it is required", async () => {
    const nobody = { ...stage.bus, address: `unix:path=${stage.bus.directory}/nobody` };
    // Neither a broker nor a token cache can be asked: an empty list would be a lie.
    expect(await accounts("--store memory --format json", nobody)).toMatchObject({
      code: 5,
      stdout: expect.stringContaining('{"error":"broker_unavailable"'),
      stderr: expect.stringMatching(
        /There is no account: nothing is stored for this app, and no broker could be asked: Cannot start the broker: /,
      ),
    });
    expect(await accounts("--broker require", nobody)).toMatchObject({ code: 5, stdout: "" });
  });

  test("says when there are none", async () => {
    await behave({ accounts: [] });
    expect(await accounts()).toEqual({
      code: 3,
      stdout: "",
      stderr: `latchkey: there is no account. Sign in: latchkey login --client-id ${CLIENT_ID}\n`,
    });
    expect(await accounts("--format json")).toMatchObject({ code: 3, stdout: "[]\n" });
    const off = await accounts("--broker never --store memory --format json");
    expect(off).toMatchObject({ code: 3, stdout: expect.stringContaining('{"error":"account_not_found"') });
  });

  test("says without a broker that nothing is stored, and how to sign in", async () => {
    const at = ["accounts", "--client-id", "my-app", "--authority", "https://id.contoso.com"];
    const run = (...more: string[]) => runLatchkey([...at, ...more]);
    const signIn = "Sign in: latchkey login --client-id my-app --authority https://id.contoso.com";
    expect(await run()).toEqual({
      code: 3,
      stdout: "",
      stderr: `latchkey: there is no account: nothing is stored for this app. ${signIn}\n`,
    });
    expect((await run("--account", "joe")).stderr).toContain("there is no account joe: nothing is stored of it");
    expect(await run("--store", "memory")).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(
        /^error: account_not_found\n[^]*hint: Sign-ins last for this run only. Sign in: latchkey login --client-id /,
      ),
    });
  });

  test("--tenant is wrong usage, which says what there is instead", async () => {
    expect(await accounts("--tenant contoso.com")).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/^latchkey: latchkey accounts has no --tenant: .*--account USER lists only one/),
    });
  });
});
