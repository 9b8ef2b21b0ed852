// The doctor where no broker is to serve: nothing is missed for want of one, and tokens are looked for in the cache.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { redirectPath } from "../../../../lib/authority.ts";
import { type Home, openHome } from "../../../fixture.ts";
import { type ProviderStage, startProviderStage } from "../../provider_stage.ts";
import { runProgram } from "../../run_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "../../tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
/** No test asks Microsoft's servers for anything. */
const OFFLINE = { HTTPS_PROXY: "http://127.0.0.1:1" };
const IDS = [
  ...["platform", "runtime", "profile", "clock", "dbus_client", "session_bus", "broker", "redirect_uri", "accounts"],
  ...["silent_token", "network", "token_cache", "display", "keyring", "device"],
];

let provider: ProviderStage;
beforeAll(async () => {
  provider = await startProviderStage();
});
afterAll(() => provider[Symbol.asyncDispose]());

interface Row {
  readonly id: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fix?: string;
}

async function doctor(words: readonly string[], home: Home, program: readonly string[] = LATCHKEY_ON_BUN) {
  const { code, stdout } = await runProgram(
    [...program, "doctor", "--format", "json", ...words],
    { ...home.env, ...(words.includes(provider.url) ? {} : OFFLINE) },
  );
  const { checks } = JSON.parse(stdout) as { checks: readonly Row[] };
  expect(checks.map(({ id }) => id)).toEqual(IDS);
  return { code, ...Object.fromEntries(checks.map((row) => [row.id, row])) } as { code: number } & Record<string, Row>;
}
const appWords = () => ["--client-id", provider.clientId, "--authority", provider.url, "--scope", "api.read"];

describe.each(TESTED_PATHS)(
  "latchkey doctor at another authority than Microsoft's on $name",
  ({ program: programOf }) => {
    test("looks for accounts and a token in the cache, and misses neither bus nor keyring", async () => {
      using home = openHome();
      const program = latchkeyBy(programOf()), { BROWSER } = provider.playedBrowser();
      const { code: before, ...none } = await doctor(appWords(), home, program);
      const fix = `Sign in: latchkey login --client-id ${provider.clientId} --authority ${provider.url}`;
      expect({ before, none }).toMatchObject({
        before: 1,
        none: {
          accounts: { ok: false, detail: "the token cache has no account for this app", fix },
          silent_token: { ok: false, detail: expect.stringContaining("interaction_required: Nobody is signed in") },
        },
      });
      const login = [...program, "login", ...appWords()];
      expect((await runProgram(login, { ...home.env, BROWSER })).code).toBe(0);
      const { code, ...of } = await doctor(appWords(), home, program);
      const skipped = { ok: true, detail: `not checked: brokers do not serve the authority ${provider.url}` };
      expect({ code, of }).toMatchObject({
        code: 0,
        of: {
          ...{
            dbus_client: skipped,
            session_bus: skipped,
            broker: skipped,
            display: skipped,
            keyring: skipped,
            device: skipped,
          },
          redirect_uri: {
            detail: `the app registration ${provider.clientId} has to have http://127.0.0.1${
              redirectPath(provider.url)
            }`,
          },
          accounts: { ok: true, detail: "jane@contoso.com" },
          silent_token: {
            ok: true,
            detail: expect.stringMatching(/^for api\.read as jane@contoso\.com, valid until /),
          },
        },
      });
    });
  },
);

describe("latchkey doctor --broker never", () => {
  test("misses no bus, and says how to sign in where nobody is", async () => {
    using home = openHome();
    const { code, ...of } = await doctor(["--broker", "never", "--client-id", CLIENT_ID], home);
    const skipped = { ok: true, detail: "not checked: no broker is asked for" };
    expect({ code, of }).toMatchObject({
      code: 1,
      of: {
        ...{
          dbus_client: skipped,
          session_bus: skipped,
          broker: skipped,
          display: skipped,
          keyring: skipped,
          device: skipped,
        },
        accounts: { ok: false, fix: `Sign in: latchkey login --client-id ${CLIENT_ID}` },
        silent_token: { ok: false },
      },
    });
  });

  test("asks for no accounts without a client id", async () => {
    using home = openHome();
    const { accounts, silent_token } = await doctor(["--broker", "never"], home);
    expect({ accounts, silent_token }).toMatchObject({
      accounts: { ok: true, detail: "not checked: no --client-id was given" },
      silent_token: { ok: true, detail: "not checked: no --client-id was given" },
    });
  });
});
