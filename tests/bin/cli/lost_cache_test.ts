// What a person is told of a token cache that is damaged, or whose key is lost, and of files that are none.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileStore } from "../../../mod.ts";
import { type Home, openHome, openStage } from "../../fixture.ts";
import { READ_ONLY_DISK } from "../../tools/worn_disk.ts";
import { errorOf, JANE_LINE, type ProviderStage, sourceOf, startProviderStage } from "../provider_stage.ts";
import { LATCHKEY_ON_BUN } from "../tested_latchkey.ts";

let provider: ProviderStage;
beforeAll(async () => {
  provider = await startProviderStage();
});
afterAll(() => provider[Symbol.asyncDispose]());

const SILENT = "--interactive never", BY_BROWSER = "--interactive always";
const FROM_CACHE = { code: 0, source: "cache" }, FRESH = { code: 0, source: "identity_provider" };
const UNREADABLE =
  /^latchkey: The token cache cannot be read: it is damaged, or its key is lost\. Sign in again: latchkey login$/m;
const SIGN_IN = { code: 3, error: "interaction_required" };

const filesOf = ({ state }: Home) =>
  readdirSync(state).toSorted().map((name) => [name, readFileSync(join(state, name))]);
const documentOf = ({ state }: Home) => join(state, "tokens.encrypted");

describe("a token cache whose key is lost", () => {
  test.each([
    ["missing", (path: string) => rmSync(path)],
    ["damaged", (path: string) => writeFileSync(path, "{}", { mode: 0o600 })],
  ])("stays as it is when it is read, which says so: key.json is %s; a sign-in begins anew", async (how, lose) => {
    using home = openHome();
    const options = { home };
    expect((await provider.login(options)).code).toBe(0);
    lose(join(home.state, "key.json"));
    const before = filesOf(home);
    const said =
      /^error: configuration\nerror_description: The key of the token cache in .* is lost: .*\n(.*\n)+hint: .*latchkey login/;
    expect(await provider.accounts(options)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(said),
    });
    const silent = await provider.token(options, SILENT);
    expect(errorOf(silent)).toEqual({ code: 1, error: "configuration" });
    expect(silent.stderr).toMatch(said);
    expect(await provider.accounts(options, "--store file")).toMatchObject({
      stdout: "",
      stderr: expect.stringMatching(said),
    });
    expect(filesOf(home)).toEqual(before);

    const again = await provider.login(options);
    expect(again).toMatchObject({ code: 0, stdout: JANE_LINE });
    expect(again.stderr).toMatch(/^latchkey: The token cache cannot be read: The key .* is lost: [^]*^http/m);
    expect(again.stderr).toMatch(
      /^latchkey: The token cache was damaged\. It was set aside as .*tokens\.encrypted\.damaged-/m,
    );
    if (how === "damaged") {
      expect(again.stderr).toMatch(/^latchkey: .* is lost: .*; key\.json was set aside as .*key\.json\.damaged-/m);
    }
    const { stderr, ...run } = await provider.token(options, SILENT);
    expect(sourceOf({ ...run, stderr })).toEqual(FROM_CACHE);
    expect(stderr).toBe("");
  });
});

describe("a damaged token cache", () => {
  test("is set aside, and that is said", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    truncateSync(documentOf(home), 100);
    const silent = await provider.token({ home }, SILENT);
    expect(errorOf(silent)).toEqual(SIGN_IN);
    expect(silent.stderr).toMatch(UNREADABLE);
    const again = await provider.login({ home });
    expect(again).toMatchObject({ code: 0, stdout: JANE_LINE });
    expect(again.stderr).toMatch(/^latchkey: The token cache was damaged\. It was set aside as .*\.damaged-/m);
    expect(sourceOf(await provider.token({ home }, SILENT))).toEqual(FROM_CACHE);
  });

  test("is said to be unreadable where accounts are listed", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    truncateSync(documentOf(home), 100);
    expect(await provider.accounts({ home })).toMatchObject({
      ...{ code: 3, stdout: "" },
      stderr: expect.stringMatching(
        /^latchkey: The token cache cannot be read: it is damaged, or its key is lost\. Sign in again: latchkey login$/m,
      ),
    });
  });

  test("is no cache on a disk that cannot be written: tokens are had all the same", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    truncateSync(documentOf(home), 100);
    const program = READ_ONLY_DISK.command(home.state, LATCHKEY_ON_BUN);
    for (const [words, outcome] of [[SILENT, SIGN_IN], [BY_BROWSER, FRESH]] as const) {
      const run = await provider.token({ home, program }, words);
      expect(outcome === FRESH ? sourceOf(run) : errorOf(run)).toEqual(outcome);
      // Nothing is written before there is something to keep.
      const isWriting = outcome === FRESH,
        told = run.stderr.match(/^latchkey: The token cache cannot be written, .*$/gm);
      expect(told).toEqual(isWriting ? [expect.stringContaining(READ_ONLY_DISK.reason)] : null);
    }
  });

  test("in MSAL's one file of our own is set aside, and that is said", async () => {
    using home = openHome();
    mkdirSync(home.state, { recursive: true, mode: 0o700 });
    writeFileSync(join(home.state, "msal_token_cache.json"), "{", { mode: 0o600 });
    const { code, stderr } = await provider.login({ home }, "--store plaintext");
    expect(code).toBe(0);
    expect(stderr).toMatch(/^latchkey: The token cache was damaged\. It was set aside as .*\.json\.damaged-/m);
  });
});

describe("latchkey logout", () => {
  // What was set aside as damaged stayed after the last sign-out, with tokens in it.
  test("removes what was set aside once nobody is signed in, and names it until then", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    const aside = join(home.state, "tokens.encrypted.damaged-20261125T120000Z");
    writeFileSync(aside, "", { mode: 0o600 });
    const document = readFileSync(documentOf(home)),
      { stderr } = await provider.latchkey(provider.appWordsOf("logout"), { home });
    expect(stderr).toContain(`removed what was damaged: ${aside}`);
    expect(readdirSync(home.state).toSorted()).toEqual(["key.json", "tokens.encrypted"]);

    writeFileSync(documentOf(home), document);
    writeFileSync(aside, "", { mode: 0o600 });
    const store = fileStore({ folder: home.state, keyLocation: "file" });
    await store.update("joe", (json) => {
      const root = JSON.parse(json!), [account] = Object.values<Record<string, unknown>>(root.Account);
      const joe = { ...account, home_account_id: "joe", local_account_id: "joe", username: "joe@contoso.com" };
      const [token] = Object.values<Record<string, unknown>>(root.RefreshToken);
      const RefreshToken = { ...root.RefreshToken, joe: { ...token, home_account_id: "joe" } };
      return JSON.stringify({ ...root, Account: { ...root.Account, joe }, RefreshToken });
    });
    const second = await provider.latchkey(
      [...provider.appWordsOf("logout"), "--account", "jane@contoso.com"],
      { home },
    );
    expect(second.stderr).toContain(`what was set aside as damaged may contain tokens; remove it: ${aside}`);
    expect(readdirSync(home.state)).toContain("tokens.encrypted.damaged-20261125T120000Z");
  });

  // After damage there is no account, so logout exited with 3 and left the files, which contain refresh tokens.
  test.each([
    ["tokens.encrypted", "", ["key.json"]],
    ["msal_token_cache.json", "--store plaintext", []],
  ])("removes a damaged %s, and what was quarantined, where there is no account", async (name, words, left) => {
    using home = openHome();
    expect((await provider.login({ home }, words)).code).toBe(0);
    const document = join(home.state, name);
    const aside = `${document}.damaged-20261125T120000Z`;
    truncateSync(document, 100);
    writeFileSync(aside, "REFRESH-SECRET", { mode: 0o600 });
    const { code, stdout, stderr } = await provider.logout({ home }, words);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain("removed what was damaged: ");
    expect(stderr).toContain(aside);
    expect(readdirSync(home.state)).toEqual(left);

    writeFileSync(aside, "REFRESH-SECRET", { mode: 0o600 });
    const second = await provider.logout({ home }, words);
    expect(second).toMatchObject({ code: 0, stderr: expect.stringContaining(`removed what was damaged: ${aside}`) });
    expect(readdirSync(home.state)).toEqual(left);
    expect((await provider.logout({ home }, words)).code).toBe(3);
  });

  test("keeps what was quarantined, and fails, if the named account is none of those that are signed in", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    const aside = join(home.state, "tokens.encrypted.damaged-20261125T120000Z");
    writeFileSync(aside, "REFRESH-SECRET", { mode: 0o600 });
    const { code, stderr } = await provider.logout({ home }, "--account joe@contoso.com");
    expect(code).toBe(3);
    expect(stderr).toContain(`may contain tokens; remove it: ${aside}`);
    expect(readdirSync(home.state)).toContain("tokens.encrypted.damaged-20261125T120000Z");
  });
});

describe("latchkey --cache-file with a file that is no token cache", () => {
  test.each(["shopping: bread", "[]", '{"a": 1', '"{}"'])("(%s) is wrong usage, and the file stays", async (text) => {
    using home = openHome();
    const path = join(home.path, "notes.txt"), sample = join(home.path, "sample.json");
    writeFileSync(path, text, { mode: 0o600 });
    const { clientId: client_id, url: authority } = provider;
    writeFileSync(sample, JSON.stringify({ client_id, authority, scope: ["api.read"] }));
    const { BROWSER, page } = provider.playedBrowser(), options = { home, env: { BROWSER } };
    const lines = [
      ...[provider.wordsOf("login"), provider.wordsOf("token --interactive always")],
      ...[provider.appWordsOf("accounts"), provider.appWordsOf("logout"), [sample, "--interactive", "always"]],
    ];
    for (const words of lines) {
      expect(await provider.latchkey([...words, "--cache-file", path], options)).toMatchObject({
        ...{ code: 2, stdout: "", stderr: expect.stringContaining(`${path} is not a token cache`) },
      });
    }
    expect(readdirSync(home.path).toSorted()).toEqual(["notes.txt", "sample.json"]);
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(() => readFileSync(page)).toThrow(); // nobody signed in for nothing
  });

  test.each(["", " \n", "{}", '\ufeff{"Account": {}}'])("is not one with %j in it: that is a cache", async (text) => {
    using home = openHome();
    const path = join(home.path, "cache.json");
    writeFileSync(path, text, { mode: 0o600 });
    expect((await provider.login({ home }, `--cache-file ${path}`)).code).toBe(0);
    expect(sourceOf(await provider.token({ home }, `${SILENT} --cache-file ${path}`))).toEqual(FROM_CACHE);
  });
});

// The refresh token was sent although the answer could not be stored: this provider takes it only once.
test("latchkey renews nothing that a --cache-file cannot keep, and says what is at stake", async () => {
  using home = openHome();
  const path = join(home.state, "cache.json");
  expect((await provider.login({ home }, `--cache-file ${path}`)).code).toBe(0);
  const program = READ_ONLY_DISK.command(home.state, LATCHKEY_ON_BUN);
  const run = await provider.token({ home, program }, `${SILENT} --force-refresh -v --cache-file ${path}`);
  expect(errorOf(run)).toEqual({ code: 1, error: "cache_not_writable" });
  expect(run.stderr).toContain(READ_ONLY_DISK.reason);
  expect(JSON.parse(run.stdout).hint).toContain("to lose the new one is to lose the sign-in");
  expect(sourceOf(await provider.token({ home }, `${SILENT} --force-refresh --cache-file ${path}`))).toEqual(FRESH);
});

test("latchkey login says that the keyring asks, and where the key goes when nobody answers", async () => {
  await using stage = await openStage({ keyring: "locked" });
  const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
  const { code, stderr } = await provider.login({ home: stage.home, env });
  expect(code).toBe(0);
  expect(stderr).toMatch(/^latchkey: The keyring asks to be unlocked, in a window of its own$/m);
  expect(stderr).toMatch(/^latchkey: The key of the token cache goes into .*key\.json: .* move .* away, and sign in/m);
});

describe("latchkey login --profile where the profile cannot be written", () => {
  test("fails before anybody signs in", async () => {
    using home = openHome();
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    const { BROWSER, page } = provider.playedBrowser();
    const program = READ_ONLY_DISK.command(home.config, LATCHKEY_ON_BUN);
    expect(await provider.login({ home, program, env: { BROWSER } }, "--profile work")).toMatchObject({
      ...{ code: 1, stdout: "", stderr: expect.stringContaining(READ_ONLY_DISK.reason) },
    });
    expect(() => readFileSync(page)).toThrow();
  });

  test("prints the account, with a warning, when that shows after the sign-in", async () => {
    using home = openHome();
    const script = join(home.path, "browser");
    writeFileSync(script, `#!/bin/sh\nchmod 777 ${home.config}\nexec ${provider.playedBrowser().BROWSER} "$@"\n`);
    chmodSync(script, 0o755);
    const { code, stdout, stderr } = await provider.login({ home, env: { BROWSER: script } }, "--profile work");
    expect({ code, stdout }).toEqual({ code: 0, stdout: JANE_LINE });
    expect(stderr).toMatch(
      /^latchkey: jane@contoso\.com is signed in, but the profile was not written: .*others can write/m,
    );
    chmodSync(home.config, 0o700);
    expect(readdirSync(home.config)).toEqual([]);
    expect(sourceOf(await provider.token({ home }, SILENT))).toEqual(FROM_CACHE);
  });
});
