/**
 * Commands that other programs call: git, kubectl, Azure's SDKs, browsers.
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
  type Command,
  INTERACTIVE,
  MIN_TTL,
  NONCE,
  type Option,
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
} from "./options.ts";

/** Tokens for programs that know of managed identities. */
const SERVE: Command = {
  name: "serve",
  summary: "Hand tokens to programs that know of managed identities, in containers and elsewhere",
  usage: "serve --client-id ID --resource URL... (--socket PATH | --port PORT | -- COMMAND...) [options], " +
    "or serve --forward SOCKET -- COMMAND...",
  operands: Infinity,
  operand: { value: "COMMAND" },
  wraps: true,
  isService: true,
  options: [
    // What is handed out is said where it is served, and nowhere else.
    ...SCOPES.map((option): Option => ({
      ...option,
      kind: "list",
      environment: false,
      fromProfile: false,
      summary: option.name === "scope"
        ? "A scope to hand out, written as it is asked for; may be repeated"
        : "A resource to hand out, written as it is asked for; may be repeated",
    })),
    {
      name: "socket",
      kind: "text",
      value: "PATH",
      summary: "Serve on this Unix socket, which this user alone can reach",
    },
    {
      name: "port",
      kind: "text",
      value: "PORT",
      environment: false,
      summary: "Serve on this port of 127.0.0.1, to who knows the secret that is printed; 0: the system chooses one",
    },
    {
      name: "forward",
      kind: "text",
      value: "SOCKET",
      summary: "Run COMMAND, and pass on what it asks for to the server on this socket",
    },
    {
      name: "secret-file",
      kind: "text",
      value: "PATH",
      summary: "Keep the secret of --port in this file, and do not print it",
    },
    { name: "idle", kind: "seconds", value: "SECONDS", summary: "End when nobody has asked for so long" },
    {
      name: "identity",
      kind: "list",
      value: "ID",
      summary: "Client, object or resource id of a managed identity that may be asked for; may be repeated",
    },
    {
      ...INTERACTIVE,
      choices: ["never", "auto"],
      default: "never",
      environment: false,
      summary:
        "Whether a window or the browser may be opened for a request; auto: when stdin and stderr are a terminal",
    },
    ACCOUNT,
    TENANT,
    ...APP,
    VERBOSE,
  ],
  unlike: { timeout: "it serves until it is ended; --idle SECONDS ends it when nobody asks" },
  examples: [
    [
      "latchkey serve --client-id azure-cli --resource https://management.azure.com -- python3 app.py",
      "DefaultAzureCredential in app.py finds the person's token",
    ],
    [
      "latchkey serve --client-id azure-cli --resource https://management.azure.com --socket $XDG_RUNTIME_DIR/latchkey/identity",
      "for containers that the socket's folder is mounted in",
    ],
    ["latchkey serve --forward /run/latchkey/identity -- python3 app.py", "in such a container"],
  ],
};

const SUBSCRIPTION: Option = {
  name: "subscription",
  kind: "text",
  value: "ID",
  summary: "Subscription that az account show names (the tenant, as for an account without subscriptions)",
};

/** What the shim runs. */
const AZ: Command = {
  name: "az",
  summary: "Answer what programs ask Azure CLI for: tokens, the account, the version",
  usage: "az --client-id ID [options] -- account get-access-token | account show | login | version ...",
  operands: Infinity,
  operand: { value: "WORD" },
  wraps: true,
  options: [ACCOUNT, ...APP, TENANT, SUBSCRIPTION, TIMEOUT, VERBOSE],
  examples: [
    [
      "latchkey az --client-id azure-cli -- account get-access-token --resource https://management.azure.com",
      "as az prints it",
    ],
    ["latchkey az --client-id azure-cli -- account show --query user.name -o tsv", "whose tokens programs get"],
  ],
};

/** Installs it. */
const AZ_SHIM: Command = {
  name: "az-shim",
  summary: "Write a program named az that answers Azure's SDKs and Terraform by latchkey",
  usage: "az-shim --install DIR --client-id ID [options]",
  operands: 0,
  options: [
    { name: "install", kind: "text", value: "DIR", environment: false, summary: "Folder to write it to" },
    { name: "force", kind: "switch", environment: false, summary: "Write it in the place of an az that is there" },
    ACCOUNT,
    ...APP,
    TENANT,
    SUBSCRIPTION,
  ],
  examples: [
    [
      'eval "$(latchkey az-shim --install ~/.local/share/latchkey/bin --client-id azure-cli)"',
      "AzureCliCredential and Terraform in this shell get the broker's tokens",
    ],
  ],
};

/** git's credential helper. */
const GIT: Command = {
  name: "git",
  summary: "Give git tokens for Azure DevOps, as a credential helper",
  usage: "git --client-id ID [options] get|store|erase",
  operands: 1,
  operand: { value: "OPERATION", choices: ["get", "store", "erase"] },
  options: [
    ACCOUNT,
    ...APP,
    TENANT,
    {
      ...INTERACTIVE,
      summary: "Whether a window or the browser may be opened; auto: when stderr is a terminal",
    },
    ...BROWSER.filter(({ name }) => name !== "no-browser"),
    TIMEOUT,
    VERBOSE,
  ],
  unlike: {
    "no-browser": "git has its standard input, where the address would be pasted; latchkey login --no-browser takes it",
    scope: "the server says what the token is for; git in latchkey/config.json has it for other servers",
    resource: "the server says what the token is for; git in latchkey/config.json has it for other servers",
  },
  examples: [
    [
      "git config --global credential.https://dev.azure.com.helper '!latchkey git --client-id ID'",
      "git asks for what it needs from then on",
    ],
    [
      "git config --global credential.https://dev.azure.com.helper '!latchkey git'",
      "the same, with the client id in LATCHKEY_CLIENT_ID or in the default profile",
    ],
  ],
};

/** kubectl's credential plugin. */
const KUBE: Command = {
  name: "kube",
  summary: "Print a token for kubectl, as its credential plugin",
  usage: "kube --client-id ID --server-id ID [options]",
  operands: 0,
  options: [
    {
      name: "server-id",
      kind: "text",
      value: "ID",
      summary: "App that the cluster takes tokens for: a GUID or a URL",
    },
    ACCOUNT,
    ...APP,
    TENANT,
    { ...INTERACTIVE, summary: `${INTERACTIVE.summary}, and the caller lets` },
    ...BROWSER,
    { name: "force-refresh", kind: "switch", summary: "Ask for a new token although there is a good one" },
    MIN_TTL,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    [
      "latchkey kube --client-id azure-cli --server-id 6dae42f8-4368-4678-94ff-3960e28e3630",
      "for Azure Kubernetes Service: what a kubeconfig's exec section calls",
    ],
  ],
};

/** Browsers' native messaging host. */
const BROWSER_HOST: Command = {
  name: "browser-host",
  summary: "Sign browsers in: the native messaging host of the extension linux-entra-sso",
  usage: "browser-host --install [--browser NAME...] [options]",
  operands: 2, // browsers name the manifest or the extension that it is started for
  isService: true,
  options: [
    { name: "install", kind: "switch", environment: false, summary: "Tell browsers of it: write their manifests" },
    { name: "uninstall", kind: "switch", environment: false, summary: "Take that back" },
    {
      name: "browser",
      kind: "list",
      value: "NAME",
      environment: false,
      summary: "firefox, thunderbird, librewolf, chromium, chrome, edge, brave or vivaldi (those that were started)",
    },
    {
      name: "extension-id",
      kind: "list",
      value: "ID",
      environment: false,
      summary: "Let this extension use it as well: one that you built",
    },
    { name: "force", kind: "switch", environment: false, summary: "Replace another program's manifest" },
    BROWSER_CLIENT_ID,
    PROFILE,
    {
      name: "parent-window",
      kind: "text",
      value: "HANDLE",
      environment: false,
      summary: "What Chromium adds on Windows; without effect",
    },
    VERBOSE,
  ],
  examples: [
    ["latchkey browser-host --install", "for every browser that this person has started"],
    ["latchkey browser-host --install --browser firefox --browser chromium", "for these"],
    ["latchkey browser-host --uninstall", "as it was before"],
  ],
};

/** These commands, in the order of the help. */
const TOOL_COMMANDS: readonly Command[] = [AZ_SHIM, AZ, GIT, KUBE, SERVE, BROWSER_HOST];

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
