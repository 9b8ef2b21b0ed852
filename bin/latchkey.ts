/**
 * The command line: arguments in, exit code out.
 *
 * @module
 */
import { readEnvironment } from "../lib/runtime/host.ts";
import {
  endedBy,
  exit,
  exitSoon,
  isBrokenPipe,
  onSignals,
  programArguments,
  type SignalName,
  write,
} from "../lib/runtime/program.ts";
import { type CommandLine, optionWords, readCommandLine, unknown, UsageError } from "./cli/command_line.ts";
import { COMMANDS, CONFIG_FILE_COMMAND } from "./cli/commands.ts";
import type { Command } from "./cli/options.ts";

/** Runs a command. One that did what it was for and yet has bad news returns an exit code. */
type Run = (line: CommandLine, signal: AbortSignal | undefined) => Promise<number | void>;

const EXIT_USAGE = 2;
/** Exit codes of a command that a signal ended: a person gave up, or as shells have it, 128 and the signal's number. */
const EXIT_AT: Readonly<Partial<Record<SignalName, number>>> = { SIGINT: 4, SIGHUP: 129, SIGTERM: 143 };
/** Codes of a command that was given up, by a signal or for its time: a broker may still be told. */
const EXITS_GIVEN_UP: readonly number[] = Object.values(EXIT_AT);
/** How long a renewal that was sent may take once its command has ended, in milliseconds. */
const RENEWAL_GRACE_MS = 5_000;
/** How long a command may take to end by itself after a signal, in milliseconds. */
const ENDING_MS = 500;

/** The signal that ends a command. Disposed of, it is waited for no longer. */
interface Ending extends Disposable {
  /** Which one came; `undefined` as long as none has. */
  readonly name: SignalName | undefined;
  /** Aborts when it comes. */
  readonly signal: AbortSignal;
  /** Rejects when the command takes too long to end by itself. */
  readonly tooLong: Promise<never>;
}

/** Heeds signals from now on. Those that follow the first change nothing: a terminal that is closed can send several. */
function heedSignals(): Ending {
  const controller = new AbortController(), { signal } = controller, tooLong = Promise.withResolvers<never>();
  tooLong.promise.catch(() => {}); // nobody waits any more for a command that has ended
  let came: SignalName | undefined, timer: ReturnType<typeof setTimeout> | undefined;
  const listening = onSignals(Object.keys(EXIT_AT) as SignalName[], (name) => {
    if (came) return;
    came = name;
    controller.abort(endedBy(name));
    timer = setTimeout(() => tooLong.reject(signal.reason), ENDING_MS);
  });
  return {
    get name() {
      return came;
    },
    ...{ signal, tooLong: tooLong.promise },
    [Symbol.dispose]() {
      clearTimeout(timer);
      if (!came) listening[Symbol.dispose]();
    },
  };
}

/** Each command's code is loaded when it is called. */
async function load(command: Command): Promise<Run> {
  switch (command.name) {
    case "token":
      return (await import("./token.ts")).printToken;
    case "login":
      return (await import("./login.ts")).logIn;
    case "logout":
      return (await import("./logout.ts")).logOut;
    case "accounts":
      return (await import("./accounts.ts")).printAccounts;
    case "cookie":
      return (await import("./cookie.ts")).printCookies;
    case "sign":
      return (await import("./sign.ts")).printSignedRequest;
    case "browser-host":
      return (await import("./browser_host/browser_host.ts")).serveBrowser;
    case "app":
      return (await import("./app.ts")).printRegistration;
    case "serve":
      return (await import("./serve/serve.ts")).serve;
    case "az":
      return (await import("./az.ts")).answerAzureCli;
    case "az-shim":
      return (await import("./az_shim.ts")).installShim;
    case "doctor":
      return (await import("./doctor/doctor.ts")).examineMachine;
    case "completions":
      return (await import("./cli/completions.ts")).printCompletions;
    case "man":
      return (await import("./cli/help.ts")).printManual;
    case "git":
      return (await import("./git.ts")).answerGit;
    case "kube":
      return (await import("./kube.ts")).printExecCredential;
    default:
      return (await import("./config_file.ts")).runConfigFile;
  }
}

/**
 * Runs the command line. Until it ends, SIGINT, SIGHUP and SIGTERM end the command, and not the program.
 *
 * @param words The arguments.
 * @returns The exit code.
 */
export async function main(words: readonly string[]): Promise<number> {
  const [first, ...rest] = words, ending = heedSignals();
  let line: CommandLine | undefined;
  try {
    return await Promise.race([perform(), ending.tooLong]);
  } catch (error) {
    const code = await report(error, { line, words });
    return ending.name ? EXIT_AT[ending.name]! : code;
  } finally {
    ending[Symbol.dispose]();
  }

  async function perform(): Promise<number> {
    if (first === undefined) throw new UsageError("A command is missing");
    if (first === "--version") return await printVersion(rest);
    if (["--help", "-h", "help"].includes(first)) return await printHelp(rest[0]);
    const command = findCommand(first);
    const given = command === CONFIG_FILE_COMMAND ? words : rest;
    line = readCommandLine(command, given);
    if (line.help) return await printHelp(first);
    line = await withProfile(command, given, line);
    return await run(command, line, ending);
  }
}

/** A profile is looked for where one is named, and where no app is; not for a command that has none. */
async function withProfile(command: Command, words: readonly string[], line: CommandLine): Promise<CommandLine> {
  const isNamed = line.origin("profile") !== undefined,
    isPossible = command.options.some(({ name }) => name === "profile"),
    hasApp = !["default", undefined].includes(line.origin("client-id"));
  if (!isNamed && !(isPossible && !hasApp)) return line;
  const { profileOf } = await import("./cli/profiles.ts");
  try {
    const profile = await profileOf(line, { mayBeNew: command.name === "login" });
    return profile ? readCommandLine(command, words, profile) : line;
  } catch (error) {
    // What is wrong with the file is the doctor's to report.
    if (command.name === "doctor" && error instanceof Error) return { ...line, profileProblem: error };
    throw error;
  }
}

async function run(command: Command, line: CommandLine, ending: Ending): Promise<number> {
  const start = await load(command), seconds = line.seconds("timeout");
  if (seconds === 0) throw new UsageError("--timeout takes a number of seconds above 0");
  const limit = seconds === undefined ? undefined : AbortSignal.timeout(seconds * 1000);
  ending.signal.throwIfAborted();
  if (command.isService) ending[Symbol.dispose]();
  try {
    return await start(line, limit ? AbortSignal.any([limit, ending.signal]) : ending.signal) ?? 0;
  } catch (error) {
    if (!limit?.aborted || error !== limit.reason) throw error;
    const { LatchkeyError } = await import("../lib/errors.ts");
    throw new LatchkeyError("timed_out", `The command took longer than --timeout ${seconds}`, {
      hint: "Give it longer, or see what hangs: latchkey doctor",
    });
  }
}

function findCommand(word: string): Command {
  const command = COMMANDS.find(({ name }) => name === word);
  if (command) return command;
  if (word.endsWith(".json")) return CONFIG_FILE_COMMAND;
  if (word.startsWith("-")) throw unknown(`option ${word} before a command`, word, ["--help", "--version"]);
  throw unknown(`command ${JSON.stringify(word)}`, word, COMMANDS.map(({ name }) => name));
}

async function printHelp(word: string | undefined): Promise<number> {
  const { helpOf, overview } = await import("./cli/help.ts");
  write("stdout", word === undefined ? overview() : helpOf(findCommand(word)));
  return 0;
}

async function printVersion(words: readonly string[]): Promise<number> {
  await (await import("./cli/help.ts")).printVersion(words);
  return 0;
}

/** What a failure is told with. */
interface Failed {
  /** The command line, if it could be read. */
  readonly line: CommandLine | undefined;
  readonly words: readonly string[];
}

async function report(error: unknown, { line, words }: Failed): Promise<number> {
  const { ArgumentError, LatchkeyError } = await import("../lib/errors.ts");
  const { EXIT, failureJson, failureText, otherFailureJson } = await import("./cli/failures.ts");
  const { escapeForTerminal: visible } = await import("./cli/output.ts");
  const isJson = wantsJson(line, words);
  // An ArgumentError is how the library calls a mistake in a call, and the call was made of the command line.
  if (error instanceof UsageError || error instanceof ArgumentError) {
    const hint = `See ${COMMANDS.some(({ name }) => name === words[0]) ? `latchkey ${words[0]}` : "latchkey"} --help`;
    tryToWrite("stderr", `latchkey: ${visible(error.message)}\n${hint}\n`);
    if (isJson) tryToWrite("stdout", otherFailureJson("wrong_usage", error.message, { hint }));
    return EXIT_USAGE;
  }
  const correlationId = line?.correlationId;
  if (error instanceof LatchkeyError) {
    tryToWrite("stderr", failureText(error, correlationId));
    if (isJson) tryToWrite("stdout", failureJson(error, correlationId));
    return EXIT[error.code];
  }
  if (isBrokenPipe(error)) return EXIT.unexpected;
  tryToWrite("stderr", `latchkey: ${visible(String(error))}\n`);
  if (isJson) tryToWrite("stdout", otherFailureJson("unexpected", String(error), { correlationId }));
  return EXIT.unexpected;
}

/** Whether JSON is wanted, be it that the command line could not be read. */
function wantsJson(line: CommandLine | undefined, words: readonly string[]): boolean {
  if (line) return line.text("format") === "json";
  const said = optionWords(words), { options = [] } = COMMANDS.find(({ name }) => name === words[0]) ?? {};
  if (said.some((word, index) => word === "--format=json" || word === "json" && said[index - 1] === "--format")) {
    return true;
  }
  return options.some(({ name }) => name === "format") && readEnvironment("LATCHKEY_FORMAT") === "json";
}

/**
 * Waits a little for renewals that were sent: the new refresh tokens have to be stored, since the old ones may no longer be valid.
 * A person who presses Ctrl-C again does not wait.
 */
async function finishRenewals(code: number): Promise<void> {
  const { renewalsInFlight } = await import("../lib/async.ts");
  const listening = onSignals(["SIGINT", "SIGTERM"], () => exit(code));
  await renewalsInFlight.drained(RENEWAL_GRACE_MS);
  listening[Symbol.dispose]();
}

/** The exit code tells of the failure even where nobody reads of it, or nothing can be written. */
function tryToWrite(stream: "stdout" | "stderr", text: string): void {
  try {
    write(stream, text);
  } catch {
    // there is nowhere left to say it
  }
}

// An older Node does not tell whether it is the program; to do nothing, with exit code 0, would pass for an empty answer.
if (import.meta.main === undefined) {
  tryToWrite("stderr", "latchkey: needs Node 22.18 or later, Bun 1.3 or Deno 2.6\n");
  exit(1);
} else if (import.meta.main) {
  const code = await main(programArguments());
  await finishRenewals(code);
  if (EXITS_GIVEN_UP.includes(code)) exitSoon(code);
  else exit(code);
}
