/**
 * Words about failures that a command can end with: its error says them then, and nothing else need.
 *
 * @module
 */
import type { Tell } from "./forgiving_store.ts";

/** What is held back until a command ends. */
export interface HeldNotices {
  /** Holds it back. */
  hold: Tell;
  /**
   * Does what may fail, then says what was held back, but for what it failed with.
   *
   * @param work What may fail.
   */
  around<T>(work: () => Promise<T>): Promise<T>;
}

/** Makes one for a command. */
export function heldNotices(): HeldNotices {
  const held: Parameters<Tell>[] = [];
  return {
    hold: (...notice) => void held.push(notice),
    async around(work) {
      let end: unknown;
      try {
        return await work();
      } catch (error) {
        end = error;
        throw error;
      } finally {
        for (const [what, error] of held) {
          // Reading again fails with another error that says the same.
          if (end instanceof Error && error?.message === end.message) continue;
          (await import("./token_store.ts")).tellFailure(what, error);
        }
      }
    },
  };
}
