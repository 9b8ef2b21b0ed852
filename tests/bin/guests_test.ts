// A guest is one user in two tenants: lists named both accounts by the same string, and nothing chose one of them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { endStage, type Stage, startStage } from "../fakes/stage.ts";
import { CLIENT_ID } from "../fixture.ts";
import { type Run, runLatchkey } from "./run_latchkey.ts";
import { startLatchkey } from "./running_latchkey.ts";
import { LATCHKEY_ON_BUN } from "./tested_latchkey.ts";

const HOME = "11111111-1111-1111-1111-111111111111", FABRIKAM = "44444444-4444-4444-8444-444444444444";
const ID = `22222222-2222-2222-2222-222222222222.${HOME}`;
const template = JSON.parse(
  readFileSync(new URL("../wire/microsoft-3.0.1/account.json", import.meta.url), "utf8"),
);
const record = (realm: string, localAccountId: string) => ({
  ...{ ...template, clientInfo: "", familyName: "Doe", givenName: "Jane", environment: "login.microsoftonline.com" },
  ...{ homeAccountId: ID, localAccountId, realm, username: "jane@contoso.com", name: "Jane Doe" },
});
const NAMES = `jane@contoso.com (tenant ${HOME}), jane@contoso.com (tenant ${FABRIKAM})`;

interface AccountJson {
  readonly realm: string;
}

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
  const accounts = [record(HOME, "22222222-2222-2222-2222-222222222222"), record(FABRIKAM, "guest")];
  await stage.broker.behave({
    sender: "microsoft-3.0.1",
    replies: { getAccounts: { kind: "text", text: JSON.stringify({ accounts }) } },
  });
});
afterAll(() => endStage(stage));

async function latchkey(words: string, env: Readonly<Record<string, string>> = {}): Promise<Run> {
  await stage.broker.forgetCalls();
  return await runLatchkey([...words.split(" ").filter(Boolean), "--client-id", CLIENT_ID], {
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, ...env },
  });
}

async function realmAsked(member: string): Promise<unknown> {
  const [call] = await stage.broker.calls(member);
  const { account, authParameters } = call!.request as {
    account?: AccountJson;
    authParameters?: { account: AccountJson };
  };
  return (account ?? authParameters?.account)?.realm;
}

describe("a guest's accounts", () => {
  test("are listed with their tenants", async () => {
    const { stdout } = await latchkey("accounts");
    expect(stdout).toBe(`jane@contoso.com\t${ID}\tJane Doe\t${HOME}\njane@contoso.com\t${ID}\tJane Doe\t${FABRIKAM}\n`);
  });

  test.each([["--account jane@contoso.com"], [""]])(
    "are named with their tenants where %p means both",
    async (more) => {
      const { code, stderr } = await latchkey(`cookie ${more}`);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringContaining(`there are ${NAMES}; choose one with `),
      });
      expect(stderr).toContain("--tenant");
    },
  );

  test("are chosen by --tenant, and by the home account id, which is the home tenant's", async () => {
    for (
      const [words, realm] of [
        [`--account jane@contoso.com --tenant ${FABRIKAM}`, FABRIKAM],
        [`--tenant ${HOME}`, HOME],
        [`--account ${ID}`, HOME],
        [`--account ${ID} --tenant ${FABRIKAM}`, FABRIKAM],
      ] as const
    ) {
      expect((await latchkey(`cookie ${words}`)).stderr).toBe("");
      expect({ words, realm: await realmAsked("acquirePrtSsoCookie") }).toEqual({ words, realm });
      expect((await latchkey(`token --scope User.Read ${words}`)).stderr).toBe("");
      expect({ words, realm: await realmAsked("acquireTokenSilently") }).toEqual({ words, realm });
    }
  });
});

test("logout signs a guest out of the app in all tenants, and does not ask for one", async () => {
  for (const words of ["", `--tenant ${FABRIKAM}`, `--account ${ID}`, "--account jane@contoso.com"]) {
    expect(await latchkey(`logout ${words}`)).toEqual({
      code: 0,
      stdout: "",
      stderr: expect.stringMatching(/^latchkey: jane@contoso\.com is signed out of this app/),
    });
  }
});

test.each(["logout", "cookie --show-secret", "sign --url https://graph.microsoft.com/"])(
  "%s refuses a tenant that the account is not in, or that is none",
  async (words) => {
    for (const tenant of ["55555555-5555-5555-5555-555555555555", "fabrikam.com"]) {
      const { code, stderr } = await latchkey(`${words} --tenant ${tenant}`);
      expect({ code, stderr }).toEqual({
        code: 3,
        stderr: expect.stringContaining(`No account is in the tenant ${tenant}: there is ${NAMES}`),
      });
      expect(stderr).toContain("hint: Give the id of the account's tenant: latchkey accounts --client-id");
    }
    expect(await latchkey(`${words} --tenant not/a/tenant`)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--tenant takes a tenant\'s id, not "not/a/tenant"'),
    });
  },
);

test("a tenant of the environment, which is for all commands, only chooses", async () => {
  const env = { LATCHKEY_TENANT: "fabrikam.com" };
  expect(await latchkey("logout", env)).toMatchObject({ code: 0 });
  expect(await latchkey("cookie --show-secret", env)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`No account is in the tenant fabrikam.com: there are ${NAMES}; choose one with`),
  });
});

test("the list that a user chooses from has the tenants", async () => {
  const words = ["sign", "--url", "https://graph.microsoft.com/", "--client-id", CLIENT_ID];
  const signing = startLatchkey([...LATCHKEY_ON_BUN, ...words], {
    terminal: true,
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
  });
  await signing.printed(/1 to 2\) and press Enter; Ctrl-C cancels: $/);
  signing.type("2\n");
  const { code, stderr } = await signing.ended();
  expect({ code, text: stderr.replaceAll("\r", "") }).toEqual({
    code: 0,
    text: expect.stringContaining(
      `  1  jane@contoso.com (tenant ${HOME})\n  2  jane@contoso.com (tenant ${FABRIKAM})\n`,
    ),
  });
});
