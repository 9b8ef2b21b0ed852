/**
 * Commands that other programs call: git, kubectl, Azure's SDKs, browsers.
 *
 * @module
 */
import type { Command } from "./command.ts";
import {
  ACCOUNT,
  APP,
  BROWSER,
  BROWSER_CLIENT_ID,
  INTERACTIVE,
  MIN_TTL,
  type Option,
  PROFILE,
  SCOPES,
  TENANT,
  TIMEOUT,
  VERBOSE,
} from "./command_options.ts";

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
export const TOOL_COMMANDS: readonly Command[] = [AZ_SHIM, AZ, GIT, KUBE, SERVE, BROWSER_HOST];
