/**
 * Options, and those that several commands share.
 *
 * @module
 */

export interface Option {
  /** Long name, without dashes. */
  readonly name: string;
  /** `text`: one value; `list`: may be repeated; `switch`: on or off; `count`: the number of repetitions; `seconds`: a number. */
  readonly kind: "text" | "list" | "switch" | "count" | "seconds";
  readonly alias?: string;
  /** `true`: each value of a list is one, also if it has spaces. @default false */
  readonly hasSpaces?: boolean;
  /** Name of the value in the help. A shell completes PATH, FILE, SOCKET, DIR, FOLDER and COMMAND. */
  readonly value?: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  /** Meaning of each choice, for the help. */
  readonly meanings?: Readonly<Record<string, string>>;
  /** Heading of the help for an option that few callers need. */
  readonly group?: "Sign-in options" | "Cache options" | "Request options" | "Endpoint options" | undefined;
  /** Values that the environment may have for other commands: here they are ignored. */
  readonly foreignChoices?: readonly string[];
  /** Values that a shell offers, though others are accepted as well. */
  readonly suggestions?: readonly string[];
  readonly default?: string;
  /** `false`: `LATCHKEY_<NAME>` in the environment is not read, since commands mean different things by it. @default true */
  readonly environment?: boolean;
  /** `false`: a profile's value is not used, since the command means something else by it. @default true */
  readonly fromProfile?: boolean;
  /** Imperative or noun phrase that describes it in one line. */
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

/** A command as the parser, the help and the completions know it. */
export interface CommandSyntax {
  readonly name: string;
  /** Another name. */
  readonly alias?: string;
  /** Imperative or noun phrase that describes it in one line. */
  readonly summary: string;
  /** Its arguments, as the help shows them. */
  readonly usage: string;
  /** The greatest number of arguments that are not options. */
  readonly operands: number;
  /** Kind of these arguments, for a shell that completes them. @default files */
  readonly operand?: Pick<Option, "choices"> & { readonly value: string };
  /** `true`: its arguments are another command's words, which come only after `--` and stay as they are. @default false */
  readonly wraps?: boolean;
  readonly options: readonly Option[];
  /** Reasons why it lacks options that other commands have, by the options' names. */
  readonly unlike?: Readonly<Record<string, string>>;
  /** Examples, each with its form for Windows if that differs; an empty one is not for Windows. */
  readonly examples: readonly (readonly [line: string, why: string, onWindows?: string])[];
}

export interface ChoiceOption<Choice extends string> extends Option {
  readonly kind: "text";
  readonly choices: readonly Choice[];
  readonly default: Choice;
}

export function textOption(name: string, value: string, summary: string): Option & { readonly kind: "text" } {
  return { name, kind: "text", value, summary };
}

/** Returns an option with one of several values, each with its meaning; the first is the default. */
export function choiceOption<const Choice extends string>(
  name: string,
  meanings: Readonly<Record<Choice, string>>,
  summary: string,
): ChoiceOption<Choice> {
  const choices = Object.keys(meanings) as [Choice];
  return { name, kind: "text", choices, meanings, default: choices[0], summary };
}

export function switchOption(name: string, summary: string): Option & { readonly kind: "switch" } {
  return { name, kind: "switch", summary };
}

export const VERBOSE: Option & { readonly kind: "count" } = {
  name: "verbose",
  alias: "v",
  kind: "count",
  summary: "Log to stderr; -vv logs everything except secrets",
};

export const TIMEOUT: Option = {
  name: "timeout",
  kind: "seconds",
  value: "SECONDS",
  summary: "Time limit for the whole command",
};

export const MIN_TTL: Option = {
  ...TIMEOUT,
  name: "min-ttl",
  group: "Cache options",
  summary: "Renew a token that expires in less than SECONDS",
};

export const FORCE_REFRESH: Option & { readonly kind: "switch" } = {
  ...switchOption("force-refresh", "Request a new token even if a cached one is still valid"),
  group: "Cache options",
};

export const CLAIMS: Option = {
  ...textOption("claims", "JSON", "Claims from a claims challenge"),
  group: "Request options",
};

export const NONCE: Option = textOption("nonce", "NONCE", "Nonce from the resource, signed with the request");

export const TENANT: Option = textOption("tenant", "TENANT", "Tenant (id or domain) to use instead of the authority's");

export const ACCOUNT: Option = textOption(
  "account",
  "USER",
  "User name or home account id (default: the account of the device)",
);

/** Tenant of the account, for commands that act on one of several. */
export const ACCOUNT_TENANT: Option = {
  ...TENANT,
  summary: "Tenant id of the account; required if the user has accounts in several tenants",
};

/** Account, for commands that act on one of several. */
export const CHOSEN_ACCOUNT: Option = {
  ...ACCOUNT,
  summary: "User name or home account id; required if there are several accounts",
};

const SCOPE: Option = {
  name: "scope",
  kind: "list",
  value: "SCOPE",
  summary: "Scope to request, such as User.Read; may be repeated",
};
const RESOURCE = textOption("resource", "URL", "Shorthand for --scope URL/.default");

export const SCOPES: readonly Option[] = [SCOPE, RESOURCE];

/** A server that states which tokens it needs. Each call names its own. */
export const FOR: Option = {
  ...textOption("for", "URL", "Protected server, such as an MCP server, that states the scopes it needs"),
  environment: false,
  fromProfile: false,
};

/** Everything that the app may do with Microsoft Graph. */
export const GRAPH_SCOPE = "https://graph.microsoft.com/.default";

/** The options of `SCOPES`, for commands that have a default scope. */
export const SCOPES_OR_DEFAULT: readonly Option[] = [
  {
    ...SCOPE,
    summary: `${SCOPE.summary} (default: ${GRAPH_SCOPE}, or email at other providers)`,
  },
  RESOURCE,
];

export const INTERACTIVE: ChoiceOption<"auto" | "never" | "always"> = {
  ...choiceOption("interactive", {
    auto: "If stdin and stderr are terminals",
    never: "Fail if a prompt is required",
    always: "Whenever a prompt is required",
  }, "When to prompt the user"),
  value: "WHEN",
  group: "Sign-in options",
};

/** Path of the redirect URI at providers other than Microsoft. */
export const REDIRECT_PATH: Option = {
  ...textOption(
    "redirect-path",
    "PATH",
    "Path of the redirect URI, for providers other than Microsoft",
  ),
  group: "Sign-in options",
};

export const BROWSER: readonly Option[] = [
  {
    ...switchOption("no-browser", "Do not open a browser; print the sign-in URL and read back the redirect URL"),
    group: "Sign-in options",
  },
  { ...textOption("port", "PORT", "Local port for the browser's redirect"), group: "Sign-in options" },
  REDIRECT_PATH,
];

export const BROKER: ChoiceOption<"auto" | "require" | "never"> = {
  ...choiceOption("broker", {
    auto: "If the device has one",
    require: "Always; fail without one",
    never: "Never; sign in through the browser",
  }, "When to use the device's broker"),
  value: "WHEN",
  group: "Sign-in options",
};

export const STORE: ChoiceOption<"auto" | "file" | "plaintext" | "memory"> = {
  ...choiceOption("store", {
    auto: "file if possible, otherwise memory",
    file: "Encrypted file",
    plaintext: "Unencrypted file in MSAL's format",
    memory: "Nothing is stored",
  }, "Where to store sign-ins without a broker"),
  value: "STORE",
  group: "Cache options",
};

export const CACHE: readonly Option[] = [
  STORE,
  {
    ...textOption(
      "cache-file",
      "PATH",
      "Unencrypted file for sign-ins without a broker, shared with MSAL and Azure CLI",
    ),
    group: "Cache options",
  },
];

export const PROFILE: Option = textOption(
  "profile",
  "NAME",
  "Profile to read options from (without --client-id, the one named default)",
);

export const AUTHORITY: Option = {
  ...textOption("authority", "URL", "Issuer of the token (default: https://login.microsoftonline.com/common)"),
  group: "Sign-in options",
};

/** Microsoft's own apps whose ids people know by name. */
export const WELL_KNOWN_CLIENTS: Readonly<Record<string, string>> = {
  "azure-cli": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
  "azure-powershell": "1950a258-227b-4e31-a9cf-717495945fc2",
  "graph-cli": "14d82eec-204b-4c2f-b7e8-296a70dab67e",
  "visual-studio": "872cd9fa-d31f-45e0-9eab-6e460a02d1f1",
  "vscode": "aebc6443-996d-45c2-90f0-388ff96faa56",
};

export const CLIENT_ID: Option = {
  name: "client-id",
  kind: "text",
  value: "ID",
  suggestions: Object.keys(WELL_KNOWN_CLIENTS),
  summary: "App id: a GUID, azure-cli, azure-powershell, graph-cli, visual-studio or vscode",
};

/**
 * Client id for commands that sign a browser in. The only one that is built in is Microsoft Edge's, which linux-entra-sso uses
 * as well.
 */
export const BROWSER_CLIENT_ID: Option = {
  ...CLIENT_ID,
  summary: "App id, such as Microsoft Edge's",
  default: "d7b530a4-7680-4c23-a8bf-c52c121d2e87",
};

/** Options of every command that has an app. */
export const APP: readonly Option[] = [CLIENT_ID, AUTHORITY, BROKER, ...CACHE, PROFILE];
