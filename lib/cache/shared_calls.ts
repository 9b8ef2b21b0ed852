/**
 * Equal calls under way are made once.
 *
 * @module
 */
import { untilAborted } from "../until_aborted.ts";

interface SharedCall<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  callers: number;
}

/** Calls under way, by what they ask for. */
export class SharedCalls<T> {
  readonly #running = new Map<string, SharedCall<T>>();

  /**
   * Joins the call of this key that is under way, or starts one. A caller that aborts goes at once; the call ends when
   * the last has gone.
   *
   * @param key What is asked for.
   * @param signal The caller's.
   * @param start Starts the call.
   * @returns The call's result.
   */
  async run(key: string, signal: AbortSignal | undefined, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    let call = this.#running.get(key);
    if (!call) {
      const controller = new AbortController();
      const started: SharedCall<T> = {
        result: start(controller.signal).finally(() => this.#forget(key, started)),
        controller,
        callers: 0,
      };
      this.#running.set(key, call = started);
    }
    call.callers++;
    try {
      return await untilAborted(untilAborted(call.result, call.controller.signal), signal);
    } catch (error) {
      if (signal?.aborted && --call.callers === 0) {
        this.#forget(key, call);
        call.controller.abort(signal.reason);
      }
      throw error;
    }
  }

  /** Ends all calls under way, with a reason. Their callers are let go at once. */
  abort(reason: unknown): void {
    const calls = [...this.#running.values()];
    this.#running.clear();
    for (const { controller } of calls) controller.abort(reason);
  }

  #forget(key: string, call: SharedCall<T>): void {
    if (this.#running.get(key) === call) this.#running.delete(key);
  }
}
