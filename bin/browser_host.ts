/**
 * `latchkey browser-host`: the native messaging host of the browser extension linux-entra-sso.
 *
 * @module
 */
import { openBrokerChannel } from "../mod.ts";
import { isBrokenPipe, isTerminal, write } from "../lib/platform/program.ts";
import { standardInput, standardOutput } from "../lib/platform/standard_pipes.ts";
import { clientIdOf, logger } from "./app_options.ts";
import { BrowserConversation } from "./browser_conversation.ts";
import { type CommandLine, UsageError } from "./command_line.ts";

/** How long the broker may take for what it was asked when the browser ended, in milliseconds: it does not wait for long. */
const LINGER_MS = 5_000;
/** What ended in the middle of a message was not done. */
const EXIT_CUT_OFF = 1;

/** Speaks to a browser, or tells browsers of itself. */
export async function serveBrowser(line: CommandLine): Promise<number | void> {
  const isInstall = line.isOn("install"), isUninstall = line.isOn("uninstall");
  if (isInstall && isUninstall) throw new UsageError("Give --install or --uninstall, not both");
  if ((isInstall || isUninstall) && line.operands.length > 0) {
    throw new UsageError(`${JSON.stringify(line.operands[0])} is not an option; a browser is named by --browser`);
  }
  if (isInstall) return await (await import("./browser_install.ts")).installHost(line);
  if (isUninstall) return await (await import("./browser_install.ts")).uninstallHost(line);
  for (const option of ["browser", "extension-id", "force"]) {
    if (line.origin(option)) throw new UsageError(`--${option} goes with --install or --uninstall`);
  }
  if (isTerminal("stdin")) {
    throw new UsageError("A browser starts this command, and speaks to it; --install tells the browsers of it");
  }
  return await speak(line);
}

async function speak(line: CommandLine): Promise<number | void> {
  using channel = await openBrokerChannel({ clientId: clientIdOf(line), logger: logger(line.count("verbose")) });
  const { default: { version } } = await import("../deno.json", { with: { type: "json" } });
  const conversation = new BrowserConversation({
    channel,
    version,
    write: standardOutput(),
    complain: (text) => write("stderr", `latchkey: ${text}\n`),
  });
  try {
    if (await conversation.run(standardInput(), LINGER_MS)) return;
    write("stderr", "latchkey: the browser's last message was cut off\n");
    return EXIT_CUT_OFF;
  } catch (error) {
    if (!isBrokenPipe(error)) throw error; // the browser has ended
  }
}
