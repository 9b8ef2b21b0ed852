/**
 * The commands and their options: read by the parser, by `--help`, and for the shells' completions and the manual page.
 *
 * @module
 */
import {
  ACCOUNT,
  APP,
  AUTHORITY,
  BROKER,
  BROWSER,
  BROWSER_CLIENT_ID,
  CLIENT_ID,
  INTERACTIVE,
  MIN_TTL,
  NONCE,
  PROFILE,
  REDIRECT_PATH,
  SCOPES,
  SCOPES_OR_DEFAULT,
  STORE,
  TENANT,
  TEXT_FORMAT,
  TIMEOUT,
  TOKEN_FORMAT,
  VERBOSE,
} from "./command_options.ts";
import type { Command } from "./command.ts";
import { TOOL_COMMANDS } from "./tool_commands.ts";

/** Commands about tokens and accounts. */
const TOKEN_COMMANDS: readonly Command[] = [
  {
    name: "token",
    summary: "Print an access token",
    usage: "token --client-id ID (--scope SCOPE... | --resource URL) [options]",
    operands: 0,
    options: [
      ...SCOPES,
      ACCOUNT,
      ...APP,
      TENANT,
      INTERACTIVE,
      ...BROWSER,
      { name: "claims", kind: "text", value: "JSON", summary: "Answer a claims challenge" },
      { name: "force-refresh", kind: "switch", summary: "Ask for a new token although there is a good one" },
      MIN_TTL,
      {
        name: "pop",
        kind: "text",
        value: '"METHOD URL"',
        summary: "Bind the token to one HTTP request (proof of possession)",
      },
      NONCE,
      TOKEN_FORMAT,
      TIMEOUT,
      VERBOSE,
    ],
    examples: [
      ["latchkey token --client-id azure-cli --resource https://management.azure.com", "the token alone, for a script"],
      [
        "latchkey token --client-id ID --scope User.Read --format header | curl -H @- https://graph.microsoft.com/v1.0/me",
        "the token never shows in the process list",
      ],
      [
        "token=$(latchkey token --client-id azure-cli --resource https://ossrdbms-aad.database.windows.net) && PGPASSWORD=$token psql ...",
        "a password for Azure Database",
      ],
    ],
  },
  {
    name: "login",
    summary: "Sign a person in, silently where that is possible, and print the account",
    usage: "login --client-id ID [options]",
    operands: 0,
    options: [
      { ...ACCOUNT, summary: "User name of the person who has to sign in: of another nothing is kept" },
      ...SCOPES_OR_DEFAULT,
      ...APP.map((option) =>
        option === PROFILE
          ? { ...PROFILE, summary: "Take the options from this profile, and write them, and who signed in, to it" }
          : option
      ),
      TENANT,
      {
        name: "prompt",
        kind: "text",
        choices: ["none", "login", "consent", "create", "select_account"],
        summary: "Ask the person even so: login for a password, select_account for whom; none: ask nobody",
      },
      ...BROWSER,
      {
        name: "device-code",
        kind: "switch",
        summary: "Sign in on another device, by a code; organisations that let in managed devices alone refuse it",
      },
      { name: "claims", kind: "text", value: "JSON", summary: "Answer a claims challenge" },
      TEXT_FORMAT,
      TIMEOUT,
      VERBOSE,
    ],
    examples: [
      ["latchkey login --client-id azure-cli", "the account of the device, a window, or the browser"],
      ["latchkey login --client-id azure-cli --prompt select_account", "another account"],
      ["latchkey login --client-id azure-cli --no-browser", "over SSH: with the browser of another machine"],
      [
        "latchkey login --profile work --client-id ID --tenant contoso.com",
        "remembered by a name, for latchkey token --profile work --scope User.Read",
      ],
    ],
  },
  {
    name: "logout",
    summary: "Sign an account out of this app",
    usage: "logout --client-id ID [--account USER] [--from-broker] [options]",
    operands: 0,
    options: [
      { ...ACCOUNT, summary: "User name or home account id; needed when there are several" },
      ...APP,
      {
        name: "from-broker",
        kind: "switch",
        summary: "Take it from the device's broker, and so perhaps from other apps",
      },
      TIMEOUT,
      VERBOSE,
    ],
    unlike: {
      tenant: "it signs an account out of all its tenants; --account USER, or a home account id, says which account",
    },
    examples: [
      ["latchkey logout --client-id azure-cli", "no token without a new sign-in; other apps keep theirs"],
      ["latchkey logout --client-id azure-cli --account jane@contoso.com --from-broker", "the broker forgets it, too"],
    ],
  },
  {
    name: "accounts",
    summary: "List the accounts that tokens can be had for",
    usage: "accounts --client-id ID [options]",
    operands: 0,
    options: [
      { ...ACCOUNT, fromProfile: false, summary: "Only accounts with this user name" },
      ...APP,
      TEXT_FORMAT,
      TIMEOUT,
      VERBOSE,
    ],
    unlike: { tenant: "it lists the accounts of all tenants; --account USER lists one alone" },
    examples: [
      ["latchkey accounts --client-id azure-cli", "user name, home account id and name, a line each"],
      ["latchkey accounts --client-id azure-cli --format json | jq -r '.[].username'", "for a script"],
    ],
  },
  {
    name: "cookie",
    summary: "Print a cookie that signs a browser in",
    usage: "cookie [options]",
    operands: 0,
    options: [
      {
        name: "url",
        kind: "text",
        value: "URL",
        environment: false,
        default: "https://login.microsoftonline.com/",
        summary: "Sign-in page that the cookie is for, with its sso_nonce",
      },
      { ...ACCOUNT, summary: "User name or home account id; needed when there are several" },
      ...APP.map((option) => option === CLIENT_ID ? BROWSER_CLIENT_ID : option),
      {
        name: "format",
        kind: "text",
        choices: ["cookie", "json", "header"],
        default: "cookie",
        summary: "How to print it",
      },
      {
        name: "yes-print-secret",
        kind: "switch",
        environment: false,
        summary: "Print it on a terminal, too: whoever sees the cookie can sign in with it",
      },
      TIMEOUT,
      VERBOSE,
    ],
    examples: [
      ["latchkey cookie --format header | curl -H @- https://login.microsoftonline.com/", "for the sign-in page alone"],
      ["latchkey cookie --yes-print-secret", "on the terminal"],
    ],
  },
  {
    name: "sign",
    summary: "Print a token that is bound to one HTTP request (a Signed HTTP Request)",
    usage: "sign --client-id ID --url URL [options]",
    operands: 0,
    options: [
      { name: "url", kind: "text", value: "URL", environment: false, summary: "Address that is called" },
      { name: "method", kind: "text", value: "METHOD", default: "GET", summary: "Method of the request" },
      NONCE,
      { ...ACCOUNT, summary: "User name or home account id; needed when there are several" },
      ...APP,
      {
        name: "format",
        kind: "text",
        choices: ["token", "json", "header"],
        default: "token",
        summary: "How to print it",
      },
      TIMEOUT,
      VERBOSE,
    ],
    examples: [["latchkey sign --client-id ID --url https://api.contoso.com/orders --format header", "for curl -H @-"]],
  },
];

/** Commands about this machine. */
const MACHINE_COMMANDS: readonly Command[] = [
  {
    name: "doctor",
    summary: "Look for what stands between this machine and a token, and say what mends it",
    usage: "doctor [--client-id ID] [options]",
    operands: 0,
    options: [
      ...APP,
      REDIRECT_PATH,
      TENANT,
      ...SCOPES_OR_DEFAULT,
      ACCOUNT,
      TEXT_FORMAT,
      { ...TIMEOUT, default: "30", summary: "Report what is known after so long" },
      VERBOSE,
    ],
    examples: [
      ["latchkey doctor", "the machine alone"],
      ["latchkey doctor --client-id azure-cli", "accounts and a silent token as well; the token is not shown"],
      [
        "latchkey doctor --format json | jq '.checks[] | select(.ok | not)'",
        "for a script: exit code 1 when one fails",
      ],
    ],
  },
  {
    name: "app",
    summary: "Print the redirect URIs that an app registration has to have, and how to add them",
    usage: "app --client-id ID [options]",
    operands: 0,
    options: [CLIENT_ID, AUTHORITY, REDIRECT_PATH, PROFILE, TEXT_FORMAT],
    examples: [
      ["latchkey app --client-id ID", "what to register, by Azure CLI or in the portal"],
      ["latchkey app --client-id ID --authority https://id.contoso.com", "the same at another provider"],
      [
        "latchkey app --client-id ID --format json | jq -r '.redirect_uris[].uri'",
        "the redirect URIs alone, for a script",
      ],
    ],
  },
  {
    name: "completions",
    summary: "Print what makes a shell complete latchkey's commands, options and values",
    usage: "completions bash|zsh|fish",
    operands: 1,
    operand: { value: "SHELL", choices: ["bash", "zsh", "fish"] },
    options: [
      {
        name: "profiles",
        kind: "switch",
        environment: false,
        summary: "Print the names of the profiles instead: what the shells ask for",
      },
    ],
    examples: [
      ["source <(latchkey completions bash)", "in ~/.bashrc"],
      ["source <(latchkey completions zsh)", "in ~/.zshrc, after compinit"],
      ["latchkey completions fish > ~/.config/fish/completions/latchkey.fish", "once"],
    ],
  },
  {
    name: "man",
    summary: "Print the manual page",
    usage: "man",
    operands: 0,
    options: [],
    examples: [
      ["latchkey man | man -l -", "to read it"],
      ["latchkey man > ~/.local/share/man/man1/latchkey.1", "to keep it, for man latchkey"],
    ],
  },
];

/** `latchkey CONFIG.json`: not a word, but a file's name. */
export const CONFIG_FILE_COMMAND: Command = {
  name: "CONFIG.json",
  summary: "Print a token as a file says that has client_id, authority, username and scope",
  usage: "CONFIG.json [options]",
  operands: 1,
  options: [BROKER, ...STORE, INTERACTIVE, ...BROWSER, TOKEN_FORMAT, TIMEOUT, VERBOSE],
  examples: [["latchkey parameters.json", "the documented pattern: accounts, a silent token, else a sign-in"]],
};

/** Commands that belong together. */
export interface CommandGroup {
  readonly title: string;
  readonly commands: readonly Command[];
}

/** All that can be called, in the order of the help. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  { title: "Tokens and accounts", commands: [...TOKEN_COMMANDS, CONFIG_FILE_COMMAND] },
  { title: "For other programs", commands: TOOL_COMMANDS },
  { title: "This machine", commands: MACHINE_COMMANDS },
].filter(({ commands }) => commands.length > 0);

/** The commands that a word calls. */
export const COMMANDS: readonly Command[] = [...TOKEN_COMMANDS, ...TOOL_COMMANDS, ...MACHINE_COMMANDS];
