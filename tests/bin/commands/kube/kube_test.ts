// latchkey kube as kubectl calls it. Kubernetes' own client calls it among the peers.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type PrivateBus, startPrivateBus } from "../../../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../../../fakes/start_fake_broker.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../../tools/deno_command.ts";
import { runLatchkey, runProgram } from "../../run_latchkey.ts";
import { startLatchkey } from "../../running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../../tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", SERVER_ID = "6dae42f8-4368-4678-94ff-3960e28e3630";
const WORDS = ["kube", "--client-id", CLIENT_ID, "--server-id", SERVER_ID];
const PERMISSIONS = [
  LEAST_PERMISSIONS[0]!,
  "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,KUBERNETES_EXEC_INFO",
];
const PERSON_NEEDED = { replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } } as const;

let bus: PrivateBus, broker: FakeBroker;
beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
});
beforeEach(async () => {
  await broker.behave({ replies: {} });
  await broker.forgetCalls();
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

const infoOf = (version: string, spec: object = { interactive: false }) =>
  JSON.stringify({ kind: "ExecCredential", apiVersion: `client.authentication.k8s.io/${version}`, spec });
const environment = (info?: string) => ({
  DBUS_SESSION_BUS_ADDRESS: bus.address,
  ...(info !== undefined && { KUBERNETES_EXEC_INFO: info }),
});
const kube = (info?: string, words: readonly string[] = WORDS) =>
  runLatchkey(words, { env: environment(info), permissions: PERMISSIONS });

test.each(TESTED_PATHS)("latchkey kube on $name prints an ExecCredential", async ({ program }) => {
  const { code, stdout, stderr } = await runProgram(
    [...latchkeyBy(program()), ...WORDS],
    environment(infoOf("v1")),
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: {
      expirationTimestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
    },
  });
  const { authParameters } = (await broker.calls("acquireTokenSilently"))[0]!.request;
  expect(authParameters).toMatchObject({ clientId: CLIENT_ID, requestedScopes: [`${SERVER_ID}/.default`] });
});

test("latchkey kube takes the server's scope for its id", async () => {
  const words = WORDS.map((word) => word === SERVER_ID ? `${SERVER_ID}/.default` : word);
  const { code } = await runProgram([...LATCHKEY_ON_BUN, ...words], environment(infoOf("v1")));
  const [call] = await broker.calls("acquireTokenSilently");
  expect([code, call!.request.authParameters.requestedScopes]).toEqual([0, [`${SERVER_ID}/.default`]]);
});

test("latchkey kube answers in the version that it is asked in, with the token that there is", async () => {
  const [beta, none] = await Promise.all([kube(infoOf("v1beta1")), kube()]);
  expect(JSON.parse(beta.stdout)).toMatchObject({ apiVersion: "client.authentication.k8s.io/v1beta1" });
  expect(JSON.parse(none.stdout)).toEqual(JSON.parse(beta.stdout));
  const renewed = JSON.parse((await kube(infoOf("v1"), [...WORDS, "--force-refresh"])).stdout);
  expect(renewed.status.token).not.toBe(JSON.parse(beta.stdout).status.token);
});

test("latchkey kube asks a person only where the caller allows it", async () => {
  await broker.behave(PERSON_NEEDED);
  const atTerminal = (info: string) =>
    startLatchkey([...latchkeyBy([...denoRun(), ...PERMISSIONS]), ...WORDS], {
      terminal: true,
      env: environment(info),
    }).ended();
  const never = await atTerminal(infoOf("v1"));
  expect(never.code).toBe(3);
  expect(never.stderr).toContain(`latchkey login --client-id ${CLIENT_ID} --scope ${SERVER_ID}/.default`);
  expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
  expect((await atTerminal(infoOf("v1", { interactive: true }))).code).toBe(0);
  expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
  const always = await kube(infoOf("v1"), [...WORDS, "--interactive", "always"]);
  expect({ code: always.code, stdout: always.stdout }).toEqual({ code: 3, stdout: "" });
  expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
});

test.each([
  ["{", "it is not JSON"],
  [infoOf("v1alpha1"), "v1alpha1"],
  [JSON.stringify({ padding: "x".repeat(100_000) }), "its kind"],
])("latchkey kube refuses %p", async (info, why) => {
  const { code, stdout, stderr } = await kube(info);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain(why);
  expect(await broker.calls()).toEqual([]);
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
  const { code, stderr } = await runLatchkey(WORDS, {
    env: environment(infoOf("v1")),
    permissions: LEAST_PERMISSIONS,
  });
  expect({ code, isNamed: stderr.includes("--allow-env=KUBERNETES_EXEC_INFO") }).toEqual({ code: 1, isNamed: true });
});
