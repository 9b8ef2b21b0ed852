// The examples that run at a console, on each runtime; on Deno with no more permissions than a broker takes.
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { denoRun, LEAST_PERMISSIONS } from "../tools/deno_command.ts";

const stage = useStage({ broker: {} });
const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

describe.each(runtimes)("On $name", ({ name, program }) => {
  const run = (script: string, args: readonly string[], permissions: readonly string[] = []): Promise<Run> => {
    const command = name.startsWith("Deno") ? [...denoRun(), ...LEAST_PERMISSIONS, ...permissions] : program();
    return runProgram([...command, `examples/${script}`, ...args], { DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
  };

  test("silent_token.ts prints whose token it is, its end and what was granted, and not the token", async () => {
    const { stdout, stderr, code } = await run("silent_token.ts", [CLIENT_ID, "User.Read", "Mail.Read"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const [account, expires, granted, ...rest] = stdout.split("\n");
    expect([account, granted, ...rest]).toEqual(["account: jane@contoso.com", "granted: User.Read Mail.Read", ""]);
    expect(Date.parse(expires!.replace("expires: ", ""))).toBeGreaterThan(Date.now());
    const [call] = await stage.broker.calls("acquireTokenSilently");
    expect(call?.request.authParameters).toMatchObject({
      clientId: CLIENT_ID,
      requestedScopes: ["User.Read", "Mail.Read"],
    });
  });

  test("silent_token.ts says so when a person is needed", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    expect(await run("silent_token.ts", [CLIENT_ID, "User.Read"])).toEqual({
      stdout: "A person has to sign in first\n",
      stderr: "",
      code: 0,
    });
  });

  // It ended with a stack.
  test("silent_token.ts says what is missing where there is no broker", async () => {
    const command = name.startsWith("Deno") ? [...denoRun(), ...LEAST_PERMISSIONS] : program();
    const run = await runProgram([...command, "examples/silent_token.ts", CLIENT_ID, "User.Read"], {
      DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent",
    });
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(run.stderr).toMatch(/^\S.*\n\S.*\n$/);
    expect(run.stderr).not.toMatch(/ at |LatchkeyError/);
  });

  test("sign_in.ts opens the broker's window when no token is to be had without", async () => {
    await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const { stdout, stderr, code } = await run("sign_in.ts", [CLIENT_ID, "User.Read"]);
    expect({ stdout, stderr, code }).toEqual({ stdout: "signed in: jane@contoso.com\n", stderr: "", code: 0 });
    expect(await stage.broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("sign_in.ts says what to do about a refusal", async () => {
    const refusal = { kind: "broker_error", status: 9, context: "AADSTS50011: redirect URI" } as const;
    await stage.behave({ replies: { acquireTokenSilently: refusal, acquireTokenInteractively: refusal } });
    const { stdout, code } = await run("sign_in.ts", [CLIENT_ID, "User.Read"]);
    expect(code).toBe(0);
    expect(stdout).toContain("https://login.microsoftonline.com/common/oauth2/nativeclient");
  });

  test("signed_request.ts has the request signed, with the nonce that the API asks for", async () => {
    const authorizations: (string | undefined)[] = [];
    await using api = await startApi((authorization) => {
      authorizations.push(authorization);
      const { nonce } = payloadOf(authorization!);
      return nonce === "n-1" ? undefined : 'PoP realm="contoso", nonce="n-1"';
    });
    const { stdout, stderr, code } = await run("signed_request.ts", [CLIENT_ID, "api.read", api.url], [
      `--allow-net=${new URL(api.url).host}`,
    ]);
    expect({ stdout, stderr, code }).toEqual({ stdout: "200: an order\n", stderr: "", code: 0 });
    expect(authorizations.map((authorization) => authorization?.split(" ")[0])).toEqual(["pop", "pop"]);
    expect(payloadOf(authorizations[1]!)).toMatchObject({
      m: "GET",
      u: new URL(api.url).host,
      p: "/orders",
      nonce: "n-1",
    });
  });

  test("signed_request.ts says so where the broker cannot", async () => {
    await stage.behave({ sender: "himmelblau-2.0" });
    const { stdout, code } = await run("signed_request.ts", [CLIENT_ID, "api.read", "https://api.contoso.com/"]);
    expect({ stdout, code }).toEqual({ stdout: "There is no broker that binds tokens to requests\n", code: 0 });
  });
});

test("docs/examples.md lists every example, and nothing else", () => {
  const folder = new URL("../../examples/", import.meta.url),
    page = readFileSync(new URL("../docs/examples.md", folder), "utf8");
  const listed = [...page.matchAll(/^\| `(\w+\.ts)` /gm)].map(([, name]) => name!);
  expect(listed.toSorted()).toEqual(
    readdirSync(fileURLToPath(folder)).filter((name) => name.endsWith(".ts")).toSorted(),
  );
});

/** An API that is called on loopback: it answers with an order, or with the challenge that `challengeTo` gives. */
async function startApi(
  challengeTo: (authorization: string | undefined) => string | undefined,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(({ headers }, response) => {
    const challenge = challengeTo(headers.authorization);
    if (challenge) response.writeHead(401, { "www-authenticate": challenge }).end();
    else response.end("an order");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders?id=7`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function payloadOf(authorization: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(authorization.split(".")[1]!, "base64url").toString());
}
