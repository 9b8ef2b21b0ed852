// Programs that use one cache file: MSAL for Python, MSAL for Node and latchkey on each runtime, told in the same words what to
// do.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { AccountInfo } from "../../lib/account.ts";
import { RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { findTool, MSAL_PYTHON } from "../tools/find_tool.js";

export const CONTOSO = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
export const HOST = "login.microsoftonline.com";

/** One thing to do. */
export interface Step {
  readonly do: "sign in" | "token" | "accounts" | "sign out";
  /** Client id. */
  readonly app: string;
  /** A number that stands for somebody. */
  readonly person?: number;
  readonly scope?: string;
  /** The authority's tenant, or a word for it. @default the person's */
  readonly tenant?: string;
  /** Whether the app is of the family. */
  readonly foci?: boolean;
  /** Whether the access token is about to end; by latchkey alone. */
  readonly expired?: boolean;
}

/** What a program does, and where. */
export interface Task {
  /** Path of the file. */
  readonly cache: string;
  /** Begins the secrets that are issued to it. */
  readonly by: string;
  /** Which lock MSAL for Python takes. @default the one of portalocker, as the Azure CLI */
  readonly lock?: "portalocker" | "plain";
  readonly steps: readonly Step[];
}

/** What came of a step. */
export interface Outcome {
  readonly result?: string | readonly string[] | null | undefined;
  readonly error?: string;
  /** The requests that were sent: grant and refresh token. */
  readonly requests: readonly (readonly [grant: string, refreshToken: string | null])[];
}

/** A kind of program. */
export interface Peer {
  readonly name: string;
  readonly lock?: Task["lock"];
  readonly command: readonly string[];
}

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const python = ["python3", here("peer.py")];

export const MSAL: readonly Peer[] = [
  { name: "MSAL for Python", command: python },
  { name: "MSAL for Python without portalocker", lock: "plain", command: python },
  { name: "MSAL for Node", command: [findTool("node"), here("peer.mjs")] },
];
/** The D-Bus client makes no difference here. */
export const LATCHKEY: readonly Peer[] = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next")
  .map((path) => ({ name: `latchkey on ${path.name}`, command: [...path.program(), here("peer.ts")] }));

/** Somebody, as an account. */
export function accountOf(person: number): AccountInfo {
  const localAccountId = `00000000-0000-4000-8000-${String(person).padStart(12, "0")}`;
  return {
    homeAccountId: `${localAccountId}.${CONTOSO}`,
    localAccountId,
    environment: HOST,
    tenantId: CONTOSO,
    realm: CONTOSO,
    username: `person${person}@contoso.com`,
    source: "cache",
  };
}

/** A program that has started and waits. */
export interface WaitingPeer {
  /** Lets it begin. @returns What came of its steps. */
  begin(): Promise<readonly Outcome[]>;
}

/** Starts a program, and waits until it could begin. */
export async function startPeer({ command, lock }: Peer, task: Task): Promise<WaitingPeer> {
  const [program = "", ...args] = [...command, JSON.stringify({ ...task, lock })];
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, PYTHONPATH: MSAL_PYTHON, PYTHONDONTWRITEBYTECODE: "1" },
  });
  const errors = text(child.stderr!), closed = once(child, "close");
  await Promise.race([once(child.stdout!, "readable"), closed]);
  return { begin: () => outcomesOf(child, { errors, closed }) };
}

async function outcomesOf(
  child: ChildProcess,
  { errors, closed }: { readonly errors: Promise<string>; readonly closed: Promise<unknown> },
): Promise<readonly Outcome[]> {
  child.stdin!.end();
  const [output] = await Promise.all([text(child.stdout!), closed]), [, last] = output.trimEnd().split("\n");
  if (!last) throw new Error(await errors);
  return JSON.parse(last);
}

/** Runs a program, and gives what came of its steps. */
export async function runPeer(peer: Peer, task: Task): Promise<readonly Outcome[]> {
  return await (await startPeer(peer, task)).begin();
}
