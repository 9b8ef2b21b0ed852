import { expect, test } from "bun:test";
import { accountMeant, chooseAccount } from "../../../bin/cli/accounts.ts";
import type { AccountInfo } from "../../../lib/account.ts";
import { environmentOf, parseAuthority } from "../../../lib/authority.ts";
import { memoryStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { PublicClientApplication } from "../../../mod.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", AUTHORITY = "https://id.contoso.com/realms/a";

/** An app that people with these subjects signed in to. */
async function appOf(...subjects: readonly string[]): Promise<PublicClientApplication> {
  const cache = memoryStore(), environment = environmentOf(parseAuthority(AUTHORITY));
  const tokens = new TokenCache(cache, { clientId: CLIENT_ID, environment });
  for (const subject of subjects) {
    const account = {
      homeAccountId: subject,
      localAccountId: subject,
      environment,
      tenantId: "realms/a",
      realm: "realms/a",
    };
    await tokens.save({
      result: {
        ...{ accessToken: "a", tokenType: "Bearer", expiresOn: new Date(Date.now() + 3_600_000), scopes: ["read"] },
        ...{ tenantId: "realms/a", source: "identity_provider", correlationId: crypto.randomUUID() },
        account: { ...account, username: "", source: "cache" },
      },
      ...{ refreshToken: `refresh ${subject}`, accountSource: "authorization_code" },
    });
  }
  return new PublicClientApplication({ clientId: CLIENT_ID, authority: AUTHORITY, cache });
}

// Ids compared without case: of two subjects the first in the list was taken, or none could be chosen.
test.each(["Jane", "jANE"])("--account %s means one subject of two that differ in case", async (given) => {
  await using app = await appOf("jANE", "Jane");
  expect(await chooseAccount(app, { nameOrId: given })).toMatchObject({ homeAccountId: given });
  expect(await accountMeant(app, { nameOrId: given })).toMatchObject({ account: { homeAccountId: given } });
});

test("--account means nobody whose subject is written otherwise", async () => {
  await using app = await appOf("Jane");
  expect(await accountMeant(app, { nameOrId: "jane" })).toEqual({ username: "jane" });
  expect(await chooseAccount(app, { nameOrId: "jane" }).catch((error) => error)).toMatchObject({
    code: "account_not_found",
  });
});

// The message offered the home account id as well, which means no account where none is in the home tenant.
test("chooseAccount() offers the home account id only where it chooses", async () => {
  const home = "11111111-1111-1111-1111-111111111111";
  const guestIn = (realm: string): AccountInfo => ({
    homeAccountId: `22222222-2222-2222-2222-222222222222.${home}`,
    ...{ localAccountId: realm, realm, tenantId: realm, username: "jane@contoso.com", source: "cache" },
    environment: "login.microsoftonline.com",
  });
  const messageOf = async (...realms: readonly string[]): Promise<string> => {
    const app = { getAccounts: () => Promise.resolve(realms.map(guestIn)) } as unknown as PublicClientApplication;
    return (await chooseAccount(app, { nameOrId: undefined }).catch((error) => error)).message;
  };
  const [fabrikam, adatum] = ["44444444-4444-4444-8444-444444444444", "55555555-5555-4555-8555-555555555555"] as const;
  expect(await messageOf(home, fabrikam)).toEndWith("the tenant's id, or with the home account id (latchkey accounts)");
  expect(await messageOf(fabrikam, adatum)).toEndWith("choose one with --tenant and the tenant's id");
});
