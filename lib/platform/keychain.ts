/**
 * Secrets in the macOS Keychain, by Apple's `security`. What it is asked, secrets included, goes to its standard input
 * (`-i`): arguments are for everybody to see.
 *
 * Facts: `man security`; Apple's SecurityTool. In that mode a command that fails is said on standard error, and the exit code
 * is the last command's or 0, so that what was printed counts. A line has at most 4,095 bytes.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { isBase64 } from "./base64_text.ts";
import { type CommandResult, runCommand } from "./command.ts";
import { KeyringError } from "./keyring_error.ts";
import { StartError } from "./start_process.ts";

/** A secret's name in the keychain. */
export interface KeychainName {
  /** What it is for, such as `latchkey`. */
  readonly service: string;
  /** Which of these it is. */
  readonly account: string;
}

/** A secret to be stored. */
export interface KeychainSecret extends KeychainName {
  /** What people see of it. */
  readonly label: string;
  /** The secret: base64. */
  readonly text: string;
}

/** What a call has to heed. */
export interface KeychainCall {
  /** How long it may take, in milliseconds: macOS may ask the person. */
  readonly promptMs: number;
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const PROGRAM = "/usr/bin/security";

/** What `security` says, and what that means. */
const PROBLEMS: readonly (readonly [says: RegExp, problem: "locked" | "dismissed" | "no_keyring"])[] = [
  // errSecInteractionNotAllowed: over SSH, or before the first log-in, macOS asks nobody.
  [/User interaction is not allowed|-25308|returned 36\b/, "locked"],
  // errSecUserCanceled, errSecAuthFailed
  [/User canceled|-128\b|returned 128\b|passphrase you entered is not correct|-25293|returned 51\b/, "dismissed"],
  // errSecNoSuchKeychain, errSecNoDefaultKeychain
  [/could not be found\. *$|-25294|-25307|A default keychain could not be found/m, "no_keyring"],
];
/** errSecItemNotFound */
const NOT_FOUND = /specified item could not be found|-25300|returned 44\b/;

/**
 * Reads a secret.
 *
 * @returns The secret; `undefined` when the keychain has not got it.
 * @throws {KeyringError} when it cannot be had now.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run the program.
 */
export async function readKeychain(name: KeychainName, call: KeychainCall): Promise<string | undefined> {
  return readReply(await run(findCommand(name), call));
}

/**
 * Stores a secret, in place of one that has the same name.
 *
 * @throws {KeyringError} when that is not possible now.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run the program.
 */
export async function writeKeychain(secret: KeychainSecret, call: KeychainCall): Promise<void> {
  const result = await run(addCommand(secret) + findCommand(secret), call);
  // Were a command ever to be quoted, the secret would be.
  const reply = readReply({ ...result, stderr: result.stderr.replaceAll(secret.text, "[concealed]") });
  if (reply !== secret.text) throw new KeyringError("failed", "it did not keep the secret");
}

/** The line that asks for a secret. Pure. */
export function findCommand({ service, account }: KeychainName): string {
  return lineOf("find-generic-password", ["-s", service], ["-a", account], ["-w"]);
}

/** The line that stores a secret. The program that stores it, `security`, is the one that may read it unasked. Pure. */
export function addCommand({ service, account, label, text }: KeychainSecret): string {
  return lineOf("add-generic-password", ["-U"], ["-s", service], ["-a", account], ["-l", label], ["-w", text]);
}

/**
 * What was printed, as the secret. Pure.
 *
 * @returns The secret; `undefined` when there is none.
 * @throws {KeyringError} for what was said instead.
 */
export function readReply({ stdout, stderr }: CommandResult): string | undefined {
  const text = stdout.trim();
  if (isBase64(text)) return text;
  const [, problem] = PROBLEMS.find(([says]) => says.test(stderr)) ?? [];
  if (problem) throw new KeyringError(problem);
  if (NOT_FOUND.test(stderr)) return undefined;
  throw new KeyringError("failed", stderr.trim());
}

/** `security` knows quotation marks and the backslash; what needs one is not sent. */
function lineOf(command: string, ...options: readonly (readonly string[])[]): string {
  const words = options.flat().map((word) => {
    if (!/^[\w .:+/=@-]+$/.test(word)) throw new TypeError("Cannot ask the keychain: a word has other characters");
    return `"${word}"`;
  });
  return `${[command, ...words].join(" ")}\n`;
}

async function run(input: string, { promptMs, signal }: KeychainCall): Promise<CommandResult> {
  try {
    return await runCommand([PROGRAM, "-i"], { input, timeoutMs: promptMs, signal });
  } catch (error) {
    if (error instanceof StartError) throw new KeyringError("no_service", error.message);
    throw error instanceof LatchkeyError && error.code === "timed_out" ? new KeyringError("unanswered") : error;
  }
}
