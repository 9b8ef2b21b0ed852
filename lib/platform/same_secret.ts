/**
 * Secrets compared so that the time it takes tells nothing of how much of one was right.
 *
 * @module
 */

/**
 * Makes what compares with a secret.
 *
 * @param secret The secret.
 * @returns Whether a text is the same.
 */
export async function comparerWith(secret: string): Promise<(text: string) => boolean> {
  const { createHash, timingSafeEqual } = await import("node:crypto");
  // Of one length, whatever was sent.
  const digestOf = (text: string) => createHash("sha256").update(text).digest(), right = digestOf(secret);
  return (text) => timingSafeEqual(digestOf(text), right);
}
