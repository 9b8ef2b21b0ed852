/**
 * `latchkey az`: what programs that run Azure CLI for a token get in its place.
 *
 * @module
 */
import { type AuthenticationResult, LatchkeyError } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { shellWord } from "../lib/platform/shell_word.ts";
import { azOutput, readAzCall } from "./az_commands.ts";
import { type CommandLine, readCommandLine } from "./command_line.ts";
import { COMMANDS } from "./command_table.ts";
import { EXIT } from "./failure.ts";
import { givenWords } from "./given_words.ts";
import { tokenOf } from "./token.ts";
import { azureCliJson } from "./token_formats.ts";

/** The version of Azure CLI whose answers these are: the first whose login takes `--claims-challenge`. */
const AZURE_CLI_VERSION = "2.76.0";
/** What Azure CLI gives a token for when it is not told. */
const RESOURCE_MANAGER = "https://management.core.windows.net/";
/** What Azure CLI calls an account without subscriptions. */
const TENANT_LEVEL = "N/A(tenant level account)";
const EXIT_PERSON_NEEDED = 3;

/** Answers a call of `az`. */
export async function answerAzureCli(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const call = readAzCall(line.operands);
  if (!("line" in call)) return write("stdout", (await import("./help.ts")).helpOf(call));
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
  const wanted = whatFor(asked);
  const words = ["--interactive=never", ...wanted, ...tenantOf(asked)];
  try {
    return await tokenOf(await lineOf("token", words, line), signal);
  } catch (error) {
    if (!(error instanceof LatchkeyError) || EXIT[error.code] !== EXIT_PERSON_NEEDED) throw error;
    throw new LatchkeyError(error.code, error.message, {
      ...error,
      claims: error.claims,
      hint: loginHint(error, asked),
    });
  }
}

/**
 * The words by which programs know that a person has to sign in: `az login` alone where nobody has, with the scope where the
 * server asks for more than it got.
 */
function loginHint({ claims, errorCodes }: LatchkeyError, asked: CommandLine): string {
  if (errorCodes.length === 0) return "Please run 'az login' to setup account.";
  const [scope = `${asked.text("resource") ?? RESOURCE_MANAGER}/.default`] = asked.list("scope") ?? [];
  const options = [
    ...["--scope", scope, ...(asked.text("tenant") === undefined ? [] : ["--tenant", asked.text("tenant")!])],
    ...(claims === undefined ? [] : ["--claims-challenge", btoa(claims)]),
  ];
  return `Interactive authentication is needed. Please run: az login ${options.map(shellWord).join(" ")}`;
}

/** Whose tokens programs get: nobody asked Azure for subscriptions. */
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
  const challenge = asked.text("claims-challenge");
  const words = [
    ...[...whatFor(asked), ...tenantOf(asked)],
    ...(challenge === undefined ? [] : [`--claims=${challenge}`]),
    ...(asked.isOn("use-device-code") ? ["--device-code"] : []),
  ];
  await (await import("./login.ts")).logIn(await lineOf("login", words, line), signal);
}

function whatFor(asked: CommandLine): readonly string[] {
  const scopes = asked.list("scope") ?? [], resource = asked.text("resource");
  const named = [
    ...scopes.map((scope) => `--scope=${scope}`),
    ...(resource === undefined ? [] : [`--resource=${resource}`]),
  ];
  return named.length > 0 ? named : [`--resource=${RESOURCE_MANAGER}`];
}

function tenantOf(asked: CommandLine): readonly string[] {
  const tenant = asked.text("tenant");
  return tenant === undefined ? [] : [`--tenant=${tenant}`];
}

/** The line of another command, with the options that this one was called with, and its profile. */
async function lineOf(name: string, words: readonly string[], line: CommandLine): Promise<CommandLine> {
  const command = COMMANDS.find((each) => each.name === name)!;
  // What comes later counts.
  const all = [...givenWords(line, command.options), ...words];
  const profile = line.profile === undefined
    ? undefined
    : await (await import("./profile_file.ts")).profileOf(line, { mayBeNew: false });
  return readCommandLine(command, all, profile);
}
