// `--for URL` of login and token, and latchkey mcp after it: at a real OpenID provider, for a server that says what it needs.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readJwt } from "../../../../lib/encoding.ts";
import { type Resource, startResource } from "../../../fakes/resource.ts";
import { type Home, openHome } from "../../../fixture.ts";
import { type ProviderStage, startProviderStage } from "../../provider_stage.ts";
import { startLatchkey } from "../../running_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../../tested_latchkey.ts";
import { startMcp } from "./mcp_stage.ts";

let provider: ProviderStage, server: Resource, url: string, scopes: readonly string[];
beforeAll(async () => {
  provider = await startProviderStage();
  server = await startResource();
  url = `${server.origin}/mcp`;
});
beforeEach(() => {
  scopes = ["openid", "api.read"];
  server.requests.length = 0;
  server.answer = ({ path, headers }) => {
    if (path.startsWith("/.well-known/")) {
      return { body: { resource: url, authorization_servers: [provider.url], scopes_supported: scopes } };
    }
    return headers.authorization === undefined
      ? { status: 401, headers: { "www-authenticate": "Bearer" } }
      : { body: { jsonrpc: "2.0", id: 1, result: {} } };
  };
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

const words = (line: string) => [...provider.appWordsOf(line), "--store", "plaintext"];
const run = (home: Home, line: string) => provider.latchkey(words(line), { home });
/** The same at a terminal, where the user sees what is asked for. */
const atTerminal = (home: Home, line: string) => {
  const { BROWSER } = provider.playedBrowser(), env = { ...home.env, BROWSER };
  return startLatchkey([...LATCHKEY_ON_BUN, ...words(line)], { terminal: true, env }).ended();
};
const claimsOf = (stdout: string) => readJwt(JSON.parse(stdout).access_token);
const agreements = (home: Home) => JSON.parse(readFileSync(join(home.state, "agreed_scopes.json"), "utf8")).servers;
/** What latchkey mcp tells its client about a request. */
async function ping(home: Home, more: readonly string[] = []): Promise<{ readonly error?: { message: string } }> {
  await using mcp = startMcp(url, { words: [...words("mcp").slice(1), ...more], env: home.env });
  mcp.send({ jsonrpc: "2.0", id: 1, method: "ping" });
  return await mcp.message();
}

describe("latchkey login --for", () => {
  // The hint was `latchkey login --scope api.read`, which signed in for another resource: the next call failed the same way.
  test("is the way out that latchkey mcp names, and signs in for exactly the server", async () => {
    using home = openHome();
    const { error } = await ping(home, ["--interactive", "never"]);
    const [, command] = /sign in at a terminal: latchkey (login .*)$/.exec(error!.message)!;
    expect(error!.message).toContain(
      `${new URL(url).host} asks ${provider.url} for scopes that you have not agreed to: api.read`,
    );
    expect(error!.message).toContain("Only if you trust");
    expect(command!.split(" ")).toEqual(expect.arrayContaining(["--for", url, "--client-id", provider.clientId]));
    expect(command).not.toContain("--scope");

    const { code, stderr } = await atTerminal(home, `login --for ${url}`);
    expect(code).toBe(0);
    expect(stderr).toContain(
      `the token for ${new URL(url).host} is of ${provider.url}, for the scopes api.read. Go on only if you trust`,
    );
    expect(agreements(home)).toEqual([
      { server: url, resource: url, authority: provider.url, scopes: ["api.read"], client_id: provider.clientId },
    ]);

    expect(await ping(home, ["--interactive", "never"])).toMatchObject({ result: {} });
    const sent = server.requests.findLast(({ headers }) => headers.authorization)!.headers.authorization!;
    expect(readJwt(sent.replace("Bearer ", ""))).toMatchObject({ aud: url, scope: "api.read" });
  });

  // The provider takes a refresh token that is sent for another resource for used: it ended the sign-in.
  test("spends no refresh token of a sign-in for another resource", async () => {
    using home = openHome();
    for (
      const signIn of ["login --scope api.read", `login --for ${url} --resource ${server.origin}/ --scope api.read`]
    ) {
      expect((await run(home, signIn)).code).toBe(0);
      for (let times = 2; times > 0; times--) {
        const { code, stderr } = await run(home, `token --for ${url} --scope api.read`);
        expect([code, stderr]).toEqual([3, expect.stringContaining(`The sign-in was not for the resource ${url}`)]);
        expect(stderr).toMatch(new RegExp(`hint: Sign in again: latchkey login .*--for ${url} --scope api.read`));
      }
    }
    const other = `--for ${url} --resource ${server.origin}/ --scope api.read`;
    expect((await run(home, `token ${other} --force-refresh`)).code).toBe(0); // it is still good
    expect((await run(home, `login --for ${url} --scope api.read`)).code).toBe(0);
    expect((await run(home, `token --for ${url} --scope api.read --force-refresh`)).code).toBe(0);
  });

  test("gives latchkey token a token for the server, renewed for the same resource", async () => {
    using home = openHome();
    expect((await atTerminal(home, `login --for ${url}`)).code).toBe(0);
    for (const more of ["", " --force-refresh"]) {
      const { code, stdout } = await run(home, `token --for ${url} --format json${more}`);
      expect({ code, claims: claimsOf(stdout) }).toMatchObject({ code: 0, claims: { aud: url, scope: "api.read" } });
    }
  });

  test("agrees to nothing without a terminal, unless the user names the scopes", async () => {
    using home = openHome();
    const refused = await run(home, `login --for ${url}`);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain("scopes that you have not agreed to: api.read");
    expect((await run(home, `login --for ${url} --scope api.read`)).code).toBe(0);
    expect(agreements(home)).toMatchObject([{ server: url, scopes: ["api.read"] }]);
    expect((await run(home, `token --for ${url}`)).code).toBe(0);
  });

  test("asks again if the server names more scopes, or another app asks", async () => {
    using home = openHome();
    expect((await atTerminal(home, `login --for ${url}`)).code).toBe(0);
    scopes = ["api.read", "api.write"];
    const { code, stderr } = await run(home, `token --for ${url}`);
    expect(code).toBe(3);
    expect(stderr).toContain("have not agreed to: api.write");
    scopes = ["api.read"];
    const other = [...words(`token --for ${url}`), "--client-id", "another-app"];
    expect((await provider.latchkey(other, { home })).stderr).toContain("have not agreed to: api.read");
  });

  test("a prompt that is forbidden is no agreement", async () => {
    using home = openHome();
    expect((await atTerminal(home, `login --for ${url} --prompt none`)).code).toBe(3);
  });
});

// The browser opened without a question: where the user was signed in to the provider, it came back by itself, and that counted.
describe("latchkey token --for asks at a terminal", () => {
  const startAtTerminal = (home: Home) => {
    const { BROWSER, page } = provider.playedBrowser();
    const env = { ...home.env, BROWSER };
    const line = words(`token --for ${url} --format json`);
    return { page, latchkey: startLatchkey([...LATCHKEY_ON_BUN, ...line], { terminal: true, env }) };
  };
  const QUESTION =
    /is of .*, for the scopes api\.read\. Go on only if you trust .*\s+latchkey: Do you trust .* with them\? \[y\/N\] $/;

  test.each(["y", "Yes"])("before the browser opens, and agrees by %s", async (answer) => {
    using home = openHome();
    const { latchkey } = startAtTerminal(home);
    await latchkey.printed(QUESTION);
    latchkey.type(`${answer}\n`);
    expect(await latchkey.ended()).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("sign in with the browser"),
    });
    expect((await run(home, `token --for ${url}`)).code).toBe(0);
  });

  test.each(["\n", "n\n", "yep\n"])("and opens no browser after %j", async (answer) => {
    using home = openHome();
    const { latchkey, page } = startAtTerminal(home);
    await latchkey.printed(QUESTION);
    latchkey.type(answer);
    const { code, stderr } = await latchkey.ended();
    expect(code).toBe(4);
    expect(stderr).toContain("You did not agree to the scopes that");
    expect(stderr).not.toContain("sign in with the browser");
    expect(existsSync(page)).toBe(false);
    expect(existsSync(join(home.state, "agreed_scopes.json"))).toBe(false);
  });
});

// Standard input has messages, so there is no question, and a browser alone is none: it opened if standard error was a terminal.
test("latchkey mcp at a terminal takes no sign-in for an agreement", async () => {
  using home = openHome();
  const { BROWSER, page } = provider.playedBrowser();
  const line = [...words(`mcp ${url}`), "--interactive", "always"];
  const mcp = startLatchkey([...LATCHKEY_ON_BUN, ...line], { terminal: true, env: { ...home.env, BROWSER } });
  mcp.type(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })}\n`);
  await mcp.printed(/have not agreed to: api\.read.* sign in at a terminal: latchkey login /);
  mcp.interrupt();
  await mcp.ended();
  expect(existsSync(page)).toBe(false);
});

// Without a scope there was nothing to agree to: any server got a token, and an opaque one can be good at all services.
test("a server that names no scope gets no token before the user agreed to it", async () => {
  using home = openHome();
  for (const named of [[], ["openid", "offline_access"]]) {
    scopes = named;
    const { code, stderr } = await run(home, `token --for ${url}`);
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining("have not agreed to: email") });
  }
});

test("a URL that --for cannot have is wrong usage", async () => {
  using home = openHome();
  for (const command of ["login", "token"]) {
    expect((await run(home, `${command} --for http://mcp.contoso.com`)).code).toBe(2);
  }
});

test("--resource names a resource that the metadata has to have", async () => {
  using home = openHome();
  const { stderr } = await atTerminal(home, `login --for ${url} --resource ${server.origin}/`);
  expect(stderr).toContain(`needs tokens for another resource: ${url}`);
  expect((await run(home, `login --for ${url} --resource ${server.origin}/ --scope api.read`)).code).toBe(0);
  const { stdout } = await run(home, `token --for ${url} --resource ${server.origin}/ --scope api.read --format json`);
  expect(claimsOf(stdout)).toMatchObject({ aud: `${server.origin}/` });
});
