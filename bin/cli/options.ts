/**
 * Options that several commands have.
 *
 * @module
 */

/** An option of the command line. */
export interface Option {
  /** Long name, without dashes. */
  readonly name: string;
  /** `text`: one value; `list`: may be repeated; `switch`: there or not; `count`: the more, the more; `seconds`: a number of them. */
  readonly kind: "text" | "list" | "switch" | "count" | "seconds";
  /** One letter. */
  readonly alias?: string;
  /** What the value is called in the help. A shell completes PATH, FILE and SOCKET, FOLDER, and COMMAND. */
  readonly value?: string;
  /** The values that are taken. */
  readonly choices?: readonly string[];
  /** Values that a shell offers, though others are taken as well. */
  readonly suggestions?: readonly string[];
  /** Value when it is given nowhere. */
  readonly default?: string;
  /** Whether `LATCHKEY_<NAME>` in the environment says it as well: not where commands mean different things by it. @default true */
  readonly environment?: boolean;
  /** Whether a profile says it, where it can: not where the command means another thing by it. @default true */
  readonly fromProfile?: boolean;
  /** What it does, in one line. */
  readonly summary: string;
}

/** How much is said on standard error. */
export const VERBOSE: Option = {
  name: "verbose",
  alias: "v",
  kind: "count",
  summary: "Say on stderr what is done; -vv says all",
};

/** Time limit of the whole command. */
export const TIMEOUT: Option = {
  name: "timeout",
  kind: "seconds",
  value: "SECONDS",
  summary: "Give up after so long",
};

/** How long a token has to be good for. */
export const MIN_TTL: Option = {
  name: "min-ttl",
  kind: "seconds",
  value: "SECONDS",
  summary: "Renew a token that ends sooner",
};

/** How a token is printed. */
export const TOKEN_FORMAT: Option = {
  name: "format",
  kind: "text",
  choices: ["token", "json", "header", "env", "az"],
  default: "token",
  summary: "How to print it; az is what az account get-access-token prints",
};

/** How accounts and the like are printed. */
export const TEXT_FORMAT: Option = {
  name: "format",
  kind: "text",
  choices: ["text", "json"],
  default: "text",
  summary: "How to print it",
};

/** What goes into a signed request beside the request. */
export const NONCE: Option = {
  name: "nonce",
  kind: "text",
  value: "TEXT",
  summary: "What the resource sent to be signed with the request",
};

/** Who a token is for. */
export const ACCOUNT: Option = {
  name: "account",
  kind: "text",
  value: "USER",
  summary: "User name, such as jane@contoso.com, or home account id (the account of the device)",
};

/** What a token is for. */
export const SCOPES: readonly Option[] = [
  {
    name: "scope",
    kind: "list",
    value: "SCOPE",
    summary: "What the token is for, such as User.Read; may be repeated",
  },
  { name: "resource", kind: "text", value: "URL", summary: "Short for --scope URL/.default" },
];

/** The same, where a command has a default. */
export const SCOPES_OR_DEFAULT: readonly Option[] = SCOPES.map((option) =>
  option.name === "scope"
    ? {
      ...option,
      summary: `${option.summary} (https://graph.microsoft.com/.default; email where the authority is not Microsoft's)`,
    }
    : option
);

/** Whether a person may be asked. */
export const INTERACTIVE: Option = {
  name: "interactive",
  kind: "text",
  choices: ["auto", "never", "always"],
  default: "auto",
  summary: "Whether a window or the browser may be opened; auto: when stdin and stderr are a terminal",
};

/** Which tenant is asked. */
export const TENANT: Option = {
  name: "tenant",
  kind: "text",
  value: "TENANT",
  summary: "Tenant id or domain to ask instead of the authority's",
};

/** Where the browser comes back to, at providers that are not Microsoft's. */
export const REDIRECT_PATH: Option = {
  name: "redirect-path",
  kind: "text",
  value: "PATH",
  summary: "Path of the redirect URI http://127.0.0.1/PATH; only where the authority is not Microsoft's (its own)",
};

/** How the browser is used, where there is no broker. */
export const BROWSER: readonly Option[] = [
  {
    name: "no-browser",
    kind: "switch",
    summary: "Open no browser: print the address, and take the one that it ends at, pasted",
  },
  { name: "port", kind: "text", value: "PORT", summary: "Port of this machine that the browser comes back to" },
  REDIRECT_PATH,
];

/** Whether the device's broker is asked. */
export const BROKER: Option = {
  name: "broker",
  kind: "text",
  choices: ["auto", "require", "never"],
  default: "auto",
  summary: "Use the device's broker where there is one, always, or never",
};

/** Where tokens are kept that came without a broker. */
export const STORE: readonly Option[] = [
  {
    name: "store",
    kind: "text",
    choices: ["auto", "file", "plaintext", "memory"],
    default: "auto",
    summary:
      "Where sign-ins without a broker are kept: encrypted files (auto: where they can be used), MSAL's file, nowhere",
  },
  {
    name: "cache-file",
    kind: "text",
    value: "PATH",
    summary: "Keep them in this file, unencrypted: MSAL and Azure CLI can share it",
  },
];

/** Which options are taken from the configuration file. */
export const PROFILE: Option = {
  name: "profile",
  kind: "text",
  value: "NAME",
  summary: "Take client id, account and more from what latchkey login --profile wrote (default, without --client-id)",
};

/** Apps of Microsoft's whose ids people know by name. */
export const WELL_KNOWN_CLIENTS: Readonly<Record<string, string>> = {
  "azure-cli": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
  "azure-powershell": "1950a258-227b-4e31-a9cf-717495945fc2",
  "graph-cli": "14d82eec-204b-4c2f-b7e8-296a70dab67e",
  "visual-studio": "872cd9fa-d31f-45e0-9eab-6e460a02d1f1",
  "vscode": "aebc6443-996d-45c2-90f0-388ff96faa56",
};

/** Which app. */
export const CLIENT_ID: Option = {
  name: "client-id",
  kind: "text",
  value: "ID",
  suggestions: Object.keys(WELL_KNOWN_CLIENTS),
  summary: "Client id of the app: a GUID, azure-cli, azure-powershell, graph-cli, visual-studio or vscode",
};

/**
 * The same, where the app is the browser's: the one client id that is built in is Microsoft Edge's, as which linux-entra-sso asks
 * for what signs a browser in.
 */
export const BROWSER_CLIENT_ID: Option = { ...CLIENT_ID, default: "d7b530a4-7680-4c23-a8bf-c52c121d2e87" };

/** Who is asked. */
export const AUTHORITY: Option = {
  name: "authority",
  kind: "text",
  value: "URL",
  summary: "Who issues the token (https://login.microsoftonline.com/common)",
};

/** Options of every command that has an app. */
export const APP: readonly Option[] = [
  CLIENT_ID,
  AUTHORITY,
  BROKER,
  ...STORE,
  PROFILE,
];

/** Arguments beside options. */
export interface Operand {
  /** What one is called, as with options. */
  readonly value: string;
  /** The values that are taken. */
  readonly choices?: readonly string[];
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
  /** What they are, for a shell that completes them. @default files */
  readonly operand?: Operand;
  /** Whether its arguments are the words of another command, which come after `--` alone, as they are. @default false */
  readonly wraps?: boolean;
  /** Whether it runs until it is ended, and heeds signals by itself. @default false */
  readonly isService?: boolean;
  /** Its options. */
  readonly options: readonly Option[];
  /** What to say of options that others have and this one has not, for a reason. */
  readonly unlike?: Readonly<Record<string, string>>;
  /** What people type, and why. */
  readonly examples: readonly (readonly [line: string, why: string])[];
}
