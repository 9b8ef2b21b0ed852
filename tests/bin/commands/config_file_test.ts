// latchkey CONFIG.json with a fake broker.
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIENT_ID, useStage } from "../../fixture.ts";
import { LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { latchkeyOf, type Run } from "../run_latchkey.ts";
import { testOfSources } from "../tested_latchkey.ts";

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
const CONFIG = { client_id: CLIENT_ID, authority: "https://login.microsoftonline.com/common", scope: ["User.Read"] };
const stage = useStage({ broker: {} }), { behave } = stage;
const latchkey = latchkeyOf(stage);

async function withConfig(config: unknown, line = ""): Promise<Run> {
  const path = join(stage.folder, "parameters.json");
  writeFileSync(path, typeof config === "string" ? config : JSON.stringify(config));
  return await latchkey(`${path} ${line}`);
}

describe("latchkey CONFIG.json", () => {
  test("runs the documented pattern", async () => {
    expect((await withConfig({ ...CONFIG, username: "jane@contoso.com" })).stdout).toMatch(JWT);
    expect((await withConfig(CONFIG)).stdout).toMatch(JWT);
    const { stdout } = await withConfig({ ...CONFIG, scope: "User.Read Mail.Read" }, "--format json");
    expect(JSON.parse(stdout).scope).toBe("User.Read Mail.Read");
  });

  test("prints error, description, correlation id and the consent URL", async () => {
    const missing = { kind: "broker_error", status: 2, context: "AADSTS65001: consent" } as const;
    await behave({ replies: { acquireTokenSilently: missing } });
    const { code, stdout, stderr } = await withConfig({ client_id: CLIENT_ID, scope: ["User.Read"] });
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toMatch(/^error: .*\nerror_description: .*\n/m);
    expect(stderr).toMatch(/^correlation_id: [0-9a-f-]{36}$/m);
    expect(stderr).toContain(`https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=${CLIENT_ID}`);
  });

  test("--interactive says whether a user may be asked", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect((await withConfig(CONFIG, "--interactive auto")).code).toBe(3);
    expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
    expect((await withConfig(CONFIG, "--interactive always")).code).toBe(0);
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("names itself as the sign-in, since latchkey login does not read the file", async () => {
    const expired = { kind: "broker_error", status: 2, subError: "token_expired" } as const;
    await behave({ replies: { acquireTokenSilently: expired } });
    const hint = expect.stringMatching(/^hint: .*: add --interactive always$/m);
    expect(await withConfig(CONFIG)).toMatchObject({ code: 3, stderr: hint });
  });

  test.each([
    ...["{}", "nonsense", '{"client_id":"x"}', '{"client_id":"x","scope":[1]}', "null"],
    '{"client_id":"x","scope":["a"],"username":1}',
  ])("refuses %s as wrong usage", async (config) => {
    expect(await withConfig(config)).toMatchObject({ code: 2, stderr: expect.stringContaining("parameters.json") });
  });

  testOfSources("names the permission to read it, and does not ask for it", async () => {
    const run = await latchkey("parameters.json", { permissions: LEAST_PERMISSIONS });
    const says = expect.stringContaining("Run deno with --allow-read=parameters.json");
    expect(run).toMatchObject({ code: 1, stderr: says });
  });

  test("refuses a file that is not there as wrong usage", async () => {
    const says = expect.stringContaining('"nobody.json": there is no such file');
    expect(await latchkey("nobody.json")).toMatchObject({ code: 2, stderr: says });
  });
});
