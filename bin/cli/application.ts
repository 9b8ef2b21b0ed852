/**
 * The application that a command line asks for.
 *
 * @module
 */
import { isGuid } from "../../lib/encoding.ts";
import { type AccountInfo, idKey } from "../../lib/account.ts";
import {
  denoNamespace,
  mayReadEnvironment,
  operatingSystem,
  quoteCommand,
  readEnvironment,
} from "../../lib/runtime/host.ts";
import { isTerminal } from "../../lib/runtime/terminal.ts";
import { PublicClientApplication, type PublicClientApplicationOptions } from "../../lib/application.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { LatchkeyError, type Logger } from "../../lib/errors.ts";
import { isTenant } from "../../lib/authority.ts";
import { accountNames, accountsIn, accountsMeant, isOneUser } from "../../lib/sources/account_choice.ts";
import { type CommandLine, isAtMicrosoft, unknown, UsageError } from "./command_line.ts";
import { BROKER, VERBOSE, WELL_KNOWN_CLIENTS } from "./options.ts";
import { say, sayLine } from "./output.ts";
import type { Notify, TokenStore, TokenStoreOptions } from "./token_cache.ts";

export function wellKnownName(clientId: string): string | undefined {
  return Object.entries(WELL_KNOWN_CLIENTS).find(([, id]) => id === clientId.toLowerCase())?.[0];
}

const ALL_BROKERS = {
  enableBrokerOnWindows: true,
  enableBrokerOnWsl: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
};

/**
 * Creates the application of a command line. `options` are the command's own, and take precedence; `signal` aborts the look at the
 * token cache.
 *
 * @throws {UsageError} if the client id is missing or invalid, options of the token cache contradict each other, or
 * --cache-file is not a token cache.
 * @throws {ArgumentError} if the authority or the redirect path is invalid.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the requested token cache cannot be used.
 */
export async function makeApplication(
  line: CommandLine,
  { mayPrompt, needsCache, hold, signal, ...options }:
    & Partial<PublicClientApplicationOptions>
    & TokenStoreOptions
    & CacheCall = {},
): Promise<PublicClientApplication> {
  const broker = line.get(BROKER);
  const verbosity = line.count("verbose");
  const authority = line.text("authority");
  const redirectPath = line.text("redirect-path");
  const cache = options.cache ?? await storeOf(line, { mayPrompt, needsCache, hold, signal });
  const app = new PublicClientApplication({
    clientId: options.clientId ?? clientIdOf(line),
    ...(authority !== undefined && { authority }),
    ...(redirectPath !== undefined && { redirectPath }),
    ...(broker !== "never" && { ...ALL_BROKERS, isBrokerOptional: broker === "auto" && !options.requireBroker }),
    requireBroker: broker === "require",
    ...(verbosity > 0 && { logger: logger(verbosity) }),
    ...(cache && { cache }),
    ...options,
    onSignInAddress: (shown) => {
      options.onSignInAddress?.(shown);
      if (broker === "auto") sayWithoutBroker(app).catch(() => {}); // nobody reads stderr
    },
  });
  return app;
}

/** Says why a sign-in is without a broker, on systems that have one of their own. */
async function sayWithoutBroker(app: PublicClientApplication): Promise<void> {
  if (operatingSystem() === "linux") return;
  const { state, reason } = await app.brokerStatus();
  if (state === "unavailable") say(`signing in without the device's broker: ${reason}`);
}

export function clientIdOf(line: CommandLine): string {
  const given = line.text("client-id");
  if (given === undefined) {
    if (line.isGiven("profile")) {
      const profile = line.text("profile");
      throw new UsageError(
        `--client-id is missing, and the profile ${profile} has none. To store one in it: latchkey login --profile ` +
          `${quoteCommand([profile!])} --client-id azure-cli`,
      );
    }
    const flag = mayReadEnvironment("LATCHKEY_CLIENT_ID") ? "" : ", which needs Deno's --allow-env=LATCHKEY_CLIENT_ID,";
    throw new UsageError(
      "--client-id is missing: the id of your app registration, or a name such as azure-cli (or set LATCHKEY_CLIENT_ID" +
        `${flag} or --profile). To store it for every command: latchkey login --profile default --client-id azure-cli`,
    );
  }
  const names = Object.keys(WELL_KNOWN_CLIENTS);
  if (isGuid(given)) return given;
  if (names.includes(given)) return WELL_KNOWN_CLIENTS[given]!;
  if (!isAtMicrosoft(line)) return given; // only Microsoft calls its apps by GUIDs
  throw unknown(`client ${JSON.stringify(given)}: --client-id takes a GUID or ${names.join(", ")}`, given, names);
}

/**
 * Opens the token cache of a command line; `undefined` stands for the application's own memory. If Deno permits only what a
 * broker needs, nothing can be stored, and no code for it is loaded.
 *
 * @throws {UsageError} if its options contradict each other, or --cache-file is not a token cache.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the requested token cache cannot be used.
 */
export async function storeOf(
  line: CommandLine,
  { signal, ...options }: TokenStoreOptions & CacheCall,
): Promise<TokenStore | undefined> {
  const isRequested = line.origin("store") !== "default" || line.origin("cache-file") !== undefined;
  const isPossible = !denoNamespace() || mayReadEnvironment("HOME");
  const verbosity = line.get(VERBOSE);
  if (!isRequested && !isPossible && verbosity === 0) return undefined;
  const { openTokenStore, requireCacheFile } = await import("./token_cache.ts");
  // Warnings of the token cache are about the user's own files, or a prompt that they have to answer.
  const store = openTokenStore(line, logger(verbosity, { warns: true }), options);
  if (store) await requireCacheFile(store, line, signal);
  return store;
}

/** Returns a logger that prints what -v asks for; `warns`: warnings always. */
export function logger(verbosity: number, { warns = false }: { readonly warns?: boolean } = {}): Logger {
  return (level, message) => {
    if (verbosity === 0 && warns && level === "warn") say(message);
    if (verbosity === 0 || (level === "debug" && verbosity < 2)) return;
    sayLine(`${new Date().toISOString()} ${level} ${message}`);
  };
}

/** Returns true if somebody can choose one of several accounts: at a terminal, unless nobody may be asked. */
export function canChoose(): boolean {
  return isTerminal("stdin") && isTerminal("stderr") && readEnvironment("LATCHKEY_INTERACTIVE") !== "never";
}

/** The account that a command line asks for: its user name or home account id, and its tenant. */
export interface AccountOptions extends CacheCall {
  readonly nameOrId: string | undefined;
  /** Tenant that chooses among the accounts of one user. The account can be in another one. @default none */
  readonly tenant?: string | undefined;
  /** Tenant that the account must be in. @default none */
  readonly requiredTenant?: string | undefined;
  /** Takes any account of the one user with a home account id: the command has the same effect on each. @default false */
  readonly takesAnyTenant?: boolean;
  /** Also chooses from the broker's accounts that have signed out of this app. @default false */
  readonly includeSignedOut?: boolean;
}

/**
 * Returns the account options of a command that acts on an account. A tenant on the command line is the account's; one from the
 * environment or a profile is for all commands, and only chooses among the accounts of one user.
 */
export function accountOptionsOf(line: CommandLine): Pick<AccountOptions, "nameOrId" | "tenant" | "requiredTenant"> {
  const tenant = line.text("tenant");
  const isRequired = line.origin("tenant") === "command line";
  return { nameOrId: line.text("account"), tenant, requiredTenant: isRequired ? tenant : undefined };
}

/**
 * Chooses the account with a user name or home account id, or the only account. The tenant chooses where one user has accounts in
 * several. Otherwise a user at a terminal chooses.
 *
 * @throws {UsageError} if there are several, and no user can choose; if the required tenant is neither an id nor a domain.
 * @throws {LatchkeyError} `account_not_found` if no account matches; `broker_unavailable` if a required broker cannot be used.
 */
export async function chooseAccount(
  app: PublicClientApplication,
  { nameOrId, tenant, requiredTenant, takesAnyTenant, signal, includeSignedOut }: AccountOptions,
): Promise<AccountInfo> {
  if (requiredTenant !== undefined && !isTenant(requiredTenant)) {
    throw new UsageError(`--tenant takes a tenant's id, not ${JSON.stringify(requiredTenant)}`);
  }
  const meant = accountsMeant(await app.getAccounts({ signal, includeSignedOut }), { nameOrId, tenant });
  const inTenant = requiredTenant === undefined ? meant : accountsIn(meant, requiredTenant);
  if (meant.length > 0 && inTenant.length === 0) {
    throw new LatchkeyError(
      "account_not_found",
      `No account is in the tenant ${requiredTenant}: there is ${accountNames(meant).join(", ")}`,
      { hint: "Give the id of the account's tenant: latchkey accounts" },
    );
  }
  const accounts = takesAnyTenant ? oneOfEachUser(inTenant) : inTenant;
  if (accounts.length > 1 && canChoose()) return await (await import("./sign_in.ts")).askForAccount(accounts, signal);
  if (accounts.length > 1) throw new UsageError(ambiguous(accounts, { nameOrId, tenant }));
  if (accounts[0]) return accounts[0];
  const why = await whyNoAccount(app, nameOrId, signal);
  const who = nameOrId === undefined ? "" : ` ${nameOrId}`;
  throw new LatchkeyError("account_not_found", `There is no account${who}${why === undefined ? "" : `: ${why}`}`, {
    hint: "List the accounts: latchkey accounts; or sign in: latchkey login",
  });
}

/**
 * Explains why there is no account; `undefined` with an active broker: there is no more to say than that it has none.
 *
 * @throws {LatchkeyError} `broker_unavailable` if a broker is installed and cannot be started: it may have the account.
 */
export async function whyNoAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { state, reason, failure } = await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (failure) throw failure;
  if (state === "active") return undefined;
  const why = `nothing is stored ${given === undefined ? "for this app" : "of it for this app"}`;
  return state === "off" ? why : `${why}, and no broker could be asked: ${reason}`;
}

/** Returns one account for each home account id: in the home tenant, or the first one. */
function oneOfEachUser(accounts: readonly AccountInfo[]): readonly AccountInfo[] {
  const users = [...Map.groupBy(accounts, ({ homeAccountId }) => idKey(homeAccountId)).values()];
  return users.map((ofUser) => accountsMeant(ofUser, { nameOrId: ofUser[0]!.homeAccountId })[0]!);
}

/** Lists the accounts so that each can be chosen. */
function ambiguous(
  accounts: readonly AccountInfo[],
  { nameOrId, tenant }: Pick<AccountOptions, "nameOrId" | "tenant">,
): string {
  const names = accountNames(accounts).join(", ");
  const tenants = new Set(accounts.map(({ realm }) => realm.toLowerCase()));
  const canTenantChoose = isOneUser(accounts) && tenants.size === accounts.length;
  const account = nameOrId === undefined ? "--account is missing" : `--account ${nameOrId} is ambiguous`;
  if (!canTenantChoose) return `${account}: there are ${names}`;
  const missing = nameOrId === undefined ? "--tenant is missing" : account;
  const why = tenant === undefined ? missing : `No account is in the tenant ${tenant}`;
  const canIdChoose = accounts.every(({ homeAccountId }) =>
    accountsMeant(accounts, { nameOrId: homeAccountId }).length === 1
  );
  const otherWay = canIdChoose ? ", or with the home account id (latchkey accounts)" : "";
  return `${why}: there are ${names}; choose one with --tenant and the tenant's id${otherWay}`;
}

/** Holds notices back until a command ends. `around` runs what may fail, then prints them, except those that repeat a failure. */
export function deferredNotices(): { hold: Notify; around<T>(work: () => Promise<T>): Promise<T> } {
  const held: Parameters<Notify>[] = [];
  return {
    hold: (...notice) => void held.push(notice),
    async around(work) {
      let failure: unknown;
      try {
        return await work();
      } catch (error) {
        failure = error;
        throw error;
      } finally {
        for (const [what, error] of held) {
          // A second read fails with another error that has the same message.
          if (failure instanceof Error && error?.message === failure.message) continue;
          (await import("./token_cache.ts")).notifyFailure(what, error);
        }
      }
    },
  };
}
