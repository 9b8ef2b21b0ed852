/**
 * The commands and their options: read by the parser and by `--help`.
 *
 * @module
 */

/** An option of the command line. Each has `LATCHKEY_<NAME>` in the environment as well. */
export interface Option {
  /** Long name, without dashes. */
  readonly name: string;
  /** `text`: one value; `list`: may be repeated; `switch`: there or not; `count`: the more, the more; `seconds`: a number of them. */
  readonly kind: "text" | "list" | "switch" | "count" | "seconds";
  /** One letter. */
  readonly alias?: string;
  /** What the value is called in the help. */
  readonly value?: string;
  /** The values that are taken. */
  readonly choices?: readonly string[];
  /** Value when it is given nowhere. */
  readonly default?: string;
  /** What it does, in one line. */
  readonly summary: string;
}

/** A command. */
export interface Command {
  /** The word that calls it. */
  readonly name: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** Its arguments, as the help shows them. */
  readonly usage: string;
  /** How many arguments it takes beside options. */
  readonly operands: number;
  /** Its options. */
  readonly options: readonly Option[];
  /** What people type, and why. */
  readonly examples: readonly (readonly [line: string, why: string])[];
}

const TOKEN_FORMATS = ["token", "json", "header", "env", "az"];

const VERBOSE: Option = {
  name: "verbose",
  alias: "v",
  kind: "count",
  summary: "Say on stderr what is done; -vv says all",
};
const TIMEOUT: Option = { name: "timeout", kind: "seconds", value: "SECONDS", summary: "Give up after so long" };
const TOKEN_FORMAT: Option = {
  name: "format",
  kind: "text",
  choices: TOKEN_FORMATS,
  default: "token",
  summary: "How to print it; az is what az account get-access-token prints",
};

/** Options of every command that asks a broker. */
const APP: readonly Option[] = [
  {
    name: "client-id",
    kind: "text",
    value: "ID",
    summary: "Client id of the app: a GUID, azure-cli, azure-powershell, graph-cli, visual-studio or vscode",
  },
  {
    name: "authority",
    kind: "text",
    value: "URL",
    summary: "Who issues the token (https://login.microsoftonline.com/common)",
  },
  {
    name: "broker",
    kind: "text",
    choices: ["auto", "require", "never"],
    default: "auto",
    summary: "Use the device's broker where there is one, always, or never",
  },
];

/** All commands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  {
    name: "token",
    summary: "Print an access token",
    usage: "token --client-id ID (--scope SCOPE... | --resource URL) [options]",
    operands: 0,
    options: [
      {
        name: "scope",
        kind: "list",
        value: "SCOPE",
        summary: "What the token is for, such as User.Read; may be repeated",
      },
      { name: "resource", kind: "text", value: "URL", summary: "Short for --scope URL/.default" },
      {
        name: "account",
        kind: "text",
        value: "USER",
        summary: "User name, such as jane@contoso.com (the account of the device)",
      },
      ...APP,
      {
        name: "tenant",
        kind: "text",
        value: "TENANT",
        summary: "Tenant id or domain to ask instead of the authority's",
      },
      {
        name: "interactive",
        kind: "text",
        choices: ["never"],
        default: "never",
        summary: "Whether a window may be shown",
      },
      { name: "claims", kind: "text", value: "JSON", summary: "Answer a claims challenge" },
      { name: "force-refresh", kind: "switch", summary: "Ask for a new token although there is a good one" },
      { name: "min-ttl", kind: "seconds", value: "SECONDS", summary: "Renew a token that ends sooner" },
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
        "PGPASSWORD=$(latchkey token --client-id azure-cli --resource https://ossrdbms-aad.database.windows.net) psql ...",
        "a password for Azure Database",
      ],
    ],
  },
  {
    name: "accounts",
    summary: "List the accounts that tokens can be had for",
    usage: "accounts --client-id ID [options]",
    operands: 0,
    options: [
      { name: "account", kind: "text", value: "USER", summary: "Only accounts with this user name" },
      ...APP,
      { name: "format", kind: "text", choices: ["text", "json"], default: "text", summary: "How to print them" },
      TIMEOUT,
      VERBOSE,
    ],
    examples: [
      ["latchkey accounts --client-id azure-cli", "user name, home account id and name, a line each"],
      ["latchkey accounts --client-id azure-cli --format json | jq -r '.[].username'", "for a script"],
    ],
  },
];

/** `latchkey CONFIG.json`: not a word, but a file's name. */
export const CONFIG_FILE_COMMAND: Command = {
  name: "CONFIG.json",
  summary: "Print a token as a file says that has client_id, authority, username and scope",
  usage: "CONFIG.json [options]",
  operands: 1,
  options: [TOKEN_FORMAT, TIMEOUT, VERBOSE],
  examples: [["latchkey parameters.json", "the documented pattern: accounts, then a silent token"]],
};
