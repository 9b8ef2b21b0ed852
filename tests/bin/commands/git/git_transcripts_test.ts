// Transcripts of git's own tests of credential helpers (t0300, t5563), with latchkey in the helper's place: by the real git, and
// as newer versions of git write them.
import { beforeAll, describe, expect, test } from "bun:test";
import { putLatchkeyInPath } from "../../latchkey_in_path.ts";
import { CLIENT_ID, useStage } from "../../../fixture.ts";
import { runLatchkey, runProgram } from "../../run_latchkey.ts";

const HOST = "protocol=https\nhost=dev.azure.com\n";
const OURS = `!latchkey git --client-id ${CLIENT_ID}`;
const OTHER = "!f() { echo username=joe; echo password=his; }; f", QUITS = "!f() { echo quit=1; }; f";
const TOKEN = "[\\w-]+\\.[\\w-]+\\.[\\w-]+";

const stage = useStage({ broker: {} });
let path: Readonly<Record<string, string>>;
beforeAll(() => {
  path = putLatchkeyInPath(stage.home);
});

const bytes = (text: string) => new TextEncoder().encode(text);
const isAsked = async () => (await stage.broker.calls("acquireTokenSilently")).length > 0;

/** Runs `git credential`, which asks these helpers in their order. */
function gitCredential(operation: string, input: string, helpers: readonly string[], more: readonly string[] = []) {
  const config = [...helpers.map((helper) => `credential.helper=${helper}`), ...more].flatMap((entry) => ["-c", entry]);
  return runProgram(["git", ...config, "credential", operation], {
    ...{ ...path, DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
    ...{ GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", GIT_ASKPASS: "" },
  }, { input: bytes(input) });
}

describe("git credential fill", () => {
  test.each<[what: string, input: string, helpers: string[], config: string[], whose: RegExp]>([
    ["takes latchkey's", HOST, [OURS], [], /^username=jane@contoso\.com$/m],
    ["stops at latchkey's full answer", HOST, [OURS, OTHER], [], /^username=jane@contoso\.com$/m],
    ["asks latchkey after a helper that is useless", HOST, ["!f() { :; }; f", OURS], [], /^username=jane@/m],
    [
      "asks latchkey after a helper with half an answer",
      HOST,
      ["!f() { echo username=jane@contoso.com; }; f", OURS],
      [],
      /^username=jane@/m,
    ],
    [
      "keeps the user name of the address",
      `${HOST}username=jane@contoso.com\n`,
      [OURS],
      [],
      /^username=jane@contoso\.com$/m,
    ],
    ["keeps a user name that is none of Entra's", `${HOST}username=contoso\n`, [OURS], [], /^username=contoso$/m],
    [
      "passes the path on",
      `${HOST}path=contoso/_git/repo\n`,
      [OURS],
      ["credential.useHttpPath=true"],
      /^path=contoso\/_git\/repo$/m,
    ],
    [
      "takes an address apart",
      "url=https://contoso@dev.azure.com/contoso/_git/a%20b\n",
      [OURS],
      [],
      /^username=contoso$/m,
    ],
    [
      "takes the helper of the host alone",
      HOST,
      [],
      [`credential.https://dev.azure.com.helper=${OURS}`],
      /^username=jane@/m,
    ],
    ["empties the list of helpers", HOST, [OTHER, "", OURS], [], /^username=jane@/m],
  ])("%s", async (_, input, helpers, config, whose) => {
    const { code, stdout, stderr } = await gitCredential("fill", input, helpers, config);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(whose);
    expect(stdout).toMatch(new RegExp(`^password=${TOKEN}$`, "m"));
  });

  test.each([
    ["another host", "protocol=https\nhost=example.com\n"],
    ["a host without TLS", "protocol=http\nhost=dev.azure.com\n"],
    ["a certificate, which has no host", "url=cert:///path/to/cert.pem\n"],
    ["another protocol", "protocol=ftp\nhost=dev.azure.com\npath=foo.git\n"],
  ])("asks the next helper for %s", async (_, input) => {
    const { code, stdout } = await gitCredential("fill", input, [OURS, OTHER]);
    expect(code).toBe(0);
    expect(stdout).toContain("username=joe\npassword=his\n");
    expect(await isAsked()).toBe(false);
  });

  test.each([
    ["a helper before it that quits", HOST, [QUITS, OURS]],
    ["an address with a line in it", "url=https://one.example.com?%0ahost=dev.azure.com/\n", [OURS]],
    ["no host", "protocol=https\n", [OURS]],
    ["no protocol", "host=dev.azure.com\n", [OURS]],
  ])("does not ask latchkey after %s", async (_, input, helpers) => {
    expect(await gitCredential("fill", input, helpers)).toMatchObject({ code: 128, stdout: "" });
    expect(await isAsked()).toBe(false);
  });

  test("quits by latchkey when a person is needed, before it asks the next helper", async () => {
    await stage.behave({
      replies: { acquireTokenSilently: { kind: "broker_error", status: 2, subError: "bad_token" } },
    });
    const { code, stdout, stderr } = await gitCredential("fill", HOST, [OURS, OTHER]);
    expect({ code, stdout }).toEqual({ code: 128, stdout: "" });
    expect(stderr).toMatch(/told us to quit/);
  });
});

test.each(["approve", "reject"])(
  "git credential %s tells latchkey, which says nothing of what is not its own",
  async (operation) => {
    const input = `${HOST}username=foo\npassword=bar\n`;
    expect(await gitCredential(operation, input, [OURS])).toEqual({ code: 0, stdout: "", stderr: "" });
  },
);

/** As git 2.46 and later write them, which the tests' git need not be. */
describe("latchkey git", () => {
  const ask = (operation: string, input: string) => {
    const env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
    return runLatchkey(["git", "--client-id", CLIENT_ID, operation], { env, input: bytes(input) });
  };
  const BASIC = new RegExp(`^username=jane@contoso\\.com\npassword=${TOKEN}\npassword_expiry_utc=\\d+\n$`);
  const BEARER = new RegExp(
    `^capability\\[\\]=authtype\n(capability\\[\\]=state\n)?authtype=Bearer\ncredential=${TOKEN}\nephemeral=1\npassword_expiry_utc=\\d+\n(state\\[\\]=latchkey:token\n)?$`,
  );
  const CAPABILITIES = "capability[]=authtype\ncapability[]=state\n";

  test.each<[what: string, input: string, expected: RegExp]>([
    ["a capability of each kind", `${CAPABILITIES}${HOST}`, BEARER],
    ["a capability that is to come", `capability[]=to-come\n${HOST}`, BASIC],
    [
      "challenges of a server, folded and of several schemes",
      `${CAPABILITIES}${HOST}wwwauth[]=FooBar param1="value1" param2="value2"\nwwwauth[]=Bearer authorize_uri="id.example.com" p=1 q=0\nwwwauth[]=Basic realm="example.com"\n`,
      BEARER,
    ],
    [
      "Basic alone",
      `${CAPABILITIES}${HOST}wwwauth[]=Basic realm="example.com"\n`,
      /^capability\[\]=state\nusername=jane@contoso\.com\npassword=/,
    ],
    ["empty challenges", `${CAPABILITIES}${HOST}wwwauth[]=\nwwwauth[]=\n`, BEARER],
    [
      "a second stage, with another helper's state",
      `${CAPABILITIES}${HOST}continue=1\nstate[]=verbatim-cred:foo\n`,
      BEARER,
    ],
    ["a password that has expired", `${HOST}password_expiry_utc=12345\n`, BASIC],
    ["a refresh token of another helper", `${HOST}oauth_refresh_token=xyzzy\n`, BASIC],
  ])("get answers %s", async (_, input, expected) => {
    const { code, stdout, stderr } = await ask("get", `${input}\n`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(expected);
  });

  test.each([
    ["store", `${CAPABILITIES}authtype=Bearer\ncredential=token\nephemeral=1\n${HOST}state[]=verbatim-cred:foo\n`],
    ["erase", `${CAPABILITIES}authtype=Bearer\ncredential=token\n${HOST}state[]=verbatim-cred:foo\n`],
    ["erase", `${HOST}username=foo\npassword=bar\npassword_expiry_utc=12345\noauth_refresh_token=xyzzy\n`],
  ])("%s leaves alone what another helper gave", async (operation, input) => {
    expect(await ask(operation, `${input}\n`)).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});
