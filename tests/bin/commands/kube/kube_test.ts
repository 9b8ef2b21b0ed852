// latchkey kube as kubectl calls it. Kubernetes' own client calls it among the peers.
import { describe, expect, test } from "bun:test";
import { readExecInfo, writeExecCredential } from "../../../../bin/commands/kube/kube.ts";
import { CLIENT_ID, useStage } from "../../../fixture.ts";
import { LEAST_PERMISSIONS } from "../../../tools/deno_command.ts";
import { runLatchkey, runProgram } from "../../run_latchkey.ts";
import { isBuilt, latchkeyBy, TESTED_PATHS, testOfSources } from "../../tested_latchkey.ts";

const SERVER_ID = "6dae42f8-4368-4678-94ff-3960e28e3630";
const WORDS = ["kube", "--client-id", CLIENT_ID, "--server-id", SERVER_ID];
const PERMISSIONS = [
  LEAST_PERMISSIONS[0]!,
  "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,KUBERNETES_EXEC_INFO",
];
const PERSON_NEEDED = { replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } } as const;

const stage = useStage({ broker: {} });

const infoOf = (version: string, spec: object = { interactive: false }) =>
  JSON.stringify({ kind: "ExecCredential", apiVersion: `client.authentication.k8s.io/${version}`, spec });
const environment = (info?: string) => ({
  DBUS_SESSION_BUS_ADDRESS: stage.bus.address,
  ...(info !== undefined && { KUBERNETES_EXEC_INFO: info }),
});
const kube = (info?: string, words: readonly string[] = WORDS) => runLatchkey(words, { env: environment(info) });

test.each(TESTED_PATHS)("latchkey kube on $name prints an ExecCredential", async ({ program }) => {
  const { code, stdout, stderr } = await runProgram([...latchkeyBy(program()), ...WORDS], environment(infoOf("v1")));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: {
      expirationTimestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
    },
  });
  const { authParameters } = (await stage.broker.calls("acquireTokenSilently"))[0]!.request;
  expect(authParameters).toMatchObject({ clientId: CLIENT_ID, requestedScopes: [`${SERVER_ID}/.default`] });
});

test("latchkey kube takes the server's scope for its id", async () => {
  const words = WORDS.map((word) => word === SERVER_ID ? `${SERVER_ID}/.default` : word);
  const { code } = await kube(infoOf("v1"), words);
  const [call] = await stage.broker.calls("acquireTokenSilently");
  expect([code, call!.request.authParameters.requestedScopes]).toEqual([0, [`${SERVER_ID}/.default`]]);
});

test("latchkey kube answers in the version that it is asked in, with the token that there is", async () => {
  const beta = await runLatchkey(WORDS, { env: environment(infoOf("v1beta1")), permissions: PERMISSIONS });
  const none = await kube();
  expect(JSON.parse(beta.stdout)).toMatchObject({ apiVersion: "client.authentication.k8s.io/v1beta1" });
  expect(JSON.parse(none.stdout)).toEqual(JSON.parse(beta.stdout));
  const renewed = JSON.parse((await kube(infoOf("v1"), [...WORDS, "--force-refresh"])).stdout);
  expect(renewed.status.token).not.toBe(JSON.parse(beta.stdout).status.token);
});

test("latchkey kube asks a person only where the caller allows it", async () => {
  await stage.behave(PERSON_NEEDED);
  const windows = async () => (await stage.broker.calls("acquireTokenInteractively")).length;
  if (!isBuilt) {
    const atTerminal = (info: string) => runLatchkey(WORDS, { terminals: ["stdin", "stderr"], env: environment(info) });
    const never = await atTerminal(infoOf("v1"));
    expect(never.code).toBe(3);
    expect(never.stderr).toContain(`latchkey login --client-id ${CLIENT_ID} --scope ${SERVER_ID}/.default`);
    expect(await windows()).toBe(0);
    expect((await atTerminal(infoOf("v1", { interactive: true }))).code).toBe(0);
    expect(await windows()).toBe(1);
    await stage.broker.forgetCalls();
  }
  const always = await kube(infoOf("v1"), [...WORDS, "--interactive", "always"]);
  expect({ code: always.code, stdout: always.stdout }).toEqual({ code: 3, stdout: "" });
  expect(await windows()).toBe(0);
});

test.each([
  ["{", "it is not JSON"],
  [infoOf("v1alpha1"), "v1alpha1"],
  [JSON.stringify({ padding: "x".repeat(100_000) }), "its kind"],
])("latchkey kube refuses %p", async (info, why) => {
  const { code, stdout, stderr } = await kube(info);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(why);
  expect(await stage.broker.calls()).toEqual([]);
});

test("latchkey kube needs a server id that is one, and a client id", async () => {
  const usage = async (...words: string[]) => {
    const { code, stdout, stderr } = await kube(infoOf("v1"), ["kube", ...words]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    return stderr;
  };
  expect(await usage("--client-id", CLIENT_ID)).toContain("--server-id is missing");
  expect(await usage("--client-id", CLIENT_ID, "--server-id", "my cluster")).toContain("--server-id takes");
  expect(await usage("--server-id", SERVER_ID)).toContain("--client-id is missing");
  // A kubeconfig can name any id, and the server of its cluster gets the token.
  for (const id of ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com/.default"]) {
    expect(await usage("--client-id", CLIENT_ID, "--server-id", id)).toContain("takes the app of a cluster, not ");
  }
});

testOfSources("latchkey kube needs leave to read what the caller says", async () => {
  const { code, stderr } = await runLatchkey(WORDS, { env: environment(infoOf("v1")), permissions: LEAST_PERMISSIONS });
  expect({ code, isNamed: stderr.includes("--allow-env=KUBERNETES_EXEC_INFO") }).toEqual({ code: 1, isNamed: true });
});

const GROUP = "client.authentication.k8s.io";
const info = (more: object, version = "v1") =>
  JSON.stringify({ kind: "ExecCredential", apiVersion: `${GROUP}/${version}`, ...more });

describe("readExecInfo()", () => {
  test.each(["v1", "v1beta1"])("takes %s, and whether a person may be asked", (version) => {
    const apiVersion = `${GROUP}/${version}`;
    expect(readExecInfo(info({ spec: { interactive: false } }, version))).toEqual({ apiVersion, isInteractive: false });
    expect(readExecInfo(info({ spec: { interactive: true, cluster: { server: "https://a" } } }, version))).toEqual({
      apiVersion,
      isInteractive: true,
    });
    expect(readExecInfo(info({}, version))).toEqual({ apiVersion, isInteractive: undefined });
  });

  test("is v1beta1 where the caller says nothing: those that are so old know no other", () => {
    expect(readExecInfo(undefined)).toEqual({ apiVersion: `${GROUP}/v1beta1`, isInteractive: undefined });
  });

  test.each([
    ["not JSON", "{"],
    ["no object", "[]"],
    ["no object", "null"],
    ["another kind", info({ kind: "Config" })],
    ["no version", info({ apiVersion: undefined })],
    ["a version that is no text", info({ apiVersion: 1 })],
    ["a version that is not known", info({}, "v1alpha1")],
    ["another group", info({ apiVersion: "v1" })],
    ["a spec that is none", info({ spec: [] })],
    ["an answer that is none", info({ spec: { interactive: "false" } })],
  ])("refuses %s: %s", (_, text) => {
    expect(() => readExecInfo(text)).toThrow(expect.objectContaining({ name: "LatchkeyError", code: "configuration" }));
  });

  test("says what a version is to be", () => {
    expect(() => readExecInfo(info({}, "v1alpha1"))).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(`apiVersion: ${GROUP}/v1 or ${GROUP}/v1beta1`) }),
    );
  });
});

test("writeExecCredential() writes the version that was asked for, and whole seconds", () => {
  const text = writeExecCredential(`${GROUP}/v1`, { accessToken: "token", expiresOn: new Date(1_800_000_000_999) });
  expect(JSON.parse(text)).toEqual({
    apiVersion: `${GROUP}/v1`,
    kind: "ExecCredential",
    status: { expirationTimestamp: "2027-01-15T08:00:00Z", token: "token" },
  });
  expect(text).toEndWith("}\n");
});
