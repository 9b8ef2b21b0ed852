/**
 * Why a keyring does not do what it is asked for.
 *
 * @module
 */
import { BUS_ERROR, DBusError } from "../dbus/bus.ts";
import { LatchkeyError } from "../errors.ts";

/**
 * What stands in the way.
 *
 * - `no_bus`: this session has no bus that can be reached.
 * - `no_service`: nobody serves a keyring here, nor can be started.
 * - `no_keyring`: there is no keyring to put things in, and nobody may be asked to make one.
 * - `locked`: it is locked, and nobody may be asked.
 * - `dismissed`: the person said no, or could not be asked: there is no display, or nobody shows prompts.
 * - `unanswered`: nobody answered the prompt in time.
 * - `silent`: it does not answer calls.
 * - `gone`: it, or the keyring in it, went away.
 * - `failed`: all else; `detail` says what.
 */
export type KeyringProblem =
  | "no_bus"
  | "no_service"
  | "no_keyring"
  | "locked"
  | "dismissed"
  | "unanswered"
  | "silent"
  | "gone"
  | "failed";

/** Thrown by what works with keyrings. */
export class KeyringError extends Error {
  /** Always `KeyringError`. */
  override readonly name = "KeyringError";
  /** What stands in the way. */
  readonly problem: KeyringProblem;
  /** The keyring's own words: foreign text. */
  readonly detail: string | undefined;

  /**
   * @param problem What stands in the way.
   * @param detail The keyring's own words.
   */
  constructor(problem: KeyringProblem, detail?: string) {
    super(problem);
    this.problem = problem;
    this.detail = detail;
  }
}

/** What the D-Bus daemon, and the Secret Service's specification, call what stands in the way. */
const PROBLEMS: Readonly<Record<string, KeyringProblem>> = {
  ...named(["ServiceUnknown", "NameHasNoOwner"], "no_service"),
  ...named(["NoServer", "FileNotFound", "BadAddress", "AuthFailed", "NoNetwork", "LimitsExceeded"], "no_bus"),
  ...named(["NoReply", "Disconnected"], "gone"),
  ...named(["TimedOut", "Timeout"], "silent"),
  "org.freedesktop.Secret.Error.IsLocked": "locked",
};

function named(names: readonly string[], problem: KeyringProblem): Readonly<Record<string, KeyringProblem>> {
  return Object.fromEntries(names.map((name) => [BUS_ERROR + name, problem]));
}

/** A failed call as a {@linkcode KeyringError}; what is none, such as an abort or a reply that cannot be read, as it is. */
export function asKeyringError(error: unknown): unknown {
  if (error instanceof LatchkeyError && error.code === "timed_out") return new KeyringError("silent");
  if (!(error instanceof DBusError)) return error;
  const { errorName, message } = error;
  if (errorName.startsWith(`${BUS_ERROR}Spawn.`)) return new KeyringError("no_service", message);
  const problem = PROBLEMS[errorName];
  return problem ? new KeyringError(problem) : new KeyringError("failed", message || errorName);
}
