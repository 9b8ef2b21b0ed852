// Commands in which a person takes part, on a real bus.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Behaviour } from "../fakes/behaviour.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { denoRun, LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { openHome } from "../fixture.ts";
import { runInProcess } from "./run_in_process.ts";
import { startLatchkey } from "./running_latchkey.ts";
import { runLatchkey, runLatchkeyOnDeno, runProgram } from "./run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS, testOfSources } from "./tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const CONTOSO = "11111111-1111-1111-1111-111111111111";
const JANE = { username: "jane@contoso.com", name: "Jane Doe" }, JOE = { username: "joe@contoso.com" };
const NORMAL: Behaviour = { sender: "microsoft-2.5.2", accounts: [JANE], replies: {} };
const NEEDS_PERSON = {
  acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS50076: MFA" },
} as const;

let bus: PrivateBus;
let broker: FakeBroker;

beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus);
});
beforeEach(async () => {
  await broker.behave(NORMAL);
  await broker.forgetCalls();
});
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

const environment = () => ({ DBUS_SESSION_BUS_ADDRESS: bus.address });
const latchkey = (line: string, more: readonly string[] = []) =>
  runLatchkey([...line.split(" ").filter(Boolean), "--client-id", CLIENT_ID, ...more], { env: environment() });
const parametersOf = async (member: string) => (await broker.calls(member))[0]!.request.authParameters;

describe("latchkey login", () => {
  test("takes the account of the device without a window", async () => {
    const { code, stdout, stderr } = await latchkey("login");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^jane@contoso\.com\t[0-9a-f-]{36}\.[0-9a-f-]{36}\tJane Doe\t[0-9a-f-]{36}\n$/);
    expect((await parametersOf("acquireTokenSilently")).requestedScopes).toEqual([
      "https://graph.microsoft.com/.default",
    ]);
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
  });

  test("opens the window where a person is needed, and says so", async () => {
    await broker.behave({ replies: NEEDS_PERSON });
    const { code, stdout, stderr } = await latchkey(
      "login --account jane@contoso.com --scope User.Read --tenant contoso.com --format json",
    );
    expect(code).toBe(0);
    expect(stderr).toContain("sign in at the window");
    expect(JSON.parse(stdout)).toMatchObject({ username: "jane@contoso.com", source: "broker" });
    expect(await parametersOf("acquireTokenInteractively")).toMatchObject({
      username: "jane@contoso.com",
      requestedScopes: ["User.Read"],
      authority: "https://login.microsoftonline.com/contoso.com",
    });
  });

  test("--prompt and --claims go to the window at once", async () => {
    const claims = '{"access_token":{"nbf":{"essential":true}}}';
    await latchkey("login --prompt select_account --account jane@contoso.com", ["--claims", claims]);
    expect(await broker.calls("acquireTokenSilently")).toEqual([]);
    const parameters = await parametersOf("acquireTokenInteractively");
    expect(parameters).toMatchObject({ username: "", account: null, decodedClaims: claims });
    expect((await latchkey("login --prompt never")).code).toBe(2);
  });

  test("--prompt none asks nobody", async () => {
    await broker.behave({ replies: NEEDS_PERSON });
    const { code, stdout, stderr } = await latchkey("login --prompt none");
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain("AADSTS50076");
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
  });

  // Since 2.5 the broker's text has no AADSTS number, but the server's error between quotation marks.
  test.each([
    [{ status: 2, subError: "token_expired" }, 3, "Sign in again: latchkey login"],
    [{ status: 0, error: "invalid_grant" }, 3, "A person has to sign in: latchkey login"],
    [{ status: 2, subError: "device_authentication_failed" }, 3, "Register the device again"],
    [{ status: 2, error: "invalid_client" }, 1, "Check the client id"],
    [{ status: 2, error: "temporarily_unavailable" }, 5, "Try again in a minute"],
  ])("token exits by the server's error in the text: %j", async (refusal, code, hint) => {
    await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", ...refusal } } });
    const run = await latchkey("token --scope User.Read --interactive never --format json");
    const { error, subError } = { error: "invalid_grant", subError: undefined, ...refusal };
    expect(run.code).toBe(code);
    expect(JSON.parse(run.stdout)).toMatchObject({ error, hint: expect.stringContaining(hint) });
    expect(JSON.parse(run.stdout).suberror).toBe(subError);
  });

  test("token names the redirect URI that is missing, and the command for it", async () => {
    const refusal = { kind: "broker_error", status: 6, context: "(pii)", tag: 557973642 } as const;
    await broker.behave({ replies: { acquireTokenSilently: { ...refusal, errorCode: -895352823 } } });
    const { code, stderr } = await latchkey("token --scope User.Read");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error_description: The broker refused: status 6, tag 557973642, code 0xcaa20009$/m);
    const uri = "https://login.microsoftonline.com/common/oauth2/nativeclient";
    expect(stderr).toContain(`hint: Add the redirect URI ${uri} to the app registration ${CLIENT_ID} (`);
    expect(stderr).toMatch(/^hint: .*; see latchkey app$/m);
  });

  test("exits with 4 when the person cancels", async () => {
    const canceled = { kind: "broker_error", status: 7, context: "User cancelled" } as const;
    await broker.behave({ replies: { ...NEEDS_PERSON, acquireTokenInteractively: canceled } });
    const { code, stderr } = await latchkey("login");
    expect({ code, error: /^error: (.*)$/m.exec(stderr)![1] }).toEqual({ code: 4, error: "user_canceled" });
  });

  const PROGRAMS = [
    { name: "Deno with the least permissions", program: () => [...denoRun(), ...LEAST_PERMISSIONS] },
    ...TESTED_PATHS,
  ].map(({ name, program }) => [name, program] as const);
  const SIGNALS = [["SIGINT", 4], ["SIGTERM", 143], ["SIGHUP", 129]] as const;

  // The first signal let the next one end the program, before the broker was told; a terminal that is closed can send several.
  test.each(
    PROGRAMS.flatMap(([name, program]) =>
      [["SIGINT"], ["SIGTERM"], ["SIGHUP", "SIGTERM"]].map((signals) => [name, signals.join(", "), program] as const)
    ),
  )("on %s ends the window at %s", async (_name, signals, program) => {
    await broker.behave({ replies: { ...NEEDS_PERSON, acquireTokenInteractively: { kind: "hang" } } });
    const words = ["login", "--client-id", CLIENT_ID, "--format", "json"];
    const run = startLatchkey([...latchkeyBy(program()), ...words], { env: environment() });
    const names = signals.split(", ") as NodeJS.Signals[];
    while ((await broker.calls("acquireTokenInteractively")).length === 0) await Bun.sleep(2);
    for (const name of names) run.signal(name);
    const { code, stdout, stderr } = await run.ended();
    // Either of two can be seen first.
    expect(SIGNALS.filter(([name]) => names.includes(name)).map(([, exit]) => exit)).toContain(code as 4);
    const [asked] = await broker.calls("acquireTokenInteractively"), correlation_id = asked!.correlationId!;
    expect(stderr).toContain(`correlation_id: ${correlation_id}\n`);
    expect(JSON.parse(stdout)).toMatchObject({ error: "user_canceled", correlation_id });
    while ((await broker.calls("cancelInteractiveFlow")).length === 0) await Bun.sleep(2);
    expect((await broker.calls("cancelInteractiveFlow"))[0]!.correlationId).toBe(correlation_id);
  });

  testOfSources("ends the window at --timeout", async () => {
    await broker.behave({ replies: { ...NEEDS_PERSON, acquireTokenInteractively: { kind: "hang" } } });
    for (let seconds = 1;; seconds *= 2) {
      const { code, stdout, stderr } = await latchkey(`login --format json --timeout ${seconds}`);
      expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "timed_out" });
      const [asked] = await broker.calls("acquireTokenInteractively");
      if (!asked) continue; // a busy machine has not come to the window in that time
      expect(stderr).toContain(`correlation_id: ${asked.correlationId}\n`);
      while ((await broker.calls("cancelInteractiveFlow")).length === 0) await Bun.sleep(2);
      return expect((await broker.calls("cancelInteractiveFlow"))[0]!.correlationId).toBe(asked.correlationId!);
    }
  });

  // Signals ended a program by themselves where no window could open, and a copy of the failure lost what came: 4 was the code.
  for (
    const [line, member] of [
      ["status", "getLinuxBrokerVersion"],
      ["login", "acquireTokenSilently"],
      ["token --scope User.Read --interactive never", "acquireTokenSilently"],
      ["accounts", "getAccounts"],
    ] as const
  ) {
    for (const [name, code] of SIGNALS) {
      testOfSources(`has an exit code for ${name}, whatever it waits for: ${line}, ${member}`, async () => {
        await broker.behave({ replies: { [member]: { kind: "hang" } } });
        const words = [...line.split(" "), "--client-id", CLIENT_ID, "--format", "json"];
        const controller = new AbortController(), { signal } = controller;
        const running = runInProcess(words, { env: environment(), signal });
        while ((await broker.calls(member)).length === 0) await Bun.sleep(2);
        controller.abort(name);
        const ended = await running;
        expect(ended.code).toBe(code);
        expect(JSON.parse(ended.stdout)).toMatchObject({ error: "user_canceled", correlation_id: expect.any(String) });
        expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
      });
    }
  }

  // Until the code of the command was there, a signal did what it does to every program.
  testOfSources("has the same exit code for a signal that comes while its code is loaded", async () => {
    const hooks = `${bus.directory}/signal.mjs`;
    writeFileSync(
      hooks,
      `import { registerHooks } from "node:module";
      registerHooks({
        load(url, context, next) {
          if (url.endsWith("/bin/commands/login.ts")) process.kill(process.pid, "SIGTERM");
          return next(url, context);
        },
      });`,
    );
    const { program } = TESTED_PATHS.find(({ name }) => name === "Node")!;
    const words = [...program(), `--import=${hooks}`, "bin/latchkey.ts", "login", "--client-id", CLIENT_ID];
    const { code, stderr } = await startLatchkey(words, { env: environment() }).ended();
    expect({ code, error: /^error: (.*)$/m.exec(stderr)?.[1] }).toEqual({ code: 143, error: "user_canceled" });
  });
});

describe("latchkey token", () => {
  const TOKEN = "token --scope User.Read";

  test("--interactive auto asks nobody where there is no terminal", async () => {
    await broker.behave({ replies: NEEDS_PERSON });
    expect((await latchkey(TOKEN)).code).toBe(3);
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
  });

  test("--interactive auto opens the window at a terminal, though standard output is a pipe", async () => {
    await broker.behave({ replies: NEEDS_PERSON });
    const command = [
      ...latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]),
      ...`${TOKEN} --client-id ${CLIENT_ID}`.split(" "),
    ];
    const file = `${bus.directory}/token`;
    const quoted = command.map((word) => `'${word}'`).join(" ");
    using home = openHome();
    const child = Bun.spawn(["script", "-qec", `${quoted} > '${file}'`, "/dev/null"], {
      env: { ...process.env, ...home.env, ...environment() },
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(await child.exited).toBe(0);
    expect(await Bun.file(file).text()).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("--min-ttl asks the person for a token that lasts, where they may be asked, and once", async () => {
    const refusal = { kind: "broker_error", status: 2, context: "AADSTS50076: MFA", after: 1 } as const;
    await broker.behave({ replies: { acquireTokenSilently: refusal } });
    const words = [...`${TOKEN} --min-ttl 86400 --client-id ${CLIENT_ID}`.split(" ")];
    const run = startLatchkey([...latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]), ...words], {
      ...{ env: environment(), terminal: true },
    });
    expect((await run.ended()).stderr).toMatch(/sign in at the window[^]*sooner than --min-ttl/);
    expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
    await broker.behave({ replies: { acquireTokenSilently: { ...refusal, after: 0 } } });
    await broker.forgetCalls();
    expect(await latchkey(`${TOKEN} --min-ttl 86400 --interactive always`)).toMatchObject({
      ...{ code: 0, stderr: expect.stringContaining("could not be renewed: interaction_required: ") },
    });
    expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("--interactive always asks for no silent token", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --interactive always --account jane@contoso.com`);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[\w.-]+\n$/);
    expect(await broker.calls("acquireTokenSilently")).toEqual([]);
    expect(await parametersOf("acquireTokenInteractively")).toMatchObject({ username: "jane@contoso.com" });
  });

  test("--pop binds the token to a request", async () => {
    const { code, stdout } = await latchkey(`${TOKEN} --format header`, [
      "--pop",
      "POST https://api.contoso.com/orders",
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Authorization: pop [\w.-]+\n$/);
    expect((await parametersOf("acquireTokenSilently")).popParams).toMatchObject({
      httpMethod: "POST",
      uriHost: "api.contoso.com",
      uriPath: "/orders",
    });
    for (const pop of ["POST", "https://api.contoso.com", "GET ftp://a", "a b c"]) {
      expect((await latchkey(TOKEN, ["--pop", pop])).code).toBe(2);
    }
  });

  test("--nonce is signed with the request, and with nothing else", async () => {
    const { stdout } = await latchkey(TOKEN, ["--pop", "GET https://api.contoso.com/", "--nonce", "n-1"]);
    expect(payloadOf(stdout)).toMatchObject({ m: "GET", p: "/", nonce: "n-1" });
    const { code, stderr } = await latchkey(TOKEN, ["--nonce", "n-1"]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("--nonce goes with --pop") });
  });

  test("--pop says which broker cannot, and that none can", async () => {
    await broker.behave({ sender: "himmelblau-2.0" });
    const pop = ["--pop", "GET https://api.contoso.com/"];
    const himmelblau = await latchkey(TOKEN, pop);
    expect({ code: himmelblau.code, stdout: himmelblau.stdout }).toEqual({ code: 1, stdout: "" });
    expect(himmelblau.stderr).toContain("hint: This broker cannot bind tokens");
    const nobody = await latchkey(`${TOKEN} --broker never`, pop);
    expect({ code: nobody.code, stdout: nobody.stdout }).toEqual({ code: 5, stdout: "" });
    expect(nobody.stderr).toContain("Only a broker binds tokens to requests");
    expect(nobody.stderr).toMatch(/hint: Ask without --pop.*\. There was no broker to ask: \S/);
    const env = { ...environment(), DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" };
    for (const interactive of ["never", "always"]) {
      const words = [...TOKEN.split(" "), "--client-id", CLIENT_ID, "--interactive", interactive, ...pop];
      const missing = await runLatchkey(words, { env });
      expect({ code: missing.code, stdout: missing.stdout }).toEqual({ code: 5, stdout: "" });
      expect(missing.stderr).toMatch(/There was no broker to ask: .*bus/);
    }
  });
});

describe("latchkey CONFIG.json", () => {
  const withConfig = (more: readonly string[]) => {
    const path = `${bus.directory}/parameters.json`;
    writeFileSync(path, JSON.stringify({ client_id: CLIENT_ID, scope: ["User.Read"], username: "jane@contoso.com" }));
    return runLatchkey([path, ...more], {
      env: environment(),
      permissions: [...LEAST_PERMISSIONS, `--allow-read=${path}`],
    });
  };

  test("--interactive says whether a person may be asked", async () => {
    await broker.behave({ replies: NEEDS_PERSON });
    expect((await withConfig(["--interactive", "auto"])).code).toBe(3);
    expect(await broker.calls("acquireTokenInteractively")).toEqual([]);
    expect((await withConfig(["--interactive", "always"])).code).toBe(0);
    expect(await broker.calls("acquireTokenInteractively")).toHaveLength(1);
  });

  test("names itself as the sign-in, since latchkey login does not read the file", async () => {
    const expired = { kind: "broker_error", status: 2, subError: "token_expired" } as const;
    await broker.behave({ replies: { acquireTokenSilently: expired } });
    const { code, stderr } = await withConfig([]);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringMatching(/^hint: .*: add --interactive always$/m),
    });
  });
});

describe("latchkey logout", () => {
  test("--from-broker takes the account from the broker", async () => {
    await broker.behave({ accounts: [JANE, JOE] });
    const { code, stdout, stderr } = await latchkey("logout --account JOE@contoso.com --from-broker");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain("forgot joe@contoso.com");
    expect((await broker.calls("removeAccount"))[0]!.request.account.username).toBe("joe@contoso.com");
    expect((await latchkey("accounts")).stdout).toMatch(/^jane@contoso\.com\t.*\n$/);
    await broker.kill();
    await broker.start(); // it has nobody removed
  });

  testOfSources(
    "alone leaves the broker alone, and says that it does not last where nothing can be stored",
    async () => {
      const { code, stderr } = await runLatchkeyOnDeno(["logout", "--client-id", CLIENT_ID], { env: environment() });
      expect(code).toBe(0);
      expect(stderr).toMatch(
        /^latchkey: jane@contoso\.com is signed out for this run only.*; --from-broker removes it.*--allow-env=/,
      );
      expect(await broker.calls("removeAccount")).toEqual([]);
    },
  );

  test("lasts: the broker's token is not taken before the next sign-in", async () => {
    using home = openHome();
    const run = (line: string) =>
      runLatchkey([...line.split(" "), "--client-id", CLIENT_ID], {
        env: { ...environment(), ...home.env },
        permissions: ["--allow-all"],
      });
    expect(await run("logout")).toMatchObject({
      code: 0,
      stderr: "latchkey: jane@contoso.com is signed out of this app; other apps keep their sign-ins; " +
        "--from-broker removes it from the device's broker\n",
    });
    expect(await run("token --scope User.Read")).toMatchObject({
      ...{ code: 3, stdout: "", stderr: expect.stringContaining("signed out of this app") },
    });
    expect(await run("accounts")).toMatchObject({
      ...{ code: 3, stdout: "", stderr: expect.stringContaining("there is no account. Sign in: latchkey login") },
    });
    expect(await run("login --account jane@contoso.com --prompt login")).toMatchObject({ code: 0 });
    expect(await run("token --scope User.Read")).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(["himmelblau-0.1", "himmelblau-2.0"] as const)(
    "--from-broker with %s, which cannot, says so, and that the app has forgotten the account",
    async (sender) => {
      await broker.behave({ sender });
      const { code, stderr } = await latchkey("logout --from-broker");
      expect(code).toBe(1);
      expect(stderr).toMatch(/^hint: This broker cannot do that: himmelblau.*signed out of this app all the same$/m);
    },
  );

  test("--from-broker takes an account that has signed out of the app before", async () => {
    await broker.behave({ accounts: [JANE, JOE] });
    using home = openHome();
    const run = (line: string) =>
      runLatchkey([...line.split(" "), "--client-id", CLIENT_ID], {
        env: { ...environment(), ...home.env },
        permissions: ["--allow-all"],
      });
    expect(await run("logout --account joe@contoso.com")).toMatchObject({ code: 0 });
    expect(await run("accounts")).toMatchObject({ stdout: expect.not.stringContaining("joe@contoso.com") });
    expect(await run("logout --from-broker")).toMatchObject({ code: 2, stderr: expect.stringContaining("--account") });
    expect(await run("logout --account joe@contoso.com --from-broker")).toMatchObject({
      ...{ code: 0, stderr: "latchkey: the device's broker forgot joe@contoso.com\n" },
    });
    expect((await broker.calls("removeAccount"))[0]!.request.account.username).toBe("joe@contoso.com");
    await broker.kill();
    await broker.start(); // it has nobody removed
  });

  test("--from-broker=no leaves the broker alone, and what is neither yes nor no is wrong usage", async () => {
    for (const word of ["no", "0", "off", "FALSE", "false"]) {
      expect(await latchkey(`logout --from-broker=${word}`)).toMatchObject({ code: 0 });
    }
    expect(await latchkey("logout --from-broker=maybe")).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining('--from-broker takes yes or no, not "maybe"') },
    });
    expect(await broker.calls("removeAccount")).toEqual([]);
  });

  test("wants to know which of several accounts is meant", async () => {
    await broker.behave({ accounts: [JANE, JOE] });
    const { code, stderr } = await latchkey("logout --from-broker");
    expect(code).toBe(2);
    expect(stderr).toContain(
      `--account is missing: there are jane@contoso.com (tenant ${CONTOSO}), joe@contoso.com (tenant ${CONTOSO})\n`,
    );
    expect((await latchkey("logout --account stranger@contoso.com")).code).toBe(3);
    expect(await broker.calls("removeAccount")).toEqual([]);
  });

  test("takes a home account id where a user name is that of several", async () => {
    const accounts = ["22222222-2222-2222-2222-222222222222", "22222222-2222-4222-8222-222222222222"].map((oid) => ({
      ...{ username: JANE.username, homeAccountId: `${oid}.${CONTOSO}`, localAccountId: oid, realm: CONTOSO },
      environment: "login.microsoftonline.com",
    }));
    const text = (value: unknown) => ({ kind: "text", text: JSON.stringify(value) }) as const;
    await broker.behave({ replies: { getAccounts: text({ accounts }), removeAccount: text({}) } });
    const ids = (await latchkey("accounts")).stdout.match(/[0-9a-f-]{36}\.[0-9a-f-]{36}/g)!;
    for (const account of ["", "--account jane@contoso.com"]) {
      const { code, stderr } = await latchkey(`logout --from-broker ${account}`);
      expect(code).toBe(2);
      for (const id of ids) expect(stderr).toContain(`${id} (jane@contoso.com, tenant ${CONTOSO})`);
      expect(stderr).not.toContain("--tenant"); // it would not choose
    }
    const { code } = await latchkey(`logout --from-broker --account ${ids[1]!.toUpperCase()}`);
    const [removed] = await broker.calls("removeAccount");
    expect({ code, id: removed!.request.account.homeAccountId }).toEqual({ code: 0, id: ids[1] });
    await latchkey(`token --scope User.Read --account ${ids[0]}`);
    expect((await parametersOf("acquireTokenSilently")).account.homeAccountId).toBe(ids[0]);
  });

  test("--from-broker is nothing that --broker never can do", async () => {
    expect(await latchkey("logout --from-broker --broker never")).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining("--from-broker needs the broker, which --broker never turns off") },
    });
  });

  test("exits with 3 where there is no account, and says why", async () => {
    const { code, stderr } = await latchkey("logout --broker never");
    expect({ code, error: /^error: (.*)$/m.exec(stderr)![1] }).toEqual({ code: 3, error: "account_not_found" });
    expect(stderr).toContain("There is no account: nothing is stored for this app\n");
  });
});

test.each(["cookie", "sign --url https://a"])("latchkey %s exits with 5 where there is no broker", async (line) => {
  expect((await latchkey(`${line} --broker never`)).code).toBe(5);
});

describe("latchkey cookie", () => {
  test("prints the cookie, as a header and as JSON", async () => {
    const name = "x-ms-RefreshTokenCredential";
    expect((await latchkey("cookie")).stdout).toMatch(new RegExp(`^${name}=[\\w.-]+\\n$`));
    expect((await latchkey("cookie --format header")).stdout).toMatch(new RegExp(`^Cookie: ${name}=[\\w.-]+\\n$`));
    const { stdout } = await latchkey("cookie --format json --url https://login.microsoftonline.com/?sso_nonce=x");
    expect(JSON.parse(stdout)).toEqual([{ name, value: expect.any(String) }]);
    expect((await broker.calls("acquirePrtSsoCookie")).at(-1)!.request.ssoUrl).toBe(
      "https://login.microsoftonline.com/?sso_nonce=x",
    );
    expect((await latchkey("cookie --url http://login.microsoftonline.com/")).code).toBe(2);
  });

  test("is Edge's unless an app is named", async () => {
    expect((await runLatchkey(["cookie"], { env: environment() })).code).toBe(0);
    const clients = (await broker.calls("acquirePrtSsoCookie")).map(({ request }) => request.authParameters.clientId);
    expect(clients).toEqual(["d7b530a4-7680-4c23-a8bf-c52c121d2e87"]);
    await latchkey("cookie");
    expect((await broker.calls("acquirePrtSsoCookie")).at(-1)!.request.authParameters.clientId).toBe(CLIENT_ID);
  });

  test.each(["cookie", "json", "header"])("is not shown on a terminal unasked: --format %s", async (format) => {
    const atTerminal = (...more: string[]) =>
      startLatchkey([...latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]), "cookie", "--format", format, ...more], {
        env: environment(),
        terminal: true,
      }).ended();
    const refused = await atTerminal();
    expect({ code: refused.code, says: refused.stderr.includes("--show-secret") }).toEqual({
      code: 2,
      says: true,
    });
    expect(refused.stderr).not.toContain("x-ms-RefreshTokenCredential");
    using home = openHome();
    const file = join(home.path, "cookie"), words = ["cookie", "--format", format];
    const command = [...latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]), ...words];
    const toFile = await runProgram(["sh", "-c", '"$@" > "$0"', file, ...command], environment());
    expect(toFile.code).toBe(2);
    expect(readFileSync(file, "utf8")).not.toContain("x-ms-RefreshTokenCredential");
    expect(await broker.calls()).toEqual([]);
    const shown = await atTerminal("--show-secret");
    expect({ code: shown.code, shows: /x-ms-RefreshTokenCredential.*[\w.-]{100}/.test(shown.stderr) }).toEqual({
      code: 0,
      shows: true,
    });
  });
});

describe("latchkey sign", () => {
  test("prints a token that is bound to the request", async () => {
    const { code, stdout } = await latchkey("sign --url https://api.contoso.com/orders?x=1 --method PUT --nonce n");
    expect(code).toBe(0);
    const [call] = await broker.calls("generateSignedHttpRequest");
    expect(call!.request.popParams).toMatchObject({
      httpMethod: "PUT",
      uriHost: "api.contoso.com",
      uriPath: "/orders",
    });
    expect(payloadOf(stdout)).toMatchObject({
      m: "PUT",
      u: "api.contoso.com",
      p: "/orders",
      nonce: "n",
    });
    expect((await latchkey("sign --url https://a --format header")).stdout).toMatch(/^Authorization: pop /);
    expect((await latchkey("sign")).code).toBe(2);
  });

  test("says that himmelblau cannot", async () => {
    await broker.behave({ sender: "himmelblau-2.0" });
    const { code, stderr } = await latchkey("sign --url https://a");
    expect(code).toBe(1);
    expect(stderr).toContain("hint: This broker cannot do that");
  });
});

/** What a JWT says. */
function payloadOf(jwt: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(jwt.split(".")[1]!, "base64url").toString());
}
