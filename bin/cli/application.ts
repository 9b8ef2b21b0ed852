/**
 * The application that a command line asks for.
 *
 * @module
 */
import { PublicClientApplication, type PublicClientApplicationOptions } from "../../lib/application.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { isGuid } from "../../lib/encoding.ts";
import type { Logger } from "../../lib/errors.ts";
import { denoNamespace, mayReadEnvironment, operatingSystem, quoteCommand } from "../../lib/runtime/host.ts";
import { type CommandLine, isAtMicrosoft, unknown, UsageError } from "./command_line.ts";
import { BROKER, VERBOSE, WELL_KNOWN_CLIENTS } from "./options.ts";
import { say, sayLine } from "./output.ts";
import type { Notice, NoticePrinter, TokenStore, TokenStoreOptions } from "./token_cache.ts";

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

/** Notices that wait until a call ends. */
export class HeldNotices {
  readonly #held: Notice[] = [];
  #printer: NoticePrinter | undefined;

  /** Keeps a notice until {@linkcode during} ends. */
  readonly hold = (notice: Notice): void => void this.#held.push(notice);

  /** Runs what may fail, then prints the notices held, except those that repeat its failure. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    let failure: unknown;
    try {
      return await work();
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      if (this.#held.length > 0) await this.#print(failure);
    }
  }

  async #print(failure: unknown): Promise<void> {
    this.#printer ??= new (await import("./token_cache.ts")).NoticePrinter();
    const reason = failure instanceof Error ? failure.message : undefined;
    // A second read fails with another error that has the same message.
    const news = this.#held.splice(0).filter(({ error }) => !error || error.message !== reason);
    for (const notice of news) this.#printer.tell(notice);
  }
}
