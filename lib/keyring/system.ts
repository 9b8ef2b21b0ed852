/**
 * Secrets in the macOS Keychain, by Apple's `security`, and in Windows' Data Protection API (DPAPI), by FFI or, where a runtime
 * has none, by PowerShell. Secrets go to the standard input of these programs: arguments are visible to all users.
 *
 * Facts: `man security`; Apple's SecurityTool. With `-i`, a failed command is reported on standard error, and the exit
 * code is the last command's or 0, so that only the output counts. A line has at most 4,095 bytes.
 *
 * All functions that run a program throw a {@linkcode KeyringError} if the keyring cannot be used now, and
 * `missing_dependency` if Deno does not permit to run the program.
 *
 * @module
 */
import { isBase64 } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { readEnvironment } from "../runtime/host.ts";
import { type CommandResult, runCommand, StartError } from "../runtime/process.ts";
import { callDpapi, openWindowsApi } from "../runtime/windows_api.ts";
import { KeyringError, type KeyringProblem } from "./errors.ts";
import { PROMPT_MS, type PromptCall } from "./secret_service.ts";

interface KeychainName {
  readonly service: string;
  readonly account: string;
}

interface KeychainSecret extends KeychainName {
  /** Name for the user. */
  readonly label: string;
  /** The secret: base64. */
  readonly text: string;
}

type SystemCall = Pick<PromptCall, "signal">;

const PROGRAM = "/usr/bin/security";

/** Messages of `security`, and their meaning. */
const PROBLEMS: readonly (readonly [says: RegExp, problem: "locked" | "dismissed" | "no_keyring"])[] = [
  // errSecInteractionNotAllowed: macOS shows no prompt over SSH, or before the first log-in.
  [/User interaction is not allowed|-25308|returned 36\b/, "locked"],
  // errSecUserCanceled, errSecAuthFailed
  [/User canceled|-128\b|returned 128\b|passphrase you entered is not correct|-25293|returned 51\b/, "dismissed"],
  // errSecNoSuchKeychain, errSecNoDefaultKeychain
  [/could not be found\. *$|-25294|-25307|A default keychain could not be found/m, "no_keyring"],
];
/** errSecItemNotFound */
const NOT_FOUND = /specified item could not be found|-25300|returned 44\b/;

/** Reads a secret from the keychain; `undefined` if the keychain does not have it. */
export async function readKeychain(name: KeychainName, call: SystemCall): Promise<string | undefined> {
  return readKeychainReply(await runSecurity(findCommand(name), call));
}

/** Stores a secret in the keychain. One with the same name is replaced. */
export async function writeKeychain(secret: KeychainSecret, call: SystemCall): Promise<void> {
  const result = await runSecurity(addCommand(secret) + findCommand(secret), call);
  // In case a message quotes the command.
  const reply = readKeychainReply({ ...result, stderr: result.stderr.replaceAll(secret.text, "[concealed]") });
  if (reply !== secret.text) throw new KeyringError("failed", "it did not keep the secret");
}

/** Returns the line that reads a secret. */
export function findCommand({ service, account }: KeychainName): string {
  return lineOf("find-generic-password", ["-s", service], ["-a", account], ["-w"]);
}

/** Returns the line that stores a secret. `security`, which stores it, may then read it without a prompt. */
export function addCommand({ service, account, label, text }: KeychainSecret): string {
  return lineOf("add-generic-password", ["-U"], ["-s", service], ["-a", account], ["-l", label], ["-w", text]);
}

/** Returns the secret in the output of `security`; `undefined` if it is missing. Throws for an error message. */
export function readKeychainReply({ stdout, stderr }: CommandResult): string | undefined {
  const text = stdout.trim();
  if (isBase64(text)) return text;
  const [, problem] = PROBLEMS.find(([says]) => says.test(stderr)) ?? [];
  if (problem) throw new KeyringError(problem);
  if (NOT_FOUND.test(stderr)) return undefined;
  throw new KeyringError("failed", stderr.trim());
}

/** `security` knows quotation marks and the backslash. Words that need one are not sent. */
function lineOf(command: string, ...options: readonly (readonly string[])[]): string {
  const words = options.flat().map((word) => {
    if (!/^[\w .:+/=@-]+$/.test(word)) throw new TypeError("Cannot use the keychain: a word has an invalid character");
    return `"${word}"`;
  });
  return `${[command, ...words].join(" ")}\n`;
}

/** macOS may prompt the user. */
function runSecurity(input: string, { signal }: SystemCall): Promise<CommandResult> {
  return run([PROGRAM, "-i"], { input, timeoutMs: PROMPT_MS, signal, timeout: "unanswered" });
}

/** PowerShell takes a second to start, and more on a machine that is busy. */
const TIMEOUT_MS = 60_000;
/** Printed in place of a result, with the HRESULT. */
const FAILED = /^failed (-?\d+)$/;
/** NTE_BAD_KEY_STATE, NTE_BAD_DATA, ERROR_INVALID_DATA as HRESULT and as itself: of another user or machine. */
const NOT_OURS: ReadonlySet<number> = new Set([0x8009000b, 0x80090005, 0x8007000d, 13].map((code) => code | 0));

type DpapiMethod = "Protect" | "Unprotect";

/** Encrypts bytes for this user of this machine. Both are base64. */
export async function protect(base64: string, call: SystemCall): Promise<string> {
  const text = await useDpapi("Protect", base64, call);
  if (text === undefined) throw new KeyringError("failed");
  return text;
}

/** Decrypts the result of {@linkcode protect}; `undefined` if it is not of this user of this machine. */
export async function unprotect(base64: string, call: SystemCall): Promise<string | undefined> {
  return await useDpapi("Unprotect", base64, call);
}

/** PowerShell, which calls the same functions, takes a hundred times as long, and can be restricted by a policy. */
async function useDpapi(method: DpapiMethod, base64: string, call: SystemCall): Promise<string | undefined> {
  call.signal?.throwIfAborted();
  const api = openWindowsApi();
  if (!api) return readPowerShellReply(await runPowerShell(method, base64, call));
  const result = callDpapi(api, `Crypt${method}Data`, base64);
  return typeof result === "string" ? result : undefinedIfNotOurs(result.error);
}

/** Returns the program and its arguments. */
export function commandOf(method: DpapiMethod, systemRoot: string): readonly string[] {
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

/** Returns the base64 in the output of PowerShell; `undefined` if the bytes are another user's. Throws for an error. */
export function readPowerShellReply({ stdout, stderr }: CommandResult): string | undefined {
  const text = stdout.trim();
  if (isBase64(text)) return text;
  const [, code] = FAILED.exec(text) ?? [];
  if (code === undefined) throw new KeyringError("failed", `PowerShell: ${stderr.trim() || "it printed no result"}`);
  return undefinedIfNotOurs(Number(code));
}

function undefinedIfNotOurs(code: number): undefined {
  if (NOT_OURS.has(code | 0)) return undefined;
  throw new KeyringError("failed", `error 0x${(code >>> 0).toString(16).padStart(8, "0")}`);
}

function runPowerShell(method: DpapiMethod, input: string, call: SystemCall): Promise<CommandResult> {
  const command = commandOf(method, readEnvironment("SystemRoot") ?? "C:\\Windows");
  const { signal } = call;
  return run(command, { input, timeoutMs: TIMEOUT_MS, signal, timeout: "silent" });
}

async function run(
  command: readonly string[],
  { timeout, ...options }: NonNullable<Parameters<typeof runCommand>[1]> & { readonly timeout: KeyringProblem },
): Promise<CommandResult> {
  try {
    return await runCommand(command, options);
  } catch (error) {
    if (error instanceof StartError) throw new KeyringError("failed", error.message);
    throw error instanceof LatchkeyError && error.code === "timed_out" ? new KeyringError(timeout) : error;
  }
}
