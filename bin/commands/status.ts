/**
 * `latchkey status`, also `latchkey whoami`.
 *
 * @module
 */
import { type AccountInfo, isSameUsername } from "../../lib/account.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { DEFAULT_AUTHORITY, environmentOf, parseAuthority } from "../../lib/authority.ts";
import type { BrokerStatus } from "../../lib/broker/broker.ts";
import { folderOf } from "../../lib/runtime/path.ts";
import { loginCommand, messageOf } from "../cli/failures.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { accountNames, defaultAccount, isNamed } from "../../lib/sources/account_choice.ts";
import { clientIdOf, makeApplication, storeOf } from "../cli/application.ts";
import type { Command, CommandLine } from "../cli/command_line.ts";
import { accountJson, epochSeconds, TEXT_FORMAT } from "../cli/formats.ts";
import { ACCOUNT, APP, BROKER, TIMEOUT, VERBOSE } from "../cli/options.ts";
import { print, printJson, say } from "../cli/output.ts";
import { escapeForTerminal } from "../../lib/control_characters.ts";
import { type TokenPlace, tokenPlace } from "../cli/token_cache.ts";

export const command: Command = {
  name: "status",
  alias: "whoami",
  summary: "Show who is signed in, how, and until when, without requesting a token",
  usage: "status --client-id ID [options]",
  operands: 0,
  options: [
    { ...ACCOUNT, summary: "Show only the account with this user name or home account id" },
    ...APP,
    TEXT_FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  unlike: { tenant: "it shows the accounts of all tenants; --account USER shows only one" },
  examples: [
    ["latchkey status --client-id azure-cli", "Check the sign-in: exit code 0 if a user is signed in, otherwise 3"],
    [
      "latchkey status --client-id azure-cli --format json | jq -r '.accounts[0].username'",
      "Print the user name, for a script",
      "(latchkey status --client-id azure-cli --format json | ConvertFrom-Json).accounts[0].username",
    ],
  ],
  run: showStatus,
};

const EXIT_NOBODY = 3;

/** An account, and what is known of its tokens without requesting one. */
interface AccountStatus {
  readonly account: AccountInfo;
  readonly isDefault: boolean;
  /** End of the cached token that lasts longest. */
  readonly expiresOn: Date | undefined;
  /** True if tokens are renewed without a person, as far as is known. */
  readonly isRenewed: boolean;
}

interface CacheProblem {
  readonly cannot: "be read" | "be written";
  readonly why: string;
}

interface Status {
  readonly accounts: readonly AccountStatus[];
  readonly broker: BrokerStatus;
  readonly place: TokenPlace;
  /** Reason why the token cache cannot be read, or else written. */
  readonly problem: CacheProblem | undefined;
}

async function showStatus(line: CommandLine, signal: AbortSignal | undefined): Promise<number> {
  const status = await readStatus(line, signal);
  const isSignedIn = status.accounts.length > 0;
  // It may have the account.
  if (!isSignedIn && status.broker.failure) throw status.broker.failure;
  if (line.get(TEXT_FORMAT) === "json") printJson(statusJson(line, status));
  else print(statusText(status));
  if (isSignedIn) return 0;
  const given = line.origin("account") === "profile" ? undefined : line.text("account");
  say(`${given === undefined ? "no user is" : `${given} is not`} signed in. Sign in: ${loginCommand(line, [])}`);
  return EXIT_NOBODY;
}

async function readStatus(line: CommandLine, signal: AbortSignal | undefined): Promise<Status> {
  const clientId = clientIdOf(line);
  const environment = environmentOf(parseAuthority(line.text("authority") ?? DEFAULT_AUTHORITY));
  let problem: string | undefined;
  const store = await storeOf(line, {
    mayPrompt: false, // a keyring that is locked is what there is to tell
    hold: ({ what, error }) => {
      if (error) problem ??= messageOf(error);
      else say(what);
    },
    signal,
  });
  const cache = store && new TokenCache(store, { clientId, environment });
  let cached: readonly AccountInfo[] = [];
  try {
    cached = (await cache?.findAccounts({ signal }))?.map(({ account }) => account) ?? [];
  } catch (error) {
    if (!(error instanceof LatchkeyError) || signal?.aborted) throw error;
    problem = messageOf(error);
  }
  const app = await makeApplication(line, { signal, ...(store && { cache: store }) });
  const { all, broker } = await knownAccounts(app, line, cached, signal);
  const accounts = await Promise.all(
    withDefault(all, line).map(async ([account, isDefault]): Promise<AccountStatus> => {
      const isBrokers = account.source === "broker";
      const stored = problem === undefined && !isBrokers
        ? await cache?.describeAccount(account, { signal })
        : undefined;
      return { account, isDefault, expiresOn: stored?.expiresOn, isRenewed: isBrokers || stored?.isRenewable === true };
    }),
  );
  const place = tokenPlace(line);
  return {
    accounts,
    broker,
    place,
    problem: problem === undefined ? await writeProblem(place) : { cannot: "be read", why: problem },
  };
}

/** Returns the reason why nothing can be stored, as far as that is known. */
async function writeProblem(place: TokenPlace): Promise<CacheProblem | undefined> {
  if (place.kind === "memory") return undefined;
  const { testFolder } = await import("../../lib/files/placed_file.ts");
  try {
    await testFolder(place.kind === "plaintext" ? folderOf(place.path) : place.folder);
    return undefined;
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return { cannot: "be written", why: messageOf(error) };
  }
}

/** Returns the accounts of the broker and the cache; only the cache's if the broker does not answer. */
async function knownAccounts(
  app: PublicClientApplication,
  line: CommandLine,
  cached: readonly AccountInfo[],
  signal: AbortSignal | undefined,
): Promise<{ readonly all: readonly AccountInfo[]; readonly broker: BrokerStatus }> {
  const broker = await app.brokerStatus({ version: true, signal });
  signal?.throwIfAborted();
  if (line.get(BROKER) === "never") return { all: cached, broker: { ...broker, reason: "--broker never" } };
  if (broker.state !== "active") return { all: line.get(BROKER) === "require" ? [] : cached, broker };
  try {
    return { all: await app.getAccounts({ correlationId: line.correlationId, signal }), broker };
  } catch (error) {
    if (!(error instanceof LatchkeyError) || signal?.aborted) throw error;
    return { all: cached, broker: { ...broker, state: "unavailable", reason: messageOf(error) } };
  }
}

/**
 * Returns the accounts that are asked for, and for each if it is the one that a command without `--account` uses: the profile's,
 * or the only one of the broker, which comes first, or the only one.
 */
function withDefault(all: readonly AccountInfo[], line: CommandLine): readonly (readonly [AccountInfo, boolean])[] {
  const given = line.text("account");
  const isMeant = (account: AccountInfo) => given !== undefined && isNamed(account, given);
  const only = defaultAccount(all);
  const shown = given !== undefined && line.origin("account") !== "profile" ? all.filter(isMeant) : all;
  return shown.map((account) => [account, given === undefined ? account === only : isMeant(account)]);
}

function statusJson(line: CommandLine, { accounts, broker, place, problem }: Status): Record<string, unknown> {
  return {
    signed_in: accounts.length > 0,
    client_id: clientIdOf(line),
    authority: line.text("authority") ?? DEFAULT_AUTHORITY,
    accounts: accounts.map(({ account, isDefault, expiresOn, isRenewed }) => ({
      ...accountJson(account),
      is_default: isDefault,
      token_expires_on: expiresOn ? epochSeconds(expiresOn) : null,
      renewable: isRenewed,
    })),
    broker: { state: broker.state, kind: broker.kind, version: broker.version, reason: broker.reason },
    cache: { kind: place.kind, path: pathOf(place), problem: problem?.why ?? null },
  };
}

function statusText({ accounts, broker, place, problem }: Status): string {
  const names = headingsOf(accounts.map(({ account }) => account));
  const rows = accounts.flatMap(({ account, isDefault, expiresOn, isRenewed }, index) => [
    `${names[index]}${isDefault ? " (default)" : ""}`,
    ...account.name ? [`  name: ${account.name}`] : [],
    `  tenant: ${account.realm || "unknown"} at ${account.environment}`,
    `  through: ${account.source === "broker" ? "the device's broker" : "the token cache"}`,
    `  until: ${untilText(account, { expiresOn, isRenewed })}`,
  ]);
  const { state, kind, version, reason } = broker;
  const used = `${kind} broker, version ${version ?? "unknown"}`;
  const why = reason === null ? "" : `: ${reason}`;
  const path = pathOf(place);
  const isEncrypted = place.kind === "file" ? "encrypted" : "unencrypted";
  return [
    ...rows,
    `broker: ${state === "active" ? used : state}${why}`,
    `cache: ${path === null ? "none, sign-ins last for one run" : `${path}, ${isEncrypted}`}`,
    ...problem === undefined ? [] : [`  cannot ${problem.cannot}: ${problem.why}`],
  ].map((row) => `${escapeForTerminal(row)}\n`).join("");
}

/** Returns the accounts' user names, with what tells apart those that have the same one. */
function headingsOf(accounts: readonly AccountInfo[]): readonly string[] {
  const names = accountNames(accounts);
  return accounts.map(({ username }, index) => {
    const isUnique = accounts.filter((other) => isSameUsername(other.username, username)).length === 1;
    return username && isUnique ? username : names[index]!;
  });
}

function untilText(
  { source }: AccountInfo,
  { expiresOn, isRenewed }: { readonly expiresOn: Date | undefined; readonly isRenewed: boolean },
): string {
  if (source === "broker") return "the broker decides: it renews tokens, and says when a sign-in is needed";
  const renewed = "renewed without a person, until the server refuses";
  if (!expiresOn) return isRenewed ? renewed : "a sign-in is needed for the next token";
  const end = `${expiresOn.toISOString().slice(0, -5)}Z`;
  return `${end}, when its last token expires; then ${isRenewed ? renewed : "a sign-in is needed"}`;
}

function pathOf(place: TokenPlace): string | null {
  if (place.kind === "file") return place.folder;
  return place.kind === "plaintext" ? place.path : null;
}
