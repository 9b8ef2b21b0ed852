// What others on this machine, or pages in the person's browser, can send to a sign-in under way: it changes nothing.
import { afterEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { AuthenticationResult, PublicClientApplicationOptions } from "../../mod.ts";
import { deliver } from "../tools/browsing_person.ts";
import { expectNoSecret, failure, useStage } from "../fixture.ts";
import { isRedirectOf, type Landing, ScriptedBrowser } from "../tools/scripted_browser.ts";
import { exchangeAsOtherUser } from "../tools/other_user.ts";

const SCOPES = ["api.read"];
const TYPED = { login: "jane", password: "x" };
const FORM = "application/x-www-form-urlencoded";
const NO_ANSWER = "This is not a response to a sign-in.\n";

const stage = useStage({ provider: true });
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A sign-in that waits for its answer, and the answer. */
interface SignIn {
  readonly result: Promise<AuthenticationResult>;
  readonly port: number;
  /** What the person's browser would send. */
  readonly landing: Landing;
  /** How often the token endpoint was asked. */
  exchanges(): number;
}

async function signIn(options: Partial<PublicClientApplicationOptions> = {}): Promise<SignIn> {
  const opened = Promise.withResolvers<string>();
  let exchanges = 0;
  const app = stage.makeApp({
    openBrowser: (url) => {
      opened.resolve(url);
      return true;
    },
    fetch: async (url, init) => {
      if (url.endsWith("/token")) exchanges++;
      return await fetch(url, init);
    },
    ...options,
  });
  const result = app.acquireTokenInteractive({ scopes: SCOPES });
  result.catch(() => {}); // the test looks at it later
  const landing = await new ScriptedBrowser().open(await opened.promise, isRedirectOf(await opened.promise), TYPED);
  return { result, landing, port: Number(new URL(landing.url).port), exchanges: () => exchanges };
}

/** The person's browser comes back after all, and the sign-in succeeds. */
async function expectSuccess({ result, landing, exchanges }: SignIn): Promise<void> {
  await finish(landing);
  expect((await result).account.username).toBe("jane@contoso.com");
  expect(exchanges()).toBe(1);
}

/** Brings an answer, and fetches the page that the browser is sent to. */
async function finish(landing: Landing): Promise<string> {
  const response = await deliver(landing), location = response.headers.get("location");
  await response.text();
  expect([response.status, location]).toEqual([303, expect.stringMatching(/^\/done\/[0-9a-f-]{36}$/)]);
  return await (await fetch(new URL(location!, landing.url))).text();
}

/** Sends what no `fetch` would, and gives what comes until the connection ends. */
async function exchange(port: number, text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {}); // some connections are cut
  let received = "";
  socket.on("data", (chunk) => received += chunk);
  socket.write(text);
  await once(socket, "close");
  return received;
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);

/** A post of the very answer, with header fields of an attacker's choice. */
function post({ landing, port }: SignIn, fields: readonly string[], host = `127.0.0.1:${port}`): string {
  const body = String(landing.parameters);
  const lines = [`Host: ${host}`, `Content-Type: ${FORM}`, `Content-Length: ${body.length}`, ...fields];
  return `POST ${new URL(landing.url).pathname} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}

describe("a sign-in under way", () => {
  test("takes no answer with another state, however many come", async () => {
    const waiting = await signIn(), { landing } = waiting, state = landing.parameters.get("state")!;
    const last = state.endsWith("A") ? "B" : "A";
    for (const wrong of [undefined, "", "x", `${state.slice(0, -1)}${last}`, `${state}A`]) {
      const parameters = new URLSearchParams(landing.parameters);
      parameters.delete("state");
      if (wrong !== undefined) parameters.set("state", wrong);
      for (const method of ["GET", "POST"] as const) {
        const response = await deliver({ ...landing, method, parameters });
        expect([response.status, await response.text()]).toEqual([400, NO_ANSWER]);
      }
    }
    const twice = new URLSearchParams([...landing.parameters, ["state", "x"]]);
    expect((await deliver({ ...landing, parameters: twice })).status).toBe(400);
    await expectSuccess(waiting);
  });

  test("takes no refusal with another state", async () => {
    const waiting = await signIn(), { landing } = waiting;
    const parameters = new URLSearchParams({ error: "access_denied", state: "x".repeat(43) });
    expect((await deliver({ ...landing, parameters })).status).toBe(400);
    await expectSuccess(waiting);
  });

  // Another user of the machine can read the state in the browser's command line, and answer first.
  test("takes no answer with the right state from another user of the machine, be it a refusal", async () => {
    const waiting = await signIn(), { landing, port } = waiting, host = "127.0.0.1";
    const state = landing.parameters.get("state")!;
    const refusal = new URLSearchParams({ error: "access_denied", state, iss: stage.provider.url });
    const stolen = new URLSearchParams({ code: "of-their-own", state, iss: stage.provider.url });
    for (const query of [refusal, stolen]) {
      const text = `GET ${new URL(landing.url).pathname}?${query} HTTP/1.1\r\nHost: ${
        new URL(landing.url).host
      }\r\n\r\n`;
      expect(statusOf(await exchangeAsOtherUser(text, { host, port }))).toBe(403);
    }
    const form = { ...waiting, landing: { ...landing, parameters: refusal } };
    expect(statusOf(await exchangeAsOtherUser(post(form, []), { host, port }))).toBe(403);
    await expectSuccess(waiting);
  });

  test("takes an answer at its own path alone, and shows no page before there is an outcome", async () => {
    const waiting = await signIn(), { landing } = waiting;
    for (const path of ["/", "/done", "/index.html", "/?", "/%2f", "/favicon.ico"]) {
      const response = await fetch(new URL(path, landing.url));
      expect([response.status, await response.text()]).toEqual([400, NO_ANSWER]);
    }
    for (const url of [`${landing.url}callback`, `${landing.url}/`, new URL("/", landing.url).href]) {
      const elsewhere = await deliver({ ...landing, url });
      expect([elsewhere.status, await elsewhere.text()]).toEqual([400, NO_ANSWER]);
    }
    await expectSuccess(waiting);
  });

  test("takes an answer once: a replay gets nothing, and sends nothing", async () => {
    const held = Promise.withResolvers<void>(), asked = Promise.withResolvers<void>();
    let exchanges = 0;
    const waiting = await signIn({
      fetch: async (url, init) => {
        if (url.endsWith("/token")) {
          exchanges++;
          asked.resolve();
          await held.promise;
        }
        return await fetch(url, init);
      },
    });
    const page = finish(waiting.landing);
    await asked.promise;
    const replay = await deliver(waiting.landing);
    expect([replay.status, await replay.text()]).toEqual([400, NO_ANSWER]);
    held.resolve();
    expect(await page).toContain("Signed in");
    expect((await waiting.result).account.username).toBe("jane@contoso.com");
    expect(exchanges).toBe(1);
  });

  test("turns away other hosts, other pages' forms, and what a page embeds", async () => {
    const waiting = await signIn(), { port } = waiting;
    const rebound = [
      `attacker.example:${port}`,
      "localhost",
      `localhost:${port + 1}`,
      `localhost.attacker.example:${port}`,
    ];
    for (const host of rebound) expect(statusOf(await exchange(port, post(waiting, [], host)))).toBe(421);
    const foreign = [
      ["Origin: https://attacker.example"],
      ["Origin: https://attacker.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document"],
      ["Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: iframe"],
      ["Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: empty"],
      [`Origin: http://localhost:${port + 1}`],
    ];
    for (const fields of foreign) expect(statusOf(await exchange(port, post(waiting, fields)))).toBe(403);
    await expectSuccess(waiting);
  });

  test("takes the provider's own form, as browsers send it", async () => {
    for (const origin of ["null", stage.provider.url]) {
      const waiting = await signIn();
      const fields = [
        `Origin: ${origin}`,
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
      ];
      const answer = await exchange(waiting.port, post(waiting, fields));
      expect(statusOf(answer)).toBe(303);
      await fetch(new URL(/^location: (.*)\r$/im.exec(answer)![1]!, waiting.landing.url));
      expect((await waiting.result).account.username).toBe("jane@contoso.com");
    }
  });

  test("is not held up by huge requests, or by clients that are slow", async () => {
    const waiting = await signIn(), { port } = waiting, host = `Host: localhost:${port}\r\n`;
    for (let count = 0; count < 5; count++) {
      const slow = connect(port, "127.0.0.1");
      sockets.push(slow);
      slow.on("error", () => {});
      slow.write(`POST / HTTP/1.1\r\n${host}Content-Le`);
      await once(slow, "connect");
    }
    const huge = `POST / HTTP/1.1\r\n${host}Content-Type: ${FORM}\r\nContent-Length: 999999999\r\n\r\n`;
    expect(statusOf(await exchange(port, huge))).toBe(413);
    expect(statusOf(await exchange(port, `GET /?code=${"x".repeat(17_000)} HTTP/1.1\r\n`))).toBe(431);
    await expectSuccess(waiting);
  });

  test("keeps its port: nobody else can listen on it", async () => {
    const waiting = await signIn(), second = createServer();
    const error = await new Promise((resolve) => {
      second.once("error", resolve).listen(waiting.port, "127.0.0.1", () => resolve(undefined));
    });
    second.close();
    expect(error).toMatchObject({ code: "EADDRINUSE" });
    await expectSuccess(waiting);
  });
});

describe("an answer with the right state", () => {
  test("with another sign-in's code is refused, and neither the page nor the error has the code", async () => {
    const victim = await signIn(), attacked = await signIn(), code = victim.landing.parameters.get("code")!;
    const parameters = new URLSearchParams(attacked.landing.parameters);
    parameters.set("code", code);
    const page = await finish({ ...attacked.landing, parameters });
    expect(page).toContain("Not signed in");
    expect(page).not.toContain(code);
    const error = await failure(attacked.result);
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
    expectNoSecret(error, code);
  });

  test("of another issuer is refused before the code is sent anywhere", async () => {
    const waiting = await signIn(), parameters = new URLSearchParams(waiting.landing.parameters);
    parameters.set("iss", "https://attacker.example");
    expect(await finish({ ...waiting.landing, parameters })).toContain("Not signed in");
    expect((await failure(waiting.result)).code).toBe("invalid_response");
    expect(waiting.exchanges()).toBe(0);
  });

  test("shows nothing in the page that could act, or that the server must not say", async () => {
    const waiting = await signIn(), state = waiting.landing.parameters.get("state")!;
    const hostile = `<script>alert(1)</script><img src=x onerror=alert(1)>"'&\u202e\u0000${state}`;
    const parameters = new URLSearchParams({
      error: `<b>${hostile}`,
      error_description: hostile,
      state,
      iss: stage.provider.url,
    });
    const page = await finish({ ...waiting.landing, parameters });
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(page).not.toMatch(/<script|<img|<b>|[^\P{Cc}\n]|\p{Cf}/u);
    expect(page).not.toContain(state);
    expectNoSecret(await failure(waiting.result), state);
  });

  test("ends at a page whose address nobody can guess: who asks for another does not have it, and it is waited for", async () => {
    const waiting = await signIn(), response = await deliver(waiting.landing);
    await response.text();
    for (const path of ["/done", `/done/${crypto.randomUUID()}`]) {
      expect((await fetch(new URL(path, waiting.landing.url))).status).toBe(400);
    }
    const page = await fetch(new URL(response.headers.get("location")!, waiting.landing.url));
    expect(await page.text()).toContain("Signed in");
    await waiting.result;
  });

  test("ends at a page that loads nothing, runs nothing, and is kept by nobody", async () => {
    const waiting = await signIn();
    const response = await deliver(waiting.landing);
    await response.text();
    const { status, headers } = await fetch(new URL(response.headers.get("location")!, waiting.landing.url));
    expect(status).toBe(200);
    expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'nonce-[\w-]+'; /);
    expect(Object.fromEntries(headers)).toMatchObject({
      ...{ "cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff" },
      "x-frame-options": "DENY",
    });
    await waiting.result;
  });
});
