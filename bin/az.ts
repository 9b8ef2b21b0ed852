/**
 * `latchkey az`: answers calls of Azure CLI.
 *
 * @module
 */
import { encodeBase64, isObject } from "../lib/encoding.ts";
import { quoteCommand } from "../lib/runtime/host.ts";
import { isInteractionRequired, LatchkeyError, withDetails } from "../lib/errors.ts";
import type { AuthenticationResult } from "../lib/token.ts";
import { type Command, type CommandLine, readCommandLine, UsageError } from "./cli/command_line.ts";
import { ACCOUNT, APP, type CommandSyntax, type Option, TENANT, TIMEOUT, VERBOSE } from "./cli/options.ts";
import { azureCliJson, escapeForTerminal, jsonForTerminal, print } from "./cli/output.ts";
import { acquireToken, scopesOf } from "./token.ts";

/** Subscription of the account, which `az-shim` passes on. */
export const SUBSCRIPTION: Option = {
  name: "subscription",
  kind: "text",
  value: "ID",
  summary:
    "Subscription id that az account show prints (the tenant id, as Azure CLI prints for an account without subscriptions)",
};

/** The command. */
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
    ["latchkey az --client-id azure-cli -- account show --query user.name -o tsv", "the user of the tokens"],
  ],
  run: answerAzureCli,
};

/** Returns those of the options that are on the command line itself, as words for another one. */
export function givenWords(line: CommandLine, options: readonly Option[]): readonly string[] {
  const given = options.filter(({ name }) => line.origin(name) === "command line");
  return given.flatMap((option) => [line.get(option)].flat().map((value) => `--${option.name}=${value}`));
}

/** A call of `az`. */
export interface AzCall {
  readonly name: "account get-access-token" | "account show" | "login" | "version" | "--version";
  readonly line: CommandLine;
}

const SCOPE = option("list", "scope", "Scope of the token", { value: "SCOPE" });
const AZ_TENANT = option("text", "tenant", "Tenant to ask", { alias: "t", value: "TENANT" });
const AZ_SUBSCRIPTION = option("text", "subscription", "Subscription to print", { alias: "s", value: "ID" });
/** Options that Azure CLI has for all commands. */
const EVERYWHERE = ["only-show-errors", "verbose", "debug"].map(withoutEffect);
const OUTPUT: readonly Option[] = [
  option("text", "output", "Output format", { alias: "o", choices: ["json", "jsonc", "tsv", "none"], default: "json" }),
  option("text", "query", "Print only this value", { value: "KEY" }),
  ...EVERYWHERE,
];

const AZ_COMMANDS = [
  azCommand("account get-access-token", "Print a token", [
    option("text", "resource", "Resource of the token", { value: "URL" }),
    SCOPE,
    AZ_TENANT,
    AZ_SUBSCRIPTION,
    ...OUTPUT,
  ]),
  azCommand("account show", "Print the account", [AZ_SUBSCRIPTION, ...OUTPUT]),
  azCommand("login", "Sign in, as latchkey login does", [
    AZ_TENANT,
    SCOPE,
    option("text", "claims-challenge", "Answer a claims challenge", { value: "BASE64" }),
    option("switch", "use-device-code", "Sign in on another device"),
    withoutEffect("allow-no-subscriptions"),
    ...EVERYWHERE,
  ]),
  azCommand("version", "Print the version of Azure CLI that latchkey answers as", OUTPUT),
  azCommand("--version", "Print it as text", []),
];

function azCommand(
  name: AzCall["name"],
  summary: string,
  options: readonly Option[],
): CommandSyntax & Pick<AzCall, "name"> {
  return { name, summary, options, usage: `az -- ${name} [options]`, operands: 0, examples: [] };
}

function option(kind: Option["kind"], name: string, summary: string, more: Partial<Option> = {}): Option {
  return { kind, name, summary, environment: false, ...more };
}

function withoutEffect(name: string): Option {
  return option("switch", name, "No effect");
}

/** Reads the words after `az`: a call, or the command whose help is requested. */
export function readAzCall(words: readonly string[]): AzCall | CommandSyntax {
  const end = words.findIndex((word) => word.startsWith("-")), [first = ""] = words;
  const name = ["-v", "--version"].includes(first)
    ? "--version"
    : words.slice(0, end === -1 ? undefined : end).join(" ");
  const called = AZ_COMMANDS.find((each) => each.name === name);
  if (!called) {
    const known = AZ_COMMANDS.map(({ name }) => `az ${name}`).join(", ");
    throw new UsageError(
      `latchkey answers ${known}; for ${JSON.stringify(`az ${name}`.trim())} Azure CLI itself is needed`,
    );
  }
  const line = readCommandLine(called, words.slice(name.split(" ").length));
  return line.help ? called : { name: called.name, line };
}

/** Formats an answer as `--output` and `--query` require. */
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
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** The version of Azure CLI that latchkey answers as: the first whose login takes `--claims-challenge`. */
const AZURE_CLI_VERSION = "2.76.0";
/** Azure CLI's own default. Its resource ends in a slash. */
const DEFAULT_SCOPES = ["https://management.core.windows.net//.default"];
/** Azure CLI's name of an account without subscriptions. */
const TENANT_LEVEL = "N/A(tenant level account)";
/** Names of clouds by the top-level domain of their servers. */
const CLOUDS: Readonly<Record<string, string>> = { cn: "AzureChinaCloud", us: "AzureUSGovernment" };

async function answerAzureCli(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const call = readAzCall(line.operands);
  if (!("line" in call)) return print((await import("./cli/help.ts")).helpOf(call));
  const asked = call.line, subscription = asked.text("subscription") ?? line.text("subscription");
  switch (call.name) {
    case "account get-access-token": {
      const token = azureCliJson(await tokenFor(line, asked, signal));
      return print(azOutput({ ...token, ...(subscription && { subscription }) }, asked));
    }
    case "account show":
      return print(azOutput(accountShown(await tokenFor(line, asked, signal), subscription), asked));
    case "login":
      return await logInFor(line, asked, signal);
    case "version": {
      const versions = { "azure-cli": AZURE_CLI_VERSION, "azure-cli-core": AZURE_CLI_VERSION, extensions: {} };
      return print(azOutput(versions, asked));
    }
    case "--version": {
      const { default: { version } } = await import("../deno.json", { with: { type: "json" } });
      return print(`azure-cli ${AZURE_CLI_VERSION} (latchkey ${version} answers in its place)\n`);
    }
  }
}

/** Acquires a token without a prompt. If a sign-in is needed, the hint is Azure CLI's. */
async function tokenFor(
  line: CommandLine,
  asked: CommandLine,
  signal: AbortSignal | undefined,
): Promise<AuthenticationResult> {
  const scopes = scopesOf(asked, DEFAULT_SCOPES), tenant = asked.text("tenant");
  const tenantLine = line.with({ tenant: tenant ?? line.text("tenant") });
  try {
    return await acquireToken(tenantLine, { interactive: "never", signal, asked: () => ({ scopes }) });
  } catch (error) {
    if (!(error instanceof LatchkeyError && isInteractionRequired(error))) throw error;
    throw withDetails(error, { hint: azLoginHint(error, { scopes, tenant }) });
  }
}

/**
 * Returns the words by which programs know that a person has to sign in: `az login` if nobody is signed in, and with the scope
 * if the server refused what it got.
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

/** Describes an account as Azure CLI does. Azure is not asked for its subscriptions. */
function accountShown(
  { account: { environment, homeAccountId, username }, tenantId }: AuthenticationResult,
  subscription: string | undefined,
): Record<string, unknown> {
  return {
    environmentName: CLOUDS[environment.split(".").at(-1)!] ?? "AzureCloud",
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

/** Signs in, for a program that told a person to run `az login`. */
async function logInFor(line: CommandLine, asked: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { command: login, signIn } = await import("./login.ts");
  const challenge = asked.text("claims-challenge"), tenant = asked.text("tenant");
  // The last of two values counts. Without --profile, login does not write to the profile.
  const words = [
    ...givenWords(line, login.options.filter(({ name }) => name !== "profile")),
    ...scopesOf(asked, DEFAULT_SCOPES).map((scope) => `--scope=${scope}`),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
    ...(challenge === undefined ? [] : [`--claims=${challenge}`]),
    ...(asked.isOn("use-device-code") ? ["--device-code"] : []),
  ];
  const profile = line.profile === undefined
    ? undefined
    : await (await import("./cli/profiles.ts")).profileOf(line, { mayBeNew: false });
  await signIn(readCommandLine(login, words, profile), signal);
}
