/**
 * Failures of commands: exit codes, JSON, text, and remedies as commands: the words of the command line, with the options of the command that failed, quoted for the shell of this
 * platform.
 *
 * @module
 */
import { quoteCommand } from "../../lib/runtime/host.ts";
import { isWsl } from "../../lib/runtime/machine.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import {
  descriptionOf,
  isInteractionRequired,
  LatchkeyError,
  type LatchkeyErrorCode,
  shortNameOf,
  withDetails,
} from "../../lib/errors.ts";
import {
  advice,
  COMMON_WORDS,
  consentAt,
  followedBy,
  hintOf,
  type HintWords,
  oneResource,
  redirectUriToAdd,
  type Remedy,
} from "../../lib/remedies.ts";
import { type CommandLine, isAtMicrosoft } from "./command_line.ts";
import { scopesNamed } from "./scopes.ts";

/** Commands that hints name. */
interface HintCommands {
  /** Returns the sign-in; `with`: what it passes. */
  readonly login: (step: Pick<Extract<Remedy, { readonly kind: "sign_in_again" }>, "with">) => string;
  readonly accounts: string;
}

/** Returns the words of an interface of commands. What follows a command is kept apart by quotation marks. */
function wordsOfCommands({ login, accounts }: HintCommands): HintWords {
  const quoted = (command: string, { isLast }: { readonly isLast: boolean }) => isLast ? command : `\`${command}\``;
  return {
    ...COMMON_WORDS,
    sign_in: (_, place) => `Sign in: ${quoted(login({}), place)}`,
    sign_in_again: (step, place) => `Sign in again: ${quoted(login(step), place)}`,
    // Only --broker never leaves the brokers out, so the user need not be told of them.
    enable_broker: (_, place) => `Sign in: ${quoted(login({}), place)}`,
    sign_in_elsewhere: ({ atTerminal = login({}), onOtherDevice = `${login({})} --device-code` }) =>
      `Sign in at a terminal, where you can paste the URL: \`${atTerminal}\`. Or on another device, if the organization ` +
      `allows it: \`${onOtherDevice}\`. A container or an SSH session can also use the sign-in of your own machine: ` +
      "see latchkey serve --help",
    list_accounts: (_, place) => `List the accounts: ${quoted(accounts, place)}`,
    choose_account: ({ among }) =>
      `Choose one: ${
        among === "tenants" ? "--tenant, or --account with a home account id" : "--account"
      } (${accounts})`,
    consent: ({ url }) =>
      consentAt(url === undefined ? "the URL that latchkey login --no-browser prints" : `this to consent: ${url}`),
    name_scopes: () => "Name the scope: --scope",
    name_resource: () => "Name the resource: --resource",
    request_one_resource: (step) => `${oneResource(step)}; --resource adds /.default`,
    check_request: ({ parameters }) => `Check ${parameters.map((name) => OPTIONS[name]).join(" and ")}`,
    omit_parameter: ({ parameter }) => parameter === "kid" ? "Ask without a key of yours" : "Ask without --pop",
    register_redirect_uri: (step) => `${redirectUriToAdd(step)}; see latchkey app`,
    require_broker: () => "Sign in through the device's broker: --broker require",
    disable_broker: () => "Go without the broker: --broker never",
    choose_store: () => "Choose --store plaintext or memory (LATCHKEY_STORE)",
    run_doctor: (_, place) => `Look for the cause: ${quoted("latchkey doctor", place)}`,
    serve_elsewhere: () => "Get tokens from the device that has the broker: see latchkey serve --help",
  };
}

const OPTIONS = { clientId: "--client-id", authority: "--authority", tenant: "--tenant", account: "--account" };

const LOGIN_WITH = { claims: " --claims, with the error's claims", scopes: " --scope", prompt: " --prompt login" };
const BARE_COMMANDS: HintCommands = {
  login: (step) => `latchkey login${step.with ? LOGIN_WITH[step.with] : ""}`,
  accounts: "latchkey accounts",
};

/** Returns the words of the command line; those of a command have its options, if it names an app. */
export function commandWords(line?: CommandLine, claims?: string): HintWords {
  return wordsOfCommands(line && isGiven(line, "client-id") ? commandsOf(line, claims) : BARE_COMMANDS);
}

function commandsOf(line: CommandLine, claims: string | undefined): HintCommands {
  const scopes = scopesNamed(line);
  return {
    login: (step) => {
      const login = loginCommand(line, scopes, step.with === "claims" ? claims : undefined);
      return step.with === "prompt" ? `${login}${LOGIN_WITH.prompt}` : login;
    },
    accounts: quoteCommand(["latchkey", "accounts", ...optionsGiven(line, ACCOUNTS_OPTIONS)]),
  };
}

/** AADSTS53003: blocked by Conditional Access, possibly because of the address that the request comes from. */
const BLOCKED_BY_POLICY = 53003;
const MIRRORED = advice(
  "In WSL, mirrored networking can be the cause: try networkingMode=nat in .wslconfig, then wsl --shutdown",
);

/** Returns the hint of a failure as a command, with what only this machine can tell. */
export function commandHint(error: LatchkeyError, line?: CommandLine): string | undefined {
  const { claims, errorCodes } = error;
  const remedy = errorCodes.includes(BLOCKED_BY_POLICY) && isWsl() ? followedBy(error.remedy, MIRRORED) : error.remedy;
  return remedy && hintOf(remedy, commandWords(line, claims));
}

/** Returns the message of an error, with its hint as a command. */
export function messageOf(error: Error): string {
  return error instanceof LatchkeyError ? withHint(error.message, error) : error.message;
}

function withHint(sentence: string, error: LatchkeyError): string {
  return [sentence, commandHint(error)].filter(Boolean).join(". ");
}

/** Returns the error with its remedy in the words of another command line than that of the program, or of another program. */
export function inWords(error: LatchkeyError, words: HintWords): LatchkeyError {
  return error.remedy ? withDetails(error, { remedy: hintOf(error.remedy, words), cause: error }) : error;
}

/** Returns the error with the URL for consent, if consent is missing: a shell has no method for it. */
export async function withConsentUrl(
  error: unknown,
  app: PublicClientApplication,
  request: { readonly scopes: readonly string[]; readonly tenantId?: string | undefined },
): Promise<unknown> {
  if (!(error instanceof LatchkeyError) || error.remedy?.kind !== "consent") return error;
  const { scopes, tenantId } = request; // of more that a caller's request can have
  const url = await app.getAuthorizationRequestUrl({ scopes, tenantId }).catch(() => undefined);
  return url === undefined ? error : withDetails(error, { remedy: { ...error.remedy, url }, cause: error });
}

/** Remedies in whose place the sign-in of a command comes. */
const SIGN_INS: readonly Remedy["kind"][] = ["sign_in", "sign_in_again", "enable_broker"];

/** Returns the error with the sign-in that fixes it as its remedy, if one does. */
export function withLogin(error: unknown, line: CommandLine, scopes: readonly string[]): unknown {
  if (!isSignInNeeded(error)) return error;
  const signIn = advice(`Sign in: ${loginCommand(line, scopes, error.claims)}`);
  // A device that must be registered first, for one: then a sign-in is only the second step.
  const isFirstStep = error.remedy === undefined || SIGN_INS.includes(error.remedy.kind);
  return withDetails(error, { remedy: isFirstStep ? signIn : followedBy(error.remedy, signIn), cause: error });
}

/** Returns true if the next step is a sign-in by the user: the first one, or one after a prompt that was canceled or timed out. */
export function isSignInNeeded(error: unknown): error is LatchkeyError {
  const isEnded = error instanceof LatchkeyError && ["user_canceled", "timed_out"].includes(error.code);
  return isEnded || isInteractionRequired(error);
}

/** Options of a command that its sign-in, or a list of its accounts, needs as well. */
const SIGN_IN_OPTIONS = ["client-id", "authority", "tenant", "account", "broker", "store", "cache-file"];
const ACCOUNTS_OPTIONS = SIGN_IN_OPTIONS.filter((name) => !["tenant", "account"].includes(name));

/** Returns the sign-in that a command needs, quoted for the shell of this platform; `claims` are a challenge to answer. */
export function loginCommand(line: CommandLine, scopes: readonly string[], claims?: string): string {
  return quoteCommand([
    ...["latchkey", "login"],
    // A sign-in that stores a profile does so when it is repeated. Another command's would change the profile.
    ...optionsGiven(line, [
      ...(line.command === "login" ? ["profile"] : []),
      ...SIGN_IN_OPTIONS,
      ...serverOptions(line),
    ]),
    ...scopes.map((scope) => ["--scope", scope]),
    ...(claims === undefined ? [] : [["--claims", claims]]),
  ]);
}

/** Returns the options that name a server. */
function serverOptions(line: CommandLine): readonly string[] {
  if (line.origin("for") === undefined) return [];
  // For a server, --resource is a resource indicator, except at Microsoft's authorities, where it is a scope.
  return isAtMicrosoft(line) ? ["for"] : ["for", "resource"];
}

function isGiven(line: CommandLine, name: string): boolean {
  return !["default", undefined].includes(line.origin(name));
}

/** Returns those options that were given. */
function optionsGiven(line: CommandLine, names: readonly string[]): readonly (readonly string[])[] {
  return names.filter((name) => isGiven(line, name)).map((name) => [`--${name}`, line.text(name)!]);
}

/** Commands that repeat a sign-in elsewhere, quoted for the shell of this platform. */
export interface SignInCommands {
  readonly atTerminal: string;
  readonly onOtherDevice: string;
}

/** Returns the commands for the sign-in that a command line asks for: with its scopes, claims and prompt. */
export function signInCommands(line: CommandLine): SignInCommands {
  const prompt = line.text("prompt");
  const login = loginCommand(line, scopesNamed(line), line.text("claims"));
  return {
    atTerminal: prompt === undefined ? login : `${login} --prompt ${prompt}`,
    onOtherDevice: `${login} --device-code`, // which has no prompts
  };
}

export const EXIT: Readonly<Record<LatchkeyErrorCode, number>> = {
  interaction_required: 3,
  account_unusable: 3,
  account_not_found: 3,
  user_canceled: 4,
  timed_out: 4,
  no_network: 5,
  temporarily_unavailable: 5,
  broker_unavailable: 5,
  configuration: 1,
  untrusted_authority: 1,
  refused: 1,
  missing_dependency: 1,
  invalid_response: 1,
  unexpected: 1,
};

/** Returns a failure in one line: the server's error, otherwise our code, and the description. */
export function failureLineWithHint(error: LatchkeyError): string {
  return withHint(`${shortNameOf(error)}: ${descriptionOf(error)}`, error);
}

/** Returns a failure for `--format json`. The id is the command's if the error has none, since it was aborted or never sent. */
export function failureJson(error: LatchkeyError, line?: CommandLine): Record<string, unknown> {
  const { broker } = error;
  return {
    error: shortNameOf(error),
    error_description: descriptionOf(error),
    error_codes: error.errorCodes,
    suberror: error.subError,
    correlation_id: error.correlationId ?? line?.correlationId,
    claims: error.claims,
    hint: commandHint(error, line),
    broker: broker &&
      { status: broker.status, sub_status: broker.subStatus, tag: broker.tag, error_code: broker.errorCode },
  };
}

/** Returns a failure as lines for people; the id is as with {@linkcode failureJson}. */
export function failureText(error: LatchkeyError, line?: CommandLine): readonly string[] {
  const rows: readonly (readonly [name: string, value: string | undefined])[] = [
    ["error", shortNameOf(error)],
    ["error_description", descriptionOf(error)],
    ["suberror", error.subError],
    ...error.errorCodes.map((code) => ["see", `https://login.microsoftonline.com/error?code=${code}`] as const),
    ["correlation_id", error.correlationId ?? line?.correlationId],
    ["time", new Date().toISOString()],
    ["hint", commandHint(error, line)],
  ];
  return rows.flatMap(([name, value]) => value ? [`${name}: ${value}`] : []);
}
