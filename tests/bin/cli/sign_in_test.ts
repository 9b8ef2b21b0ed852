// Sign-ins without a broker, at a real OpenID provider (oidc-provider) and with a scripted browser.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import jsqr from "jsqr";
import { timeText } from "../../../bin/cli/prompter.ts";
import { redirectPath } from "../../../lib/redirect_uris.ts";
import { HOSTILE_TEXT, UNSAFE } from "../../fakes/hostile_texts.ts";
import { openHome } from "../../fixture.ts";
import { denoRun } from "../../tools/deno_command.ts";
import { findTool } from "../../tools/find_tool.js";
import { isRedirectOf, ScriptedBrowser } from "../../tools/scripted_browser.ts";
import {
  BROWSER_ENVIRONMENT,
  JANE_LINE,
  LOOPBACK,
  type ProviderStage,
  SIGN_IN_PERMISSIONS,
  startProviderStage,
  textOf,
} from "../provider_stage.ts";
import { runLatchkey } from "../run_latchkey.ts";
import { startLatchkey, type StartOptions } from "../running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

const JANE = { login: "jane", password: "x" };
const BUN = findTool("bun"), ACCOUNT = JANE_LINE, ENVIRONMENT = BROWSER_ENVIRONMENT, PERMISSIONS = SIGN_IN_PERMISSIONS;

let provider: ProviderStage, folder: string;
beforeAll(async () => {
  provider = await startProviderStage();
  folder = provider.folder;
});
afterAll(() => provider[Symbol.asyncDispose]());

const playedBrowser = () => provider.playedBrowser(), wordsOf = (line: string) => provider.wordsOf(line);
const run = (line: string, env: Record<string, string>, permissions: readonly string[] = PERMISSIONS) =>
  runLatchkey(wordsOf(line), { permissions, env });
const start = (line: string, options: StartOptions = {}, program = [...denoRun(), ...PERMISSIONS]) =>
  startLatchkey([...latchkeyBy(program), ...wordsOf(line)], options);
/** Where the program asks the person to go. */
const ADDRESS = /^(http\S+\/auth\?\S+)\r?\n/m;
const redirectOf = (address: string) => new URL(new URL(address).searchParams.get("redirect_uri")!);
const isListening = async ({ port }: URL): Promise<boolean> =>
  await fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false);
/** The address that a browser ends at on a machine where it cannot be opened. */
async function pastedFrom(address: string): Promise<string> {
  const landing = await new ScriptedBrowser().open(address, isRedirectOf(address), JANE);
  return `${landing.url}?${landing.parameters}`;
}

describe.each(TESTED_PATHS)("latchkey login without a broker on $name", ({ program }) => {
  test("signs in with the browser, prints the account, and ends", async () => {
    const { BROWSER, page } = playedBrowser();
    const { code, stdout, stderr } = await start("login", { env: { BROWSER } }, program()).ended();
    expect({ code, stdout }).toEqual({ code: 0, stdout: ACCOUNT });
    expect(stderr).toMatch(ADDRESS);
    expect(stderr).not.toMatch(/[^\n\x20-\x7e]/);
    expect(await textOf(page)).toContain("You are signed in as jane@contoso.com");
  });

  test("gives up at Ctrl-C, and listens no longer", async () => {
    const latchkey = start("login", { env: { BROWSER: "true" } }, program());
    const [, address] = await latchkey.printed(ADDRESS), redirect = redirectOf(address!);
    expect(await isListening(redirect)).toBe(true);
    latchkey.interrupt();
    const { code, stdout, stderr } = await latchkey.ended();
    expect({ code, stdout, error: /^error: (.*)$/m.exec(stderr)?.[1] }).toEqual({
      ...{ code: 4, stdout: "", error: "user_canceled" },
    });
    expect(await isListening(redirect)).toBe(false);
  });

  test("takes the address that is pasted at a terminal, and no other", async () => {
    const latchkey = start("login --no-browser", { terminal: true }, program());
    const [, address] = await latchkey.printed(ADDRESS);
    expect(address).not.toContain("form_post"); // the answer would not be in the address
    await latchkey.printed(/paste that address here within 5:00/);
    latchkey.type("http://localhost/?code=x&state=y\n");
    await latchkey.printed(/not where this sign-in ends/);
    latchkey.type(`  ${await pastedFrom(address!)} \n`);
    const { code, stderr } = await latchkey.ended();
    expect(code).toBe(0);
    expect(stderr.replaceAll("\r", "")).toEndWith(ACCOUNT);
    expect(stderr).not.toContain("\u001b");
  });

  test("ends when the browser comes back although it waits for a pasted address", async () => {
    const latchkey = start("login --no-browser", { terminal: true }, program());
    const [, address] = await latchkey.printed(ADDRESS);
    await latchkey.printed(/paste that address here/);
    await expect(new ScriptedBrowser().open(address!, () => false, JANE)).rejects.toThrow("You are signed in");
    expect((await latchkey.ended()).code).toBe(0);
  });
});

describe("latchkey login without a broker", () => {
  testOfSources("names the permission of Deno that is missing, and never asks", async () => {
    const { host } = new URL(provider.url), { BROWSER } = playedBrowser();
    const without = (permissions: string[]) => run("login", { BROWSER }, permissions);
    const told = async (permissions: string[], what: string) => {
      const { code, stderr } = await without(permissions);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`run deno with ${what}\n`) });
      const latchkey = start("login --no-browser", { env: { BROWSER } }, [...denoRun(), ...permissions]);
      await latchkey.printed(/^latchkey: to sign in, open this address:$/m);
      latchkey.interrupt();
      expect((await latchkey.ended()).code).toBe(4);
    };
    expect(await without([ENVIRONMENT])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`hint: Run deno with --allow-net=${host}\n`),
    });
    expect(await without([`--allow-net=${host}`])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("hint: Run deno with --allow-net=127.0.0.1,[::1]\n"),
    });
    await told([LOOPBACK], "--allow-env=BROWSER,DISPLAY,WAYLAND_DISPLAY --allow-run=xdg-open");
    await told([LOOPBACK, ENVIRONMENT], `--allow-run=${BUN}`);
  });

  // With more permissions it sees that it is in a container, where there is one, and has an address pasted instead.
  testOfSources("shows the time that is left on a terminal, without escape codes", async () => {
    const latchkey = start("login --timeout 900", { env: { BROWSER: "true" }, terminal: true });
    await latchkey.printed(/\rlatchkey: 1[45]:\d\d left; Ctrl-C cancels/);
    await latchkey.printed(/\rlatchkey: 14:\d\d left; Ctrl-C cancels/);
    latchkey.type("\u0003");
    const { code, stderr } = await latchkey.ended();
    expect(code).toBe(4);
    expect(stderr).toMatch(/\r +\rerror: user_canceled/);
    expect(stderr).not.toContain("\u001b");
  });

  // Dex ends a declined consent at a page of its own: the terminal waited for the rest of the five minutes without a word.
  testOfSources("says what to do at a terminal if the browser does not come back", async () => {
    const latchkey = start("login --timeout 15", { env: { BROWSER: "true" }, terminal: true });
    await latchkey.printed(
      /\r +\rlatchkey: the browser has not come back yet\. If you declined there, .*sign in again\r\n/,
    );
    latchkey.type("\u0003");
    const { code, stderr } = await latchkey.ended();
    expect({ code, reminders: stderr.match(/has not come back/g)?.length }).toEqual({ code: 4, reminders: 1 });
  });

  test("takes a pasted address over SSH, although a browser was opened", async () => {
    const env = { BROWSER: "true", SSH_CONNECTION: "192.0.2.1 1 192.0.2.2 22" };
    const latchkey = start("login", { env, terminal: true });
    const [, address] = await latchkey.printed(ADDRESS);
    await latchkey.printed(/paste that address here/);
    latchkey.type(`${await pastedFrom(address!)}\n`);
    expect((await latchkey.ended()).code).toBe(0);
  });

  test("--port is where the browser comes back to", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const taken = await run(`login --port ${port}`, playedBrowser());
    expect(taken).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining(`port ${port} of the loopback`),
    });
    await new Promise((resolve) => server.close(resolve));
    const { code, stderr } = await run(`login --port ${port}`, playedBrowser());
    expect({ code, redirect: redirectOf(ADDRESS.exec(stderr)![1]!).href }).toEqual({
      ...{ code: 0, redirect: `http://127.0.0.1:${port}${redirectPath(provider.url)}` },
    });
  });

  test("--redirect-path, or LATCHKEY_REDIRECT_PATH, is the path that the browser comes back to", async () => {
    const permissions = [
      ...PERMISSIONS.filter((flag) => flag !== ENVIRONMENT),
      `${ENVIRONMENT},LATCHKEY_REDIRECT_PATH`,
    ];
    const { BROWSER } = playedBrowser(), inEnvironment = { BROWSER, LATCHKEY_REDIRECT_PATH: "/signed-in" };
    for (const [line, env] of [["login --redirect-path /signed-in", { BROWSER }], ["login", inEnvironment]] as const) {
      const { code, stderr } = await run(line, env, permissions);
      expect({ code, path: redirectOf(ADDRESS.exec(stderr)![1]!).pathname }).toEqual({ code: 0, path: "/signed-in" });
    }
    expect(await run("login --redirect-path /", playedBrowser())).toMatchObject({ code: 2, stdout: "" });
  });

  test("--timeout ends the waiting, and what was said before is what to do", async () => {
    const args = ["login", "--client-id", "azure-cli", "--authority", "https://login.microsoftonline.com/contoso.com"];
    const { code, stdout, stderr } = await runLatchkey(
      [...args, "--broker", "never", "--no-browser", "--timeout", "3", "--format", "json"],
      { permissions: [LOOPBACK] },
    );
    expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "timed_out" });
    expect(stderr).toMatch(/^https:\/\/login\.microsoftonline\.com\/contoso\.com\/oauth2\/v2\.0\/authorize\?/m);
    expect(stderr).toMatch(/does not come back here.*AADSTS530084 \(token protection\).*--broker require/);
  });

  test("says beforehand that a page that shows an error does not come back", async () => {
    const { BROWSER, page } = playedBrowser();
    const args = ["login", "--client-id", "stranger", "--scope", "api.read", "--authority", provider.url];
    const latchkey = startLatchkey([...latchkeyBy([...denoRun(), ...PERMISSIONS]), ...args], { env: { BROWSER } });
    await latchkey.printed(/if the page shows an error, it does not come back here: press Ctrl-C to cancel\n/);
    await latchkey.printed(/register http:\/\/127\.0\.0\.1\/127\.0\.0\.1~3A\d+ for the app\n/);
    expect(await textOf(page)).toContain("invalid_client");
    latchkey.interrupt();
    expect((await latchkey.ended()).code).toBe(4);
  });

  test("shows nothing that a terminal obeys of what the provider says", async () => {
    using server = refusingProvider(HOSTILE_TEXT);
    const args = ["login", "--client-id", "x", "--scope", "a", "--authority", server.url.origin, "--format", "json"];
    const { code, stdout, stderr } = await runLatchkey(args, { permissions: PERMISSIONS, env: playedBrowser() });
    expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "access_denied" });
    expect(stderr).toContain("red");
    for (const text of [stdout, stderr]) expect(text.replaceAll("\n", "")).not.toMatch(UNSAFE);
    expect(stderr.match(/^error: .*/gm)).toEqual(["error: access_denied"]);
  });
});

describe("latchkey token without a broker", () => {
  test("--interactive always prints the token alone", async () => {
    const { code, stdout, stderr } = await run("token --interactive always --format json", playedBrowser());
    expect(code).toBe(0);
    const { access_token, ...answer } = JSON.parse(stdout);
    expect(answer).toMatchObject({
      token_type: "Bearer",
      token_source: "identity_provider",
      account: { username: "jane@contoso.com" },
    });
    expect(stderr).not.toContain(access_token);
  });

  test("--interactive auto opens the browser at a terminal", async () => {
    const { BROWSER } = playedBrowser();
    const { code, stderr } = await start("token --format header", { env: { BROWSER }, terminal: true }).ended();
    expect(code).toBe(0);
    expect(stderr).toMatch(/^Authorization: Bearer [\w.~-]+\r?\n$/m);
  });

  test("--interactive never, and auto without a terminal, exit with 3 and say what to do", async () => {
    for (const line of ["token --interactive never", "token"]) {
      const { code, stdout, stderr } = await run(line, playedBrowser());
      expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
      expect(stderr).toContain("hint: Sign in: latchkey login --client-id ");
    }
  });
});

test("latchkey CONFIG.json without a broker signs in with the browser", async () => {
  const path = join(folder, "parameters.json"), { clientId: client_id, url: authority } = provider;
  writeFileSync(path, JSON.stringify({ client_id, authority, scope: ["api.read"] }));
  const { BROWSER } = playedBrowser(), permissions = [...PERMISSIONS, `--allow-read=${path}`];
  const config = (...more: string[]) => runLatchkey([path, ...more], { permissions, env: { BROWSER } });
  const { code, stdout } = await config("--interactive", "always", "--format", "json");
  expect({ code, source: JSON.parse(stdout).token_source }).toEqual({ code: 0, source: "identity_provider" });
  expect(await config("--interactive", "never")).toMatchObject({ code: 3, stdout: "" });
  expect(await config("--broker", "require")).toMatchObject({ code: 5, stdout: "" });
});

describe("latchkey login --device-code", () => {
  test("signs in on another device", async () => {
    const latchkey = start("login --device-code");
    const [, address, code] = await latchkey.printed(/^latchkey: To sign in, open (\S+) .* code (\S+)\n/m);
    const typed = { ...JANE, user_code: code! };
    await expect(new ScriptedBrowser().open(address!, () => false, typed)).rejects.toThrow("Sign-in Success");
    const { stderr, ...rest } = await latchkey.ended();
    expect(rest).toEqual({ code: 0, stdout: ACCOUNT });
    expect(stderr).not.toMatch(/[^\n\x20-\x7e]/);
  });

  test("shows the address as a QR code, which a reader reads, in black and white whatever the terminal's colors are", async () => {
    for (const NO_COLOR of ["1", ""]) {
      const words = [...LATCHKEY_ON_BUN, ...wordsOf("login --device-code --qr")];
      const latchkey = startLatchkey(words, { terminal: true, env: { NO_COLOR } });
      const [, address, code] = await latchkey.printed(/To sign in, open (\S+) .* code (\S+)\r\n/);
      const [before, after] = NO_COLOR ? ["", ""] : ["\x1b[97;40m", "\x1b[0m"];
      const line = `${RegExp.escape(before)}[█▀▄ ]{21,80}${RegExp.escape(after)}\r\n`;
      const [, block] = await latchkey.printed(new RegExp(`\n((?:${line}){11,})\rlatchkey: `)); // the time that is left
      const rows = block!.trimEnd().split("\r\n").map((row) => row.slice(before.length, row.length - after.length));
      expect(readQrCode(rows)).toBe(`${address}?user_code=${code}`);
      latchkey.type("\x03");
      expect((await latchkey.ended()).code).toBe(4);
    }
  });

  test("says why there is no QR code", async () => {
    const latchkey = start("login --device-code --qr");
    await latchkey.printed(/there is no QR code, since stderr is not a terminal\n/);
    latchkey.interrupt();
    expect((await latchkey.ended()).stderr).not.toMatch(/[^\n\x20-\x7e]/);
    expect(await run("login --qr", {})).toMatchObject({ code: 2, stderr: expect.stringContaining("--device-code") });
  });

  test("gives up at Ctrl-C", async () => {
    const latchkey = start("login --device-code");
    await latchkey.printed(/enter the code/);
    latchkey.interrupt();
    expect(await latchkey.ended()).toMatchObject({ code: 4, stderr: expect.stringContaining("error: user_canceled") });
  });

  test("--account is who has to sign in: of somebody else nothing is kept", async () => {
    using home = openHome();
    const path = join(home.path, "cache.json"), more = `--account joe@contoso.com --cache-file ${path}`;
    const latchkey = start(`login --device-code ${more}`, { env: home.env }, [...denoRun(), "--allow-all"]);
    const [, address, code] = await latchkey.printed(/open (\S+) .* code (\S+)\n/);
    const typed = { ...JANE, user_code: code! };
    await expect(new ScriptedBrowser().open(address!, () => false, typed)).rejects.toThrow("Sign-in Success");
    const { stderr, ...rest } = await latchkey.ended();
    expect(rest).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain(
      "error: interaction_required\nerror_description: jane@contoso.com signed in, and not joe@",
    );
    expect(existsSync(path)).toBe(false);
  });

  test("tells that the provider does not know the app", async () => {
    const { code, stderr } = await runLatchkey(
      ["login", "--device-code", "--client-id", "stranger", "--scope", "a", "--authority", provider.url],
      { permissions: PERMISSIONS },
    );
    expect({ code, error: /^error: (.*)$/m.exec(stderr)?.[1] }).toEqual({ code: 1, error: "invalid_client" });
  });
});

/** Reads a QR code off the terminal: each character is two squares, one above the other, the light ones being drawn. */
function readQrCode(rows: readonly string[]): string | undefined {
  const squares = rows.flatMap((row) => ["█▀", "█▄"].map((light) => [...row].map((square) => light.includes(square))));
  const size = 4, width = squares[0]!.length * size, height = squares.length * size;
  const pixels = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let at = 0; at < width * height; at++) {
    const isLight = squares[Math.floor(at / width / size)]![Math.floor(at % width / size)];
    pixels.fill(isLight ? 255 : 0, at * 4, at * 4 + 3);
  }
  return jsqr.default(pixels, width, height)?.data;
}

/** A provider that sends everybody back with an error. */
function refusingProvider(description: string): ReturnType<typeof Bun.serve> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { origin, pathname, searchParams } = new URL(request.url);
      if (pathname !== "/auth") {
        return Response.json({
          ...{ issuer: origin, authorization_endpoint: `${origin}/auth`, token_endpoint: `${origin}/token` },
          response_types_supported: ["code"],
        });
      }
      const answer = { error: "access_denied", error_description: description, state: searchParams.get("state")! };
      return Response.redirect(`${searchParams.get("redirect_uri")}?${new URLSearchParams(answer)}`);
    },
  });
}

test.each([[300_000, "5:00"], [299_001, "5:00"], [299_000, "4:59"], [60_000, "1:00"], [1, "0:01"], [0, "0:00"], [
  -5000,
  "0:00",
], [3_600_000, "60:00"]])("timeText(%d) is %s", (milliseconds, text) => {
  expect(timeText(milliseconds)).toBe(text);
});
