/**
 * Prompts of the Secret Service: the keyring's own window, in which a person unlocks or makes a keyring.
 *
 * @module
 */
import { asKeyringError, KeyringError } from "./keyring_error.ts";
import { readVariant } from "./secret_replies.ts";
import { BUS_DAEMON, type DBusValue, type SessionBus, type Signal } from "./session_bus.ts";

/** Told before a person is asked: to unlock what is there, or to make a keyring. */
export type PromptListener = (purpose: "unlock" | "make") => void;

/** How a person is asked. */
export interface PromptCall {
  /** Whether they may be asked. */
  readonly mayPrompt: boolean;
  /** How long they have, in milliseconds. */
  readonly promptMs: number;
  /** Called before the keyring's window is shown: whoever waits for it may not see it. @default nothing is called */
  readonly onPrompt?: PromptListener | undefined;
  /** Takes the prompt away, and ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A prompt that waits to be shown. */
export interface Prompt {
  /** Its object. */
  readonly path: string;
  /** Unique bus name of who made it. */
  readonly owner: string;
  /** What it asks for. @default "unlock" */
  readonly purpose?: "unlock" | "make" | undefined;
}

const INTERFACE = "org.freedesktop.Secret.Prompt";
/** How often it is looked whether the keyring is still there, in milliseconds. */
const LOOK_MS = 1000;
/** How long a call about the prompt may take, in milliseconds; taking it away holds up the end of a call. */
const CALL_MS = 10_000, DISMISS_MS = 1000;

/**
 * Shows a prompt and waits for its end.
 *
 * The signal that ends it counts only from who made the prompt: any program on the bus can send one of its name. That the
 * keyring is gone is asked for rather than heard of, since a bus that ends says nothing.
 *
 * @param bus The session bus.
 * @param prompt The prompt.
 * @param call How the person is asked.
 * @returns What came of it.
 * @throws {KeyringError} `locked` when nobody may be asked; `dismissed`, `unanswered`, `gone` …
 * @throws {LatchkeyError} `invalid_response`.
 */
export async function answerOf(bus: SessionBus, prompt: Prompt, call: PromptCall): Promise<DBusValue> {
  const { mayPrompt, promptMs, onPrompt, signal } = call;
  if (!mayPrompt) {
    await dismiss(bus, prompt);
    throw new KeyringError("locked");
  }
  const completed = Promise.withResolvers<Signal>();
  completed.promise.catch(() => {}); // an abort can come before anybody waits for it
  const match = { sender: prompt.owner, path: prompt.path, interface: INTERFACE, member: "Completed" };
  const subscription = await bus.subscribe(match, completed.resolve, { timeoutMs: CALL_MS, signal });
  const watch = watchOver(bus, prompt, promptMs);
  const abort = () => completed.reject(signal!.reason);
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    onPrompt?.(prompt.purpose ?? "unlock");
    await bus.call({ ...objectOf(prompt), member: "Prompt", signature: "s", body: [""] }, {
      timeoutMs: CALL_MS,
      signal,
    });
    return resultIn(await Promise.race([completed.promise, watch.ended]));
  } catch (error) {
    await dismiss(bus, prompt);
    throw signal?.aborted ? signal.reason : asKeyringError(error);
  } finally {
    watch.stop();
    signal?.removeEventListener("abort", abort);
    subscription[Symbol.dispose]();
  }
}

function resultIn({ body: [dismissed, result] }: Signal): DBusValue {
  if (dismissed !== false) throw new KeyringError("dismissed");
  return readVariant(result).value;
}

/** Fails when the prompt's time is over, or the keyring gone. Its timer keeps the program alive. */
function watchOver(bus: SessionBus, { owner }: Prompt, promptMs: number): { ended: Promise<never>; stop(): void } {
  const failed = Promise.withResolvers<never>(), untilMs = performance.now() + promptMs;
  failed.promise.catch(() => {}); // the prompt may have ended before
  let timer: ReturnType<typeof setTimeout>, stopped = false;
  const look = async (): Promise<void> => {
    if (performance.now() >= untilMs) return failed.reject(new KeyringError("unanswered"));
    try {
      await bus.call({ ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [owner] }, { timeoutMs: CALL_MS });
    } catch {
      failed.reject(new KeyringError("gone"));
    }
    if (!stopped) lookLater();
  };
  const lookLater = (): void => {
    timer = setTimeout(look, Math.max(0, Math.min(LOOK_MS, untilMs - performance.now())));
  };
  lookLater();
  return { ended: failed.promise, stop: () => (stopped = true, clearTimeout(timer)) };
}

/** Takes a prompt away that is not needed; one that is gone by itself is no failure. */
async function dismiss(bus: SessionBus, prompt: Prompt): Promise<void> {
  await bus.call({ ...objectOf(prompt), member: "Dismiss" }, { timeoutMs: DISMISS_MS }).catch(() => {});
}

function objectOf({ path, owner }: Prompt): { destination: string; path: string; interface: string; autoStart: false } {
  return { destination: owner, path, interface: INTERFACE, autoStart: false };
}
