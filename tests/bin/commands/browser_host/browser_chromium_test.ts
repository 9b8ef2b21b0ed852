// A real browser, Chromium, starts the host as `latchkey browser-host --install` told it to, for an extension of ours.
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type BrowserContext, chromium, type Worker } from "playwright-core";
import deno from "../../../../deno.json" with { type: "json" };
import { useStage } from "../../../fixture.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { findChromium } from "../../../tools/find_chromium.js";
import { runProgram } from "../../run_latchkey.ts";

const stage = useStage({ broker: {} });
let folder: string, context: BrowserContext | undefined;

beforeAll(() => {
  folder = stage.folder;
});
afterEach(async () => {
  await context?.close();
  context = undefined;
});

/** An extension that may speak to native hosts, and its id, which Chromium makes of its folder's path. */
function makeExtension(): { readonly path: string; readonly id: string } {
  const path = join(folder, "extension");
  mkdirSync(path, { recursive: true });
  const manifest = {
    manifest_version: 3,
    name: "host",
    version: "1",
    permissions: ["nativeMessaging"],
    background: { service_worker: "worker.js" },
  };
  writeFileSync(join(path, "manifest.json"), JSON.stringify(manifest));
  writeFileSync(join(path, "worker.js"), "");
  const letters = [...createHash("sha256").update(path).digest("hex").slice(0, 32)];
  return { path, id: letters.map((digit) => String.fromCharCode(97 + Number.parseInt(digit, 16))).join("") };
}

async function startChromium(userDataDir: string, extension: string): Promise<Worker> {
  const executablePath = findChromium();
  context = await chromium.launchPersistentContext(userDataDir, {
    ...(executablePath && { executablePath }),
    ignoreDefaultArgs: ["--disable-extensions"],
    args: [
      `--load-extension=${extension}`,
      `--disable-extensions-except=${extension}`,
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ],
    env: { PATH: process.env.PATH!, HOME: folder, DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
  });
  return context.serviceWorkers()[0] ?? await context.waitForEvent("serviceworker");
}

/** What an extension does, in its service worker. */
declare const chrome: {
  readonly runtime: {
    readonly lastError?: { readonly message: string };
    connectNative(name: string): {
      readonly onMessage: { addListener(listener: (message: unknown) => void): void };
      readonly onDisconnect: { addListener(listener: () => void): void };
      postMessage(message: unknown): void;
      disconnect(): void;
    };
  };
};

/** Sends messages to the host, one after the answer to the other, and gives all that came, or why the host ended. */
async function converse(messages: readonly object[]): Promise<unknown[]> {
  const port = chrome.runtime.connectNative("linux_entra_sso"), heard: unknown[] = [];
  const account = (): unknown =>
    (heard as { command: string; message: { accounts: unknown[] } }[]).find(({ command }) => command === "getAccounts")
      ?.message.accounts[0];
  return await new Promise((resolve) => {
    let asked = 0;
    port.onMessage.addListener((message) => {
      heard.push(message);
      const next = messages[asked++];
      if (next) return port.postMessage({ ...next, account: account() });
      port.disconnect();
      resolve(heard);
    });
    port.onDisconnect.addListener(() => resolve([...heard, chrome.runtime.lastError?.message]));
  });
}

describe.each(RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next"))("Chromium and $name", ({ program }) => {
  test("an extension is signed in by the host that was installed", async () => {
    const { path, id } = makeExtension(), config = mkdtempSync(join(folder, "config-"));
    const env = { HOME: config, XDG_CONFIG_HOME: config, XDG_DATA_HOME: join(config, "data") };
    const install = [...program(), "bin/latchkey.ts", "browser-host", "--install", "--browser", "chromium"];
    const { code, stdout } = await runProgram([...install, "--extension-id", id], env);
    const manifest = join(config, "chromium/NativeMessagingHosts/linux_entra_sso.json");
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${manifest}\n` });

    const worker = await startChromium(join(config, "chromium"), path);
    expect(worker.url()).toBe(`chrome-extension://${id}/worker.js`);
    const commands = ["getAccounts", "acquireTokenSilently", "acquirePrtSsoCookie", "nonsense", "getVersion"];
    const heard = await worker.evaluate(converse, commands.map((command) => ({ command, ssoUrl: null })));
    expect(heard).toMatchObject([
      { command: "brokerStateChanged", message: "online" },
      { command: "getAccounts", message: { accounts: [{ username: "jane@contoso.com" }] } },
      { command: "acquireTokenSilently", message: { brokerTokenResponse: { accessToken: expect.any(String) } } },
      {
        command: "acquirePrtSsoCookie",
        message: { cookieItems: [{ cookieName: "x-ms-RefreshTokenCredential", cookieContent: expect.any(String) }] },
      },
      { command: "nonsense", message: { error: "There is no such command" } },
      { command: "getVersion", message: { native: deno.version, linuxBrokerVersion: "2.5.2" } },
    ]);
  });
});
