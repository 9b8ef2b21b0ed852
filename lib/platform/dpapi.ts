/**
 * Windows' Data Protection API: what this user protected, on this machine, this user alone can read. By Windows PowerShell,
 * which every Windows has.
 *
 * The script is the same each time and stands among the arguments; what it works on goes to its standard input, since
 * arguments are for everybody to see, and scripts are logged where an administrator wants it.
 *
 * Facts: `System.Security.Cryptography.ProtectedData`, CryptProtectData.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { isBase64 } from "./base64_text.ts";
import { type CommandResult, runCommand } from "./command.ts";
import { readEnvironment } from "./host.ts";
import { KeyringError } from "./keyring_error.ts";
import { StartError } from "./start_process.ts";

/** What a call has to heed. */
export interface DpapiCall {
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
  const text = readReply(await run("Protect", base64, call));
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
  return readReply(await run("Unprotect", base64, call));
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
export function readReply({ stdout, stderr }: CommandResult): string | undefined {
  const text = stdout.trim();
  if (isBase64(text)) return text;
  const [, code] = FAILED.exec(text) ?? [];
  if (code === undefined) throw new KeyringError("failed", stderr.trim());
  if (NOT_OURS.has(Number(code) | 0)) return undefined;
  throw new KeyringError("failed", `error 0x${(Number(code) >>> 0).toString(16).padStart(8, "0")}`);
}

async function run(
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
