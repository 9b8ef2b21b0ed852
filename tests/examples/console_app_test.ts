import { beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "../bin/run_latchkey.ts";
import { CLIENT_ID, JANE, JOE, useStage } from "../fixture.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { denoRun, LEAST_PERMISSIONS } from "../tools/deno_command.ts";

const CONFIG = {
  client_id: CLIENT_ID,
  authority: "https://login.microsoftonline.com/organizations",
  username: JANE.username,
  scope: ["User.Read"],
};
const stage = useStage({ broker: { accounts: [JOE, JANE], defaultAccount: JOE.username } });
let file: string;
beforeEach(() => {
  file = join(stage.folder, "config.json");
  writeFileSync(file, JSON.stringify(CONFIG));
});

const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

describe.each(runtimes)("console_app.ts on $name", ({ name, program }) => {
  /** With no more permissions on Deno than a broker takes, and to read the file. */
  const command = name.startsWith("Deno")
    ? () => [...denoRun(), ...LEAST_PERMISSIONS, `--allow-read=${file}`]
    : program;
  const run = () =>
    runProgram([...command(), "examples/console_app.ts", file], { DBUS_SESSION_BUS_ADDRESS: stage.bus.address });

  test("prints a silent token of the account that the file names", async () => {
    const { code, stdout, stderr } = await run();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Access token of jane@contoso\.com, from broker: eyJ\S+\n$/);
    const [call] = await stage.broker.calls("acquireTokenSilently");
    expect(call!.request.authParameters).toMatchObject({
      ...{ clientId: CONFIG.client_id, requestedScopes: CONFIG.scope, username: CONFIG.username },
      account: { username: CONFIG.username },
    });
  });

  test("prints a token by the broker's window when there is none without", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const { stdout } = await run();
    expect(stdout).toMatch(/^Access token of jane@contoso\.com, from broker: eyJ\S+\n$/);
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("prints why there is none, and fails", async () => {
    const refusal = { kind: "broker_error", status: 9, context: "AADSTS65001: nobody consented" } as const;
    await stage.behave({ replies: { acquireTokenSilently: refusal } });
    const { code, stdout } = await run();
    expect(code).toBe(1);
    const [error, description, hint, id, errorCodes, consent] = stdout.split("\n");
    expect([error, description]).toEqual(["configuration", refusal.context]);
    expect(hint).toContain("consent");
    const [call] = await stage.broker.calls("acquireTokenSilently");
    expect([id, errorCodes]).toEqual([`Correlation id: ${call!.correlationId}`, "Error codes: 65001"]);
    expect(consent).toStartWith(
      "To consent, visit https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize?",
    );
  });
});
