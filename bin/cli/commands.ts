/**
 * The commands: name, summary and loader of each. Its own file declares the rest.
 *
 * @module
 */
import type { Command, CommandGroup } from "./command_line.ts";

const GROUPS = ["Tokens and accounts", "For other programs", "This machine"] as const;

/** A command that is not loaded yet. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly group: (typeof GROUPS)[number];
  readonly load: () => Promise<{ readonly command: Command }>;
}

/** `latchkey CONFIG.json`: a file's name, and not a word. */
export const CONFIG_FILE: CommandEntry = {
  name: "CONFIG.json",
  summary: "Print a token for the client_id, authority, username and scope in a file",
  group: "Tokens and accounts",
  load: () => import("../config_file.ts"),
};

/** The commands, in the order of the help. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "token",
    summary: "Print an access token",
    group: "Tokens and accounts",
    load: () => import("../token.ts"),
  },
  {
    name: "login",
    summary: "Sign in, silently if possible, and print the account",
    group: "Tokens and accounts",
    load: () => import("../login.ts"),
  },
  {
    name: "logout",
    summary: "Sign an account out of this app",
    group: "Tokens and accounts",
    load: () => import("../logout.ts"),
  },
  {
    name: "accounts",
    summary: "List the accounts that tokens are available for",
    group: "Tokens and accounts",
    load: () => import("../accounts.ts"),
  },
  {
    name: "cookie",
    summary: "Print a cookie that signs a browser in",
    group: "Tokens and accounts",
    load: () => import("../cookie.ts"),
  },
  {
    name: "sign",
    summary: "Print a token that is bound to one HTTP request (a Signed HTTP Request)",
    group: "Tokens and accounts",
    load: () => import("../sign.ts"),
  },
  {
    name: "az-shim",
    summary: "Install an az program that answers Azure's SDKs and Terraform through latchkey",
    group: "For other programs",
    load: () => import("../az_shim.ts"),
  },
  {
    name: "az",
    summary: "Answer the Azure CLI calls of other programs: tokens, the account, the version",
    group: "For other programs",
    load: () => import("../az.ts"),
  },
  {
    name: "git",
    summary: "Git credential helper for Azure DevOps",
    group: "For other programs",
    load: () => import("../git.ts"),
  },
  {
    name: "kube",
    summary: "Credential plugin for kubectl",
    group: "For other programs",
    load: () => import("../kube.ts"),
  },
  {
    name: "serve",
    summary: "Managed-identity endpoint for programs, in containers and elsewhere",
    group: "For other programs",
    load: () => import("../serve/serve.ts"),
  },
  {
    name: "browser-host",
    summary: "Native messaging host of the browser extension linux-entra-sso, which signs browsers in",
    group: "For other programs",
    load: () => import("../browser_host/browser_host.ts"),
  },
  {
    name: "doctor",
    summary: "Find out why this machine cannot get a token, and how to fix it",
    group: "This machine",
    load: () => import("../doctor/doctor.ts"),
  },
  {
    name: "app",
    summary: "Print the redirect URIs that an app registration needs, and how to add them",
    group: "This machine",
    load: () => import("../app.ts"),
  },
  {
    name: "completions",
    summary: "Print a shell's completions for latchkey",
    group: "This machine",
    load: () => import("./completions.ts"),
  },
  {
    name: "man",
    summary: "Print the manual page",
    group: "This machine",
    load: () => import("./help.ts"),
  },
];

/** Returns the entries by group, in the order of the help. */
export function groupedEntries(): readonly { readonly title: string; readonly commands: readonly CommandEntry[] }[] {
  const byGroup = Map.groupBy([...COMMANDS, CONFIG_FILE], ({ group }) => group);
  return GROUPS.map((title) => ({ title, commands: byGroup.get(title) ?? [] }));
}

/** Loads all commands, for those that print them. */
export async function loadGroups(): Promise<readonly CommandGroup[]> {
  return await Promise.all(
    groupedEntries().map(async ({ title, commands }) => {
      const modules = await Promise.all(commands.map(({ load }) => load()));
      return { title, commands: modules.map(({ command }) => command) };
    }),
  );
}
