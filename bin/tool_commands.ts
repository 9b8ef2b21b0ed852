/**
 * Commands that other programs call: git, kubectl, Azure's SDKs, browsers.
 *
 * @module
 */
import { ACCOUNT, APP, BROWSER, INTERACTIVE, MIN_TTL, TENANT, TIMEOUT, VERBOSE } from "./command_options.ts";
import type { Command } from "./command.ts";

/** These commands, in the order of the help. */
export const TOOL_COMMANDS: readonly Command[] = [
  {
    name: "git",
    summary: "Give git tokens for Azure DevOps, as a credential helper",
    usage: "git --client-id ID [options] get|store|erase",
    operands: 1,
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
      "no-browser":
        "git has its standard input, where the address would be pasted; latchkey login --no-browser takes it",
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
  },
  {
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
  },
];
