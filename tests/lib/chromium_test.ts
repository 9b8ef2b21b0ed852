// A real browser, Chromium, clicks through a real provider's pages and comes back to programs of ours, on each runtime.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { RUNTIME_PATHS, type RuntimePath } from "../runtimes/runtime_paths.ts";
import { launchChromium } from "../tools/launch_chromium.ts";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";

const PROGRAM = fileURLToPath(new URL("../tools/sign_in_program.ts", import.meta.url));
const [BUN] = RUNTIME_PATHS.filter(({ name }) => name === "Bun") as [RuntimePath];

let provider: OidcProvider, browser: Browser, context: BrowserContext | undefined;
const programs: Program[] = [], servers: Server[] = [];

beforeAll(async () => {
  provider = await startOidcProvider();
  browser = await launchChromium();
});
afterEach(async () => {
  for (const { child } of programs.splice(0)) child.kill();
  for (const server of servers.splice(0)) server.close();
  await context?.close();
  context = undefined;
});
afterAll(async () => {
  await browser.close();
  await provider[Symbol.asyncDispose]();
});

interface Program {
  readonly child: Bun.Subprocess<"ignore", "pipe", "inherit">;
  /** The next line that it prints. */
  next(): Promise<unknown>;
}

function start(path: RuntimePath, mode: "form_post" | "query"): Program {
  const child = Bun.spawn([...path.program(), PROGRAM, provider.clientId, provider.url, mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: Readable.fromWeb(child.stdout as never) })[Symbol.asyncIterator]();
  const program = { child, next: async () => JSON.parse((await lines.next()).value ?? "") };
  programs.push(program);
  return program;
}

/** A tab of somebody who is signed in nowhere, at the program's sign-in address. */
async function openTab(program: Program): Promise<{ readonly page: Page; readonly loopback: string }> {
  const { url } = await program.next() as { url: string };
  context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  return { page, loopback: new URL(url).searchParams.get("redirect_uri")! };
}

async function signIn(page: Page): Promise<void> {
  await page.fill("[name=login]", "jane");
  await page.fill("[name=password]", "x");
  await page.click("[type=submit]");
  await page.click("[type=submit]"); // consents
}

/** All that the browser keeps of where it was: the tab's history. */
async function historyOf(page: Page): Promise<readonly { readonly url: string; readonly title: string }[]> {
  const session = await page.context().newCDPSession(page);
  return (await session.send("Page.getNavigationHistory")).entries;
}

describe.each(RUNTIME_PATHS.map((path) => [path.name, path] as const))("Chromium and a program on %s", (_, path) => {
  test.each(["form_post", "query"] as const)("a sign-in by %s ends at a clean address", async (mode) => {
    const program = start(path, mode), { page, loopback } = await openTab(program), asked: string[] = [];
    page.on("request", (request) => asked.push(`${request.method()} ${request.url()}`));
    await signIn(page);
    await page.waitForURL("**/done/*");
    expect(await program.next()).toEqual({ username: "jane@contoso.com" });
    expect(await page.textContent("h1")).toBe("Signed in");
    expect(await page.textContent("main")).toContain("jane@contoso.com");

    const { origin } = new URL(page.url());
    expect(page.url()).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/done\/[0-9a-f-]{36}$/);
    const [code] = asked.flatMap((line) => new URL(line.split(" ")[1]!).searchParams.get("code") ?? []);
    expect(code === undefined).toBe(mode === "form_post");
    const left = [await page.title(), await page.content(), JSON.stringify(await historyOf(page))].join("\n");
    expect(left).not.toMatch(/[?&]code=|[?&]state=[^&]*&iss=/);
    if (code) expect(left).not.toContain(code);
    // Nothing but the answer and the page: no icon, style, font or script is asked for.
    expect(asked.filter((line) => line.includes(origin)).map((line) => line.replace(/\?.*/, "")))
      .toEqual([mode === "query" ? `GET ${loopback}` : `POST ${loopback}`, `GET ${page.url()}`]);
    expect(await program.child.exited).toBe(0);
  });
});

describe("Chromium", () => {
  test("shows why a sign-in failed, at a clean address", async () => {
    const program = start(BUN, "query"), { page } = await openTab(program);
    await page.click("text=Cancel");
    await page.waitForURL("**/done/*");
    expect(await program.next()).toEqual({ code: "user_canceled", error: "access_denied" });
    expect(await page.textContent("h1")).toBe("Not signed in");
    expect(await page.textContent("main")).toContain("access_denied");
    expect(JSON.stringify(await historyOf(page))).not.toContain("error=");
  });

  test(
    "leads no other site's page to a sign-in under way: forms, frames, images and requests are turned away",
    async () => {
      const program = start(BUN, "form_post"), { page, loopback: address } = await openTab(program);
      const hostile = await serve(`<!DOCTYPE html>
<form method="post" action="${address}" target="target"><input name="code" value="x"><input name="state" value="y"></form>
<iframe name="target"></iframe><iframe src="${address}?code=x&state=y"></iframe><img src="${address}?code=x&state=y">
<script>
document.forms[0].submit();
fetch("${address}", { method: "POST", mode: "no-cors", body: new URLSearchParams({ code: "x", state: "y" }) })
  .catch(() => {}).finally(() => document.title = "done");
</script>`);
      const other = await context!.newPage(), statuses: number[] = [];
      other.on("response", (response) => response.url().startsWith(address) && statuses.push(response.status()));
      await other.goto(hostile);
      await other.waitForFunction(() => document.title === "done");
      await other.waitForLoadState("networkidle");
      expect(new Set(statuses)).toEqual(new Set([403]));
      await other.close();
      await signIn(page);
      await page.waitForURL("**/done/*");
      expect(await program.next()).toEqual({ username: "jane@contoso.com" });
    },
  );
});

/** A page at another origin. */
async function serve(html: string): Promise<string> {
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end(html));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
