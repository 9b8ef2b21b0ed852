/** The folder through which a test and its fake broker talk: files, so that the bus may start the fake at any time. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Behaviour, Call } from "./behaviour.ts";

const MAX_REPLY_LENGTH = 1_000_000;

export function readBehaviour(directory: string): Behaviour {
  return JSON.parse(readFileSync(join(directory, "behaviour.json"), "utf8"));
}

/** The fake may read at any moment, so the file is replaced, never half written. */
export async function writeBehaviour(directory: string, behaviour: Behaviour): Promise<void> {
  const file = join(directory, "behaviour.json"), next = `${file}.next`;
  await writeFile(next, JSON.stringify(behaviour, null, 2));
  await rm(join(directory, "replies.log"), { force: true });
  await rename(next, file);
}

/** Counts a use of a scripted reply. Kept in a file: a reply that ends the process must not come again with the next. */
export function countReply(directory: string, key: string): number {
  const file = join(directory, "replies.log");
  appendFileSync(file, `${key}\n`);
  return linesOf(readFileSync(file, "utf8")).filter((line) => line === key).length;
}

export function appendCall(directory: string, call: Call): void {
  appendFileSync(join(directory, "calls.jsonl"), `${JSON.stringify(call)}\n`);
}

export async function readCalls(directory: string): Promise<Call[]> {
  const file = join(directory, "calls.jsonl");
  return existsSync(file) ? linesOf(await readFile(file, "utf8")).map((line) => JSON.parse(line)) : [];
}

/** Forgets what was called, and what was said to it. */
export async function removeCalls(directory: string): Promise<void> {
  for (const file of ["calls.jsonl", "replies.jsonl"]) await rm(join(directory, file), { force: true });
}

/** Keeps what was said, but what is too long for anyone to look for something in it. */
export function appendReply(directory: string, body: readonly unknown[]): void {
  if (body.some((value) => typeof value === "string" && value.length > MAX_REPLY_LENGTH)) return;
  appendFileSync(join(directory, "replies.jsonl"), `${JSON.stringify(body)}\n`);
}

export async function readReplies(directory: string): Promise<unknown[][]> {
  const file = join(directory, "replies.jsonl");
  return existsSync(file) ? linesOf(await readFile(file, "utf8")).map((line) => JSON.parse(line)) : [];
}

/** Says which process is the broker for as long as it runs. */
export function announceProcess(directory: string, pid: number): Disposable {
  const file = join(directory, "pid");
  writeFileSync(file, String(pid));
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}

/** The process that is the broker, or was until it was killed. */
export function readProcessId(directory: string): number | undefined {
  const file = join(directory, "pid");
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : undefined;
}

export async function removeProcessId(directory: string): Promise<void> {
  await rm(join(directory, "pid"), { force: true });
}

function linesOf(text: string): string[] {
  return text.split("\n").filter(Boolean);
}
