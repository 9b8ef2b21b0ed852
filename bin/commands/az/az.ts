/**
 * `latchkey az`: answers calls of Azure CLI.
 *
 * @module
 */
import { homeTenantOf } from "../../../lib/account.ts";
import { encodeBase64 } from "../../../lib/encoding.ts";
import { quoteCommand, readEnvironment } from "../../../lib/runtime/host.ts";
import { isInteractionRequired, LatchkeyError, withDetails } from "../../../lib/errors.ts";
import { defaultScope } from "../../../lib/scopes.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { type Cloud, cloudJson, cloudsOf, type RESOURCE_TYPES } from "./clouds.ts";
import { accountTable, azOutput, cloudTable } from "./query_output.ts";
import { type AzCall, OTHER_SIGN_INS, readAzCall } from "./syntax.ts";
import type { Holder, Subscription } from "./subscriptions.ts";
import { type Command, type CommandLine, readCommandLine } from "../../cli/command_line.ts";
import { commandWords, failureText, inWords } from "../../cli/failures.ts";
import { ACCOUNT, APP, type Option, TENANT, textOption, TIMEOUT, VERBOSE } from "../../cli/options.ts";
import { azureCliJson } from "../../cli/formats.ts";
import { print, say, sayLine } from "../../cli/output.ts";
import { scopesOf } from "../../cli/scopes.ts";
import { givenWords } from "../../cli/stored_command.ts";
import { openTokens, type TokenSource } from "../../cli/tokens.ts";

/** Subscription of the account, which `az-shim` passes on. */
export const SUBSCRIPTION: Option = {
  name: "subscription",
  kind: "text",
  value: "ID",
  summary: "Subscription id for az account show (default: the first one in Azure)",
};
/** URLs of Azure's services, which `az-shim` passes on. */
export const ENDPOINTS: readonly Option[] = [
  textOption("endpoint-resource-manager", "URL", "URL of Azure Resource Manager (default: the cloud's)"),
  textOption("endpoint-microsoft-graph", "URL", "URL of Microsoft Graph (default: the cloud's)"),
].map((option) => ({ ...option, group: "Endpoint options" }));

/** The command. */
export const command: Command = {
  name: "az",
  summary: "Act as Azure CLI for other programs: tokens, accounts and subscriptions",
  usage: "az --client-id ID [options] -- account (get-access-token|show|list) | login ...",
  operands: Infinity,
  operand: { value: "WORD" },
  wraps: true,
  options: [ACCOUNT, ...APP, TENANT, SUBSCRIPTION, ...ENDPOINTS, TIMEOUT, VERBOSE],
  examples: [
    [
      "latchkey az --client-id azure-cli -- account get-access-token --resource https://management.azure.com",
      "Print a token as Azure CLI does",
    ],
    ["latchkey az --client-id azure-cli -- account show --query user.name -o tsv", "Print the user name"],
    ["latchkey az --client-id azure-cli -- account list -o table", "List the subscriptions"],
  ],
  run: answerAzureCli,
};

/** The version of Azure CLI that latchkey answers as: the one that its answers are compared with. */
const AZURE_CLI_VERSION = "2.91.0";
const TELEMETRY_VERSION = "1.1.0";
/** Azure CLI's name of an account without subscriptions. */
const TENANT_LEVEL = "N/A(tenant level account)";
/** Azure CLI's exit code for all failures but a wrong use, whatever the reason. */
const EXIT_FAILURE = 1;

/** A call, with what it is answered from. */
interface Call extends AzCall {
  /** The command line of latchkey; `line` is Azure CLI's. */
  readonly options: CommandLine;
  readonly signal: AbortSignal | undefined;
  /** Opens the source of tokens on the first call: not every answer needs one. */
  readonly tokens: () => Promise<TokenSource>;
  readonly clouds: readonly Cloud[];
  readonly cloud: Cloud;
}

/** An answer; `tableOf` returns the rows of a table. */
interface Answer {
  readonly value?: unknown;
  readonly tableOf?: (value: unknown) => unknown;
}

async function answerAzureCli(options: CommandLine, signal: AbortSignal | undefined): Promise<number | void> {
  const read = readAzCall(options.operands);
  if (typeof read === "string") return print(read);
  if (!("line" in read)) return print((await import("../../cli/help.ts")).helpOf(read));
  const clouds = cloudsOf(options.text("authority"));
  const cloud = clouds.find(({ isActive }) => isActive)!;
  let opened: Promise<TokenSource> | undefined;
  const tokens = () => {
    opened ??= openTokens(options, { interactive: "never", signal });
    return opened;
  };
  const call: Call = { ...read, options, signal, tokens, clouds, cloud };
  const { line } = call;
  try {
    const answer = await answerTo(call);
    const query = line.text("query");
    print(await azOutput({ value: answer.value, tableOf: answer.tableOf, output: line.text("output")!, query }));
  } catch (error) {
    if (signal?.aborted || !(error instanceof LatchkeyError)) throw error;
    failureText(error, options).forEach(sayLine);
    return EXIT_FAILURE;
  }
}

async function answerTo(call: Call): Promise<Answer> {
  const { line, cloud, clouds } = call;
  switch (call.name) {
    case "account get-access-token":
      return { value: await tokenAnswer(call) };
    case "account show":
      return { value: await shownAccount(call) };
    case "account list":
      return { value: await listedAccounts(call), tableOf: accountTable };
    case "account set":
      await setSubscription(call);
      return {};
    case "account clear":
    case "logout":
      await signOut(call);
      return {};
    case "login":
      return { value: await logIn(call), tableOf: accountTable };
    case "ad signed-in-user show":
      return { value: await signedInUser(call) };
    case "cloud list":
      return { value: clouds.map(cloudJson), tableOf: cloudTable };
    case "cloud show":
    case "cloud set": {
      const name = line.text("name");
      const found = name === undefined ? cloud : clouds.find((each) => each.name === name);
      if (!found) throw refused(`The cloud '${name}' is not registered.`);
      if (call.name === "cloud show") return { value: cloudJson(found) };
      if (found === cloud) return {};
      throw refused(
        `latchkey's authority is of ${cloud.name}`,
        "Give latchkey az-shim the --authority of the other cloud",
      );
    }
    case "config get": {
      const [key] = line.operands;
      if (key?.includes(".")) throw refused(`Configuration '${key}' is not set.`);
      return { value: key === undefined ? {} : [] };
    }
    case "config set":
      line.operands.forEach((setting) => checkSetting(setting, cloud));
      return {};
    case "configure":
      return line.isOn("list-defaults") ? { value: [] } : {};
    case "config unset":
      return {};
    case "extension list":
      return { value: [] };
    case "version": {
      const version = AZURE_CLI_VERSION;
      const versions = { "azure-cli": version, "azure-cli-core": version, "azure-cli-telemetry": TELEMETRY_VERSION };
      return { value: { ...versions, extensions: {} } };
    }
    case "--version": {
      const { default: { version } } = await import("../../../deno.json", { with: { type: "json" } });
      print(`azure-cli ${AZURE_CLI_VERSION} (latchkey ${version} answers in its place)\n`);
      return {};
    }
  }
}

function refused(message: string, remedy?: string): LatchkeyError {
  return new LatchkeyError("refused", message, { remedy });
}

/** Settings that would change an answer, and the value that they have here. */
function checkSetting(setting: string, cloud: Cloud): void {
  const [, key = "", value] = /^([^.=]+\.[^=]+)=(.*)$/s.exec(setting) ?? [];
  if (value === undefined) throw refused("usage error: [section].[name]=[value] ...");
  const fixed: Readonly<Record<string, string>> = { "core.output": "json", "cloud.name": cloud.name };
  const own = fixed[key.toLowerCase()];
  if (own === undefined || value === own || value === "") return;
  throw refused(
    `${key} is always ${own} in latchkey`,
    key === "core.output" ? "Give each command its --output" : undefined,
  );
}

/** Acquires a token without a prompt. If a sign-in is needed, the hint is Azure CLI's. */
async function tokenFor(
  { tokens, cloud }: Call,
  { scopes = [scopeOf(cloud, "arm")], tenant }: {
    readonly scopes?: readonly string[] | undefined;
    readonly tenant?: string | undefined;
  } = {},
): Promise<AuthenticationResult> {
  try {
    return await (await tokens()).acquire({ scopes, tenantId: tenant });
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    const login = azLoginHint(error, { scopes, tenant });
    if (isInteractionRequired(error)) throw withDetails(error, { remedy: login });
    // A broker that cannot be started: its fix comes first.
    throw inWords(error, { ...commandWords(), sign_in: () => `Sign in. ${login}` });
  }
}

/** Returns Azure CLI's scope of a resource: with two slashes if the resource ends in one. */
function scopeOf({ name, resources }: Cloud, type: (typeof RESOURCE_TYPES)[number]): string {
  const resource = resources[type];
  if (resource === undefined) throw refused(`${name} has no resource of the type ${type}`);
  return defaultScope(resource);
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
  const challenge = claims === undefined ? undefined : encodeBase64(new TextEncoder().encode(claims));
  return `Interactive authentication is needed. Please run: ${azLoginCommand({ scopes, tenant, challenge })}`;
}

function azLoginCommand(
  { scopes, tenant, challenge }: {
    readonly scopes: readonly string[];
    readonly tenant: string | undefined;
    readonly challenge: string | undefined;
  },
  ...more: readonly string[]
): string {
  return quoteCommand([
    ...["az", "login"],
    ...scopes.map((scope) => ["--scope", scope]),
    ...(tenant === undefined ? [] : [["--tenant", tenant]]),
    ...(challenge === undefined ? [] : [["--claims-challenge", challenge]]),
    ...more,
  ]);
}

/** Returns the scopes of a call. As with Azure CLI, only the server refuses a resource or a scope. */
function scopesAsked({ line, cloud }: Call): readonly string[] {
  const resource = line.text("resource");
  const scopes = line.list("scope");
  if (resource !== undefined && scopes.length === 0) return [defaultScope(resource)];
  if (resource === undefined && scopes.length > 0) return scopes;
  return scopesOf(line, [scopeOf(cloud, "arm")]);
}

async function tokenAnswer(call: Call): Promise<unknown> {
  const { line, cloud } = call;
  const type = line.text("resource-type") as (typeof RESOURCE_TYPES)[number] | undefined;
  const isNamed = line.text("resource") !== undefined || line.list("scope").length > 0;
  const scopes = !isNamed && type ? [scopeOf(cloud, type)] : scopesAsked(call);
  const tenant = line.text("tenant");
  const wanted = line.text("subscription");
  // Azure CLI refuses both. Libraries pass both, and mean the tenant.
  if (tenant !== undefined) {
    const { subscription: _, ...token } = azureCliJson(await tokenFor(call, { scopes, tenant }));
    return { ...token, ...(wanted !== undefined && { subscription: wanted }) };
  }
  if (wanted === undefined) {
    const result = await tokenFor(call, { scopes });
    const { current } = await subscriptionsOf(call, result, "known");
    return { ...azureCliJson(result), subscription: current?.id ?? result.tenantId };
  }
  const ofAccount = await tokenFor(call);
  const { find, failure } = await subscriptionsOf(call, ofAccount, { wanted });
  const found = find(wanted);
  // Without a list nobody knows the tenant of a subscription: it is probably the account's.
  if (!found && !failure) throw notFound(wanted);
  const tenantId = found?.tenantId ?? ofAccount.tenantId;
  const isSame = tenantId === ofAccount.tenantId && scopes.join() === scopeOf(cloud, "arm");
  const result = isSame ? ofAccount : await tokenFor(call, { scopes, tenant: found?.tenantId });
  return { ...azureCliJson(result), subscription: found?.id ?? wanted };
}

function notFound(wanted: string): LatchkeyError {
  return refused(`Subscription '${wanted}' not found. Check the spelling and casing and try again.`);
}

interface Subscriptions {
  /** The subscriptions that Azure Resource Manager listed, and those that were given. */
  readonly all: readonly Subscription[];
  /** The one that counts without `--subscription`. */
  readonly current: Subscription | undefined;
  /** Why there is no recent list, if one was needed. */
  readonly failure: LatchkeyError | undefined;
  /** Returns the subscription with an id or a name. */
  readonly find: (wanted: string) => Subscription | undefined;
}

/** Subscriptions that are needed: what is kept; the current one, or the one with an id or a name; a recent list; a new one. */
type Need = "known" | { readonly wanted: string | undefined } | "list" | "new list";

/** Returns the subscriptions of an account. Azure Resource Manager is asked only if what is needed is not known. */
async function subscriptionsOf(call: Call, token: AuthenticationResult, need: Need): Promise<Subscriptions> {
  const { options, signal } = call;
  const { fetchSubscriptions, keepSubscriptions, knownSubscriptions } = await import(
    "./subscriptions.ts"
  );
  const holder = await holderOf(call, token);
  const { list: kept, isFresh, chosen } = await knownSubscriptions(holder);
  const given = [options.text("subscription"), readEnvironment("ARM_SUBSCRIPTION_ID")].filter((id) => id !== undefined);
  const isIn = (list: readonly Subscription[], wanted: string) => list.some((each) => isNamed(each, wanted));
  const isKnown = () => {
    if (typeof need === "string") return need === "known" || need === "list" && isFresh;
    const wanted = need.wanted ?? chosen ?? given[0];
    return wanted === undefined ? isFresh : given.includes(wanted) || isIn(kept ?? [], wanted);
  };
  let list = kept ?? [];
  let failure: LatchkeyError | undefined;
  if (!isKnown()) {
    try {
      list = await fetchSubscriptions(holder.resourceManager, token, signal);
      await keepSubscriptions(holder, list);
    } catch (error) {
      if (signal?.aborted || !(error instanceof LatchkeyError)) throw error;
      failure = error;
      if (options.count("verbose") > 0) say(`the subscriptions cannot be listed: ${error.message}`);
    }
  }
  const added = [...new Set(given)].filter((id) => !isIn(list, id)).map((id) => placeholder(id, token.tenantId));
  const all = [...list, ...added];
  const find = (wanted: string) => all.find((each) => isNamed(each, wanted));
  const [preferred] = [chosen, ...given].flatMap((id) => id === undefined ? [] : find(id) ?? []);
  return { all, failure, find, current: preferred ?? all.find(({ state }) => state === "Enabled") };
}

async function holderOf({ options, cloud }: Call, { account, tenantId }: AuthenticationResult): Promise<Holder> {
  const { serviceAddress } = await import("./subscriptions.ts");
  const option = "endpoint-resource-manager";
  const resourceManager = serviceAddress(option, options.text(option) ?? cloud.resourceManager);
  return { resourceManager, account, tenantId, profile: options.profile };
}

function isNamed({ id, name }: Subscription, wanted: string): boolean {
  return [id, name].some((each) => each.toLowerCase() === wanted.toLowerCase());
}

/** A subscription of which only the id is known. */
function placeholder(id: string, tenantId: string): Subscription {
  return { id, name: id, state: "Enabled", tenantId, managedByTenants: [] };
}

/** An account without subscriptions, as Azure CLI prints it. */
function tenantLevel(tenantId: string): Subscription {
  return { ...placeholder(tenantId, tenantId), name: TENANT_LEVEL };
}

async function shownAccount(call: Call): Promise<unknown> {
  const wanted = call.line.text("subscription");
  const token = await tokenFor(call);
  const { current, find, failure } = await subscriptionsOf(call, token, { wanted });
  const found = wanted === undefined ? current ?? tenantLevel(token.tenantId) : find(wanted);
  if (wanted === undefined && !current && failure) {
    sayLine(`WARNING: The id is the tenant's, since the subscriptions cannot be listed: ${failure.message}`);
  }
  if (!found) throw failure ?? notFound(wanted!);
  return accountJson(call, token, found, {
    isDefault: found.id === (current ?? found).id,
    cloudKey: "environmentName",
  });
}

/** Describes an account and a subscription as Azure CLI does; the key of the cloud depends on the command. */
function accountJson(
  { cloud }: Call,
  { account: { homeAccountId, username }, tenantId }: AuthenticationResult,
  subscription: Subscription,
  { isDefault, cloudKey }: { readonly isDefault: boolean; readonly cloudKey: "environmentName" | "cloudName" },
): Record<string, unknown> {
  const homeTenantId = homeTenantOf(homeAccountId) ?? tenantId;
  return { ...subscription, [cloudKey]: cloud.name, homeTenantId, isDefault, user: { name: username, type: "user" } };
}

async function listedAccounts(call: Call): Promise<unknown> {
  const { line } = call;
  let token: AuthenticationResult;
  try {
    token = await tokenFor(call);
  } catch (error) {
    if (!isInteractionRequired(error)) throw error;
    sayLine('WARNING: Please run "az login" to access your accounts.');
    return [];
  }
  const found = await subscriptionsOf(call, token, line.isOn("refresh") ? "new list" : "list");
  if (found.failure && found.all.length === 0) {
    const remedy = "Without a network, set ARM_SUBSCRIPTION_ID, or run latchkey az-shim with --subscription";
    throw withDetails(found.failure, { remedy, cause: found.failure });
  }
  return accountsJson(call, token, { ...found, includesDisabled: line.isOn("all") });
}

interface ListedSubscriptions extends Pick<Subscriptions, "all" | "current"> {
  /** True if subscriptions are listed that are not enabled, too. */
  readonly includesDisabled: boolean;
}

function accountsJson(
  call: Call,
  token: AuthenticationResult,
  { all, current = tenantLevel(token.tenantId), includesDisabled }: ListedSubscriptions,
): readonly unknown[] {
  const listed = (all.length > 0 ? all : [current]).filter(({ state }) => includesDisabled || state === "Enabled");
  return listed.map((each) =>
    accountJson(call, token, each, { isDefault: each.id === current.id, cloudKey: "cloudName" })
  );
}

async function setSubscription(call: Call): Promise<void> {
  const wanted = call.line.text("subscription")!;
  const token = await tokenFor(call);
  const { find, failure } = await subscriptionsOf(call, token, { wanted });
  const found = find(wanted);
  if (!found) throw failure ?? refused(`The subscription of '${wanted}' doesn't exist in cloud '${call.cloud.name}'.`);
  const { chooseSubscription } = await import("./subscriptions.ts");
  await chooseSubscription(await holderOf(call, token), found.id);
}

/** Signs accounts out of the app, as `latchkey logout` does: one, or all. */
async function signOut({ name, line, options, signal }: Call): Promise<void> {
  const { chooseAccount, mayAskUser } = await import("../../cli/accounts.ts");
  const { makeApplication } = await import("../../cli/application.ts");
  const app = await makeApplication(options, { needsCache: true, signal });
  const given = line.text("username");
  const all = await app.getAccounts({ signal });
  if (name === "logout" && all.length === 0) throw refused("There are no active accounts.");
  const nameOrId = given ?? options.text("account");
  const tenant = options.text("tenant");
  const accounts = name === "logout"
    ? [await chooseAccount(app, { nameOrId, tenant, takesAnyTenant: true, mayAsk: mayAskUser(), listed: all, signal })]
    : all;
  for (const account of accounts) {
    await app.removeAccount(account, { correlationId: options.correlationId, signal });
  }
  await (await import("./subscriptions.ts")).forgetSubscriptions(accounts);
}

/** Signs in, for a program that told a person to run `az login`. Returns the subscriptions. */
async function logIn(call: Call): Promise<unknown> {
  const { line, options, signal } = call;
  const other = OTHER_SIGN_INS.find(({ name }) => line.origin(name) === "command line");
  if (other) throw refused(`latchkey signs a person in, without --${other.name}`, "Run Azure CLI itself for this");
  const { completeSignIn, SIGN_IN_OPTIONS } = await import("../../cli/sign_in.ts");
  const challenge = line.text("claims-challenge");
  const tenant = line.text("tenant");
  // The last of two values counts. Without --profile, login does not write to the profile.
  const words = [
    ...givenWords(options, SIGN_IN_OPTIONS.filter(({ name }) => name !== "profile")),
    ...scopesAsked(call).map((scope) => `--scope=${scope}`),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
    ...(challenge === undefined ? [] : [`--claims=${challenge}`]),
    ...(line.isOn("use-device-code") ? ["--device-code"] : []),
  ];
  const profile = options.profile === undefined
    ? undefined
    : await (await import("../../cli/profiles.ts")).profileOf(options, { mayBeNew: false });
  const asked = { scopes: line.list("scope"), tenant, challenge };
  const login = readCommandLine({ name: "login", operands: 0, options: SIGN_IN_OPTIONS }, words, profile);
  const commands = { atTerminal: azLoginCommand(asked), onOtherDevice: azLoginCommand(asked, "--use-device-code") };
  const { result, app } = await completeSignIn(login, { signal, commands });
  // The token can be for another API than Azure Resource Manager.
  const ownLine = options.with({ account: result.account.homeAccountId });
  const signedIn = { ...call, tokens: () => openTokens(ownLine, { interactive: "never", signal, app }) };
  const found = line.isOn("skip-subscription-discovery")
    ? await subscriptionsOf(signedIn, result, "known")
    : await subscriptionsAfterSignIn(signedIn, result, tenant);
  const wanted = line.text("subscription");
  const chosen = wanted === undefined ? undefined : found.find(wanted);
  if (wanted === undefined) return accountsJson(call, result, { ...found, includesDisabled: false });
  if (!chosen) throw found.failure ?? notFound(wanted);
  await (await import("./subscriptions.ts")).chooseSubscription(await holderOf(call, result), chosen.id);
  return accountsJson(call, result, { all: [chosen], current: chosen, includesDisabled: true });
}

/** Returns the subscriptions. The sign-in counts, even if they cannot be listed. */
async function subscriptionsAfterSignIn(
  call: Call,
  result: AuthenticationResult,
  tenant: string | undefined,
): Promise<Subscriptions> {
  try {
    return await subscriptionsOf(call, await tokenFor(call, { tenant }), "new list");
  } catch (error) {
    if (call.signal?.aborted || !(error instanceof LatchkeyError)) throw error;
    return { ...await subscriptionsOf(call, result, "known"), failure: error };
  }
}

async function signedInUser(call: Call): Promise<unknown> {
  const { options, signal, cloud } = call;
  const option = "endpoint-microsoft-graph";
  const { getJson, serviceAddress } = await import("./subscriptions.ts");
  const graph = serviceAddress(option, options.text(option) ?? cloud.resources["ms-graph"]!);
  const { accessToken } = await tokenFor(call, { scopes: [scopeOf(cloud, "ms-graph")] });
  return await getJson(new URL("v1.0/me", graph), accessToken, signal);
}
