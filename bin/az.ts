/**
 * `latchkey az`: what programs that run Azure CLI for a token get in its place.
 *
 * @module
 */
import { type AuthenticationResult, LatchkeyError } from "../mod.ts";
import { base64Of } from "../lib/platform/base64_text.ts";
import { write } from "../lib/platform/program.ts";
import { quoteCommand } from "../lib/platform/host.ts";
import { azOutput, readAzCall } from "./az_commands.ts";
import { type CommandLine, readCommandLine } from "./command_line.ts";
import { COMMANDS } from "./command_table.ts";
import { EXIT } from "./failure.ts";
import { givenWords } from "./given_words.ts";
import { acquireToken, scopesOf } from "./token.ts";
import { azureCliJson } from "./token_formats.ts";

/** The version of Azure CLI whose answers these are: the first whose login takes `--claims-challenge`. */
const AZURE_CLI_VERSION = "2.76.0";
/** What Azure CLI gives a token for when it is not told. */
const RESOURCE_MANAGER = "https://management.core.windows.net/";
/** What Azure CLI calls an account without subscriptions. */
const TENANT_LEVEL = "N/A(tenant level account)";

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
  const tenant = asked.text("tenant") ?? line.text("tenant"),
    scopes = scopesOf(asked, [`${RESOURCE_MANAGER}/.default`]);
  const text = (name: string) => name === "tenant" ? tenant : line.text(name);
  try {
    return await acquireToken({ ...line, text }, { interactive: "never", signal, asked: () => ({ scopes }) });
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
    ...(claims === undefined ? [] : [["--claims-challenge", base64Of(new TextEncoder().encode(claims))]]),
  ];
  return `Interactive authentication is needed. Please run: ${quoteCommand(["az", "login", ...options])}`;
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
  const command = COMMANDS.find(({ name }) => name === "login")!;
  const challenge = asked.text("claims-challenge"), tenant = asked.text("tenant");
  // What comes later counts. A profile is taken from, and not written to.
  const words = [
    ...givenWords(line, command.options.filter(({ name }) => name !== "profile")),
    ...scopesOf(asked, [`${RESOURCE_MANAGER}/.default`]).map((scope) => `--scope=${scope}`),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
    ...(challenge === undefined ? [] : [`--claims=${challenge}`]),
    ...(asked.isOn("use-device-code") ? ["--device-code"] : []),
  ];
  const profile = line.profile === undefined
    ? undefined
    : await (await import("./profile_file.ts")).profileOf(line, { mayBeNew: false });
  await (await import("./login.ts")).logIn(readCommandLine(command, words, profile), signal);
}
