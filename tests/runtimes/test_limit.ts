/** How long a test may take, in milliseconds, unless it says otherwise: one that waits for ever ends, one on a busy machine does not. */
export const TEST_LIMIT_MS = 120_000;
