/**
 * The command line: arguments in, exit code out.
 *
 * @module
 */
import { ArgumentError, LatchkeyError, SUPPORTED_RUNTIMES } from "../lib/errors.ts";
import { renewalsInFlight } from "../lib/async.ts";
import {
  operatingSystem,
  type ProgramIo,
  readEnvironment,
  replaceProgramIo,
  type SignalName,
} from "../lib/runtime/host.ts";
import { endedBy, exit, exitSoon, onSignals, programArguments } from "../lib/runtime/lifecycle.ts";
import { isBrokenPipe, recognizeTerminalsBy } from "../lib/runtime/terminal.ts";
import {
  type Command,
  type CommandLine,
  optionWords,
  readCommandLine,
  unknown,
  UsageError,
} from "./cli/command_line.ts";
import {
  type CommandEntry,
  commandNamed,
  COMMANDS,
  CONFIG_FILE,
  GROUPS,
  loadGroups,
  OTHER_WORDS,
} from "./cli/commands.ts";
// Always loaded: a late import that fails, as in an incomplete download, would hide the failure that is reported.
import { announceLongWait, print, printJson, say, sayLine } from "./cli/output.ts";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** Exit codes of a command that a signal ended: a person gave up; or as in shells, 128 plus the signal's number. */
const EXIT_AT: Readonly<Partial<Record<SignalName, number>>> = { SIGINT: 4, SIGHUP: 129, SIGTERM: 143 };
/** Codes of a command that was aborted, by a signal or by its time limit: the broker may still have to be told. */
const ABORTED_EXITS: readonly number[] = Object.values(EXIT_AT);
/** Time in milliseconds for a renewal that was sent, after its command was aborted. */
const RENEWAL_GRACE_MS = 5_000;
/** Time in milliseconds for a command to end by itself after a signal. */
const ENDING_MS = 500;

/** The signal that ends a command, if one came. Once disposed of, it no longer does. */
interface Ending extends Disposable {
  readonly name: SignalName | undefined;
  readonly signal: AbortSignal;
  /** Rejects if the command takes too long to end by itself. */
  readonly tooLong: Promise<never>;
}

/** Listens for signals. Only the first one counts: a terminal that is closed can send several. */
function listenForSignals(): Ending {
  const controller = new AbortController();
  const { signal } = controller;
  const tooLong = Promise.withResolvers<never>();
  tooLong.promise.catch(() => {}); // unhandled if the command has ended
  let came: SignalName | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
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
    signal,
    tooLong: tooLong.promise,
    [Symbol.dispose]() {
      if (timer !== undefined) clearTimeout(timer); // the first use of a timer takes Deno 4 ms
      if (!came) listening[Symbol.dispose]();
    },
  };
}

/**
 * Runs the command line, and returns the exit code. SIGINT, SIGHUP and SIGTERM end a command, and not the program.
 *
 * @param words Words of the command line, without the program's name.
 * @param io Environment, streams and signals that take the place of the process's.
 */
export async function main(words: readonly string[], io?: ProgramIo): Promise<number> {
  const replaced = io && replaceProgramIo(io);
  try {
    return await runWords(words);
  } finally {
    replaced?.[Symbol.dispose]();
  }
}

async function runWords(words: readonly string[]): Promise<number> {
  const [first, ...rest] = words;
  let line: CommandLine | undefined;
  let listening: Ending | undefined;
  try {
    return await perform() ?? 0;
  } catch (error) {
    const code = await report(error, line, words);
    return listening?.name ? EXIT_AT[listening.name]! : code;
  } finally {
    listening?.[Symbol.dispose]();
  }

  async function perform(): Promise<number | void> {
    if (first === undefined) throw new UsageError("Missing command");
    if (first === "--version") return await (await import("./cli/help.ts")).printVersion(rest);
    if (["--help", "-h", "help"].includes(first)) {
      return await printHelp(rest[0], { isDetailed: rest.some((word) => ["-v", "--verbose"].includes(word)) });
    }
    listening = listenForSignals(); // takes Deno 0.5 ms, and only commands need it
    return await Promise.race([performCommand(first, listening), listening.tooLong]);
  }

  async function performCommand(name: string, ending: Ending): Promise<number | void> {
    if (PROFILE_WORDS.includes(name)) {
      const { profilesPath } = await import("./cli/profiles.ts");
      throw new UsageError(`There is no command ${JSON.stringify(name)}; the profiles are in ${profilesPath()}`);
    }
    const entry = findCommand(name);
    const { command } = await entry.load();
    const given = entry === CONFIG_FILE ? words : rest;
    line = readCommandLine(command, given);
    if (line.help) return await printHelp(name, { isDetailed: line.count("verbose") > 0 });
    line = await withProfile(command, given, line);
    // The terminals of Git Bash are pipes to Windows.
    if (operatingSystem() === "win32" && readEnvironment("MSYSTEM") !== undefined) {
      recognizeTerminalsBy((await import("../lib/runtime/windows_api.ts")).isMsysTerminal);
    }
    return await run(command, line, ending);
  }
}

/** Reads the command line again with a profile, if one is named, or if no app is and the command can have a profile. */
async function withProfile(command: Command, words: readonly string[], line: CommandLine): Promise<CommandLine> {
  const canHaveOne = command.options.some(({ name }) => name === "profile");
  if (!line.isGiven("profile") && (line.isGiven("client-id") || !canHaveOne)) return line;
  const { profileOf } = await import("./cli/profiles.ts");
  try {
    const profile = await profileOf(line, { mayBeNew: command.name === "login" });
    return profile ? readCommandLine(command, words, profile) : line;
  } catch (error) {
    if (command.reportsProfile && error instanceof Error) return readCommandLine(command, words, error);
    throw error;
  }
}

async function run(command: Command, line: CommandLine, ending: Ending): Promise<number | void> {
  const seconds = line.seconds("timeout");
  if (seconds === 0) throw new UsageError("--timeout takes a number of seconds above 0");
  const limit = seconds === undefined ? undefined : AbortSignal.timeout(seconds * 1000);
  ending.signal.throwIfAborted();
  if (command.isService) ending[Symbol.dispose]();
  const waiting = command.isService ? undefined : announceLongWait();
  try {
    return await command.run(line, limit ? AbortSignal.any([limit, ending.signal]) : ending.signal, loadGroups);
  } catch (error) {
    if (!limit?.aborted || error !== limit.reason) throw error;
    throw new LatchkeyError("timed_out", `The command took longer than --timeout ${seconds}`, {
      remedy: "Raise --timeout, or find what hangs: latchkey doctor",
    });
  } finally {
    waiting?.[Symbol.dispose]();
  }
}

/** Words of users who look for a list of the profiles. */
const PROFILE_WORDS: readonly string[] = ["profile", "profiles", "--profiles"];

function findCommand(word: string): CommandEntry {
  const command = commandNamed(word);
  if (command) return command;
  if (word.endsWith(".json")) return CONFIG_FILE;
  const meant = Object.hasOwn(OTHER_WORDS, word) ? OTHER_WORDS[word] : undefined;
  if (meant !== undefined) throw new UsageError(`There is no command ${JSON.stringify(word)}; did you mean ${meant}?`);
  if (word.startsWith("-")) throw unknown(`option ${word} before a command`, word, ["--help", "--version"]);
  throw unknown(`command ${JSON.stringify(word)}`, word, COMMANDS.map(({ name }) => name));
}

async function printHelp(word: string | undefined, { isDetailed }: { readonly isDetailed: boolean }): Promise<void> {
  const { helpOf, overview } = await import("./cli/help.ts");
  if (word !== undefined) return print(helpOf((await findCommand(word).load()).command, { isDetailed }));
  print(overview(GROUPS));
}

/** Prints a failure. The exit code tells of it even if nothing can be written. */
async function report(error: unknown, line: CommandLine | undefined, words: readonly string[]): Promise<number> {
  const printIfJson = async (json: () => unknown) => await wantsJson(line, words) && attempt(() => printJson(json()));
  // The library reports a wrong call as an ArgumentError, and the call was made from the command line.
  if (error instanceof UsageError || error instanceof ArgumentError) {
    const hint = `See ${commandNamed(words[0]) ? `latchkey ${words[0]}` : "latchkey"} --help`;
    attempt(() => {
      say(error.message);
      sayLine(hint);
    });
    await printIfJson(() => ({ error: "wrong_usage", error_description: error.message, error_codes: [], hint }));
    return EXIT_USAGE;
  }
  if (error instanceof LatchkeyError) {
    const failures = await import("./cli/failures.ts").catch(() => undefined);
    if (!failures) return await reportBare(error, printIfJson);
    const { EXIT, failureJson, failureText } = failures;
    attempt(() => failureText(error, line).forEach(sayLine));
    await printIfJson(() => failureJson(error, line));
    return EXIT[error.code];
  }
  if (isBrokenPipe(error)) return EXIT_FAILURE;
  attempt(() => say(String(error)));
  const failure = {
    error: "unexpected",
    error_description: String(error),
    error_codes: [],
    correlation_id: line?.correlationId,
  };
  await printIfJson(() => failure);
  return EXIT_FAILURE;
}

/** Prints a failure without its hint, where the code that renders it cannot be loaded, as in an incomplete download. */
async function reportBare(
  { code, message }: LatchkeyError,
  printIfJson: (json: () => unknown) => Promise<unknown>,
): Promise<number> {
  attempt(() => say(`${code}: ${message}`));
  await printIfJson(() => ({ error: code, error_description: message, error_codes: [] }));
  return EXIT_FAILURE;
}

async function wantsJson(line: CommandLine | undefined, words: readonly string[]): Promise<boolean> {
  if (line) return line.text("format") === "json";
  const given = optionWords(words);
  if (given.some((word, index) => word === "--format=json" || word === "json" && given[index - 1] === "--format")) {
    return true;
  }
  if (readEnvironment("LATCHKEY_FORMAT") !== "json") return false;
  const loaded = await commandNamed(words[0])?.load().catch(() => undefined); // this may be the failure
  return loaded?.command.options.some(({ name }) => name === "format") ?? false;
}

function attempt(write: () => void): void {
  try {
    write();
  } catch {
    // nowhere left to report it
  }
}

/**
 * Waits for renewals that were sent, for a limited time: the new refresh tokens have to be stored, since the old ones may no
 * longer be valid. A person who presses Ctrl-C again does not wait.
 */
async function finishRenewals(code: number): Promise<void> {
  if (renewalsInFlight.isEmpty) return;
  const listening = onSignals(["SIGINT", "SIGTERM"], () => exit(code));
  // Whoever started the program gets its output only when it ends: `$(…)`, git and kubectl wait for that.
  await renewalsInFlight.drained(ABORTED_EXITS.includes(code) ? RENEWAL_GRACE_MS : renewalsInFlight.holdMs);
  listening[Symbol.dispose]();
}

// An older Node does not know import.meta.main. Doing nothing, with exit code 0, would pass for an empty result.
if (import.meta.main === undefined) {
  attempt(() => say(`needs ${SUPPORTED_RUNTIMES}`));
  exit(1);
} else if (import.meta.main) {
  const code = await main(programArguments());
  await finishRenewals(code);
  if (ABORTED_EXITS.includes(code)) exitSoon(code);
  else exit(code);
}
