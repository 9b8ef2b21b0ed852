/**
 * The application that a command line asks for.
 *
 * @module
 */
import {
  ArgumentError,
  type CacheCall,
  type Logger,
  PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../mod.ts";
import { isMicrosoftHost } from "../lib/authority.ts";
import { denoNamespace, mayReadEnvironment } from "../lib/platform/host.ts";
import { write } from "../lib/platform/program.ts";
import { type CommandLine, unknown, UsageError } from "./command_line.ts";
import { WELL_KNOWN_CLIENTS } from "./command_options.ts";
import type { TokenStore, TokenStoreOptions } from "./token_store.ts";
import { visible } from "./visible.ts";

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
  const broker = line.text("broker"), authority = line.text("authority"), redirectPath = line.text("redirect-path");
  const cache = options.cache ?? await storeOf(line, { mayPrompt, needsCache, hold, signal });
  try {
    return new PublicClientApplication({
      clientId: options.clientId ?? clientIdOf(line),
      ...(authority !== undefined && { authority }),
      ...(redirectPath !== undefined && { redirectPath }),
      ...(broker !== "never" && ALL_BROKERS),
      requireBroker: broker === "require",
      logger: logger(line.count("verbose")),
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
  const { openTokenStore, tokenPlace } = await import("./token_store.ts");
  // What a store warns of is about what the person has, or is waiting for.
  const store = openTokenStore(line, logger(verbosity, { warns: true }), options), place = tokenPlace(line);
  if (store && place.kind === "plaintext" && place.isNamed) {
    await (await import("./named_cache_file.ts")).requireCacheFile(store, { path: place.path, signal });
  }
  return store;
}

/** Prints log lines as far as -v asks for them; `warns`: warnings always. */
export function logger(verbosity: number, { warns = false }: { readonly warns?: boolean } = {}): Logger {
  return (level, message) => {
    if (verbosity === 0 && warns && level === "warn") write("stderr", `latchkey: ${visible(message)}\n`);
    if (verbosity === 0 || (level === "debug" && verbosity < 2)) return;
    write("stderr", `${new Date().toISOString()} ${level} ${visible(message)}\n`);
  };
}
