/**
 * A sign-in in the browser, as somebody at a console is told of it: the address, what to do when nothing comes back, the time
 * that is left, and where to paste what a browser elsewhere ended at.
 *
 * @module
 */
import type { BrowserSignInOptions, PublicClientApplicationOptions } from "../mod.ts";
import { uriToRegister } from "../lib/redirect_uris.ts";
import { quoteCommand } from "../lib/platform/host.ts";
import { isTerminal, write } from "../lib/platform/program.ts";
import type { CommandLine } from "./command_line.ts";
import { countDown, timeText } from "./countdown.ts";
import { visible } from "./visible.ts";

/** What the application needs to know for it. */
export type ConsoleBrowserOptions = BrowserSignInOptions & Pick<PublicClientApplicationOptions, "timeLimits">;

/** The browser of somebody at a console; disposed of when the sign-in is over. */
export interface ConsoleBrowser extends Disposable {
  /** What the application needs to know. */
  readonly options: ConsoleBrowserOptions;
}

/** How long a person may take, unless `--timeout` says it. */
const LIMIT_S = 300;

const DEAD_END = "a page that shows an error does not come back here";
const DEAD_END_OF_ENTRA =
  "; where it shows AADSTS530084 (token protection), AADSTS53003 or AADSTS53000, only the device's " +
  "broker can pass (--broker require)";

/** Makes it as a command line says. */
export function browserAtConsole(line: CommandLine): ConsoleBrowser {
  const timeout = line.seconds("timeout"), limitMs = (timeout ?? LIMIT_S) * 1000, begin = Date.now();
  const isTyped = isTerminal("stdin") && isTerminal("stderr");
  let until = 0, redirectUri = "", timesRead = 0, missingFlags: readonly string[] = [];
  let countdown: Disposable | undefined;

  async function open(url: string): Promise<boolean> {
    if (line.isOn("no-browser")) return false;
    const { openBrowser } = await import("../lib/platform/browser.ts");
    if (await openBrowser(url)) return true;
    const { missingBrowserFlags } = await import("../lib/platform/browser_permissions.ts");
    missingFlags = await missingBrowserFlags(url);
    return false;
  }

  function tell({ url, opened }: { readonly url: string; readonly opened: boolean }): void {
    until = (timeout === undefined ? Date.now() : begin) + limitMs;
    say(
      opened ? "sign in with the browser that opened, or open this address in one:" : "to sign in, open this address:",
    );
    write("stderr", `${visible(url)}\n`);
    if (missingFlags.length > 0) say(`to open a browser, Deno needs ${quoteCommand(missingFlags)}`);
    redirectUri = new URL(url).searchParams.get("redirect_uri") ?? "";
    const isEntra = new URL(url).pathname.includes("/oauth2/");
    say(`${DEAD_END}, and then Ctrl-C gives up${isEntra ? DEAD_END_OF_ENTRA : ""}`);
    if (!redirectUri.startsWith("http://localhost")) {
      say(`if it speaks of the redirect URI, register ${uriToRegister(redirectUri)} for the app`);
    }
    if (line.count("verbose") === 0) countdown = countDown(until);
  }

  /** What is typed would be written over by a countdown; a script writes it to a pipe. */
  async function readRedirect(signal: AbortSignal): Promise<string> {
    countdown?.[Symbol.dispose]();
    say(
      timesRead++ === 0
        ? `when the browser is on another machine, it ends at a page that it cannot open, ${redirectUri}…: ` +
          (isTyped ? "paste that address here" : "write that address to standard input, as a line,") +
          ` within ${timeText(until - Date.now())} minutes${isTyped ? ", and press Enter" : ""}`
        : "that is not where this sign-in ends: paste the whole address",
    );
    const { readLine } = await import("../lib/platform/read_line.ts");
    return await readLine(signal);
  }

  return {
    options: {
      timeLimits: { browserMs: limitMs },
      openBrowser: open,
      onSignInAddress: tell,
      readRedirect: isTyped || line.isOn("no-browser") ? readRedirect : undefined,
    },
    [Symbol.dispose]: () => countdown?.[Symbol.dispose](),
  };
}

function say(text: string): void {
  write("stderr", `latchkey: ${text}\n`);
}
