// Which account is meant: one of several whose subjects differ in case, or of a guest, who is one user in two tenants; and the choice
// at a terminal.
import { beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { accountMeant, chooseAccount } from "../../../bin/cli/accounts.ts";
import type { AccountInfo } from "../../../lib/account.ts";
import { memoryStore, PublicClientApplication } from "../../../mod.ts";
import { CLIENT_ID, CONTOSO, useStage } from "../../fixture.ts";
import { AUTHORITY, cachedWords, saveAccounts, writeCachedAccounts } from "../cached_accounts.ts";
import { latchkeyOf, type Run, runLatchkey } from "../run_latchkey.ts";
import { startLatchkey } from "../running_latchkey.ts";
import { isBuilt, LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

const TERMINALS = ["stdin", "stderr"] as const;

describe("chooseAccount()", () => {
  /** An app that users with these subjects signed in to. */
  async function appOf(...subjects: readonly string[]): Promise<PublicClientApplication> {
    const cache = memoryStore();
    await saveAccounts(cache, subjects.map((subject) => ({ subject, username: "" })));
    return new PublicClientApplication({ clientId: CLIENT_ID, authority: AUTHORITY, cache });
  }

  // Ids compared without case: of two subjects the first in the list was taken, or none could be chosen.
  test.each(["Jane", "jANE"])("takes %s for one subject of two that differ in case", async (nameOrId) => {
    await using app = await appOf("jANE", "Jane");
    expect(await chooseAccount(app, { nameOrId })).toMatchObject({ homeAccountId: nameOrId });
    expect(await accountMeant(app, { nameOrId })).toMatchObject({ account: { homeAccountId: nameOrId } });
  });

  test("takes nobody whose subject is written otherwise", async () => {
    await using app = await appOf("Jane");
    expect(await accountMeant(app, { nameOrId: "jane" })).toEqual({ username: "jane" });
    const error = await chooseAccount(app, { nameOrId: "jane" }).catch((error) => error);
    expect(error).toMatchObject({ code: "account_not_found" });
  });

  // The message offered the home account id as well, which means no account where none is in the home tenant.
  test("offers the home account id only where it chooses", async () => {
    const guestIn = (realm: string): AccountInfo => ({
      homeAccountId: `22222222-2222-2222-2222-222222222222.${CONTOSO}`,
      localAccountId: realm,
      realm,
      tenantId: realm,
      username: "jane@contoso.com",
      source: "cache",
      environment: "login.microsoftonline.com",
    });
    const messageOf = async (...realms: readonly string[]): Promise<string> => {
      const app = { getAccounts: () => Promise.resolve(realms.map(guestIn)) } as unknown as PublicClientApplication;
      return (await chooseAccount(app, { nameOrId: undefined }).catch((error) => error)).message;
    };
    const adatum = "55555555-5555-4555-8555-555555555555";
    expect(await messageOf(CONTOSO, FABRIKAM)).toEndWith(
      "the tenant's id, or with the home account id (latchkey accounts)",
    );
    expect(await messageOf(FABRIKAM, adatum)).toEndWith("choose one with --tenant and the tenant's id");
  });
});

describe("several accounts, and none named", () => {
  const stage = useStage();
  let path: string;
  beforeAll(() => {
    path = join(stage.folder, "cache.json");
  });
  beforeEach(() => writeCachedAccounts(path, ["jane@contoso.com", "joe@contoso.com", "jane@contoso.com"]));

  const words = (command: string) => [...command.split(" "), ...cachedWords(path)];
  /** Runs it at a terminal at which lines are typed. */
  const typed = (command: string, input: string, env = {}): Promise<Run> =>
    runLatchkey(words(command), { terminals: TERMINALS, input, env });
  const QUESTION = /type the number of one \(1 to 3\) and press Enter; Ctrl-C cancels: $/;

  test.each(TESTED_PATHS)("are chosen from by a number at a terminal on $name; Ctrl-C cancels", async ({ program }) => {
    const start = () => startLatchkey([...latchkeyBy(program()), ...words("token --scope read")], { terminal: true });
    const latchkey = start();
    await latchkey.printed(QUESTION);
    latchkey.type("0\n");
    await latchkey.printed(/Ctrl-C cancels: [^]*Ctrl-C cancels: $/);
    latchkey.type(" 2\n");
    const { code, stderr } = await latchkey.ended();
    expect(code).toBe(0);
    expect(stderr.replaceAll("\r", "")).toContain(
      "latchkey: several accounts are signed in:\n  1  subject 0 (jane@contoso.com)\n  2  joe@contoso.com\n" +
        "  3  subject 2 (jane@contoso.com)\n",
    );
    expect(stderr.trim()).toEndWith("token-1");

    const canceled = start();
    await canceled.printed(QUESTION);
    canceled.type("\x03");
    const ended = await canceled.ended();
    expect(ended.code).toBe(4);
    expect(ended.stderr.replaceAll("\r", "")).toMatch(/Ctrl-C cancels: (\^C)?\nerror: user_canceled\n/);
  });

  test("are asked for three times, and the end of the input cancels", async () => {
    const wrong = startLatchkey([...LATCHKEY_ON_BUN, ...words("token --scope read")], { terminal: true });
    for (const [index, answer] of ["4", "joe@contoso.com", ""].entries()) {
      await wrong.printed(new RegExp(`(?:Ctrl-C cancels: [^]*){${index + 1}}$`));
      wrong.type(`${answer}\n`);
    }
    const says = expect.stringContaining("name one with --account");
    expect(await wrong.ended()).toMatchObject({ code: 2, stderr: says });
    if (isBuilt) return;
    const over = await typed("token --scope read", "");
    expect(over).toMatchObject({ code: 4, stderr: expect.stringContaining("error: user_canceled") });
  });

  testOfSources("are not asked for where one is named, nobody may be asked, or nobody is at a terminal", async () => {
    const named = await typed("token --scope read --account joe@contoso.com", "");
    expect(named).toMatchObject({ code: 0, stdout: "token-1\n" });
    for (
      const run of [
        await typed("token --scope read --interactive never", ""),
        await typed("token --scope read", "", { LATCHKEY_INTERACTIVE: "never" }),
        await runLatchkey(words("token --scope read")),
      ]
    ) {
      expect(run.stderr).not.toContain("type the number");
      const says = expect.stringContaining("Several accounts are signed in");
      expect(run).toEqual({ code: 3, stdout: "", stderr: says });
    }
    const missing = expect.stringContaining("--account is missing");
    expect(await runLatchkey(words("logout"))).toMatchObject({ code: 2, stderr: missing });
  });

  testOfSources("are fewer with one user name; logout asks, too", async () => {
    const before = readFileSync(path, "utf8");
    const token = await typed("token --scope read --account jane@contoso.com", "2\n");
    expect(token).toMatchObject({ stdout: "token-2\n", stderr: expect.stringContaining("1 to 2") });
    expect(readFileSync(path, "utf8")).toBe(before); // nothing is remembered
    const says = expect.stringContaining("joe@contoso.com is signed out");
    expect(await typed("logout", "2\n")).toMatchObject({ code: 0, stderr: says });
    expect((await runLatchkey(words("accounts"))).stdout).not.toContain("joe@contoso.com");
  });
});

const FABRIKAM = "44444444-4444-4444-8444-444444444444";

// Lists named both accounts by the same string, and nothing chose one of them.
describe("a guest's accounts", () => {
  const ID = `22222222-2222-2222-2222-222222222222.${CONTOSO}`;
  const NAMES = `jane@contoso.com (tenant ${CONTOSO}), jane@contoso.com (tenant ${FABRIKAM})`;
  const template = JSON.parse(
    readFileSync(new URL("../../wire/microsoft-3.0.1/account.json", import.meta.url), "utf8"),
  );
  const record = (realm: string, localAccountId: string) => {
    const ids = { clientInfo: "", homeAccountId: ID, localAccountId, realm, environment: "login.microsoftonline.com" };
    const name = { username: "jane@contoso.com", name: "Jane Doe", familyName: "Doe", givenName: "Jane" };
    return { ...template, ...ids, ...name };
  };
  const accounts = [record(CONTOSO, "22222222-2222-2222-2222-222222222222"), record(FABRIKAM, "guest")];
  const stage = useStage({
    broker: {
      sender: "microsoft-3.0.1",
      replies: { getAccounts: { kind: "text", text: JSON.stringify({ accounts }) } },
    },
  });
  const latchkey = latchkeyOf(stage, "--client-id", CLIENT_ID);
  const realmAsked = async (member: string): Promise<unknown> => {
    const { account, authParameters } = await stage.requestOf(member);
    return (account ?? authParameters?.account)?.realm;
  };

  test("are listed with their tenants", async () => {
    const { stdout } = await latchkey("accounts");
    expect(stdout).toBe(
      `jane@contoso.com\t${ID}\tJane Doe\t${CONTOSO}\njane@contoso.com\t${ID}\tJane Doe\t${FABRIKAM}\n`,
    );
  });

  test.each(["--account jane@contoso.com", ""])("are named with their tenants where %p means both", async (more) => {
    const { code, stderr } = await latchkey(`cookie ${more}`);
    const says = expect.stringContaining(`there are ${NAMES}; choose one with `);
    expect({ code, stderr }).toEqual({ code: 2, stderr: says });
    expect(stderr).toContain("--tenant");
  });

  test.each([
    [`--account jane@contoso.com --tenant ${FABRIKAM}`, FABRIKAM],
    [`--tenant ${CONTOSO}`, CONTOSO],
    [`--account ${ID}`, CONTOSO], // the home account id is the home tenant's
    [`--account ${ID} --tenant ${FABRIKAM}`, FABRIKAM],
  ])("are chosen by %s", async (words, realm) => {
    expect((await latchkey(`cookie ${words}`)).stderr).toBe("");
    expect(await realmAsked("acquirePrtSsoCookie")).toBe(realm);
    expect((await latchkey(`token --scope User.Read ${words}`)).stderr).toBe("");
    expect(await realmAsked("acquireTokenSilently")).toBe(realm);
  });

  test.each(["", `--tenant ${FABRIKAM}`, `--account ${ID}`, "--account jane@contoso.com"])(
    "are signed out of the app in all tenants by logout %s, which does not ask for one",
    async (words) => {
      const says = expect.stringMatching(/^latchkey: jane@contoso\.com is signed out of this app/);
      expect(await latchkey(`logout ${words}`)).toEqual({ code: 0, stdout: "", stderr: says });
    },
  );

  test.each(["logout", "cookie --show-secret", "sign --url https://graph.microsoft.com/"])(
    "are none for %s with a tenant that they are not in, or that is none",
    async (words) => {
      for (const tenant of ["55555555-5555-5555-5555-555555555555", "fabrikam.com"]) {
        const { code, stderr } = await latchkey(`${words} --tenant ${tenant}`);
        const says = expect.stringContaining(`No account is in the tenant ${tenant}: there is ${NAMES}`);
        expect({ code, stderr }).toEqual({ code: 3, stderr: says });
        expect(stderr).toContain(
          "hint: To find the id of the account's tenant, list the accounts: latchkey accounts --client-id",
        );
      }
      const says = expect.stringContaining('--tenant takes a tenant\'s id, not "not/a/tenant"');
      expect(await latchkey(`${words} --tenant not/a/tenant`)).toMatchObject({ code: 2, stderr: says });
    },
  );

  test("are only chosen from by a tenant of the environment, which is for all commands", async () => {
    const env = { LATCHKEY_TENANT: "fabrikam.com" };
    expect(await latchkey("logout", { env })).toMatchObject({ code: 0 });
    const says = `No account is in the tenant fabrikam.com: there are ${NAMES}; choose one with`;
    const cookie = await latchkey("cookie --show-secret", { env });
    expect(cookie).toMatchObject({ code: 2, stderr: expect.stringContaining(says) });
  });

  testOfSources("are in the list that a user chooses from, with their tenants", async () => {
    const run = await latchkey("sign --url https://graph.microsoft.com/", { terminals: TERMINALS, input: "2\n" });
    expect(run).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(
        `  1  jane@contoso.com (tenant ${CONTOSO})\n  2  jane@contoso.com (tenant ${FABRIKAM})\n`,
      ),
    });
  });
});
