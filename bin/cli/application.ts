/**
 * The application that a command line asks for.
 *
 * @module
 */
import { type AccountInfo, idKey, isSameUsername } from "../../lib/account.ts";
import { isMicrosoftHost } from "../../lib/authority.ts";
import { denoNamespace, mayReadEnvironment } from "../../lib/runtime/host.ts";
import { write } from "../../lib/runtime/program.ts";
import { PublicClientApplication, type PublicClientApplicationOptions } from "../../lib/application.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { ArgumentError, LatchkeyError, type Logger } from "../../lib/errors.ts";
import { type CommandLine, unknown, UsageError } from "./command_line.ts";
import { WELL_KNOWN_CLIENTS } from "./options.ts";
import { escapeForTerminal } from "./output.ts";
import type { Tell, TokenStore, TokenStoreOptions } from "./token_cache.ts";

/** What people call an app of Microsoft's; `undefined` for others. */
export function wellKnownName(clientId: string): string | undefined {
  return Object.entries(WELL_KNOWN_CLIENTS).find(([, id]) => id === clientId.toLowerCase())?.[0];
}

const ALL_BROKERS = {
  enableBrokerOnWindows: true,
  enableBrokerOnWsl: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
};

/** What a command wants of its app. `signal` gives up looking at the store. */
type ApplicationOptions = Partial<PublicClientApplicationOptions> & TokenStoreOptions & CacheCall;

/**
 * Makes the application.
 *
 * @param line A command line with the options of an app.
 * @param options What the command wants otherwise.
 * @throws {UsageError} when the client id is missing or none, or the authority is none, or options of its store contradict
 * each other, or --cache-file names what is no token cache.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when the store that was asked for cannot be.
 */
export async function makeApplication(
  line: CommandLine,
  { mayPrompt, needsCache, hold, signal, ...options }: ApplicationOptions = {},
): Promise<PublicClientApplication> {
  const broker = line.text("broker"),
    verbosity = line.count("verbose"),
    authority = line.text("authority"),
    redirectPath = line.text("redirect-path");
  const cache = options.cache ?? await storeOf(line, { mayPrompt, needsCache, hold, signal });
  try {
    return new PublicClientApplication({
      clientId: options.clientId ?? clientIdOf(line),
      ...(authority !== undefined && { authority }),
      ...(redirectPath !== undefined && { redirectPath }),
      ...(broker !== "never" && ALL_BROKERS),
      requireBroker: broker === "require",
      ...(verbosity > 0 && { logger: logger(verbosity) }),
      ...(cache && { cache }),
      ...options,
    });
  } catch (error) {
    throw error instanceof ArgumentError ? new UsageError(error.message) : error;
  }
}

/**
 * The client id that a command line names.
 *
 * @throws {UsageError} when it is missing or none.
 */
export function clientIdOf(line: CommandLine): string {
  const given = line.text("client-id");
  if (given === undefined) {
    throw new UsageError(
      "--client-id is missing: the id of your app registration, or a name such as azure-cli (LATCHKEY_CLIENT_ID, where it may " +
        "be read; or --profile)",
    );
  }
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(given)) return given;
  const known = Object.hasOwn(WELL_KNOWN_CLIENTS, given) ? WELL_KNOWN_CLIENTS[given] : undefined;
  if (known) return known;
  if (!isAtMicrosoft(line)) return given; // only Microsoft calls its apps by GUIDs
  throw unknown(
    `client ${JSON.stringify(given)}: --client-id takes a GUID or ${Object.keys(WELL_KNOWN_CLIENTS).join(", ")}`,
    given,
    Object.keys(WELL_KNOWN_CLIENTS),
  );
}

/** Whether Microsoft issues the tokens: it does unless another authority is named. */
export function isAtMicrosoft(line: CommandLine): boolean {
  const authority = line.text("authority");
  return authority === undefined || URL.canParse(authority) && isMicrosoftHost(new URL(authority).hostname);
}

/**
 * The store that a command line asks for. Where Deno may do what a broker takes and no more, nothing can be kept: no code for
 * that is loaded.
 *
 * @param line A command line with the options of a store.
 * @param options How it is opened; `signal` gives up looking at it.
 * @returns The store; `undefined` where the app's own memory is it.
 * @throws {UsageError} when options of it contradict each other, or --cache-file names what is no token cache.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when the store that was asked for cannot be.
 */
export async function storeOf(
  line: CommandLine,
  { signal, ...options }: TokenStoreOptions & CacheCall,
): Promise<TokenStore | undefined> {
  const isAsked = line.origin("store") !== "default" || line.origin("cache-file") !== undefined;
  const mayBe = !denoNamespace() || mayReadEnvironment("HOME"), verbosity = line.count("verbose");
  if (!isAsked && !mayBe && verbosity === 0) return undefined;
  const { openTokenStore, tokenPlace } = await import("./token_cache.ts");
  // What a store warns of is about what the person has, or is waiting for.
  const store = openTokenStore(line, logger(verbosity, { warns: true }), options), place = tokenPlace(line);
  if (store && place.kind === "plaintext" && place.isNamed) {
    await (await import("./token_cache.ts")).requireCacheFile(store, { path: place.path, signal });
  }
  return store;
}

/** Prints log lines as far as -v asks for them; `warns`: warnings always. */
export function logger(verbosity: number, { warns = false }: { readonly warns?: boolean } = {}): Logger {
  return (level, message) => {
    if (verbosity === 0 && warns && level === "warn") write("stderr", `latchkey: ${escapeForTerminal(message)}\n`);
    if (verbosity === 0 || (level === "debug" && verbosity < 2)) return;
    write("stderr", `${new Date().toISOString()} ${level} ${escapeForTerminal(message)}\n`);
  };
}

/**
 * The account of a user name or home account id, or the only one there is.
 *
 * @param app The application.
 * @param given The user name or home account id, if one was given.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when several could be meant.
 * @throws {LatchkeyError} `account_not_found` when there is none; `broker_unavailable` when a broker is needed.
 */
export async function chooseAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  return await chooseAmong(await app.getAccounts({ signal }), { app, given, signal });
}

/**
 * The same among the accounts of the device's broker, those included that have signed out of this app.
 *
 * @param app An application that requires the broker.
 * @param given The user name or home account id, if one was given.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when several could be meant.
 * @throws {LatchkeyError} `account_not_found` when there is none; `broker_unavailable` when there is no broker.
 */
export async function chooseBrokerAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  return await chooseAmong(await app.getAccounts({ includeSignedOut: true, signal }), { app, given, signal });
}

async function chooseAmong(
  accounts: readonly AccountInfo[],
  { app, given, signal }: {
    readonly app: PublicClientApplication;
    readonly given: string | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<AccountInfo> {
  const [account, ...more] = given === undefined ? accounts : accounts.filter((each) => isCalled(each, given));
  if (account && more.length === 0) return account;
  if (account) throw new UsageError(whichOf([account, ...more], given));
  const why = await whyNobody(app, given, signal), who = given === undefined ? "" : ` ${given}`;
  throw new LatchkeyError("account_not_found", `There is no account${who}${why === undefined ? "" : `: ${why}`}`, {
    hint: "See latchkey accounts for those that there are, or sign in: latchkey login",
  });
}

/**
 * Why there is no account, in words.
 *
 * @param app The application that has none.
 * @param given The user name or home account id that it has none of, if one was given.
 * @param signal Gives up, with its reason.
 * @returns `undefined` where a broker serves: it has none, and there is no more to say.
 */
export async function whyNobody(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { state, reason } = await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (state === "active") return undefined;
  const why = `nothing is kept ${given === undefined ? "for this app" : "of it for this app"}`;
  return state === "off" ? why : `${why}, and there was no broker to ask: ${reason}`;
}

function isCalled({ username, homeAccountId }: AccountInfo, given: string): boolean {
  return isSameUsername(username, given) || idKey(homeAccountId) === idKey(given);
}

/** A user name that several have is of no use: they are told apart by their home account ids. */
function whichOf(accounts: readonly AccountInfo[], given: string | undefined): string {
  const byName = Map.groupBy(accounts, ({ username }) => username.toLowerCase());
  const names = accounts.map(({ username, homeAccountId }) => {
    if (!username) return homeAccountId;
    return byName.get(username.toLowerCase())!.length === 1 ? username : `${homeAccountId} (${username})`;
  });
  const why = given === undefined ? "is missing" : `${given} can be several`;
  return `--account ${why}: there are ${names.join(", ")}`;
}

/**
 * At Microsoft's authorities all that the app has been allowed of Microsoft Graph; elsewhere what every OpenID provider knows
 * (OpenID Connect Core, 5.4).
 */
export function defaultScopesOf(line: CommandLine): readonly string[] {
  return isAtMicrosoft(line) ? ["https://graph.microsoft.com/.default"] : ["email"];
}

/** What is held back until a command ends. */
interface HeldNotices {
  /** Holds it back. */
  hold: Tell;
  /**
   * Does what may fail, then says what was held back, but for what it failed with.
   *
   * @param work What may fail.
   */
  around<T>(work: () => Promise<T>): Promise<T>;
}

/** Makes one for a command. */
export function deferredNotices(): HeldNotices {
  const held: Parameters<Tell>[] = [];
  return {
    hold: (...notice) => void held.push(notice),
    async around(work) {
      let end: unknown;
      try {
        return await work();
      } catch (error) {
        end = error;
        throw error;
      } finally {
        for (const [what, error] of held) {
          // Reading again fails with another error that says the same.
          if (end instanceof Error && error?.message === end.message) continue;
          (await import("./token_cache.ts")).tellFailure(what, error);
        }
      }
    },
  };
}
