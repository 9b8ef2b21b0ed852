// latchkey kube, called by Kubernetes' own client (client-go) and by the two for Java as their credential plugin, against a server of
// the test's that wants the token over TLS.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { putLatchkeyInPath } from "../bin/latchkey_in_path.ts";
import { CLIENT_ID, JOE, useStage } from "../fixture.ts";
import { makeCertificateAuthority } from "../fakes/certificates.ts";
import { LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../bin/tested_latchkey.ts";
import { goClient, javaClient } from "./clients.ts";

const SERVER_ID = "6dae42f8-4368-4678-94ff-3960e28e3630";
const VERSION = JSON.stringify({
  ...{ major: "1", minor: "36", gitVersion: "v1.36.0", gitCommit: "0", gitTreeState: "clean" },
  ...{ buildDate: "2026-04-22T00:00:00Z", goVersion: "go1.25.0", compiler: "gc", platform: "linux/amd64" },
});
/** Java takes its time to start, and more on a busy machine. */
const JAVA_LIMIT_MS = 90_000;

const stage = useStage({ broker: {} });
let cluster: Cluster;
let path: Readonly<Record<string, string>>;
beforeAll(() => {
  cluster = startCluster();
  path = putLatchkeyInPath(stage.home, [
    LEAST_PERMISSIONS[0]!,
    "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,KUBERNETES_EXEC_INFO,LATCHKEY_CLIENT_ID",
  ]);
});
beforeEach(() => {
  cluster.refused.clear();
  cluster.seen.length = 0;
});
afterAll(() => cluster.stop());

interface Cluster {
  readonly url: string;
  /** The certificate of the authority that signed the server's. */
  readonly authority: string;
  /** The `Authorization` headers that it got. */
  readonly seen: string[];
  /** Those that it does not let in. */
  readonly refused: Set<string>;
  stop(): Promise<void>;
}

function startCluster(): Cluster {
  const authority = makeCertificateAuthority(), seen: string[] = [], refused = new Set<string>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: authority.issue(["127.0.0.1"]),
    fetch(request) {
      const authorization = request.headers.get("authorization") ?? "";
      seen.push(authorization);
      const isGood = /^Bearer [\w-]+\.[\w-]+\.[\w-]+$/.test(authorization) && !refused.has(authorization);
      return isGood
        ? new Response(VERSION, { headers: { "content-type": "application/json" } })
        : new Response("Unauthorized", { status: 401 });
    },
  });
  return {
    url: `https://127.0.0.1:${server.port}`,
    authority: authority.cert,
    ...{ seen, refused },
    stop: () => server.stop(true),
  };
}

/** A kubeconfig as docs/kubectl.md shows it, in JSON, which YAML is a superset of. */
function kubeconfig(version: string, interactiveMode: string): string {
  const exec = {
    apiVersion: `client.authentication.k8s.io/${version}`,
    command: "latchkey",
    args: ["kube", "--server-id", SERVER_ID],
    env: [{ name: "LATCHKEY_CLIENT_ID", value: CLIENT_ID }],
    ...{ interactiveMode, provideClusterInfo: true },
  };
  const server = { server: cluster.url, "certificate-authority-data": btoa(cluster.authority) };
  const file = join(stage.home.path, `${version}-${interactiveMode}.json`);
  const document = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "contoso" },
    clusters: [{ name: "contoso", cluster: server }],
    users: [{ name: "jane", user: { exec } }],
    contexts: [{ name: "contoso", context: { cluster: "contoso", user: "jane" } }],
  };
  writeFileSync(file, JSON.stringify(document));
  return file;
}

/** Runs a client; what it is asked, one after the other, it answers with a line each. */
async function withClient(
  config: string,
  ask: (request: () => Promise<string>) => Promise<void>,
  client: readonly string[] = [goClient("kubernetes")],
): Promise<string> {
  const child = Bun.spawn([...client, config], {
    env: { ...path, DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const lines = linesOf(child.stdout), stderr = new Response(child.stderr).text();
  await ask(async () => {
    child.stdin.write("\n");
    await child.stdin.flush();
    return (await lines.next()).value ?? `it ended: ${await stderr}`;
  });
  await child.stdin.end();
  await child.exited;
  return await stderr;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

const timesAsked = async () => (await stage.broker.calls("acquireTokenSilently")).length;

describe.each(["v1", "v1beta1"])("Kubernetes' client, %s", (version) => {
  test("takes the token, and asks for it once while it is good", async () => {
    await withClient(kubeconfig(version, "IfAvailable"), async (request) => {
      expect([await request(), await request()]).toEqual([`200 ${VERSION}`, `200 ${VERSION}`]);
    });
    expect(new Set(cluster.seen).size).toBe(1);
    expect(await timesAsked()).toBe(1);
  });

  test("asks again when the server refused the token, and has the one that is held by then", async () => {
    await withClient(kubeconfig(version, "Never"), async (request) => {
      expect(await request()).toBe(`200 ${VERSION}`);
      cluster.refused.add(cluster.seen[0]!);
      expect(await request()).toBe("401 Unauthorized");
      expect(await timesAsked()).toBe(2);
      // The device's broker has another one.
      await stage.behave({ accounts: [JOE], defaultAccount: JOE.username });
      expect(await request()).toBe("401 Unauthorized");
      expect(await request()).toBe(`200 ${VERSION}`);
    });
    expect(new Set(cluster.seen).size).toBe(2);
  });

  test("asks again when the token ends", async () => {
    const username = `jane-${version}@contoso.com`;
    await stage.behave({ tokenLifetimeSeconds: 0, accounts: [{ username }], defaultAccount: username });
    await withClient(kubeconfig(version, "Never"), async (request) => {
      expect([await request(), await request()]).toEqual([`200 ${VERSION}`, `200 ${VERSION}`]);
    });
    expect(new Set(cluster.seen).size).toBe(2);
  });

  test("passes on what to type when a person is needed", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const stderr = await withClient(kubeconfig(version, "Never"), async (request) => {
      expect(await request()).toContain("failed with exit code 3");
    });
    expect(stderr).toContain(`latchkey login --client-id ${CLIENT_ID} --scope ${SERVER_ID}/.default`);
    expect(cluster.seen).toEqual([]);
  });
});

// Neither sets KUBERNETES_EXEC_INFO, and each wants the version of its kubeconfig back: so docs/kubectl.md prints v1beta1.
describe.each(["official", "fabric8"])("Kubernetes' %s client for Java, v1beta1", (name) => {
  const client = () => javaClient("kubernetes_java", "Ask", name);

  test("takes the token", async () => {
    await withClient(kubeconfig("v1beta1", "IfAvailable"), async (request) => {
      expect([await request(), await request()]).toEqual(["v1.36.0", "v1.36.0"]);
    }, client());
    expect(new Set(cluster.seen).size).toBe(1);
    expect(cluster.seen[0]).toMatch(/^Bearer [\w-]+\.[\w-]+\.[\w-]+$/);
  }, JAVA_LIMIT_MS);

  test("has no token where a person is needed", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    await withClient(kubeconfig("v1beta1", "Never"), async (request) => {
      expect(await request()).not.toContain("v1.36.0");
    }, client());
    expect(cluster.seen.filter((authorization) => authorization !== "")).toEqual([]);
  }, JAVA_LIMIT_MS);
});

describe("what latchkey kube --install wrote", () => {
  const env = () => ({ ...path, DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
  let config: string;
  beforeEach(async () => {
    config = kubeconfig("v1", "IfAvailable");
    const words = ["--install", "--context", "contoso", "--client-id", CLIENT_ID, "--server-id", SERVER_ID];
    const { code, stderr } = await runProgram([...LATCHKEY_ON_BUN, "kube", ...words], { ...env(), KUBECONFIG: config });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("wrote the user") });
  });

  test("is run by Kubernetes' client", async () => {
    await withClient(config, async (request) => expect(await request()).toBe(`200 ${VERSION}`));
    expect((await stage.broker.calls("acquireTokenSilently"))[0]!.request.authParameters).toMatchObject({
      clientId: CLIENT_ID,
    });
  });

  test("is run, and understood, by kubectl", async () => {
    const program = Bun.which("kubectl") ?? goClient("kubectl");
    const kubectl = (...words: string[]) => runProgram([program, "--kubeconfig", config, ...words], env());
    expect(await kubectl("get", "--raw", "/version")).toMatchObject({ code: 0, stdout: VERSION });
    expect((await kubectl("config", "view", "-o", "jsonpath={.users[0].user.exec.apiVersion}")).stdout)
      .toBe("client.authentication.k8s.io/v1beta1");
  });
});
