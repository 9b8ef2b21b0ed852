/**
 * Errors of keyrings.
 *
 * @module
 */
import { BUS_ERROR, DBusError } from "../dbus/bus.ts";
import { LatchkeyError } from "../errors.ts";

/**
 * Cause of a failure.
 *
 * - `no_bus`: this session has no bus that can be reached.
 * - `no_service`: no program serves a keyring here, and none can be started.
 * - `no_keyring`: there is no default keyring, and the user may not be prompted to make one.
 * - `locked`: it is locked, and the user may not be prompted.
 * - `dismissed`: the user dismissed the prompt, or it could not be shown: there is no display, or no program for
 *   prompts.
 * - `unanswered`: the prompt timed out.
 * - `silent`: calls to it time out.
 * - `gone`: it, or the keyring in it, went away.
 * - `failed`: any other; see `detail`.
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

/** Thrown by functions that use a keyring. */
export class KeyringError extends Error {
  override readonly name = "KeyringError";
  readonly problem: KeyringProblem;
  /** The keyring's own message: foreign text. */
  readonly detail: string | undefined;

  constructor(problem: KeyringProblem, detail?: string) {
    super(problem);
    this.problem = problem;
    this.detail = detail;
  }
}

/** Error names of the D-Bus daemon and of the Secret Service's specification. */
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

/** Returns the {@linkcode KeyringError} of a failed call. Other errors, such as an abort, are returned unchanged. */
export function asKeyringError(error: unknown): unknown {
  if (error instanceof LatchkeyError && error.code === "timed_out") return new KeyringError("silent");
  if (!(error instanceof DBusError)) return error;
  const { errorName, message } = error;
  if (errorName.startsWith(`${BUS_ERROR}Spawn.`)) return new KeyringError("no_service", message);
  const problem = PROBLEMS[errorName];
  return problem ? new KeyringError(problem) : new KeyringError("failed", message || errorName);
}
