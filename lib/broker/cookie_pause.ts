/**
 * A pause between calls for a cookie that fail. Since 4.0 himmelblau opens a PIN dialog in such a call if its silent way fails
 * (its issue 1679), and a browser asks again for each page.
 *
 * @module
 */
import { type CallMark, Mutex, PauseAfterFailure } from "../async.ts";
import { isObject, readJson, readNumber, readText } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import type { Remedy } from "../remedies.ts";
import { readPrivateFile, removePrivateFile, replacePrivateFile } from "../files/private_files.ts";
import { stateFolder } from "../files/user_folders.ts";
import type { BrokerCall } from "./broker.ts";

/** Time in milliseconds between two calls that fail. */
const PAUSE_MS = 600_000;
/** Age in milliseconds at which a call without an end has failed: its program was ended, perhaps with the dialog open. */
const CALL_MS = 60_000;

/** Longest wait in milliseconds for the calls under way. */
const WAIT_MS = 75_000;

const callsHere = new Mutex();
let ownMark: CallMark | undefined;
let isInFile = false;
let isWritten = false;

const pause = new PauseAfterFailure({
  pauseMs: PAUSE_MS,
  callMs: CALL_MS,
  marks: { read: readMark, write: writeMark },
});

/** Returns the folder of the mark. It holds nothing else, so that a program can be permitted to use it alone. */
export function cookiePauseFolder(): string {
  return `${stateFolder()}/broker`;
}

/** Has the user's other programs keep the pause as well: all that have called this. */
export function shareCookiePause(): void {
  isInFile = true;
}

/**
 * Makes a call for a cookie.
 *
 * @param json The request.
 * @throws {LatchkeyError} `temporarily_unavailable` if one has failed in the last ten minutes; `timed_out` if others are under way.
 */
export async function callForCookie(
  json: string,
  call: () => Promise<string>,
  { correlationId, signal }: BrokerCall,
): Promise<string> {
  const account = readJson(json)?.account;
  if (!isObject(account) || readText(account.clientInfo)) return await call(); // Microsoft's broker opens no dialog
  return await callWithLock(() => callUnlessPaused(call, correlationId), { correlationId, signal });
}

/** Waits for the calls under way, of the user's other programs too: if they fail, this one is not made. */
async function callWithLock(work: () => Promise<string>, { correlationId, signal }: BrokerCall): Promise<string> {
  const { withLock } = await import("../files/lock.ts");
  const onTimeout = () =>
    new LatchkeyError("timed_out", "Not asked for a cookie: other calls for one are under way", { correlationId });
  return await callsHere.run("cookie", async () => {
    if (!isInFile) return await work();
    let isStarted = false;
    const start = () => {
      isStarted = true;
      return work();
    };
    try {
      return await withLock(`${cookiePauseFolder()}/cookie.lockfile`, start, { signal });
    } catch (error) {
      if (isStarted || !(error instanceof LatchkeyError) || error.code === "timed_out") throw error;
      return await work(); // a program that may not use the folder
    }
  }, { signal, limit: { waitMs: WAIT_MS, onTimeout } });
}

async function callUnlessPaused(call: () => Promise<string>, correlationId: string): Promise<string> {
  const leftMs = await pause.leftMs();
  if (leftMs > 0) throw paused(Math.ceil(leftMs / 60_000), correlationId);
  return await pause.call(call, (outcome) => {
    if ("result" in outcome) return isRefusal(outcome.result);
    // A broker that is gone, or lacks the method, has opened no dialog.
    const { error } = outcome;
    return !(error instanceof LatchkeyError) || !["broker_unavailable", "refused"].includes(error.code);
  });
}

/** Ends the pause if a sign-in succeeded. */
export async function endCookiePause(reply: string): Promise<void> {
  if (reply !== "" && !isRefusal(reply)) await pause.end(); // himmelblau's is empty if its daemon does not answer
}

function paused(minutes: number, correlationId: string): LatchkeyError {
  const message =
    "Not asked for a cookie: the broker failed to give one a short time ago, and may open a PIN dialog again";
  const remedy: Remedy = {
    kind: "try_again",
    afterSeconds: minutes * 60,
    or: { kind: "sign_in_again", with: "prompt" },
  };
  return new LatchkeyError("temporarily_unavailable", message, { correlationId, remedy });
}

function isRefusal(json: string): boolean {
  const reply = readJson(json);
  const token = reply?.brokerTokenResponse;
  return (reply?.error ?? (isObject(token) ? token.error : undefined) ?? undefined) !== undefined;
}

async function readMark(): Promise<CallMark | undefined> {
  const file = isInFile ? await ifPossible(async (path) => ({ bytes: await readPrivateFile(path) })) : undefined;
  if (!file || !(file.bytes || isWritten)) return ownMark;
  const { since, hasFailed } = file.bytes ? readJson(file.bytes) ?? {} : {};
  const time = readNumber(since);
  return time === undefined ? undefined : { since: time, hasFailed: hasFailed === true };
}

async function writeMark(mark: CallMark | undefined): Promise<void> {
  ownMark = mark;
  if (!isInFile) return;
  const bytes = new TextEncoder().encode(JSON.stringify(mark ?? {}));
  const write = async (path: string): Promise<true> => {
    await (mark ? replacePrivateFile(path, bytes) : removePrivateFile(path));
    return true;
  };
  isWritten = await ifPossible(write) ?? false;
}

/** A program that may not use the file, or has no folder for it, keeps the pause to itself. */
async function ifPossible<T>(task: (path: string) => Promise<T>): Promise<T | undefined> {
  try {
    return await task(`${cookiePauseFolder()}/cookie.json`);
  } catch (error) {
    if (error instanceof LatchkeyError) return undefined;
    throw error;
  }
}
