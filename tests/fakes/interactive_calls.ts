/** Interactive calls whose person has not answered yet. */
import { Refusal, WIRE_STATUS } from "./refusal.ts";

export class InteractiveCalls {
  readonly #cancels = new Map<string, () => void>();

  /** Waits for the person's answer, or for the call to be cancelled. */
  async wait<T>(correlationId: string, answer: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#cancels.set(correlationId, () => reject(new Refusal(WIRE_STATUS.userCanceled, "The user cancelled")));
    try {
      return await Promise.race([answer, promise]);
    } finally {
      this.#cancels.delete(correlationId);
    }
  }

  /** Ends the call of that id. Microsoft's own client cancels under another id: then all of them are meant. */
  cancel(correlationId: string): void {
    const cancel = this.#cancels.get(correlationId);
    for (const each of cancel ? [cancel] : [...this.#cancels.values()]) each();
  }
}
