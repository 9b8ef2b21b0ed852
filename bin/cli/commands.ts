/**
 * The commands: name, summary and loader of each. Its own file declares the rest.
 *
 * @module
 */
import type { Command, CommandGroup } from "./command_line.ts";

export interface CommandEntry extends Pick<Command, "name" | "alias" | "summary"> {
  readonly load: () => Promise<{ readonly command: Command }>;
}

type Row = readonly [name: string, summary: string, load: CommandEntry["load"], alias?: string];

function group(title: string, ...rows: readonly Row[]): { title: string; commands: readonly CommandEntry[] } {
  return {
    title,
    commands: rows.map(([name, summary, load, alias]) => ({ name, summary, load, ...(alias && { alias }) })),
  };
}

/** The entries by group, in the order of the help. */
export const GROUPS: readonly { readonly title: string; readonly commands: readonly CommandEntry[] }[] = [
  group(
    "Tokens and accounts",
    ["token", "Print an access token", () => import("../commands/token.ts")],
    ["login", "Sign in, silently if the broker can, and print the account", () => import("../commands/login.ts")],
    ["logout", "Sign an account out of this app", () => import("../commands/logout.ts")],
    [
      "status",
      "Show who is signed in, how, and until when, without requesting a token",
      () => import("../commands/status.ts"),
      "whoami",
    ],
    ["accounts", "List the accounts you can get tokens for", () => import("../commands/accounts.ts")],
    ["cookie", "Print a cookie that signs in a browser", () => import("../commands/cookie.ts")],
    [
      "sign",
      "Print a token bound to one HTTP request (Signed HTTP Request)",
      () => import("../commands/sign.ts"),
    ],
    [
      "CONFIG.json",
      "Print a token for the client_id, authority, username and scope in a file",
      () => import("../commands/config_file.ts"),
    ],
  ),
  group(
    "For other programs",
    [
      "az-shim",
      "Install a stand-in az for Azure SDKs and Terraform",
      () => import("../commands/az/shim.ts"),
    ],
    [
      "az",
      "Act as Azure CLI for other programs: tokens, accounts and subscriptions",
      () => import("../commands/az/az.ts"),
    ],
    ["git", "Git credential helper for Azure DevOps and your own servers", () => import("../commands/git/git.ts")],
    ["kube", "Credential plugin for kubectl", () => import("../commands/kube/kube.ts")],
    [
      "mcp",
      "Stdio server for MCP clients, in front of a remote MCP server that requires tokens",
      () => import("../commands/mcp/mcp.ts"),
    ],
    [
      "serve",
      "Serve tokens to programs and containers, or let agents call APIs without a token",
      () => import("../commands/serve/serve.ts"),
    ],
    [
      "browser-host",
      "Native messaging host for the browser extension linux-entra-sso",
      () => import("../commands/browser_host/browser_host.ts"),
    ],
  ),
  group(
    "This machine",
    [
      "doctor",
      "Find out why this machine cannot get a token, and how to fix it",
      () => import("../commands/doctor/doctor.ts"),
    ],
    [
      "app",
      "Print the redirect URIs for an app registration, and how to add them",
      () => import("../commands/app.ts"),
    ],
    ["completions", "Print the completions for a shell", () => import("./completions.ts")],
    ["man", "Print the manual page", () => import("./help.ts")],
  ),
];

const ENTRIES: readonly CommandEntry[] = GROUPS.flatMap(({ commands }) => commands);

/** `latchkey CONFIG.json`, which is called with a file's name. */
export const CONFIG_FILE: CommandEntry = ENTRIES.find(({ name }) => name.endsWith(".json"))!;

/** The commands that are called by name. */
export const COMMANDS: readonly CommandEntry[] = ENTRIES.filter((entry) => entry !== CONFIG_FILE);

/** Finds a command by its name, or its other one. */
export function commandNamed(word: string | undefined): CommandEntry | undefined {
  return COMMANDS.find(({ name, alias }) => name === word || alias !== undefined && alias === word);
}

/** Words of other programs for our commands, which no spelling error explains. */
export const OTHER_WORDS: Readonly<Record<string, string>> = {
  ...{ signin: "login", "sign-in": "login", auth: "login", signout: "logout", "sign-out": "logout" },
  ...{ "get-token": "token", get_token: "token", "get-access-token": "token", list: "accounts", ls: "accounts" },
  ...{ version: "--version", "-V": "--version", "-v": "--version" },
};

export async function loadGroups(): Promise<readonly CommandGroup[]> {
  return await Promise.all(
    GROUPS.map(async ({ title, commands }) => {
      const modules = await Promise.all(commands.map(({ load }) => load()));
      return { title, commands: modules.map(({ command }) => command) };
    }),
  );
}
