/**
 * `latchkey cookie`.
 *
 * @module
 */
import { shareCookiePause } from "../../lib/broker/cookie_pause.ts";
import { isPiped } from "../../lib/runtime/terminal.ts";
import { accountOptionsOf, chooseAccount } from "../cli/accounts.ts";
import { makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { formatOption } from "../cli/formats.ts";
import {
  ACCOUNT_TENANT,
  APP,
  BROWSER_CLIENT_ID,
  CHOSEN_ACCOUNT,
  CLIENT_ID,
  switchOption,
  textOption,
  TIMEOUT,
  VERBOSE,
} from "../cli/options.ts";
import { print, printJson } from "../cli/output.ts";

const URL_OPTION = {
  ...textOption("url", "URL", "Sign-in page for the cookie, with its sso_nonce"),
  environment: false,
  default: "https://login.microsoftonline.com/",
};
const FORMAT = formatOption({
  cookie: "NAME=VALUE, one cookie a line",
  json: "A JSON array of cookies",
  header: "The Cookie header, for curl -H @-",
});
const SHOW_SECRET = {
  ...switchOption("show-secret", "Print the cookie even on a terminal; anyone who sees it can sign in with it"),
  environment: false,
};

export const command: Command = {
  name: "cookie",
  summary: "Print a cookie that signs in a browser",
  usage: "cookie [options]",
  operands: 0,
  options: [
    URL_OPTION,
    CHOSEN_ACCOUNT,
    ACCOUNT_TENANT,
    ...APP.map((option) => option === CLIENT_ID ? BROWSER_CLIENT_ID : option),
    FORMAT,
    SHOW_SECRET,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    [
      "latchkey cookie --format header | curl -H @- https://login.microsoftonline.com/",
      "Open the sign-in page with the cookie",
      'latchkey cookie --format header | curl.exe -H "@-" https://login.microsoftonline.com/',
    ],
    ["latchkey cookie --show-secret", "Show the cookie on the terminal"],
  ],
  run: printCookies,
};

async function printCookies(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  if (!line.get(SHOW_SECRET) && !await isPiped()) {
    throw new UsageError(
      "The cookie is as good as a password, and a terminal or a file would keep it: pipe it to the program that needs it, " +
        "or add --show-secret",
    );
  }
  shareCookiePause();
  const app = await makeApplication(line, { requireBroker: true, signal });
  const account = await chooseAccount(app, { ...accountOptionsOf(line), signal });
  const { correlationId } = line;
  const url = line.get(URL_OPTION);
  const cookies = await app.acquireSsoCookies({ account, url, correlationId, signal });
  const pairs = cookies.map(({ name, value }) => `${name}=${value}`);
  switch (line.get(FORMAT)) {
    case "json":
      return printJson(cookies);
    case "header":
      return print(`Cookie: ${pairs.join("; ")}\n`);
    case "cookie":
      return print(pairs.map((pair) => `${pair}\n`).join(""));
  }
}
