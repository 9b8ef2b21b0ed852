/**
 * Secrets in the macOS Keychain, by Apple's `security`. What it is asked, secrets included, goes to its standard input
 * (`-i`): arguments are for everybody to see.
 *
 * Facts: `man security`; Apple's SecurityTool. In that mode a command that fails is said on standard error, and the exit code
 * is the last command's or 0, so that what was printed counts. A line has at most 4,095 bytes.
 *
 * @module
 */
import { isBase64 } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { readEnvironment } from "../runtime/host.ts";
import { type CommandResult, runCommand, StartError } from "../runtime/process.ts";
import { KeyringError } from "./errors.ts";

/** A secret's name in the keychain. */
interface KeychainName {
  /** What it is for, such as `latchkey`. */
  readonly service: string;
  /** Which of these it is. */
  readonly account: string;
}

/** A secret to be stored. */
interface KeychainSecret extends KeychainName {
  /** What people see of it. */
  readonly label: string;
  /** The secret: base64. */
  readonly text: string;
}

/** What a call has to heed. */
interface KeychainCall {
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
  return readKeychainReply(await runSecurity(findCommand(name), call));
}

/**
 * Stores a secret, in place of one that has the same name.
 *
 * @throws {KeyringError} when that is not possible now.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run the program.
 */
export async function writeKeychain(secret: KeychainSecret, call: KeychainCall): Promise<void> {
  const result = await runSecurity(addCommand(secret) + findCommand(secret), call);
  // Were a command ever to be quoted, the secret would be.
  const reply = readKeychainReply({ ...result, stderr: result.stderr.replaceAll(secret.text, "[concealed]") });
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
export function readKeychainReply({ stdout, stderr }: CommandResult): string | undefined {
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

async function runSecurity(input: string, { promptMs, signal }: KeychainCall): Promise<CommandResult> {
  try {
    return await runCommand([PROGRAM, "-i"], { input, timeoutMs: promptMs, signal });
  } catch (error) {
    if (error instanceof StartError) throw new KeyringError("no_service", error.message);
    throw error instanceof LatchkeyError && error.code === "timed_out" ? new KeyringError("unanswered") : error;
  }
}

/** What a call has to heed. */
interface DpapiCall {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** PowerShell takes a second to start, and more on a machine that is busy. */
const TIMEOUT_MS = 60_000;
/** Said in place of a result, with the number of what went wrong. */
const FAILED = /^failed (-?\d+)$/;
/** NTE_BAD_KEY_STATE, NTE_BAD_DATA, ERROR_INVALID_DATA as HRESULT and as itself: another user's, or another machine's. */
const NOT_OURS: ReadonlySet<number> = new Set([0x8009000b, 0x80090005, 0x8007000d, 13].map((code) => code | 0));

/**
 * Protects bytes.
 *
 * @param base64 The bytes.
 * @returns What they became, as base64.
 * @throws {KeyringError} when that is not possible now.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run the program.
 */
export async function protect(base64: string, call: DpapiCall): Promise<string> {
  const text = readPowerShellReply(await runPowerShell("Protect", base64, call));
  if (text === undefined) throw new KeyringError("failed");
  return text;
}

/**
 * Gives back what was protected.
 *
 * @param base64 What {@linkcode protect} gave.
 * @returns The bytes, as base64; `undefined` when this user of this machine cannot read it.
 * @throws {KeyringError} when that is not possible now.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run the program.
 */
export async function unprotect(base64: string, call: DpapiCall): Promise<string | undefined> {
  return readPowerShellReply(await runPowerShell("Unprotect", base64, call));
}

/** The program and its arguments. Pure. */
export function commandOf(method: "Protect" | "Unprotect", systemRoot: string): readonly string[] {
  const steps = [
    "Add-Type -AssemblyName System.Security",
    "$bytes = [Convert]::FromBase64String([Console]::In.ReadToEnd().Trim())",
    `$done = [Security.Cryptography.ProtectedData]::${method}($bytes, $null, 'CurrentUser')`,
    "[Console]::Out.Write([Convert]::ToBase64String($done))",
  ].join("; ");
  const otherwise = "[Console]::Out.Write('failed ' + $_.Exception.GetBaseException().HResult)";
  const script = `$ErrorActionPreference = 'Stop'; try { ${steps} } catch { ${otherwise} }`;
  const program = `${systemRoot}\\System32\\WindowsPowerShell\\v1.0\\powershell.exe`;
  return [program, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", script];
}

/**
 * What was printed, as base64. Pure.
 *
 * @returns The result; `undefined` when what was to be unprotected is not this user's.
 * @throws {KeyringError} for what was said instead.
 */
export function readPowerShellReply({ stdout, stderr }: CommandResult): string | undefined {
  const text = stdout.trim();
  if (isBase64(text)) return text;
  const [, code] = FAILED.exec(text) ?? [];
  if (code === undefined) throw new KeyringError("failed", stderr.trim());
  if (NOT_OURS.has(Number(code) | 0)) return undefined;
  throw new KeyringError("failed", `error 0x${(Number(code) >>> 0).toString(16).padStart(8, "0")}`);
}

async function runPowerShell(
  method: "Protect" | "Unprotect",
  input: string,
  { signal }: DpapiCall,
): Promise<CommandResult> {
  const command = commandOf(method, readEnvironment("SystemRoot") ?? "C:\\Windows");
  try {
    return await runCommand(command, { input, timeoutMs: TIMEOUT_MS, signal });
  } catch (error) {
    if (error instanceof StartError) throw new KeyringError("no_service", error.message);
    throw error instanceof LatchkeyError && error.code === "timed_out" ? new KeyringError("silent") : error;
  }
}
