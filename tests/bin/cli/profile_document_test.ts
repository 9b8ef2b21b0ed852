import { describe, expect, test } from "bun:test";
import { readCommandLine, UsageError } from "../../../bin/cli/command_line.ts";
import {
  checkProfileName,
  noSuchProfile,
  readGitHosts,
  readProfile,
  valuesOf,
  withProfile,
} from "../../../bin/cli/profiles.ts";
import { command as ACCOUNTS } from "../../../bin/commands/accounts.ts";
import { command as LOGIN } from "../../../bin/commands/login.ts";
import { command as TOKEN } from "../../../bin/commands/token.ts";

const JANE = {
  ...{ homeAccountId: "jane.contoso", localAccountId: "jane", environment: "login.microsoftonline.com" },
  ...{ tenantId: "contoso", realm: "contoso", username: "jane@contoso.com", source: "cache" as const },
};
const fileOf = (value: unknown) => ({
  path: "/home/jane/.config/latchkey/config.json",
  text: value === undefined || typeof value === "string" ? value : JSON.stringify(value),
});
const read = (value: unknown, name = "work") => readProfile(fileOf(value), name);

describe("readProfile()", () => {
  test("gives the values by the options' names, and passes over what it does not know", () => {
    const work = {
      ...{
        client_id: "azure-cli",
        authority: "https://id.contoso.com",
        tenant: "contoso.com",
        account: "jane@contoso.com",
        redirect_path: "/signed-in",
      },
      ...{ broker: "never", store: "plaintext", cache_file: "/home/jane/cache.json", scope: ["a", "b"], resource: "" },
      ...{ format: "json", "client-id": "other", future: { is: "unknown" } },
    };
    expect(read({ profiles: { work } })).toEqual({
      name: "work",
      values: {
        ...{ "client-id": "azure-cli", authority: "https://id.contoso.com", tenant: "contoso.com" },
        ...{ account: "jane@contoso.com", broker: "never", store: "plaintext", scope: "a b" },
        ...{ "cache-file": "/home/jane/cache.json", "redirect-path": "/signed-in" },
      },
    });
    expect(read({ profiles: { work: { scope: "a b" } } })!.values).toEqual({ scope: "a b" });
  });

  test("finds nothing where there is nothing of that name", () => {
    for (const file of [undefined, "", "  \n", {}, { profiles: {} }, { profiles: { home: {} } }]) {
      for (const name of ["work", "toString", "__proto__"]) expect(read(file, name)).toBeUndefined();
    }
    expect(read('{"profiles":{"__proto__":{"tenant":"a"}}}', "__proto__")).toEqual({
      ...{ name: "__proto__", values: { tenant: "a" } },
    });
  });

  test.each<[unknown, string]>([
    ["{", "it is not JSON, from line 1 on"],
    ['{"secret":"hunter2",}', "it is not JSON, from line 1 on"],
    ["[]", "it must be a JSON object"],
    ["null", "it must be a JSON object"],
    ["7", "it must be a JSON object"],
    [{ profiles: [] }, "profiles must be an object"],
    [{ profiles: "work" }, "profiles must be an object"],
    [{ profiles: null }, "profiles must be an object"],
    [{ profiles: { work: null } }, "the profile work must be an object"],
    [{ profiles: { work: ["azure-cli"] } }, "the profile work must be an object"],
    [{ profiles: { work: { client_id: 1 } } }, "client_id of the profile work must be a string"],
    [{ profiles: { work: { tenant: ["a"] } } }, "tenant of the profile work must be a string"],
    [{ profiles: { work: { scope: ["a", 1] } } }, "scope of the profile work must be a string"],
    [{ profiles: { work: { account: { name: "jane" } } } }, "account of the profile work must be a string"],
    [{ profiles: { work: { cache_file: "cache.json" } } }, "cache_file of the profile work must be an absolute path"],
  ])("refuses %j, with the file's path and nothing of what is in it", (file, why) => {
    expect(() => read(file)).toThrow(new UsageError(`Cannot use /home/jane/.config/latchkey/config.json: ${why}`));
  });
});

test("checkProfileName() takes letters, digits, - _ and . alone", () => {
  for (const name of ["work", "a", "Contoso-2", "a.b_c", "default", "__proto__"]) checkProfileName(name);
  for (const name of ["", "a b", "a/b", "../a", "ä", "a\n", "a\u202e", "x".repeat(65), '"']) {
    expect(() => checkProfileName(name)).toThrow(UsageError);
  }
});

describe("noSuchProfile()", () => {
  const message = (profiles: object, name = "wrok") => noSuchProfile(fileOf({ profiles }), name).message;

  test("names those that there are, and the nearest", () => {
    expect(message({ work: {}, home: {} })).toMatch(
      /^There is no profile wrok in \/home\/jane\S+config\.json; did you mean work\? it has work, home\. /,
    );
    expect(message({ home: {} })).toMatch(
      /config\.json; it has home\. Write one: latchkey login --profile NAME --client-id ID$/,
    );
    expect(message({})).toContain("it has none");
  });
});

describe("withProfile()", () => {
  const written = (file: unknown, values: Record<string, string>, name = "work") =>
    JSON.parse(withProfile(fileOf(file), { name, values }));

  test("makes a file where there is none", () => {
    expect(withProfile(fileOf(undefined), { name: "work", values: { "client-id": "azure-cli" } })).toBe(
      '{\n  "profiles": {\n    "work": {\n      "client_id": "azure-cli"\n    }\n  }\n}\n',
    );
  });

  test("changes what it is given, and leaves the rest, known or not", () => {
    const file = {
      future: [1],
      profiles: { home: { tenant: "fabrikam.com", x: 1 }, work: { tenant: "a", account: "joe", y: { z: 1 } } },
    };
    expect(written(file, { tenant: "contoso.com", "client-id": "azure-cli" })).toEqual({
      future: [1],
      profiles: {
        home: { tenant: "fabrikam.com", x: 1 },
        work: { tenant: "contoso.com", account: "joe", y: { z: 1 }, client_id: "azure-cli" },
      },
    });
  });

  test("takes away what a value takes the place of", () => {
    const work = { scope: "a", store: "file" };
    expect(written({ profiles: { work } }, { resource: "https://b", "cache-file": "/c" }).profiles.work).toEqual({
      ...{ resource: "https://b", cache_file: "/c" },
    });
    const both = { store: "plaintext", "cache-file": "/c" };
    expect(written({ profiles: { work } }, both).profiles.work).toEqual({
      ...{ scope: "a", store: "plaintext", cache_file: "/c" },
    });
  });

  test("writes a profile of any name", () => {
    const text = withProfile(fileOf({}), { name: "__proto__", values: { tenant: "a" } });
    expect(readProfile(fileOf(text), "__proto__")!.values).toEqual({ tenant: "a" });
  });

  test("refuses a file that it cannot make sense of", () => {
    for (const file of ["{", "[]", { profiles: 1 }]) expect(() => written(file, {})).toThrow(UsageError);
  });
});

describe("valuesOf()", () => {
  const values = (line: string, account = JANE) =>
    valuesOf(
      readCommandLine(LOGIN, line.split(" ").filter(Boolean), { name: "work", values: { tenant: "old" } }),
      account,
    );

  test("has what was given, and who signed in, but neither defaults nor what the profile has", () => {
    expect(values("--profile work --client-id azure-cli --scope a --scope b --prompt login -v")).toEqual({
      ...{ "client-id": "azure-cli", scope: "a b", account: "jane@contoso.com" },
    });
    expect(values("--account jane")).toEqual({ account: "jane@contoso.com" });
    expect(values("", { ...JANE, username: "" })).toEqual({ account: "jane.contoso" });
  });

  test("has the place of tokens that was given", () => {
    expect(values("--store plaintext --cache-file /c")).toMatchObject({ store: "plaintext", "cache-file": "/c" });
    expect(values("--cache-file /c")).toEqual({ "cache-file": "/c", account: "jane@contoso.com" });
  });
});

describe("readCommandLine() with a profile", () => {
  const line = (words: string, values: Record<string, string>) =>
    readCommandLine(TOKEN, words.split(" ").filter(Boolean), { name: "work", values });

  test("takes from the profile what stands neither on the command line nor in the environment", () => {
    process.env.LATCHKEY_TENANT = "fabrikam.com";
    try {
      const read = line("--client-id a", { "client-id": "b", tenant: "contoso.com", account: "jane", scope: "c d" });
      expect(
        ["client-id", "tenant", "account", "authority", "format"].map((name) => [read.text(name), read.origin(name)]),
      )
        .toEqual([
          ["a", "command line"],
          ["fabrikam.com", "environment"],
          ["jane", "profile"],
          [undefined, undefined],
          ["token", "default"],
        ]);
      expect([read.list("scope"), read.origin("scope")]).toEqual([["c", "d"], "profile"]);
    } finally {
      delete process.env.LATCHKEY_TENANT;
    }
  });

  test("says whose value it is that cannot be", () => {
    expect(() => line("", { broker: "perhaps" })).toThrow("broker of the profile work takes auto, require, never");
    expect(() => line("", { store: "cloud" })).toThrow("store of the profile work takes auto, file, plaintext, memory");
  });

  test("nearest() tells which of several options counts", () => {
    const read = line("--resource https://b --store memory", { scope: "a", "cache-file": "/c" });
    expect(read.nearest("scope", "resource")).toEqual(["resource"]);
    expect(read.nearest("store", "cache-file")).toEqual(["store"]);
    expect(line("", { "cache-file": "/c" }).nearest("store", "cache-file")).toEqual(["cache-file"]);
    expect(line("--store plaintext --cache-file /c", {}).nearest("store", "cache-file")).toHaveLength(2);
  });

  test("accounts lists more than the profile's", () => {
    const read = readCommandLine(ACCOUNTS, [], { name: "work", values: { account: "jane", tenant: "contoso.com" } });
    expect([read.text("account"), read.text("tenant")]).toEqual([undefined, undefined]);
  });
});

describe("readGitHosts()", () => {
  const hosts = (git: unknown) => readGitHosts(fileOf({ profiles: {}, git }), (name) => !name.includes("/"));

  test("gives the values of each server by the options' names", () => {
    const entry = {
      ...{ scope: ["a", "b"], client_id: "azure-cli", authority: "https://id.contoso.com", tenant: "contoso.com" },
      ...{ account: "jane@contoso.com", store: "memory", future: 1 },
    };
    expect(hosts({ "git.contoso.com": entry, "dev.azure.com": {} })).toEqual({
      "git.contoso.com": {
        ...{ "scope": "a b", "client-id": "azure-cli", "authority": "https://id.contoso.com", "tenant": "contoso.com" },
        account: "jane@contoso.com",
      },
      "dev.azure.com": {},
    });
    expect(hosts(undefined)).toEqual({});
  });

  test.each([
    [[], "git must be an object"],
    [{ "a/b": { scope: "a" } }, `git's server "a/b" must be a host`],
    [{ a: "scope" }, `git's server "a" must be an object`],
    [{ a: { scope: 1 } }, `scope of git's server "a" must be a string`],
    [{ a: { client_id: ["x"] } }, `client_id of git's server "a" must be a string`],
  ])("refuses %p", (git, why) => expect(() => hosts(git)).toThrow(why));
});
