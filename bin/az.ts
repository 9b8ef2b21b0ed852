/**
 * Options as they were typed, for another command line.
 *
 * @module
 */
import { encodeBase64 } from "../lib/encoding.ts";
import { quoteCommand } from "../lib/runtime/host.ts";
import { write } from "../lib/runtime/program.ts";
import { LatchkeyError } from "../lib/errors.ts";
import type { AuthenticationResult } from "../lib/token.ts";
import { type Command, type CommandLine, readCommandLine, UsageError } from "./cli/command_line.ts";
import { EXIT } from "./cli/failures.ts";
import { ACCOUNT, APP, type CommandSyntax, type Option, TENANT, TIMEOUT, VERBOSE } from "./cli/options.ts";
import { azureCliJson, escapeForTerminal, jsonForTerminal } from "./cli/output.ts";
import { acquireToken, scopesOf } from "./token.ts";

/** Subscription to name to programs, which `az-shim` passes on. */
export const SUBSCRIPTION: Option = {
  name: "subscription",
  kind: "text",
  value: "ID",
  summary: "Subscription that az account show prints (the tenant, as for an account without subscriptions)",
};

/** The command, which the shim runs. */
export const command: Command = {
  name: "az",
  summary: "Answer the Azure CLI calls of other programs: tokens, the account, the version",
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
  run: answerAzureCli,
};

/** The options among these that a command line itself has, and neither the environment nor a profile. */
export function givenWords(line: CommandLine, options: readonly Option[]): readonly string[] {
  return options.filter(({ name }) => line.origin(name) === "command line").flatMap(({ name, kind }) => {
    switch (kind) {
      case "text":
        return [`--${name}=${line.text(name)}`];
      case "seconds":
        return [`--${name}=${line.seconds(name)}`];
      case "list":
        return line.list(name).map((each) => `--${name}=${each}`);
      case "switch":
        return [`--${name}`];
      case "count":
        return Array.from({ length: line.count(name) }, () => `--${name}`);
    }
  });
}

/** A call of `az`, read. */
export interface AzCall {
  readonly name: "account get-access-token" | "account show" | "login" | "version" | "--version";
  readonly line: CommandLine;
}

/** Options that Azure CLI has for all commands. They have no effect here. */
const EVERYWHERE: readonly Option[] = ["only-show-errors", "verbose", "debug"].map((name) => ({
  name,
  kind: "switch",
  environment: false,
  summary: "Taken, and without effect",
}));
const OUTPUT: readonly Option[] = [
  text("output", "How to print it", { alias: "o", choices: ["json", "jsonc", "tsv", "none"], default: "json" }),
  text("query", "Print one value alone", { value: "KEY" }),
  ...EVERYWHERE,
];
const AZ_SUBSCRIPTION = text("subscription", "Subscription that is meant", { alias: "s", value: "ID" });
const AZ_TENANT = text("tenant", "Tenant to ask", { alias: "t", value: "TENANT" });
const SCOPE: Option = {
  name: "scope",
  kind: "list",
  value: "SCOPE",
  environment: false,
  summary: "What the token is for",
};

const AZ_COMMANDS: readonly (CommandSyntax & Pick<AzCall, "name">)[] = [
  azCommand("account get-access-token", "Print a token", [
    text("resource", "What the token is for", { value: "URL" }),
    SCOPE,
    AZ_TENANT,
    AZ_SUBSCRIPTION,
    ...OUTPUT,
  ]),
  azCommand("account show", "Print whose tokens there are", [AZ_SUBSCRIPTION, ...OUTPUT]),
  azCommand("login", "Sign a person in, as latchkey login does", [
    AZ_TENANT,
    SCOPE,
    text("claims-challenge", "Answer a claims challenge", { value: "BASE64" }),
    { name: "use-device-code", kind: "switch", environment: false, summary: "Sign in on another device" },
    { name: "allow-no-subscriptions", kind: "switch", environment: false, summary: "Taken, and without effect" },
    ...EVERYWHERE,
  ]),
  azCommand("version", "Print the version of Azure CLI that this answers as", OUTPUT),
  azCommand("--version", "The same, for people", []),
];

function azCommand(
  name: AzCall["name"],
  summary: string,
  options: readonly Option[],
): CommandSyntax & Pick<AzCall, "name"> {
  return { name, summary, options, usage: `az -- ${name} [options]`, operands: 0, examples: [] };
}

function text(name: string, summary: string, more: Partial<Option>): Option {
  return { name, summary, kind: "text", environment: false, fromProfile: false, ...more };
}

/**
 * Reads a call of `az`.
 *
 * @param words What follows `az`.
 * @returns The call; the help of its command where that is asked for.
 * @throws {UsageError} for what Azure CLI itself is needed for.
 */
export function readAzCall(words: readonly string[]): AzCall | CommandSyntax {
  const end = words.findIndex((word) => word.startsWith("-")), [first] = words;
  const name = first === "-v" || first === "--version"
    ? "--version"
    : words.slice(0, end === -1 ? undefined : end).join(" ");
  const called = AZ_COMMANDS.find((each) => each.name === name);
  if (!called) {
    const known = AZ_COMMANDS.map(({ name }) => `az ${name}`).join(", ");
    throw new UsageError(
      `latchkey answers ${known}; for ${JSON.stringify(`az ${name}`.trim())} Azure CLI itself is needed`,
    );
  }
  const count = name === "--version" ? 1 : name.split(" ").length;
  const line = readCommandLine(called, words.slice(count));
  return line.help ? called : { name: called.name, line };
}

/**
 * An answer as `--output` and `--query` want it.
 *
 * @throws {UsageError} for a query that is more than a key, and several values where one is to be printed.
 */
export function azOutput(answer: unknown, line: CommandLine): string {
  const query = line.text("query"), output = line.text("output");
  if (query !== undefined && !/^\w+(\.\w+)*$/.test(query)) {
    throw new UsageError(`--query takes a key such as accessToken or user.name, not ${JSON.stringify(query)}`);
  }
  const value = (query?.split(".") ?? []).reduce<unknown>(valueAt, answer);
  if (output === "none" || value === undefined) return "";
  if (output !== "tsv") return `${jsonForTerminal(value)}\n`;
  if (typeof value === "object") throw new UsageError("--output tsv prints one value: add --query KEY");
  return `${escapeForTerminal(String(value))}\n`;
}

function valueAt(value: unknown, key: string): unknown {
  const isThere = typeof value === "object" && value !== null && Object.hasOwn(value, key);
  return isThere ? (value as Record<string, unknown>)[key] : undefined;
}

/** The version of Azure CLI whose answers these are: the first whose login takes `--claims-challenge`. */
const AZURE_CLI_VERSION = "2.76.0";
/** Default resource of Azure CLI. */
const RESOURCE_MANAGER = "https://management.core.windows.net/";
/** Name that Azure CLI gives an account without subscriptions. */
const TENANT_LEVEL = "N/A(tenant level account)";

/** Answers a call of `az`. */
async function answerAzureCli(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const call = readAzCall(line.operands);
  if (!("line" in call)) return write("stdout", (await import("./cli/help.ts")).helpOf(call));
  const asked = call.line, subscription = asked.text("subscription") ?? line.text("subscription");
  switch (call.name) {
    case "account get-access-token": {
      const token = azureCliJson(await tokenFor(line, asked, signal));
      return write("stdout", azOutput({ ...token, ...(subscription && { subscription }) }, asked));
    }
    case "account show":
      return write("stdout", azOutput(accountShown(await tokenFor(line, asked, signal), subscription), asked));
    case "login":
      return await logInFor(line, asked, signal);
    case "version":
    case "--version": {
      const { default: { version } } = await import("../deno.json", { with: { type: "json" } });
      const versions = { "azure-cli": AZURE_CLI_VERSION, "azure-cli-core": AZURE_CLI_VERSION, extensions: {} };
      if (call.name === "version") return write("stdout", azOutput(versions, asked));
      return write("stdout", `azure-cli ${AZURE_CLI_VERSION} (latchkey ${version} answers in its place)\n`);
    }
  }
}

/** A token without asking anybody, as Azure CLI gives it. Whoever has to sign in is told in its words. */
async function tokenFor(
  line: CommandLine,
  asked: CommandLine,
  signal: AbortSignal | undefined,
): Promise<AuthenticationResult> {
  const tenant = asked.text("tenant") ?? line.text("tenant"),
    scopes = scopesOf(asked, [`${RESOURCE_MANAGER}/.default`]);
  try {
    return await acquireToken(line.with({ tenant }), { interactive: "never", signal, asked: () => ({ scopes }) });
  } catch (error) {
    if (!(error instanceof LatchkeyError) || EXIT[error.code] !== EXIT.interaction_required) throw error;
    throw new LatchkeyError(error.code, error.message, {
      ...error,
      claims: error.claims,
      hint: azLoginHint(error, { scopes, tenant: asked.text("tenant") }),
    });
  }
}

/**
 * The words by which programs know that a person has to sign in: `az login` alone where nobody has, with the scope where the
 * server asks for more than it got.
 */
function azLoginHint(
  { claims, errorCodes }: LatchkeyError,
  { scopes, tenant }: { readonly scopes: readonly string[]; readonly tenant: string | undefined },
): string {
  if (errorCodes.length === 0) return "Please run 'az login' to setup account.";
  const options = [
    ...scopes.map((scope) => ["--scope", scope]),
    ...(tenant === undefined ? [] : [["--tenant", tenant]]),
    ...(claims === undefined ? [] : [["--claims-challenge", encodeBase64(new TextEncoder().encode(claims))]]),
  ];
  return `Interactive authentication is needed. Please run: ${quoteCommand(["az", "login", ...options])}`;
}

/** Describes the account of the tokens. Azure was not asked for its subscriptions. */
function accountShown(
  { account, tenantId }: AuthenticationResult,
  subscription: string | undefined,
): Record<string, unknown> {
  const { environment, homeAccountId, username } = account;
  return {
    environmentName: environment.endsWith(".cn")
      ? "AzureChinaCloud"
      : environment.endsWith(".us")
      ? "AzureUSGovernment"
      : "AzureCloud",
    homeTenantId: homeAccountId.split(".")[1] ?? tenantId,
    id: subscription ?? tenantId,
    isDefault: true,
    managedByTenants: [],
    name: subscription ?? TENANT_LEVEL,
    state: "Enabled",
    tenantId,
    user: { name: username, type: "user" },
  };
}

/** Signs a person in, who was told by a program to run `az login`. */
async function logInFor(line: CommandLine, asked: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { command: login, signIn } = await import("./login.ts");
  const challenge = asked.text("claims-challenge"), tenant = asked.text("tenant");
  // What comes later counts. A profile is taken from, and not written to.
  const words = [
    ...givenWords(line, login.options.filter(({ name }) => name !== "profile")),
    ...scopesOf(asked, [`${RESOURCE_MANAGER}/.default`]).map((scope) => `--scope=${scope}`),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
    ...(challenge === undefined ? [] : [`--claims=${challenge}`]),
    ...(asked.isOn("use-device-code") ? ["--device-code"] : []),
  ];
  const profile = line.profile === undefined
    ? undefined
    : await (await import("./cli/profiles.ts")).profileOf(line, { mayBeNew: false });
  await signIn(readCommandLine(login, words, profile), signal);
}
