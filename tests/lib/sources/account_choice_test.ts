// The choice of an account, of several: a guest is one user in two tenants.
import { expect, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { accountNames, accountsMeant, type AccountWish, isNamed } from "../../../lib/sources/account_choice.ts";

const HOME = "11111111-1111-4111-8111-111111111111", OTHER = "22222222-2222-4222-8222-222222222222";
const THIRD = "33333333-3333-4333-8333-333333333333";
const ID = `aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa.${HOME}`, OTHER_ID = `bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb.${OTHER}`;

function account(homeAccountId: string, realm: string, username = "jane@contoso.com"): AccountInfo {
  const localAccountId = homeAccountId.split(".")[0]!;
  return {
    homeAccountId,
    localAccountId,
    environment: "login.microsoftonline.com",
    tenantId: realm,
    realm,
    username,
    source: "broker",
  };
}

const HERE = account(ID, HOME), GUEST = account(ID, OTHER), MEMBER = account(OTHER_ID, OTHER);
const JOE = account(`cccccccc-cccc-4ccc-8ccc-cccccccccccc.${OTHER}`, OTHER, "joe@contoso.com");
const SUBJECTS = [account("jANE", "realms/a", ""), account("Jane", "realms/a", "")];

test.each<[string, readonly AccountInfo[], AccountWish, readonly AccountInfo[]]>([
  ["the only account", [HERE], {}, [HERE]],
  ["nobody", [], {}, []],
  ["a user name, without case", [HERE, JOE], { username: "JOE@contoso.com" }, [JOE]],
  ["a user name that is an id's", [HERE, JOE], { username: ID }, []],
  ["all of several users", [HERE, JOE], {}, [HERE, JOE]],
  ["no tenant between users", [HERE, JOE], { tenant: OTHER }, [HERE, JOE]],
  ["both of a guest's without a tenant", [GUEST, HERE], { username: "jane@contoso.com" }, [GUEST, HERE]],
  ["the tenant's", [HERE, GUEST], { nameOrId: "jane@contoso.com", tenant: OTHER.toUpperCase() }, [GUEST]],
  ["the tenant's of the only user", [HERE, GUEST], { tenant: HOME }, [HERE]],
  ["both, at a tenant of neither", [HERE, GUEST], { nameOrId: "jane@contoso.com", tenant: THIRD }, [HERE, GUEST]],
  ["the home tenant's, by the home account id", [GUEST, HERE], { nameOrId: ID.toUpperCase() }, [HERE]],
  ["the tenant's, by the home account id", [GUEST, HERE], { nameOrId: ID, tenant: OTHER }, [GUEST]],
  ["one of two ids", [HERE, MEMBER], { nameOrId: OTHER_ID }, [MEMBER]],
  ["one of two ids by its tenant", [HERE, MEMBER], { nameOrId: "jane@contoso.com", tenant: OTHER }, [MEMBER]],
  ["subjects that differ in case, and have no names", SUBJECTS, { tenant: "realms/a" }, SUBJECTS],
])("accountsMeant() returns %s", (_, accounts, wish, expected) => {
  expect(accountsMeant(accounts, wish)).toEqual([...expected]);
});

test("isNamed() takes a user name or a home account id", () => {
  expect([ID, ID.toUpperCase(), "JANE@contoso.com", OTHER_ID, ""].map((name) => isNamed(HERE, name))).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
});

test.each<[readonly AccountInfo[], readonly string[]]>([
  [[GUEST], ["jane@contoso.com"]],
  [[HERE, GUEST], [`jane@contoso.com (tenant ${HOME})`, `jane@contoso.com (tenant ${OTHER})`]],
  [[HERE, JOE], [`jane@contoso.com (tenant ${HOME})`, `joe@contoso.com (tenant ${OTHER})`]],
  [[GUEST, MEMBER], [`${ID} (jane@contoso.com, tenant ${OTHER})`, `${OTHER_ID} (jane@contoso.com, tenant ${OTHER})`]],
  [SUBJECTS, ["jANE", "Jane"]],
  [[account("a", "realms/a"), account("b", "realms/a")], ["a (jane@contoso.com)", "b (jane@contoso.com)"]],
])("accountNames() names each account so that it can be chosen", (accounts, expected) => {
  expect(accountNames(accounts)).toEqual([...expected]);
  expect(new Set(accountNames(accounts)).size).toBe(accounts.length);
});
