// latchkey serve --upstream with a fake broker, and what people call through it: curl, the Graph SDK and Python's requests. The
// service is a server of the test's own.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { requireStrictHttp } from "../../../../bin/commands/serve/upstream.ts";
import { CLIENT_ID, failure, useStage } from "../../../fixture.ts";
import { denoRun, joinFlags, LEAST_PERMISSIONS, socketFlags } from "../../../tools/deno_command.ts";
import { MSAL_PYTHON } from "../../../tools/find_tool.js";
import { runLatchkey, runProgram } from "../../run_latchkey.ts";
import { type RunningLatchkey, startLatchkey } from "../../running_latchkey.ts";

const GRAPH_SCOPE = "https://graph.microsoft.com/.default", PATH = process.env.PATH!;

const stage = useStage({ broker: {} });
const running: RunningLatchkey[] = [];
let service: ReturnType<typeof startService>, count = 0;

beforeAll(() => {
  service = startService();
});
afterEach(async () => {
  service.seen.length = 0;
  for (const each of running.splice(0)) {
    each.interrupt();
    await each.ended();
  }
});
afterAll(() => service.stop());

function startService() {
  const seen: { readonly method: string; readonly path: string; readonly authorization: string | null }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const authorization = request.headers.get("authorization");
      seen.push({ method: request.method, path: pathname + search, authorization });
      return Response.json({ displayName: "Jane" });
    },
  });
  return { host: `127.0.0.1:${server.port}`, seen, stop: () => server.stop(true) };
}

/** A server on a socket, once it listens. */
async function onSocket(rules: readonly string[]): Promise<RunningLatchkey & { readonly path: string }> {
  const folder = join(stage.folder, `folder-${++count}`), path = join(folder, "graph");
  const more = [...socketFlags(path, folder), "--allow-sys=uid", `--allow-net=${service.host}`];
  const flags = joinFlags([...LEAST_PERMISSIONS, ...more]);
  const upstreams = rules.flatMap((rule) => ["--upstream", rule]);
  const words = ["bin/latchkey.ts", "serve", "--client-id", CLIENT_ID, "--socket", path, ...upstreams];
  const started = startLatchkey([...denoRun(), ...flags, ...words], {
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
  });
  running.push(started);
  await started.printed(/serving at .* for \/127\.0\.0\.1:\d+\//);
  return { ...started, path };
}

/** Runs a command under `latchkey serve --upstream … -- COMMAND`. */
function under(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const flags = ["--allow-net=127.0.0.1", `--allow-net=${service.host}`, `--allow-run=${command[0]}`];
  const rule = `http://${service.host}/v1.0 ${GRAPH_SCOPE}`;
  return runLatchkey(["serve", "--client-id", CLIENT_ID, "--upstream", rule, "--", ...command], {
    env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, PATH, SERVICE: service.host, ...env },
    permissions: [...LEAST_PERMISSIONS, ...flags],
  });
}

describe("latchkey serve --upstream", () => {
  test("lets curl call what is allowed, and tells of it without the query or the token", async () => {
    const { path, interrupt, ended } = await onSocket([`GET http://${service.host}/v1.0/me ${GRAPH_SCOPE}`]);
    const curl = async (...words: readonly string[]) =>
      (await runProgram(["curl", "--silent", "--unix-socket", path, ...words], { PATH })).stdout;
    const at = (rest: string) => `http://localhost/${service.host}${rest}`;
    expect(await curl(at("/v1.0/me?$select=secret"))).toBe('{"displayName":"Jane"}');
    expect(await curl(at("/v1.0/users"))).toContain("No upstream allows this path");
    expect(await curl("--path-as-is", at("/v1.0/me/../users"))).toContain("dot segments");
    const refused = await curl("--include", "--request", "DELETE", at("/v1.0/me"));
    expect(refused).toContain("No upstream allows DELETE");
    expect(refused).toMatch(/^Allow: GET\r$/m);
    expect(await curl("http://localhost/v1.0/me")).toContain(`/${service.host}/`);
    expect(service.seen).toEqual([{
      method: "GET",
      path: "/v1.0/me?$select=secret",
      authorization: expect.stringMatching(/^Bearer [\w-]+\.[\w-]+\.[\w-]+$/),
    }]);
    const { authParameters } = (await stage.broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters.requestedScopes).toEqual([GRAPH_SCOPE]);
    interrupt();
    const { code, stderr } = await ended();
    expect(code).toBe(0);
    expect(stderr).toMatch(/^\d{4}-\S+Z 200 GET \/127\.0\.0\.1:\d+\/v1\.0\/me \d+ ms$/m);
    expect(stderr).toMatch(/ 405 DELETE /);
    expect(stderr).not.toMatch(/select|Bearer|eyJ/);
  });

  test("is a base URL for the Graph SDK, which never has a token", async () => {
    const script = `
      const { Client } = await import("@microsoft/microsoft-graph-client");
      const proxy = new URL(process.env.LATCHKEY_UPSTREAM_URL);
      const client = Client.init({
        baseUrl: proxy.origin + "/" + process.env.SERVICE + "/",
        authProvider: (done) => done(null, ""),
        fetchOptions: { headers: { "X-Latchkey-Secret": process.env.LATCHKEY_UPSTREAM_SECRET } },
      });
      console.log((await client.api("/me").get()).displayName);`;
    const { code, stdout, stderr } = await under(["node", "--input-type=module", "--eval", script]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "Jane\n", stderr: "" });
    expect(service.seen).toEqual([
      { method: "GET", path: "/v1.0/me", authorization: expect.stringMatching(/^Bearer eyJ/) },
    ]);
  });

  test("answers Python's requests, on one connection", async () => {
    const script = `import os, requests
s = requests.Session()
s.headers["X-Latchkey-Secret"] = os.environ["LATCHKEY_UPSTREAM_SECRET"]
url = os.environ["LATCHKEY_UPSTREAM_URL"] + "/" + os.environ["SERVICE"] + "/v1.0/me"
print(s.get(url).json()["displayName"], s.post(url, data=(b"x" * 1000 for _ in range(3))).status_code)
print(requests.get(url).status_code)`;
    const { stdout, stderr } = await under(["python3", "-c", script], { PYTHONPATH: MSAL_PYTHON });
    expect({ stdout, stderr }).toEqual({ stdout: "Jane 200\n401\n", stderr: "" });
    expect(service.seen.map(({ method }) => method)).toEqual(["GET", "POST"]);
  });

  test("says who has to sign in, to the client and once on standard error", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const { path, printed } = await onSocket([`http://${service.host} ${GRAPH_SCOPE}`]);
    const words = ["curl", "--silent", "--unix-socket", path, `http://localhost/${service.host}/v1.0/me`];
    const { stdout } = await runProgram(words, { PATH });
    expect(JSON.parse(stdout)).toEqual({ statusCode: 502, message: expect.stringContaining("interaction_required") });
    await printed(/has to sign in .*latchkey login --client-id/);
    expect(service.seen).toEqual([]);
  });

  test.each([
    [["--upstream", "http://graph.microsoft.com", "--socket", "x"], "only to https:"],
    [["--upstream", "https://graph.microsoft.com", "--resource", "https://x", "--socket", "x"], "omit --resource"],
    [["--upstream", "https://graph.microsoft.com", "--identity", "y", "--socket", "x"], "omit --identity"],
    [["--upstream", "https://graph.microsoft.com", "--forward", "x", "--", "true"], "for the server outside"],
  ])("%p is wrong usage", async (words, message) => {
    const { code, stderr } = await runLatchkey(["serve", "--client-id", CLIENT_ID, ...words]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) });
  });
});

// The HTTP of older runtimes takes messages with two lengths, or never cuts off a client that sends nothing.
test.each<["Deno" | "Bun" | "Node", string, string]>([
  ["Deno", "2.6.10", "2.8"],
  ["Deno", "2.7.14", "2.8"],
  ["Bun", "1.3.9", "1.4"],
  ["Node", "22.17.1", "22.18"],
])("--upstream refuses %s %s, and names the first version that it takes", async (name, version, first) => {
  expect(await failure(Promise.try(() => requireStrictHttp({ name, version })))).toMatchObject({
    code: "missing_dependency",
    message: `--upstream needs ${name} ${first} or later, and this is ${name} ${version}`,
    hint: expect.stringContaining(`Install ${name} ${first} or later`),
  });
});

test.each<["Deno" | "Bun" | "Node", string]>([
  ["Deno", "2.8.0"],
  ["Deno", "2.10.1"],
  ["Bun", "1.4.0"],
  ["Node", "22.18.0"],
  ["Node", "24.0.0"],
])("--upstream takes %s %s", (name, version) => {
  requireStrictHttp({ name, version });
});
