/**
 * Options, and those that several commands share.
 *
 * @module
 */

/** An option of the command line. */
export interface Option {
  /** Long name, without dashes. */
  readonly name: string;
  /** `text`: one value; `list`: may be repeated; `switch`: on or off; `count`: the number of repetitions; `seconds`: a number. */
  readonly kind: "text" | "list" | "switch" | "count" | "seconds";
  /** One letter. */
  readonly alias?: string;
  /** Name of the value in the help. A shell completes PATH, FILE, SOCKET, DIR, FOLDER and COMMAND. */
  readonly value?: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  /** Values that the environment may have for other commands: here they are ignored. */
  readonly foreignChoices?: readonly string[];
  /** Values that a shell offers, though others are accepted as well. */
  readonly suggestions?: readonly string[];
  /** Value if it is given nowhere. */
  readonly default?: string;
  /** `false`: `LATCHKEY_<NAME>` in the environment is not read, since commands mean different things by it. @default true */
  readonly environment?: boolean;
  /** `false`: a profile's value is not used, since the command means something else by it. @default true */
  readonly fromProfile?: boolean;
  /** Description in one line. */
  readonly summary: string;
}

/** The type of an option's value: that of its choices, and never `undefined` if it has a default. */
export type OptionValue<O extends Option> = O extends { readonly kind: "switch" } ? boolean
  : O extends { readonly kind: "count" } ? number
  : O extends { readonly kind: "list" } ? readonly string[]
  :
    | (O extends { readonly kind: "seconds" } ? number
      : O extends { readonly choices: readonly (infer Choice)[] } ? Choice
      : string)
    | (O extends { readonly default: string } ? never : undefined);

/** Arguments beside options. */
export interface Operand {
  /** Name in the help, as with options. */
  readonly value: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
}

/** A command as the parser, the help and the completions know it. */
export interface CommandSyntax {
  /** The word that calls it. */
  readonly name: string;
  /** Description in one line. */
  readonly summary: string;
  /** Its arguments, as the help shows them. */
  readonly usage: string;
  /** The greatest number of arguments beside options. */
  readonly operands: number;
  /** Kind of these arguments, for a shell that completes them. @default files */
  readonly operand?: Operand;
  /** `true`: its arguments are another command's words, which come only after `--` and stay as they are. @default false */
  readonly wraps?: boolean;
  /** Its options. */
  readonly options: readonly Option[];
  /** Reasons why it lacks options that other commands have, by the options' names. */
  readonly unlike?: Readonly<Record<string, string>>;
  /** Example command lines, each with its purpose. */
  readonly examples: readonly (readonly [line: string, why: string])[];
}

/** Verbosity of the log on standard error. */
export const VERBOSE = {
  name: "verbose",
  alias: "v",
  kind: "count",
  summary: "Log to stderr; -vv logs everything but secrets",
} as const satisfies Option;

/** Time limit of the whole command. */
export const TIMEOUT = {
  name: "timeout",
  kind: "seconds",
  value: "SECONDS",
  summary: "Time limit of the whole command",
} as const satisfies Option;

/** Least remaining lifetime of a token. */
export const MIN_TTL = {
  name: "min-ttl",
  kind: "seconds",
  value: "SECONDS",
  summary: "Renew a token that expires sooner",
} as const satisfies Option;

/** A token from the server, even if a cached one is still valid. */
export const FORCE_REFRESH = {
  name: "force-refresh",
  kind: "switch",
  summary: "Request a new token even if a cached one is still valid",
} as const satisfies Option;

/** A claims challenge. */
export const CLAIMS = {
  name: "claims",
  kind: "text",
  value: "JSON",
  summary: "Answer a claims challenge",
} as const satisfies Option;

/** The formats of all commands: `LATCHKEY_FORMAT` may be set for another one. */
const FORMATS = ["token", "text", "cookie", "json", "header", "env", "az"] as const;

/** Returns `--format` with some of the formats; the first is the default. */
export function formatOption<const Formats extends readonly [Format, ...Format[]]>(
  choices: Formats,
  summary = "Output format",
): {
  readonly name: string;
  readonly kind: "text";
  readonly choices: Formats;
  readonly default: Formats[0];
  readonly foreignChoices: readonly string[];
  readonly summary: string;
} {
  return { name: "format", kind: "text", choices, default: choices[0], foreignChoices: FORMATS, summary };
}

type Format = (typeof FORMATS)[number];

/** Format of an access token. */
export const TOKEN_FORMAT = formatOption(
  ["token", "json", "header", "env", "az"],
  "Output format; az is what az account get-access-token prints",
);

/** Format of accounts and the like. */
export const TEXT_FORMAT = formatOption(["text", "json"]);

/** Nonce of a signed request. */
export const NONCE = {
  name: "nonce",
  kind: "text",
  value: "TEXT",
  summary: "Nonce from the resource, signed with the request",
} as const satisfies Option;

/** Account of a token. */
export const ACCOUNT = {
  name: "account",
  kind: "text",
  value: "USER",
  summary: "User name, such as jane@contoso.com, or home account id (the account of the device)",
} as const satisfies Option;

/** Account, for commands that act on one of several. */
export const CHOSEN_ACCOUNT = {
  ...ACCOUNT,
  summary: "User name or home account id; needed if there are several accounts",
} as const satisfies Option;

/** Scopes of a token. */
export const SCOPES: readonly Option[] = [
  {
    name: "scope",
    kind: "list",
    value: "SCOPE",
    summary: "Scope to request, such as User.Read; may be repeated",
  },
  { name: "resource", kind: "text", value: "URL", summary: "Short for --scope URL/.default" },
];

/** The same, for commands that have a default. */
export const SCOPES_OR_DEFAULT: readonly Option[] = SCOPES.map((option) =>
  option.name === "scope"
    ? {
      ...option,
      summary: `${option.summary} (https://graph.microsoft.com/.default; email if the authority is not Microsoft's)`,
    }
    : option
);

/** Permission to prompt. */
export const INTERACTIVE = {
  name: "interactive",
  kind: "text",
  choices: ["auto", "never", "always"],
  default: "auto",
  summary: "Whether a window or the browser may be opened; auto: if stdin and stderr are a terminal",
} as const satisfies Option;

/** Tenant to ask. */
export const TENANT = {
  name: "tenant",
  kind: "text",
  value: "TENANT",
  summary: "Tenant id or domain to ask instead of the authority's",
} as const satisfies Option;

/** Path of the redirect URI at providers other than Microsoft. */
export const REDIRECT_PATH = {
  name: "redirect-path",
  kind: "text",
  value: "PATH",
  summary: "Path of the redirect URI http://127.0.0.1/PATH; only if the authority is not Microsoft's (its own)",
} as const satisfies Option;

/** Use of the browser if there is no broker. */
export const BROWSER: readonly Option[] = [
  {
    name: "no-browser",
    kind: "switch",
    summary: "Open no browser: print the address, and read the address that the sign-in ends at",
  },
  { name: "port", kind: "text", value: "PORT", summary: "Local port that the browser is redirected to" },
  REDIRECT_PATH,
];

/** Use of the device's broker. */
export const BROKER = {
  name: "broker",
  kind: "text",
  choices: ["auto", "require", "never"],
  default: "auto",
  summary: "Use the device's broker if there is one, always, or never",
} as const satisfies Option;

/** Kind of the token cache. */
export const STORE = {
  name: "store",
  kind: "text",
  choices: ["auto", "file", "plaintext", "memory"],
  default: "auto",
  summary: "Where sign-ins without a broker are kept: encrypted files (auto: if possible), MSAL's file, or nowhere",
} as const satisfies Option;

const CACHE_FILE: Option = {
  name: "cache-file",
  kind: "text",
  value: "PATH",
  summary: "Keep them in this file, unencrypted: MSAL and Azure CLI can share it",
};

/** Options of the token cache. */
export const CACHE: readonly Option[] = [STORE, CACHE_FILE];

/** Options from the configuration file. */
export const PROFILE: Option = {
  name: "profile",
  kind: "text",
  value: "NAME",
  summary: "Read client id, account and more from what latchkey login --profile wrote (default, without --client-id)",
};

/** Apps of Microsoft's whose ids people know by name. */
export const WELL_KNOWN_CLIENTS: Readonly<Record<string, string>> = {
  "azure-cli": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
  "azure-powershell": "1950a258-227b-4e31-a9cf-717495945fc2",
  "graph-cli": "14d82eec-204b-4c2f-b7e8-296a70dab67e",
  "visual-studio": "872cd9fa-d31f-45e0-9eab-6e460a02d1f1",
  "vscode": "aebc6443-996d-45c2-90f0-388ff96faa56",
};

/** Client id of the app. */
export const CLIENT_ID: Option = {
  name: "client-id",
  kind: "text",
  value: "ID",
  suggestions: Object.keys(WELL_KNOWN_CLIENTS),
  summary: "Client id of the app: a GUID, azure-cli, azure-powershell, graph-cli, visual-studio or vscode",
};

/**
 * Client id for commands that sign a browser in. The only one that is built in is Microsoft Edge's, which linux-entra-sso uses
 * as well.
 */
export const BROWSER_CLIENT_ID: Option = { ...CLIENT_ID, default: "d7b530a4-7680-4c23-a8bf-c52c121d2e87" };

/** Issuer of the token. */
export const AUTHORITY: Option = {
  name: "authority",
  kind: "text",
  value: "URL",
  summary: "Issuer of the token (https://login.microsoftonline.com/common)",
};

/** Everything that the app may do with Microsoft Graph. */
export const GRAPH_SCOPE = "https://graph.microsoft.com/.default";

/** Options of every command that has an app. */
export const APP: readonly Option[] = [CLIENT_ID, AUTHORITY, BROKER, ...CACHE, PROFILE];
