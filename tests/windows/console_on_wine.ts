// The command line at a console of Windows: Wine's conhost, which speaks to a pseudoterminal of Linux. It runs on Linux.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningLatchkey, startLatchkey } from "../bin/running_latchkey.ts";
import { isRedirectOf, ScriptedBrowser } from "../tools/scripted_browser.ts";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";
import { EXECUTABLES } from "./tested_executables.ts";
import { inWine, onDriveZ, WINE_ENVIRONMENT, wineTool } from "./wine.ts";

const SOURCES = [wineTool("node"), "--conditions=latchkey-source", "bin/latchkey.ts"];
/** Wine's programs start slowly on a busy machine. */
const LIMIT_MS = 60_000;
const JANE = { login: "jane", password: "x" };

let provider: OidcProvider, folder: string;
beforeAll(async () => {
  provider = await startOidcProvider();
  folder = mkdtempSync(join(tmpdir(), "latchkey-console-"));
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

describe.each([["Node", SOURCES] as const, ...EXECUTABLES])("At a console of Windows, on %s", (_, latchkey) => {
  function startAt(words: readonly string[]): RunningLatchkey {
    // A wide terminal, so that the console breaks no address.
    const command = inWine([...latchkey, ...words]).map((word) => word.replace(/^cd /, "stty cols 3000; cd "));
    return startLatchkey(command, { terminal: true, env: WINE_ENVIRONMENT });
  }

  function signIn(way: string): RunningLatchkey {
    const app = ["--client-id", provider.clientId, "--authority", provider.url, "--scope", "api.read"];
    return startAt(["login", way, ...app, "--store", "memory"]);
  }

  /** Waits for the end, and returns what was printed without the console's codes. */
  async function ended(running: RunningLatchkey) {
    const { code, stderr } = await running.ended();
    // deno-lint-ignore no-control-regex -- a terminal's codes
    return { code, text: stderr.replaceAll(/\x1b\[[\d;?]*[A-Za-z]/g, "").replaceAll(/\r+\n/g, "\n") };
  }

  test("takes the address that is pasted, and shows letters beyond ASCII", async () => {
    const running = signIn("--no-browser");
    // deno-lint-ignore no-control-regex -- a terminal's codes
    const [, address] = await running.printed(/(http:\/\/127\.0\.0\.1:\d+\/auth\?[^\s\x1b]+)/);
    await running.printed(/a page that it cannot open, http:\/\/127\.0\.0\.1:\S+\u2026: paste that address here/);
    const { url, parameters } = await new ScriptedBrowser().open(address!, isRedirectOf(address!), JANE);
    running.type(`${url}?${parameters}\r`);
    const { code, text } = await ended(running);
    expect({ code, text }).toEqual({ code: 0, text: expect.stringMatching(/^jane@contoso\.com +jane +Jane Doe *$/m) });
  }, LIMIT_MS);

  test("signs in by a device code", async () => {
    const running = signIn("--device-code");
    const [, address, code] = await running.printed(/To sign in, open (\S+) .*? code ([\w-]+)/);
    await expect(new ScriptedBrowser().open(address!, () => false, { ...JANE, user_code: code! })).rejects.toThrow(
      "Sign-in Success",
    );
    expect((await ended(running)).code).toBe(0);
  }, LIMIT_MS);

  test("ends with 4 at Ctrl-C", async () => {
    const running = signIn("--no-browser");
    await running.printed(/press Enter/);
    running.type("\x03");
    const { code, text } = await ended(running);
    expect(code).toBe(4);
    expect(text).toContain("error: user_canceled\n");
  }, LIMIT_MS);

  test("shows umlauts of a path", async () => {
    const { code, text } = await ended(startAt([onDriveZ(join(folder, "Jürgen Groß.json"))]));
    expect({ code, text }).toEqual({ code: expect.any(Number), text: expect.stringContaining("Jürgen Groß.json") });
    expect(code).not.toBe(0);
  }, LIMIT_MS);
});
