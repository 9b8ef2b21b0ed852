// The examples of web apps, each where it is meant to run, with a real OpenID provider and a person at a browser.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { signInPages } from "../../examples/sign_in_pages.ts";
import { WebApplication } from "../../lib/web.ts";
import { type PrivateRedis, startPrivateRedis } from "../fakes/private_redis.ts";
import { bundleForEdge } from "../tools/bundle_for_edge.ts";
import { denoRun } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";
import { ScriptedBrowser } from "../tools/scripted_browser.ts";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";
import { startWorker } from "../tools/start_worker.ts";

const SECRET = "a secret of the tests, long enough";
const JANE = { login: "jane", password: "x" };

/** A web app that runs. */
interface WebApp extends AsyncDisposable {
  /** Its address, without a slash at its end. */
  readonly url: string;
}

let provider: OidcProvider, redis: PrivateRedis;
beforeAll(async () => {
  provider = await startOidcProvider();
  redis = await startPrivateRedis();
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

async function startExampleWorker(): Promise<WebApp> {
  return await startWorker(await bundleForEdge("examples/worker.ts"), {
    CLIENT_ID: provider.clientId,
    AUTHORITY: provider.url,
    SCOPES: "api.read",
    SECRET,
  });
}

function startExampleServer(): Promise<WebApp> {
  const permissions = ["--allow-net=localhost,127.0.0.1", "--allow-env=ORIGIN,PORT,SECRET"];
  return startProgram([...denoRun(), ...permissions, "examples/web_app.ts"]);
}

function startExampleMachine(): Promise<WebApp> {
  return startProgram([findTool("bun"), "--conditions=latchkey-source", "examples/web_app_on_machines.ts"], {
    REDIS_URL: `redis+unix://${redis.socket}`,
  });
}

/** Starts a program that prints its address. */
async function startProgram(command: readonly string[], settings: Record<string, string> = {}): Promise<WebApp> {
  const child = Bun.spawn([...command, provider.clientId, provider.url, "api.read"], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env: { ...process.env, ORIGIN: "", PORT: "0", SECRET, NO_COLOR: "1", ...settings },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let url = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    url += chunk;
    if (url.includes("\n")) break;
  }
  return {
    url: url.trim(),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await child.exited;
    },
  };
}

const examples: readonly (readonly [name: string, start: () => Promise<WebApp>])[] = [
  ["worker.ts in workerd", startExampleWorker],
  ["web_app.ts on Deno", startExampleServer],
  ["web_app_on_machines.ts on Bun", startExampleMachine],
];

for (const [name, start] of examples) {
  describe(name, () => {
    let app: WebApp;
    beforeAll(async () => void (app = await start()));
    afterAll(() => app[Symbol.asyncDispose]());

    const textOf = async (browser: ScriptedBrowser, path = "/"): Promise<string> =>
      await (await browser.send(new URL(path, app.url))).text();

    /** Signs Jane in, up to the request that begins with `until`. */
    async function signIn(browser: ScriptedBrowser, until = `${app.url}/`): Promise<URL> {
      const isThere = ({ origin, pathname }: URL) => origin + pathname === until;
      const { url, parameters } = await browser.open(`${app.url}/sign-in`, isThere, JANE);
      return new URL(`${url}?${parameters}`);
    }

    test("signs a person in, has a token without them, and signs them out", async () => {
      const browser = new ScriptedBrowser();
      expect(await textOf(browser)).toContain("Nobody is signed in");
      await signIn(browser);
      expect(await textOf(browser)).toContain("jane@contoso.com is signed in");
      const signedOut = await browser.send(new URL("/sign-out", app.url), new URLSearchParams());
      expect(signedOut.status).toBe(303);
      expect(await textOf(browser)).toContain("Nobody is signed in");
    });

    test("knows nobody in another browser, and nobody by a cookie that it did not make", async () => {
      const browser = new ScriptedBrowser();
      await signIn(browser);
      expect(await textOf(new ScriptedBrowser())).toContain("Nobody is signed in");
      const account = btoa(JSON.stringify({ homeAccountId: "jane" }));
      const response = await fetch(app.url, { headers: { cookie: `session=${account}` } });
      expect(await response.text()).toContain("Nobody is signed in");
    });

    test("refuses an answer in another browser than the one that began, and one that is replayed", async () => {
      const browser = new ScriptedBrowser();
      const answer = await signIn(browser, `${app.url}/signed-in`);
      expect((await new ScriptedBrowser().send(answer)).status).toBe(400);
      expect((await browser.send(answer)).status).toBe(303);
      expect((await browser.send(answer)).status).toBe(400);
    });

    test("refuses an answer with another state, without a word of it in the page", async () => {
      const browser = new ScriptedBrowser(), answer = await signIn(browser, `${app.url}/signed-in`);
      answer.searchParams.set("state", "<script>");
      const response = await browser.send(answer), page = await response.text();
      expect(response.status).toBe(400);
      expect(page).toContain("The answer is not to this sign-in");
      for (const secret of ["<script>", answer.searchParams.get("code")!]) expect(page).not.toContain(secret);
    });

    test("keeps a sign-in under way in a cookie that scripts and other sites' forms do not get", async () => {
      const response = await fetch(`${app.url}/sign-in`, { redirect: "manual" });
      expect(response.status).toBe(303);
      expect(new URL(response.headers.get("location")!).searchParams.has("response_mode")).toBe(false); // the query
      const [cookie, ...more] = response.headers.getSetCookie();
      expect(cookie).toMatch(/^sign-in=[\w+/=]+; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/);
      expect(more).toEqual([]);
      expect(cookie!.length).toBeLessThan(4096);
    });
  });
}

test(
  "web_app_on_machines.ts has who signed in at one machine signed in at the other, until they sign out",
  async () => {
    await using one = await startExampleMachine();
    await using other = await startExampleMachine();
    const browser = new ScriptedBrowser(), grants = provider.grants.length;
    const textOf = async ({ url }: WebApp) => await (await browser.send(new URL("/", url))).text();
    const { url, parameters } = await browser.open(`${one.url}/sign-in`, ({ href }) => href === `${one.url}/`, JANE);
    expect([url, parameters.size]).toEqual([`${one.url}/`, 0]);
    expect(await textOf(other)).toContain("jane@contoso.com is signed in");
    expect(provider.grants.slice(grants)).toEqual(["authorization_code"]);
    await browser.send(new URL("/sign-out", other.url), new URLSearchParams());
    expect(await textOf(one)).toContain("Nobody is signed in");
  },
);

test("signInPages() has its cookie sent by https alone where it is reached so, and lets no subdomain set it", async () => {
  const request = new Request("https://app.contoso.com/sign-in");
  const app = new WebApplication({ clientId: provider.clientId, authority: provider.url });
  const { headers } = await signInPages(request, { app, scopes: ["api.read"], secret: SECRET });
  expect(headers.get("set-cookie")).toMatch(/^__Host-sign-in=.*; Path=\/; HttpOnly; SameSite=Lax; Secure$/);
  expect(new URL(headers.get("location")!).searchParams.get("redirect_uri")).toBe("https://app.contoso.com/signed-in");
});
