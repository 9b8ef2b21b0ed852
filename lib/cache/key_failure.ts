/**
 * Why a key cannot be had, in words for people.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { printable } from "../json_values.ts";
import { KeyringError, type KeyringProblem } from "../platform/keyring_error.ts";
import type { KeyPlace } from "./key_record.ts";

/** Where a key is, or is to be. */
export interface KeyHome {
  /** The folder of what it seals. */
  readonly folder: string;
  /** Where the key is kept. */
  readonly place: KeyPlace;
}

const NAMES: Readonly<Record<KeyPlace, string>> = {
  "secret-service": "the keyring (Secret Service)",
  keychain: "the macOS Keychain",
  dpapi: "Windows (DPAPI)",
  file: "a file",
};

const REASONS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "cannot be reached: this session has no bus",
  no_service: "is not there: no program serves it, nor can be started",
  no_keyring: "has no default keyring",
  locked: "is locked",
  dismissed: "is locked, and its prompt was dismissed or could not be shown",
  unanswered: "is locked, and nobody answered its prompt",
  silent: "does not answer",
  gone: "went away",
  failed: "failed",
};

const LOG_IN = "log out and in again with your password";
const HINTS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "Run it in a session that has a bus, and see that DBUS_SESSION_BUS_ADDRESS names it",
  no_service: "Start the program that kept the key (gnome-keyring, KWallet, KeePassXC)",
  no_keyring: `Make a default keyring in seahorse (Passwords and Keys), or ${LOG_IN}`,
  locked: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  dismissed: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  unanswered: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  silent: `Start it again: ${LOG_IN}`,
  gone: `Try again, or start it again: ${LOG_IN}`,
  failed: `Start it again: ${LOG_IN}`,
};

/** What comes first for a new key to get into the keyring. */
const FIRST_STEPS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "work in a session that has a bus",
  no_service: "start a keyring",
  no_keyring: "make a default keyring",
  locked: "unlock the keyring",
  dismissed: "unlock the keyring",
  unanswered: "unlock the keyring",
  silent: "start the keyring again",
  gone: "start the keyring again",
  failed: "start the keyring again",
};

/** For people: what keeps the keys of a place. */
export function nameOf(place: KeyPlace): string {
  return NAMES[place];
}

/** For people: what a keyring failed with, such as `the macOS Keychain is locked`. */
export function reasonOf(error: KeyringError | LatchkeyError, place: KeyPlace): string {
  if (error instanceof LatchkeyError) return error.message;
  const detail = printable(error.detail ?? "");
  return `${NAMES[place]} ${REASONS[error.problem]}${detail && `: ${detail}`}`;
}

/**
 * A failure to have a key that is there.
 *
 * @returns `configuration`, `timed_out`; what is no keyring's failure, as it is.
 */
export function cannotRead(error: unknown, { folder, place }: KeyHome): unknown {
  if (!(error instanceof KeyringError)) return error;
  return failure(error, place, {
    doing: `Cannot read the token cache in ${folder}`,
    otherwise: `to go on without it, choose --store plaintext or memory (LATCHKEY_STORE); ` +
      `or move ${folder} away and sign in again`,
  });
}

/**
 * What is said of a key that cannot be had again here: its place has not got it, or what is written down of it is damaged.
 *
 * @returns `configuration`.
 */
export function keyLost(
  { folder, place }: { readonly folder: string; readonly place?: KeyPlace | undefined },
): LatchkeyError {
  const what = place ? `${nameOf(place)} has not got it` : `${folder}/key.json is damaged`;
  const anew = "latchkey login begins anew, and what was kept is set aside";
  const hint = place === "secret-service"
    ? `Where another session's keyring has it, work there; else sign in again: ${anew}`
    : `Sign in again: ${anew}`;
  return new LatchkeyError("configuration", `The key of the token cache in ${folder} is lost: ${what}`, { hint });
}

/**
 * What stands in the way of a new key where a person can still mend it, and what becomes of the key if they do not.
 *
 * @returns `configuration`.
 */
export function mayBeInFile(error: KeyringError, { folder, place }: KeyHome): LatchkeyError {
  const step = error.problem === "locked" ? "unlock it" : "make one";
  return new LatchkeyError(
    "configuration",
    `For now ${reasonOf(error, place)}. A sign-in asks to ${step} where somebody can be asked; ` +
      `if that is not done, the key goes into ${folder}/key.json`,
    { hint: `${HINTS[error.problem]}, before you sign in` },
  );
}

/** For people: how a key gets from a file into the keyring, such as `unlock the keyring, move … away, and sign in again`. */
export function wayOutOfFile(error: KeyringError | LatchkeyError, folder: string): string {
  const first = error instanceof KeyringError ? FIRST_STEPS[error.problem] : "mend that";
  return `${first}, move ${folder} away, and sign in again`;
}

/**
 * A failure to keep a new key where it is wanted.
 *
 * @returns `configuration`, `timed_out`; what is no keyring's failure, as it is.
 */
export function cannotKeep(error: unknown, { folder, place }: KeyHome): unknown {
  if (!(error instanceof KeyringError)) return error;
  return failure(error, place, {
    doing: `Cannot keep the key of the token cache in ${folder}`,
    otherwise: 'or let the key be in a file (keyPlace "auto" or "file")',
  });
}

function failure(
  error: KeyringError,
  place: KeyPlace,
  { doing, otherwise }: { readonly doing: string; readonly otherwise: string },
): LatchkeyError {
  const code = ["unanswered", "silent"].includes(error.problem) ? "timed_out" : "configuration";
  const hint = place === "secret-service" ? HINTS[error.problem] : `Unlock it, or ${LOG_IN}`;
  return new LatchkeyError(code, `${doing}: ${reasonOf(error, place)}`, { hint: `${hint}; ${otherwise}` });
}
